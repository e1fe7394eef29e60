package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
)

func TestMain(m *testing.M) {
	leash.Main()
	code := m.Run()
	if b := built(); b.dir != "" {
		os.RemoveAll(b.dir)
	}
	os.Exit(code)
}

// binaries is where the built binaries are.
type binaries struct {
	root, dir string
	err       error
}

// built builds the three binaries and the demo once for all tests.
var built = sync.OnceValue(func() binaries {
	wd, err := os.Getwd()
	if err != nil {
		return binaries{err: err}
	}
	b := binaries{}
	if b.root, b.err = devstack.Root(wd); b.err != nil {
		return b
	}
	if b.dir, b.err = os.MkdirTemp("", "gatewatch-e2e-"); b.err != nil {
		return b
	}
	cmd := exec.Command("go", "build", "-o", b.dir+string(filepath.Separator), "./cmd/...", "./internal/devtools/devstack")
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return b
})

// start starts a stack that ends with the test.
func start(t *testing.T, configure func(devstack.Config) devstack.Config) *devstack.Stack {
	t.Helper()
	b := built()
	if b.err != nil {
		t.Fatal(b.err)
	}
	c := devstack.Config{Dir: t.TempDir(), Root: b.root, Bin: b.dir, Log: os.Stderr}
	if configure != nil {
		c = configure(c)
	}
	s, err := devstack.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if err := s.Run(t.Context(), "ingest", "aggregate"); err != nil {
		t.Fatal(err)
	}
	return s
}
