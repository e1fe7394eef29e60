// Command storagebench measures what a stored request and span take: bytes of
// each column, other orders of the sorting key by bytes, engine CPU and the
// queries of dashboards and drill-downs, and from that a table of sizes. Real
// ingest fills a real ClickHouse with generated traffic. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
)

func main() { leash.Command("storagebench", run) }

// result is the last line. Its figures are those of access_log.
type result struct {
	WithoutIDs float64 `json:"bytes_per_row_without_ids"`
	WithIDs    float64 `json:"bytes_per_row"` // with a trace id and a span id in each row
	Span       float64 `json:"span_bytes_per_row"`
	Rollups    float64 `json:"rollup_bytes_per_row"` // of all levels, per request
	Rows       int64   `json:"rows"`
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("storagebench", flag.ContinueOnError)
	requests := fs.Int("requests", 1_000_000, "requests to store")
	rate := fs.Float64("rate", 1000, "requests a second of the traffic: the fewer, the less rollups fold and times compress")
	keys := fs.Bool("keys", true, "compare orders of the sorting key")
	if err := fs.Parse(args); err != nil {
		return err
	}
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-storage-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := devstack.Build(ctx, root, dir); err != nil {
		return err
	}
	stack, err := devstack.Start(ctx, devstack.Config{Dir: filepath.Join(dir, "stack"), Root: root, Bin: dir, WithoutAlert: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer stack.Stop() //nolint:errcheck // its data goes next
	b := &bench{stack: stack}
	if err := b.fill(ctx, *requests, *rate); err != nil {
		return err
	}
	return b.report(ctx, *keys)
}

// A bench is a store with traffic in it.
type bench struct {
	stack  *devstack.Stack
	engine time.Duration // CPU time for storing, merges included
	rows   int64         // of access_log
}

// fill stores the traffic and merges it, as it would be after some time.
func (b *bench) fill(ctx context.Context, requests int, rate float64) error {
	fmt.Fprintf(os.Stderr, "storagebench: storing %d requests and their spans, %.0f requests/s …\n", requests, rate)
	length := time.Duration(float64(requests) / rate * float64(time.Second))
	load := b.stack.NewLoad(1)
	if err := load.SendHistory(ctx, devstack.History{Length: length, Requests: requests, Spans: length}, nil); err != nil {
		return err
	}
	before := devstack.CPU(b.stack.Engine.PID())
	if err := b.stack.Run(ctx, "ingest"); err != nil {
		return err
	}
	if err := load.Settle(ctx, nil); err != nil {
		return err
	}
	b.rows = load.Account.Requests()
	tables, err := b.tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := b.merge(ctx, t.name); err != nil {
			return err
		}
	}
	b.engine = devstack.CPU(b.stack.Engine.PID()) - before
	return nil
}

func (b *bench) merge(ctx context.Context, table string) error {
	if err := b.stack.Store.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
		return fmt.Errorf("merge %s: %w", table, err)
	}
	return nil
}

func (b *bench) report(ctx context.Context, keys bool) error {
	r := result{Rows: b.rows}
	for _, name := range []string{"access_log", "span"} {
		columns, err := b.columns(ctx, name)
		if err != nil {
			return err
		}
		total := 0.0
		fmt.Printf("%s, compressed bytes a row\n", name)
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		for _, c := range columns {
			total += c.bytes
			fmt.Fprintf(table, "  %s\t%.2f\n", c.name, c.bytes)
			if name == "access_log" && c.name != "trace_id" && c.name != "span_id" {
				r.WithoutIDs += c.bytes
			}
		}
		fmt.Fprintf(table, "  all\t%.2f\n\n", total)
		if err := table.Flush(); err != nil {
			return err
		}
		if name == "span" {
			r.Span = total
		} else {
			r.WithIDs = total
		}
	}
	tables, err := b.tables(ctx)
	if err != nil {
		return err
	}
	var stored int64
	for _, t := range tables {
		stored += t.bytes
		if t.name != "access_log" && t.name != "span" {
			r.Rollups += float64(t.bytes) / float64(b.rows)
		}
	}
	if keys {
		if err := b.compareKeys(ctx); err != nil {
			return err
		}
	}
	if err := b.sizes(tables); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
