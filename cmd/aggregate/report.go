package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/rollup"
)

// A question is what report answers.
type question struct {
	name, summary string
	// by is what it is grouped by unless --by says otherwise; "time" is a series.
	by         []string
	errorsOnly bool
	columns    []column
}

var questions = []question{
	{
		name: "traffic", summary: "requests, rate, errors and bytes over time", by: []string{"time"},
		columns: []column{colRequests, colRate, colServerErrors, colClientErrors, colBytesIn, colBytesOut, colBar},
	},
	{
		name: "errors", summary: "by class, responder and status", by: []string{"error_class", "responder", "status"}, errorsOnly: true,
		columns: []column{colRequests, colRate, colShareOfAll, colBar},
	},
	{
		name: "latency", summary: "quantiles with the number of requests they rest on", by: []string{"service"},
		columns: []column{colTimed, colMean, colP50, colP90, colP95, colP99, colP999, colMax, colApdex},
	},
	{
		name: "keys", summary: "calls, errors, latency, first and last call of each key", by: []string{"key_id", "consumer", "plan"},
		columns: []column{colRequests, colRate, colServerErrors, colClientErrors, colTopError, colP50, colP95, colP99, colFirstSeen, colLastSeen},
	},
	{
		name: "routes", summary: "the busiest operations", by: []string{"service", "method", "route"},
		columns: []column{colRequests, colRate, colServerErrors, colClientErrors, colP50, colP95, colP99, colBytesOut, colBar},
	},
}

// reportFlags are the flags of report.
type reportFlags struct {
	file, output, from, to, by, where, table, out string
	limit                                         int
}

func runReport(ctx context.Context, env *daemon.Env, args []string) error {
	var f reportFlags
	fs := daemon.Flags(env, "report", questionHelp(), `gatewatch-aggregate report traffic --from -6h
gatewatch-aggregate report errors --from -1h --by route,error_class --where service=payments
gatewatch-aggregate report latency --from 2026-01-02T15:00:00Z --to 2026-01-02T16:00:00Z --by time -o json
gatewatch-aggregate report keys --from 7d --limit 50 -o csv`)
	fs.StringVar(&f.file, "config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	fs.StringVar(&f.output, "o", "table", "table, json or csv; of a product report also parquet")
	fs.StringVar(&f.from, "from", "", "begin: RFC 3339, or a span before now such as -2h or 7d (default -1h; summary: the first request)")
	fs.StringVar(&f.to, "to", "", "end: likewise (default now; summary: the last request)")
	fs.StringVar(&f.by, "by", "", "`dimensions` to group by, with commas; time makes a series")
	fs.StringVar(&f.where, "where", "", "`dimension=value` to restrict to, several with commas")
	fs.StringVar(&f.table, "table", "", "of a product report: the table to write as CSV or Parquet (default the first)")
	fs.StringVar(&f.out, "out", "", "of digest: a `file` (.md, .json) or URL of a webhook to give it to as well")
	fs.IntVar(&f.limit, "limit", 20, "largest groups to show; 0 shows all")
	name, err := parseQuestion(fs, args)
	if err != nil {
		return err
	}
	sheet := slices.IndexFunc(sheetQuestions, func(q sheetQuestion) bool { return q.name == name })
	outputs := []string{"table", "json", "csv"}
	asked := slices.IndexFunc(productQuestions, func(q productQuestion) bool { return q.name == name })
	if asked >= 0 {
		outputs = append(outputs, "parquet")
	}
	if err := daemon.CheckOutput(f.output, outputs...); err != nil {
		return err
	}
	if f.limit < 0 {
		return daemon.Usagef("--limit %d: want 0 or more", f.limit)
	}
	c, err := config.Load(f.file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	r := reporter{store: store, conf: c, flags: f, now: time.Now().UTC()}
	switch {
	case asked >= 0:
		err = r.product(ctx, env, productQuestions[asked])
	case name == "summary":
		err = r.summary(ctx, env)
	case sheet >= 0:
		err = r.answerSheet(ctx, env, sheetQuestions[sheet])
	default:
		i := slices.IndexFunc(questions, func(q question) bool { return q.name == name })
		err = r.answer(ctx, env, questions[i])
	}
	return storeError(c.ClickHouse, err)
}

// storeError gives an error of the store its exit code and remedy.
func storeError(c clickhouse.Config, err error) error {
	if err == nil {
		return nil
	}
	if clickhouse.Unreachable(err) || clickhouse.ErrorCode(err) != 0 {
		return daemon.Unreachable(clickhouse.Explain(c, err))
	}
	return err
}

func questionHelp() string {
	var b strings.Builder
	b.WriteString("answers a question about any window.\n\nQuestions:\n")
	for _, q := range questions {
		fmt.Fprintf(&b, "  %-11s %s\n", q.name, q.summary)
	}
	for _, q := range sheetQuestions {
		fmt.Fprintf(&b, "  %-11s %s\n", q.name, q.summary)
	}
	for _, q := range productQuestions {
		fmt.Fprintf(&b, "  %-11s %s\n", q.name, q.summary)
	}
	b.WriteString("  summary     all of it in one: totals, status codes, errors, routes, clients, busiest minute, unreadable lines\n")
	fmt.Fprintf(&b, "\nDimensions: %s", strings.Join(allDimensions(), " "))
	return b.String()
}

// parseQuestion reads flags before and after the question's name.
func parseQuestion(fs *flag.FlagSet, args []string) (string, error) {
	if err := daemon.ParseFlags(fs, args); err != nil {
		return "", err
	}
	name := "traffic"
	if fs.NArg() > 0 {
		name = fs.Arg(0)
		if err := daemon.ParseFlags(fs, fs.Args()[1:]); err != nil {
			return "", err
		}
		if fs.NArg() > 0 {
			return "", daemon.Usagef("report answers one question at a time, got %q as well", fs.Arg(0))
		}
	}
	if names := questionNames(); !slices.Contains(names, name) {
		return "", daemon.Usagef("unknown question %q; there are %s", name, strings.Join(names, ", "))
	}
	return name, nil
}

// allDimensions is everything that --by and --where know.
func allDimensions() []string {
	return append([]string{"time"}, clickhouse.SourceRaw.Dimensions()...)
}

// A reporter answers questions of one command line.
type reporter struct {
	store *clickhouse.Conn
	conf  *config.Config
	flags reportFlags
	now   time.Time
	by    []string // of a sheet
}

// dimensions reads --by and --where.
func (r *reporter) dimensions(q question) (by []string, where []clickhouse.Condition, err error) {
	by = q.by
	if r.flags.by != "" {
		by = strings.Split(r.flags.by, ",")
	}
	known := allDimensions()
	for i, d := range by {
		if !slices.Contains(known, d) {
			return nil, nil, daemon.Usagef("unknown --by %q; there are %s", d, strings.Join(known, ", "))
		}
		if slices.Contains(by[:i], d) {
			return nil, nil, daemon.Usagef("--by names %s twice", d)
		}
	}
	where, err = parseWhere(r.flags.where, known[1:])
	return by, where, err
}

// parseWhere reads --where; known are the dimensions that the question has.
func parseWhere(text string, known []string) (where []clickhouse.Condition, err error) {
	if text == "" {
		return nil, nil
	}
	for w := range strings.SplitSeq(text, ",") {
		d, v, ok := strings.Cut(w, "=")
		if !ok {
			return nil, daemon.Usagef("--where %q: want dimension=value", w)
		}
		if !slices.Contains(known, d) {
			return nil, daemon.Usagef("unknown --where %q; there are %s", d, strings.Join(known, ", "))
		}
		where = append(where, clickhouse.Condition{Dimension: d, Value: v})
	}
	return where, nil
}

// window reads --from and --to.
func (r *reporter) window(from, to time.Time) (time.Time, time.Time, error) {
	var err error
	if r.flags.from != "" {
		if from, err = daemon.ParseTime(r.flags.from, r.now); err != nil {
			return from, to, fmt.Errorf("--from: %w", err)
		}
	}
	if r.flags.to != "" {
		if to, err = daemon.ParseTime(r.flags.to, r.now); err != nil {
			return from, to, fmt.Errorf("--to: %w", err)
		}
	}
	if !from.Before(to) {
		return from, to, daemon.Usagef("--from %s is not before --to %s", from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	return from, to, nil
}

// requestLevels and keyLevels are the stored series with their retention.
func requestLevels(r config.Retention) []rollup.Level {
	return []rollup.Level{
		{Name: "request_10s", Grain: rollup.Grain10s, Keep: r.Request10s},
		{Name: "request_1m", Grain: rollup.Grain1m, Keep: r.Request1m},
		{Name: "request_1h", Grain: rollup.Grain1h, Keep: r.Request1h},
	}
}

func keyLevels(r config.Retention) []rollup.Level {
	return []rollup.Level{
		{Name: "key_1m", Grain: rollup.Grain1m, Keep: r.Key1m},
		{Name: "key_1h", Grain: rollup.Grain1h, Keep: r.Key1h},
		{Name: "key_1d", Grain: rollup.Grain1d, Keep: r.Key1d},
	}
}

// maxRawSums is how many raw rows are summed where an hourly rollup could answer.
const maxRawSums = 5_000_000

// tooMuch says that the raw rows of [from, to) are not kept or too many to sum.
func (r *reporter) tooMuch(ctx context.Context, from, to time.Time) (bool, error) {
	if from.Before(r.rawFrom()) {
		return true, nil
	}
	n, err := r.store.Requests(ctx, from, to)
	return n > maxRawSums, err
}

// query finds the source and level that answer about [from, to).
func (r *reporter) query(ctx context.Context, by []string, where []clickhouse.Condition, from, to time.Time) (clickhouse.SumsQuery, rollup.Grain, error) {
	need := slices.DeleteFunc(slices.Clone(by), func(d string) bool { return d == "time" })
	q := clickhouse.SumsQuery{By: need, Where: where, Apdex: r.conf.Aggregate.Apdex}
	dims := slices.Clone(need)
	for _, w := range where {
		dims = append(dims, w.Dimension)
	}
	within := func(s clickhouse.Source) bool {
		return !slices.ContainsFunc(dims, func(d string) bool { return !slices.Contains(s.Dimensions(), d) })
	}
	var level rollup.Level
	var levels []rollup.Level
	var kept bool
	switch {
	case within(clickhouse.SourceRequest):
		q.Source = clickhouse.SourceRequest
		levels = requestLevels(r.conf.Retention)
		level, kept = rollup.Choose(levels, from, to, r.now)
	case within(clickhouse.SourceKey):
		q.Source = clickhouse.SourceKey
		levels = keyLevels(r.conf.Retention)
		level, kept = rollup.Choose(levels, from, to, r.now)
	default:
		q.Source = clickhouse.SourceRaw
		level = rollup.Level{Name: "access_log", Grain: rollup.Grain10s, Keep: r.conf.Retention.AccessLog}
		kept = level.Kept(from, r.now)
		if single, ok := clickhouse.Single(dims); ok && within(clickhouse.SourceDimension) {
			much, err := r.tooMuch(ctx, from, to)
			if err != nil {
				return q, 0, err
			}
			if much {
				q.Source, q.Single = clickhouse.SourceDimension, single
				level = rollup.Level{Name: "dimension_1h", Grain: rollup.Grain1h, Keep: r.conf.Retention.Dimension1h}
				kept = level.Kept(from, r.now)
			}
		}
	}
	if !kept {
		return q, 0, daemon.Unknown(fmt.Errorf("%s by %s is kept for %s only, --from %s is older", level.Name, strings.Join(dims, ", "), config.FormatDuration(level.Keep), from.Format(time.RFC3339)))
	}
	q.Table = level.Name
	q.From, q.To = level.Grain.Cover(from, to)
	if i := slices.Index(levels, level); i >= 0 && i+1 < len(levels) && levels[i+1].Kept(q.From, r.now) {
		if start, end := levels[i+1].Grain.Inside(q.From, q.To); start.Before(end) {
			q.Coarse, q.CoarseFrom, q.CoarseTo = levels[i+1].Name, start, end
		}
	}
	return q, level.Grain, nil
}
