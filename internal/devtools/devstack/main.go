// Command devstack is `make demo`: it runs the whole system on this machine,
// shows live traffic, breaks one upstream and prints the page that arrives.
// With LOG it feeds a log file through the same path and prints a report.
//
// It reads the environment: DEMO_SECONDS (end by itself after so many seconds
// and say whether all went well), LOG and FORMAT (a file, gzipped or not, and
// its format), NO_COLOR.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/term"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
)

func main() {
	leash.Main()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(withParent(ctx), os.Getenv)
	stop()
	os.Exit(code)
}

// withParent returns a context that also ends when the process that started
// this one (make, go run, a shell) has ended without a word.
func withParent(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
		cancel()
	}()
	return ctx
}

func run(ctx context.Context, getenv func(string) string) int {
	root, err := devstack.Root(".")
	if err == nil {
		err = demo(ctx, root, getenv)
	}
	switch {
	case errors.Is(err, errStopped):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

// errStopped says that somebody pressed Ctrl-C.
var errStopped = errors.New("stopped")

func demo(ctx context.Context, root string, getenv func(string) string) error {
	seconds := 0
	if s := getenv("DEMO_SECONDS"); s != "" {
		var err error
		if seconds, err = strconv.Atoi(s); err != nil || seconds <= 0 {
			return fmt.Errorf("DEMO_SECONDS=%s is not a number of seconds", s)
		}
	}
	dir, release, err := workFolder()
	if err != nil {
		return err
	}
	defer release()
	screen := newScreen(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())), getenv("NO_COLOR") == "")
	begin := time.Now()
	config := devstack.Config{
		Dir: dir, Root: root, Bin: binaries(root), Log: os.Stderr,
		Step: func(name string, took time.Duration) {
			screen.printf("  %s %-18s %6.2f s\n", screen.paint(green, "ready"), name, took.Seconds())
		},
	}
	if path := getenv("LOG"); path != "" {
		if path, err = filepath.Abs(path); err != nil {
			return err
		}
		return logFile(ctx, config, screen, path, getenv("FORMAT"))
	}
	return shop(ctx, config, screen, begin, seconds)
}

// binaries returns the folder of the built binaries: beside this one, or the repository's bin.
func binaries(root string) string {
	if self, err := os.Executable(); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(self), "ingest")); err == nil {
			return filepath.Dir(self)
		}
	}
	return filepath.Join(root, "bin")
}
