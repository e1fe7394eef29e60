package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/rollup"
)

// backfillResult is the JSON of backfill.
type backfillResult struct {
	Schema        string    `json:"schema"`
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	DryRun        bool      `json:"dry_run"`
	Ranges        int       `json:"ranges"`
	Corrected     int       `json:"corrected"`
	Lacked        int64     `json:"lacked_requests"`
	Extra         int64     `json:"extra_requests"`
	Unsettled     []string  `json:"unsettled"`
	CompleteUntil time.Time `json:"complete_until"`
	FinalUntil    time.Time `json:"final_until"`
	Provisional   bool      `json:"provisional"`
}

func runBackfill(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "backfill", `recomputes final windows of the rollups from the raw rows.

Only differences are written, so that it may be repeated, run beside live
traffic, and run twice at the same time. Maxima, first and last seen can grow
but not shrink.`, `gatewatch-aggregate backfill --from -6h
gatewatch-aggregate backfill --from 2026-01-02T00:00:00Z --to 2026-01-03T00:00:00Z --dry-run`)
	file := fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	output := fs.String("o", "table", "table or json")
	fromText := fs.String("from", "-24h", "begin: RFC 3339, or a span before now such as -2h or 7d; whole hours are done")
	toText := fs.String("to", "now", "end: likewise")
	dryRun := fs.Bool("dry-run", false, "only compare; exit 1 if something differs")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("backfill takes no arguments, got %q", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
		return err
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
	complete, err := r.completeness(ctx, to)
	if err != nil {
		return storeError(c.ClickHouse, err)
	}
	if complete.FinalUntil == nil {
		return daemon.Unknown(errors.New("nobody has measured completeness, so no window is known to be final: start gatewatch-aggregate run"))
	}
	result, err := backfill(ctx, env, &r, from, to, complete, *dryRun)
	if err != nil {
		return storeError(c.ClickHouse, err)
	}
	return result.write(env, *output)
}

func backfill(ctx context.Context, env *daemon.Env, r *reporter, from, to time.Time, complete completeness, dryRun bool) (*backfillResult, error) {
	rawFrom := time.Unix(0, 0)
	if keep := r.conf.Retention.AccessLog; keep > 0 {
		rawFrom = r.now.Add(-keep)
	}
	last := time.Time{}
	b := aggregate.Backfill{
		Rollups: r.store, Families: [][]rollup.Level{requestLevels(r.conf.Retention), keyLevels(r.conf.Retention)},
		RawFrom: rawFrom, FinalUntil: *complete.FinalUntil, Now: r.now, DryRun: dryRun,
		Progress: func(p aggregate.Progress) {
			now := time.Now()
			if !daemon.IsTerminal(env.Stderr) || now.Sub(last) < 100*time.Millisecond && p.Done < p.Ranges {
				return
			}
			last = now
			fmt.Fprintf(env.Stderr, "\r%s %d of %d ranges, %d differ ", bars(float64(p.Done)/float64(p.Ranges), barWidth), p.Done, p.Ranges, p.Corrected)
			if p.Done == p.Ranges {
				fmt.Fprintln(env.Stderr)
			}
		},
	}
	p, err := b.Run(ctx, from, to)
	if err != nil {
		return nil, err
	}
	if !dryRun {
		if err := r.recompute(ctx, env, from, to); err != nil {
			return nil, err
		}
	}
	res := &backfillResult{
		Schema: "gatewatch/backfill/v1", From: from, To: to, DryRun: dryRun, Ranges: p.Ranges, Corrected: p.Corrected,
		Lacked: p.Lacked, Extra: p.Extra, Unsettled: p.Unsettled, CompleteUntil: *complete.CompleteUntil, FinalUntil: *complete.FinalUntil, Provisional: complete.Provisional,
	}
	if res.Unsettled == nil {
		res.Unsettled = []string{}
	}
	return res, nil
}

// recompute computes the windows of layers, dimensions and what is unusual again.
func (r *reporter) recompute(ctx context.Context, env *daemon.Env, from, to time.Time) error {
	w := newWindows(r.store, r.conf, func() time.Time { return r.now }, slog.New(slog.DiscardHandler))
	return w.Recompute(ctx, from, to, func(done, all int) {
		if daemon.IsTerminal(env.Stderr) {
			fmt.Fprintf(env.Stderr, "\r%s %d of %d parts of derived tables ", bars(float64(done)/float64(all), barWidth), done, all)
			if done == all {
				fmt.Fprintln(env.Stderr)
			}
		}
	})
}

// write writes the result and decides on the exit code.
func (b *backfillResult) write(env *daemon.Env, output string) error {
	if output == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(b); err != nil {
			return err
		}
	} else {
		verb := "were corrected"
		if b.DryRun {
			verb = "differ"
		}
		fmt.Fprintf(env.Stdout, "%s compared with the raw rows, %d %s", daemon.Plural(int64(b.Ranges), "range"), b.Corrected, verb)
		if b.Corrected > 0 {
			fmt.Fprintf(env.Stdout, " (over all levels %s requests lacking, %s too many)", grouped(b.Lacked), grouped(b.Extra))
		}
		fmt.Fprintln(env.Stdout)
		for _, u := range b.Unsettled {
			fmt.Fprintf(env.Stdout, "left alone, still changing: %s\n", u)
		}
		if b.Provisional {
			fmt.Fprintf(env.Stdout, "windows after %s UTC are not final yet\n", b.FinalUntil.Format("2006-01-02 15:04:05"))
		}
	}
	switch {
	case b.Ranges == 0:
		return daemon.Unknown(errors.New("no final window in this range whose raw rows are kept"))
	case b.DryRun && b.Corrected > 0, len(b.Unsettled) > 0:
		return daemon.No(nil)
	}
	return nil
}
