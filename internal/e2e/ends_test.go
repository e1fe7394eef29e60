package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDemoEnds starts the demo, ends it in the middle of loading the history
// and looks for what is left: after Ctrl-C nothing within three seconds, after
// kill -9 nothing soon.
func TestDemoEnds(t *testing.T) {
	b := built()
	if b.err != nil {
		t.Fatal(b.err)
	}
	for _, c := range []struct {
		signal syscall.Signal
		within time.Duration
	}{{syscall.SIGINT, 3 * time.Second}, {syscall.SIGKILL, 15 * time.Second}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			dir := t.TempDir()
			demo := exec.Command(filepath.Join(b.dir, "devstack"))
			demo.Dir = b.root
			demo.Env = append(os.Environ(), "TMPDIR="+dir, "DEMO_SECONDS=", "LOG=")
			var out lines
			demo.Stdout, demo.Stderr = &out, &out
			if err := demo.Start(); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(time.Minute)
			for !strings.Contains(out.String(), "Kafka to ClickHouse") {
				if time.Now().After(deadline) {
					_ = demo.Process.Kill()
					t.Fatalf("the demo did not begin:\n%s", out.String())
				}
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			if n := len(mentioning(t, dir)); n < 5 {
				t.Errorf("%d processes work in the demo's folder, want the engine, Alertmanager and three binaries at least", n)
			}
			begin := time.Now()
			if err := demo.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			err := demo.Wait()
			if c.signal == syscall.SIGINT && err != nil {
				t.Errorf("the demo ended with %v:\n%s", err, out.String())
			}
			for {
				left := mentioning(t, dir)
				took := time.Since(begin)
				if len(left) == 0 {
					t.Logf("all gone after %s", took.Round(10*time.Millisecond))
					if took > c.within {
						t.Errorf("it took %s, more than %s", took, c.within)
					}
					return
				}
				if took > 20*time.Second {
					t.Fatalf("left behind after %s:\n%s", took, strings.Join(left, "\n"))
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// mentioning returns the processes in whose command line text occurs.
func mentioning(t *testing.T, text string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && bytes.Contains(b, []byte(text)) {
			list = append(list, fmt.Sprintf("%s %s", e.Name(), bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return list
}

// lines is a buffer for a process's output.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
