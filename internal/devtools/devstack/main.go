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
	defer stop()
	os.Exit(run(ctx, os.Getenv))
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
	dir, err := os.MkdirTemp("", "gatewatch-demo-")
	if err != nil {
		return err
	}
	screen := newScreen(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())), getenv("NO_COLOR") == "")
	begin := time.Now()
	defer func() {
		// The engine may still write while it ends; what is left then is a few empty folders.
		_ = os.RemoveAll(dir)
	}()
	config := devstack.Config{
		Dir: dir, Root: root, Log: os.Stderr,
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
