package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"gatewatch/internal/devstack"
)

// logFile feeds a file through the whole path and prints the report.
func logFile(ctx context.Context, c devstack.Config, s *screen, path, format string) (err error) {
	if format == "" {
		if format, err = detectFormat(filepath.Join(c.Bin, "ingest"), path); err != nil {
			return err
		}
		s.printf("%s looks like %s\n", path, s.paint(bold, format))
	}
	stack, err := devstack.Start(ctx, devstack.LogFileConfig(c, format))
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	if err := stack.Run(ctx, "ingest", "aggregate"); err != nil {
		return interrupted(ctx, err)
	}
	return interrupted(ctx, importLog(ctx, s, stack, path))
}

func importLog(ctx context.Context, s *screen, stack *devstack.Stack, path string) error {
	r, share, err := devstack.OpenLog(path)
	if err != nil {
		return err
	}
	defer r.Close()
	begin := time.Now()
	var last time.Time
	progress := func(what string, done float64, n int64) {
		if time.Since(last) < s.interval()/5 {
			return
		}
		last = time.Now()
		s.draw([]string{fmt.Sprintf("  %s  %s %3.0f %%  %d lines", what, bar(done), 100*done, n)})
	}
	n, err := stack.SendLog(ctx, r, func(sent int64) { progress("sent  ", share(), sent) })
	if err != nil {
		return err
	}
	if err := stack.WaitStored(ctx, n, func(stored int64) { progress("stored", float64(stored)/float64(max(1, n)), stored) }); err != nil {
		return err
	}
	s.printf("  %s %d lines in %.1f s\n\n", s.paint(green, "stored"), n, time.Since(begin).Seconds())
	report, err := stack.Command(ctx, "aggregate", "report", "summary")
	if err != nil {
		return err
	}
	s.printf("%s", report)
	return nil
}
