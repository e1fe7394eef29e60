// Command evalaggregate measures how often the explanations are right: generated
// incidents with labels go through Kafka, the built ingest and aggregate into
// ClickHouse, and what `aggregate report` says of them is held against the
// labels. It prints each wrong answer; the last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
)

func main() { leash.Command("evalaggregate", run) }

// result is the last line: shares of right answers.
type result struct {
	Layers    float64 `json:"layers"`
	Breakers  float64 `json:"breakers"`
	Clients   float64 `json:"clients"`
	Precision float64 `json:"unusual_precision"`
	Recall    float64 `json:"unusual_recall"`
}

// options are the flags.
type options struct {
	seed   uint64
	layers int // incidents a layer
	others int // incidents of each other kind
	rate   float64
	only   string
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("evalaggregate", flag.ContinueOnError)
	var o options
	fs.Uint64Var(&o.seed, "seed", 1, "of the traffic and of the incidents")
	fs.IntVar(&o.layers, "layers", 20, "incidents in each of three layers")
	fs.IntVar(&o.others, "others", 20, "breakers, one client's and everybody's failures: incidents of each")
	fs.Float64Var(&o.rate, "rate", 16, "requests a second of the shop, of five services")
	fs.StringVar(&o.only, "only", "", "incidents or unusual: leave the other part out")
	if err := fs.Parse(args); err != nil {
		return err
	}
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-eval-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := devstack.Build(ctx, root, dir, "ingest", "aggregate"); err != nil {
		return err
	}
	var r result
	for _, part := range []struct {
		name string
		do   func(context.Context, *devstack.Stack, options, *result) error
	}{{"incidents", incidents}, {"unusual", unusual}} {
		if o.only != "" && o.only != part.name {
			continue
		}
		stack, err := devstack.Start(ctx, devstack.Config{Dir: filepath.Join(dir, part.name), Root: root, Bin: dir, WithoutAlert: true, Log: os.Stderr})
		if err != nil {
			return err
		}
		err = part.do(ctx, stack, o, &r)
		stack.Stop() //nolint:errcheck // its data goes next
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// store runs ingest and aggregate until all that load has sent is stored and
// every derived table has come to until.
func store(ctx context.Context, stack *devstack.Stack, load *devstack.Load, until time.Time, names ...string) error {
	if err := stack.Run(ctx, "ingest"); err != nil {
		return err
	}
	if err := load.Settle(ctx, nil); err != nil {
		return err
	}
	if err := stack.Run(ctx, "aggregate"); err != nil {
		return err
	}
	for _, name := range names {
		for {
			r, err := stack.Store.Reached(ctx, name)
			if err != nil {
				return err
			}
			if !r.Until.Before(until) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
			if err := stack.Failed(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask runs a report and reads its rows.
func ask(ctx context.Context, stack *devstack.Stack, question string, from, to time.Time, more ...string) ([]map[string]any, error) {
	args := append([]string{question, "-o", "json", "--limit", "0", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339)}, more...)
	out, err := stack.Command(ctx, "aggregate", "report", args...)
	if err != nil {
		return nil, err
	}
	var sheet struct{ Rows []map[string]any }
	if err := json.Unmarshal(out, &sheet); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return sheet.Rows, nil
}
