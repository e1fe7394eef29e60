// Command engine fetches the embedded ClickHouse engine once and proves that it
// starts, or says which other ClickHouse is used instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"gatewatch/internal/devstack/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if addr := os.Getenv("GATEWATCH_TEST_CLICKHOUSE"); addr != "" {
		fmt.Println("engine: tests use the server at", addr)
		return nil
	}
	if path, err := exec.LookPath("clickhouse"); err == nil {
		fmt.Println("engine: using", path)
	}
	dir, err := os.MkdirTemp("", "gatewatch-engine-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	start := time.Now()
	s, err := engine.Start(ctx, engine.Config{Dir: dir, Log: os.Stdout})
	if err != nil {
		return err
	}
	version, err := s.SelfTest(ctx)
	if err != nil {
		return err
	}
	if err := s.Stop(20 * time.Second); err != nil {
		return err
	}
	fmt.Printf("engine: ClickHouse %s starts, deduplicates and stops (%s)\n", version, time.Since(start).Round(time.Millisecond))
	return nil
}
