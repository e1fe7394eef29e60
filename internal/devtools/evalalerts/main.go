// Command evalalerts measures how right pages are: generated incidents with
// labels, and days without any, go as Envoy JSON access logs and OTLP spans
// through Kafka, ingest, ClickHouse, aggregate and alert in accelerated time, and
// what a receiver of Alertmanager gets is held against the labels. It prints a
// table by kind and each miss; the last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/replay"
	"gatewatch/internal/loadgen/scenario"
)

func main() { leash.Command("evalalerts", run) }

// options are the flags.
type options struct {
	scenario.Options
	kinds string
	pages string
	only  string
	judge string
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("evalalerts", flag.ContinueOnError)
	var o options
	fs.Uint64Var(&o.Seed, "seed", 1, "of the traffic and of the incidents")
	fs.IntVar(&o.Scenarios, "scenarios", 200, "incidents, of all kinds in turn")
	fs.IntVar(&o.Days, "days", 30, "days without an incident; kinds that need weeks of history need 20")
	fs.StringVar(&o.kinds, "kinds", "", "only these `kinds`, with commas: "+strings.Join(scenario.Kinds(), " "))
	fs.StringVar(&o.pages, "pages", "", "write all notifications into this `file`, as JSON lines")
	fs.StringVar(&o.only, "only", "", "short or long: leave the other world out")
	fs.StringVar(&o.judge, "judge", "", "replay nothing: judge the short world by a `file` that --pages has written")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.kinds != "" {
		o.Kinds = strings.Split(o.kinds, ",")
	}
	if o.judge != "" {
		return rejudge(o)
	}
	dir, err := os.MkdirTemp("", "gatewatch-eval-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	if err := devstack.Build(ctx, root, dir, "ingest", "alert"); err != nil {
		return err
	}
	out := io.Discard
	if o.pages != "" {
		f, err := os.Create(o.pages)
		if err != nil {
			return err
		}
		defer f.Close()
		out = f
	}
	e := &evaluation{root: root, dir: dir, pages: json.NewEncoder(out)}
	if o.only != "long" {
		if err := e.world(ctx, "short", scenario.Short(o.Options)); err != nil {
			return err
		}
	}
	if o.Days > 0 && o.only != "short" {
		if err := e.world(ctx, "long", scenario.Long(o.Options)); err != nil {
			return err
		}
	}
	return e.print(os.Stdout)
}

// rejudge judges what a run has written, also one that was cut off.
func rejudge(o options) error {
	f, err := os.Open(o.judge)
	if err != nil {
		return err
	}
	defer f.Close()
	var got []replay.Notification
	for in := json.NewDecoder(f); in.More(); {
		var n replay.Notification
		if err := in.Decode(&n); err != nil {
			return fmt.Errorf("%s: %w", o.judge, err)
		}
		got = append(got, n)
	}
	e := &evaluation{verdicts: judge(scenario.Short(o.Options).Labels, got)}
	return e.print(os.Stdout)
}

// An evaluation collects verdicts.
type evaluation struct {
	root, dir string // repository; binaries and data
	pages     *json.Encoder
	verdicts  []verdict
}

// looks is how far apart looks for signals are: in the world of many days five
// minutes, for its 43,200 minutes would take an hour of CPU.
func looks(world string) time.Duration {
	if world == "long" {
		return 5 * time.Minute
	}
	return time.Minute
}

// world replays a world and judges what was received.
func (e *evaluation) world(ctx context.Context, name string, w *scenario.World) error {
	if len(w.Labels) == 0 {
		return nil
	}
	files, data := filepath.Join(e.dir, name+"-files"), filepath.Join(e.dir, name)
	if err := w.WriteFiles(files); err != nil {
		return err
	}
	begin := time.Now()
	documents, err := filepath.Glob(filepath.Join(files, "catalog", "*.openapi.yaml"))
	if err != nil {
		return err
	}
	r, err := replay.Start(ctx, replay.Config{
		Root: e.root, Bin: e.dir, Dir: data, Objectives: filepath.Join(files, "slo"), Catalog: filepath.Join(files, "catalog"),
		Alertmanager: filepath.Join(e.root, "deploy/alertmanager/alertmanager.yml"), LogFormat: "envoy_json", OpenAPI: documents, Signals: looks(name), Log: os.Stderr,
	})
	if err != nil {
		return err
	}
	var got []replay.Notification
	err = r.Run(ctx, w, 0, func(n replay.Notification) error {
		got = append(got, n)
		return e.pages.Encode(n)
	})
	if err := errors.Join(err, r.Stop()); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "evalalerts: %s: %d scenarios, %s, %d requests, %d notifications in %.0f s\n", name, len(w.Labels), w.To.Sub(w.From), w.Requests, len(got), time.Since(begin).Seconds())
	e.verdicts = append(e.verdicts, judge(w.Labels, got)...)
	return nil
}
