package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/slo"
)

// backtestFlags are what a backtest is asked.
type backtestFlags struct {
	config, slos, against, input, svg, output, from, to *string
	maxPages                                            *int
}

func newBacktestFlags(fs *flag.FlagSet) *backtestFlags {
	return &backtestFlags{
		config:   configFlag(fs),
		slos:     fs.String("slo", "", "OpenSLO `file` or folder to try instead of the configured ones"),
		against:  fs.String("against", "", "`file` or folder to compare with; \"current\" is the configured one"),
		input:    fs.String("input", "", "CSV `file` with time,good,total[,group] to try --slo on; nothing else is needed"),
		svg:      fs.String("svg", "", "write burn rates and pages into this `file`"),
		output:   fs.String("o", "table", "table, csv, json or jsonl"),
		from:     fs.String("from", "", "first `time`: RFC 3339, -2h or 7d (default 7d, of --input its first)"),
		to:       fs.String("to", "", "last `time` (default now, of --input its last)"),
		maxPages: fs.Int("max-pages", -1, "exit 1 if there are more pages than `N`"),
	}
}

func runBacktest(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "backtest", "says which pages and tickets the objectives would have raised in the past; nothing is sent.",
		"gatewatch-alert backtest --slo payments.yaml --from 30d --against current --max-pages 2")
	f := newBacktestFlags(fs)
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("backtest takes no arguments, got %q; a file goes behind --slo", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*f.output, "table", "csv", "json", "jsonl"); err != nil {
		return err
	}
	p, err := f.prepare(ctx, env)
	if err != nil {
		return err
	}
	defer p.close()
	result, err := p.run(ctx, p.set, *f.svg != "")
	if err != nil {
		return err
	}
	if p.against != nil {
		old, err := p.run(ctx, p.against, false)
		if err != nil {
			return err
		}
		result.compare(old)
	}
	if *f.svg != "" {
		if err := os.WriteFile(*f.svg, result.svg(), 0o644); err != nil {
			return daemon.Usage(err)
		}
	}
	if err := result.print(env, *f.output); err != nil {
		return err
	}
	return result.verdict(*f.maxPages)
}

// A trial is a backtest that can be run.
type trial struct {
	counter      evaluate.Counter
	set, against *slo.Set
	from, to     time.Time
	reach        evaluate.Reach
	every        time.Duration
	notes        []string
	since        func(context.Context, *slo.Set) (map[string]time.Time, error) // first counts, by objective
	explain      func(error) error
	close        func()
}

// prepare reads the files and opens what counts come from.
func (f *backtestFlags) prepare(ctx context.Context, env *daemon.Env) (*trial, error) {
	if *f.input != "" {
		return f.fromTable(env)
	}
	if *f.from == "" {
		*f.from = "7d"
	}
	now := time.Now()
	begin, end, err := parseRange(*f.from, *f.to, now)
	if err != nil {
		return nil, err
	}
	k, err := load(*f.config, env.Getenv)
	if err != nil {
		return nil, err
	}
	p := &trial{set: k.set, from: begin, to: end, reach: reach(k.config, now)}
	if *f.slos != "" {
		if p.set, err = loadSLOs(*f.slos); err != nil {
			return nil, daemon.Usage(err)
		}
	}
	if p.against, err = f.other(k.set, p.set); err != nil {
		return nil, err
	}
	if len(p.set.SLOs) == 0 {
		return nil, daemon.Unknown(fmt.Errorf("there are no objectives: set alert.slos, or name a file with --slo"))
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return nil, err
	}
	p.counter, p.close = store, func() { store.Close() }
	p.explain = func(err error) error { return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err)) }
	p.since = func(ctx context.Context, set *slo.Set) (map[string]time.Time, error) {
		return firstCounts(ctx, store, set)
	}
	return p, nil
}

// other returns the objectives to compare with: of the configured ones those of
// the same names.
func (f *backtestFlags) other(current, set *slo.Set) (*slo.Set, error) {
	switch *f.against {
	case "":
		return nil, nil
	case "current":
		if current == nil {
			return nil, daemon.Usagef("--against current needs a configuration, which --input goes without: name a file")
		}
		only := *current
		only.SLOs = slices.DeleteFunc(slices.Clone(current.SLOs), func(s slo.SLO) bool {
			return !slices.ContainsFunc(set.SLOs, func(o slo.SLO) bool { return o.Name == s.Name })
		})
		return &only, nil
	}
	other, err := loadSLOs(*f.against)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	return other, nil
}

// fromTable tries objectives on counts of a file.
func (f *backtestFlags) fromTable(env *daemon.Env) (*trial, error) {
	if *f.slos == "" {
		return nil, daemon.Usagef("--input needs --slo FILE: the objective to try")
	}
	set, err := loadSLOs(*f.slos)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	in := env.Stdin
	if *f.input != "-" {
		file, err := os.Open(*f.input)
		if err != nil {
			return nil, daemon.Usage(err)
		}
		defer file.Close()
		in = file
	}
	t, err := evaluate.ReadTable(*f.input, in)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	p := &trial{counter: t, set: set, from: t.From, to: t.To, reach: t.Reach(), every: t.Step, explain: func(err error) error { return err }, close: func() {}}
	if p.against, err = f.other(nil, set); err != nil {
		return nil, err
	}
	if *f.from != "" {
		if p.from, err = daemon.ParseTime(*f.from, t.To); err != nil {
			return nil, daemon.Usage(err)
		}
	}
	if *f.to != "" {
		if p.to, err = daemon.ParseTime(*f.to, t.To); err != nil {
			return nil, daemon.Usage(err)
		}
	}
	if !p.from.Before(p.to) {
		return nil, daemon.Usagef("--from is not before --to")
	}
	if t.Gaps > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%d steps of %s are missing; they count as no requests", t.Gaps, t.Step))
	}
	p.since = func(_ context.Context, set *slo.Set) (map[string]time.Time, error) {
		first := map[string]time.Time{}
		for _, s := range set.SLOs {
			first[s.Name] = t.From
		}
		return first, nil
	}
	return p, nil
}

// run backtests objectives. Each is judged from where its counts begin.
func (p *trial) run(ctx context.Context, set *slo.Set, draw bool) (*backtestResult, error) {
	since, err := p.since(ctx, set)
	if err != nil {
		return nil, p.explain(err)
	}
	r := &backtestResult{from: p.from, to: p.to, set: set, since: map[string]time.Time{}, notes: slices.Clone(p.notes)}
	for _, s := range set.SLOs {
		switch first := since[s.Name]; {
		case first.IsZero():
			r.notes = append(r.notes, fmt.Sprintf("%s: not judged: there are no counts of %s in minutes", s.Name, s.Service))
			r.since[s.Name] = p.to
		case first.After(p.from):
			r.notes = append(r.notes, fmt.Sprintf("%s: judged from %s on: there are no counts in minutes before", s.Name, first.UTC().Format(time.RFC3339)))
			r.since[s.Name] = first
		default:
			r.since[s.Name] = p.from
		}
	}
	test := evaluate.Test{Set: set, From: p.from, To: p.to, Reach: p.reach, Every: p.every}
	if draw {
		r.chart = newChart(p.from, p.to)
		test.Watch = r.chart.watch
	}
	past, err := evaluate.Backtest(ctx, p.counter, test)
	if err != nil {
		return nil, p.explain(err)
	}
	r.statuses = past.Statuses
	for _, n := range evaluate.Notices(past.Changes) {
		if !n.At.Before(r.since[n.SLO]) {
			r.notices = append(r.notices, n)
		}
	}
	return r, nil
}

// firstCounts returns since when there are counts in minutes, by objective.
func firstCounts(ctx context.Context, store *clickhouse.Conn, set *slo.Set) (map[string]time.Time, error) {
	first := map[string]time.Time{}
	for _, s := range set.SLOs {
		for _, f := range s.Feeds() {
			at, err := store.FirstCount(ctx, f)
			if err != nil {
				return nil, err
			}
			if at.After(first[s.Name]) {
				first[s.Name] = at
			}
		}
	}
	return first, nil
}

// errTooMany is why a review fails.
var errTooMany = errors.New("too many pages")

// verdict returns what the exit code says: too many pages, or nothing judged.
func (r *backtestResult) verdict(maxPages int) error {
	judged := slices.ContainsFunc(r.set.SLOs, func(s slo.SLO) bool { return r.since[s.Name].Before(r.to) })
	if !judged {
		return daemon.Unknown(errors.New("nothing could be judged: no counts in minutes reach back to that time"))
	}
	if pages := r.count("page"); maxPages >= 0 && pages > maxPages {
		return daemon.No(fmt.Errorf("%w: %d, at most %d are wanted", errTooMany, pages, maxPages))
	}
	return nil
}

func parseRange(from, to string, now time.Time) (begin, end time.Time, err error) {
	if begin, err = daemon.ParseTime(from, now); err != nil {
		return begin, end, daemon.Usage(err)
	}
	end = now
	if to != "" {
		if end, err = daemon.ParseTime(to, now); err != nil {
			return begin, end, daemon.Usage(err)
		}
	}
	if !begin.Before(end) {
		return begin, end, daemon.Usagef("--from %s is not before --to", from)
	}
	return begin, end, nil
}

// reach returns since when counts are kept.
func reach(c *config.Config, now time.Time) (r evaluate.Reach) {
	if d := c.Retention.Request10s; d > 0 {
		r.Fine = now.Add(-d)
	}
	if d := c.Retention.Request1m; d > 0 {
		r.Minutes = now.Add(-d)
	}
	return r
}

// loadSLOs reads one file or all of a folder.
func loadSLOs(name string) (*slo.Set, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		set, err := slo.Load(os.DirFS(name))
		return set, inFolder(name, err)
	}
	set, err := slo.LoadFile(os.DirFS(filepath.Dir(name)), filepath.Base(name))
	return set, inFolder(filepath.Dir(name), err)
}
