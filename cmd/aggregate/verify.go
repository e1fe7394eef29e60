package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/rollup"
)

// verifyResult is the JSON of verify.
type verifyResult struct {
	Schema  string        `json:"schema"`
	Seed    uint64        `json:"seed"`
	Windows int           `json:"windows"`
	Equal   int           `json:"equal"`
	Differ  []verifyFault `json:"differ"`
}

type verifyFault struct {
	Level  string    `json:"level"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Lacks  int64     `json:"lacks"`
	Extra  int64     `json:"extra"`
	Groups int       `json:"groups"`
}

func runVerify(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "verify", `recomputes random windows from the raw rows and compares all levels with them.

It reads only. Exit 1 if something differs; gatewatch-aggregate backfill mends it.`, `gatewatch-aggregate verify
gatewatch-aggregate verify --from -24h --windows 50`)
	file := fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	output := fs.String("o", "table", "table or json")
	fromText := fs.String("from", "-24h", "begin: RFC 3339, or a span before now such as -2h or 7d")
	toText := fs.String("to", "now", "end: likewise")
	windows := fs.Int("windows", 20, "windows to compare, spread over all levels")
	seed := fs.Uint64("seed", 0, "chooses the windows; 0 takes another one each time")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("verify takes no arguments, got %q", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
		return err
	}
	if *windows < 1 {
		return daemon.Usagef("--windows %d: want at least 1", *windows)
	}
	c, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	r := reporter{store: store, conf: c, flags: reportFlags{from: *fromText, to: *toText}, now: time.Now().UTC()}
	from, to, err := r.window(time.Time{}, time.Time{})
	if err != nil {
		return err
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	result, err := r.verify(ctx, from, to, *windows, *seed)
	if err != nil {
		return storeError(c.ClickHouse, err)
	}
	return result.write(env, *output)
}

func (r *reporter) verify(ctx context.Context, from, to time.Time, windows int, seed uint64) (*verifyResult, error) {
	complete, err := r.completeness(ctx, to)
	if err != nil {
		return nil, err
	}
	if complete.FinalUntil == nil {
		return nil, daemon.Unknown(errors.New("nobody has measured completeness, so no window is known to be final: start gatewatch-aggregate run"))
	}
	b := aggregate.Backfill{
		Families: [][]rollup.Level{requestLevels(r.conf.Retention), keyLevels(r.conf.Retention)},
		RawFrom:  time.Unix(0, 0), FinalUntil: *complete.FinalUntil, Now: r.now,
	}
	if raw := r.rawFrom(); !raw.IsZero() {
		b.RawFrom = raw
	}
	ranges := b.Ranges(from, to)
	for _, d := range aggregate.Derivations() {
		if d.Name != "dimension_1h" {
			continue
		}
		reached, err := r.store.Reached(ctx, d.Name)
		if err != nil {
			return nil, err
		}
		start, end := d.Grain.Inside(from, to)
		if end.After(reached.Until) {
			end = reached.Until
		}
		if first, _ := d.Grain.Inside(b.RawFrom, r.now); start.Before(first) {
			start = first
		}
		for _, w := range d.Grain.Windows(start, end) {
			ranges = append(ranges, aggregate.Range{Level: rollup.Level{Name: d.Name, Grain: d.Grain}, From: w.Start, To: w.End()})
		}
	}
	result := &verifyResult{Schema: "gatewatch/verify-rollups/v1", Seed: seed, Differ: []verifyFault{}}
	for _, i := range rand.New(rand.NewPCG(seed, 1)).Perm(len(ranges)) {
		if result.Windows == windows {
			break
		}
		x := ranges[i]
		if x.To.After(*complete.FinalUntil) {
			continue // not final
		}
		result.Windows++
		d, err := r.store.Difference(ctx, x.Level, x.From, x.To)
		if err != nil {
			return nil, err
		}
		if len(d.Rows) == 0 {
			result.Equal++
			continue
		}
		lacks, extra := d.Requests()
		result.Differ = append(result.Differ, verifyFault{x.Level.Name, x.From, x.To, lacks, extra, len(d.Rows)})
	}
	return result, nil
}

func (v *verifyResult) write(env *daemon.Env, output string) error {
	if output == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(env.Stdout, "%s compared with the raw rows, %d equal (seed %d)\n", daemon.Plural(int64(v.Windows), "window"), v.Equal, v.Seed)
		for _, f := range v.Differ {
			fmt.Fprintf(env.Stdout, "%s %s to %s: %s lacking, %s too many in %s\n", f.Level, f.From.Format(time.RFC3339), f.To.Format(time.RFC3339), grouped(f.Lacks), grouped(f.Extra), daemon.Plural(int64(f.Groups), "group"))
		}
	}
	switch {
	case v.Windows == 0:
		return daemon.Unknown(errors.New("no final window in this range whose raw rows are kept"))
	case len(v.Differ) > 0:
		return daemon.No(errors.New("run gatewatch-aggregate backfill for these windows"))
	}
	return nil
}
