package devstack

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// writeSettings writes the shipped gatewatch.yaml at from to path, with
// overrides (nested maps of the same shape; a value that isn't a map replaces
// what was there).
func writeSettings(from, path string, overrides map[string]any) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read the shipped configuration: %w", err)
	}
	settings := map[string]any{}
	if err := yaml.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	merge(settings, overrides)
	b, err = yaml.Marshal(settings)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

func merge(into, from map[string]any) {
	for _, k := range slices.Sorted(maps.Keys(from)) {
		inner, ok := from[k].(map[string]any)
		if !ok {
			into[k] = from[k]
			continue
		}
		target, ok := into[k].(map[string]any)
		if !ok {
			target = map[string]any{}
			into[k] = target
		}
		merge(target, inner)
	}
}

// freeAddrs returns n loopback addresses that nothing listens on now.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// Root returns the folder of the go.mod at or above dir.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod at or above %s", dir)
		}
	}
}

// Build builds the named binaries of the repository at root into dir, without
// names all of them, as they are shipped.
func Build(ctx context.Context, root, dir string, names ...string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	if len(names) == 0 {
		args = append(args, "./cmd/...")
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}
