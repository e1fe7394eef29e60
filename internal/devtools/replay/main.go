// Command replay loads a folder of access logs, spans, objectives and owners in
// accelerated time and writes what an Alertmanager webhook receiver would have
// got, as JSON lines (deploy/replay/README.md). Exit codes: 0 done, 2 usage or
// what the folder holds, 3 something could not be started or failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/replay"
	"gatewatch/internal/loadgen/scenario"
)

const (
	exitUsage  = 2
	exitFailed = 3
)

func main() {
	leash.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	dir, pages string
	speed      float64
	calm       time.Duration
	example    string
	seed       uint64
}

func run(ctx context.Context, args []string, out, log io.Writer) int {
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	fs.SetOutput(log)
	var o options
	fs.StringVar(&o.dir, "dir", "", "`folder` to replay: access logs, spans, objectives, owners")
	fs.StringVar(&o.pages, "out", "pages.jsonl", "`file` that notifications are written into besides the standard output")
	fs.Float64Var(&o.speed, "speed", 0, "seconds of the data in one second; 0: as many as can")
	fs.DurationVar(&o.calm, "calm", time.Minute, "how long the clock goes on after the last message")
	fs.StringVar(&o.example, "example", "", "write an example of this `kind` of incident into --dir and end: "+strings.Join(scenario.Kinds(), " "))
	fs.Uint64Var(&o.seed, "seed", 1, "of the example")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && o.dir == "":
		err = errors.New("--dir is missing: name a folder (make replay DIR=…); deploy/replay/README.md says what it holds")
	case err == nil && (o.speed < 0 || fs.NArg() > 0):
		err = fmt.Errorf("--speed %g is negative, or %q is no flag", o.speed, fs.Args())
	}
	if err != nil {
		fmt.Fprintln(log, "replay:", err)
		return exitUsage
	}
	if o.example != "" {
		err = writeExample(o)
	} else {
		err = o.replay(ctx, out, log)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(log, "replay:", err)
	if errors.As(err, new(usageError)) || errors.As(err, new(replay.ContentError)) {
		return exitUsage
	}
	return exitFailed
}

// A usageError is about what was asked for or what the folder holds.
type usageError struct{ error }

func (o options) replay(ctx context.Context, out, log io.Writer) error {
	folder, err := replay.ReadFolder(o.dir)
	if err != nil {
		return usageError{err}
	}
	for _, path := range folder.Ignored {
		fmt.Fprintf(log, "replay: %s is ignored: none of what deploy/replay/README.md lists\n", path)
	}
	tmp, err := os.MkdirTemp("", "gatewatch-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	c, err := o.prepare(folder, tmp)
	if err != nil {
		return err
	}
	c.Log = log
	if err := devstack.Build(ctx, c.Root, c.Bin, "ingest", "alert"); err != nil {
		return err
	}
	file, err := os.Create(o.pages)
	if err != nil {
		return usageError{err}
	}
	defer file.Close()
	r, err := replay.Start(ctx, c)
	if err != nil {
		return err
	}
	defer r.Stop() //nolint:errcheck // its data is thrown away
	source, stop, err := folder.Open()
	defer stop()
	if err != nil {
		return usageError{err}
	}
	begin, n := time.Now(), 0
	both := json.NewEncoder(io.MultiWriter(out, file))
	err = r.Run(ctx, source, o.calm, func(note replay.Notification) error {
		n++
		return both.Encode(note)
	})
	if err != nil {
		return err
	}
	report(ctx, r, log)
	fmt.Fprintf(log, "replay: %s of data in %s, %d notifications in %s\n", r.Passed(), time.Since(begin).Round(time.Second), n, o.pages)
	return nil
}

// prepare says what is replayed on what.
func (o options) prepare(folder *replay.Folder, tmp string) (c replay.Config, err error) {
	if c.Root, err = devstack.Root("."); err != nil {
		return c, err
	}
	c.Bin, c.Dir, c.Speed = filepath.Join(tmp, "bin"), filepath.Join(tmp, "data"), o.speed
	c.LogFormat = folder.LogFormat
	if c.Objectives, c.Catalog, c.Runbooks, err = folder.Gather(tmp); err != nil {
		return c, err
	}
	for _, file := range folder.OpenAPI {
		abs, err := filepath.Abs(file)
		if err != nil {
			return c, err
		}
		c.OpenAPI = append(c.OpenAPI, abs)
	}
	c.Alertmanager = folder.Alertmanager
	if c.Alertmanager == "" {
		c.Alertmanager = filepath.Join(c.Root, "deploy/alertmanager/alertmanager.yml")
	}
	if folder.Settings == "" {
		return c, nil
	}
	b, err := os.ReadFile(folder.Settings)
	if err == nil {
		err = yaml.Unmarshal(b, &c.Settings)
	}
	if err != nil {
		return c, usageError{fmt.Errorf("%s: %w", folder.Settings, err)}
	}
	return c, nil
}

// report says what of the messages could not be read.
func report(ctx context.Context, r *replay.Replay, log io.Writer) {
	totals, err := r.Stack().Store.LedgerTotals(ctx)
	if err != nil {
		fmt.Fprintln(log, "replay: what was stored is not known:", err)
		return
	}
	for _, t := range totals {
		fmt.Fprintf(log, "replay: %s: %d messages, %d rows, %d unreadable\n", t.Topic, t.Messages, t.Rows, t.Dead)
	}
}

// writeExample writes one scenario as files.
func writeExample(o options) error {
	if !slices.Contains(scenario.Kinds(), o.example) {
		return usageError{fmt.Errorf("--example %s is unknown: one of %s", o.example, strings.Join(scenario.Kinds(), " "))}
	}
	kinds := []string{o.example}
	w := scenario.Short(scenario.Options{Seed: o.seed, Scenarios: 1, Kinds: kinds})
	if len(w.Labels) == 0 {
		w = scenario.Long(scenario.Options{Seed: o.seed, Scenarios: 1, Days: 20, Kinds: kinds})
	}
	return w.Write(o.dir)
}
