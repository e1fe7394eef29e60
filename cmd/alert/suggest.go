package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/slo"
)

func runSuggest(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "suggest", "writes an OpenSLO file a service from the traffic that was seen, each with what it would have raised.",
		"gatewatch-alert suggest --from 30d --out slo/")
	file := configFlag(fs)
	from := fs.String("from", "30d", "first `time`: RFC 3339, -2h or 7d")
	out := fs.String("out", "", "`folder` for the files (default: standard output); those that are there stay")
	least := fs.Int64("min-requests", 10_000, "requests that a service must have had")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("suggest takes no arguments, got %q", fs.Arg(0))
	}
	now := time.Now()
	begin, end, err := parseRange(*from, "", now)
	if err != nil {
		return err
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return err
	}
	defer store.Close()
	services, err := store.ServiceTraffic(ctx, begin, end, slo.SLI{})
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	n := 0
	for _, s := range services {
		if s.Count.Valid < *least {
			continue
		}
		text, err := suggestion(ctx, store, s, begin, end, reach(k.config, now))
		if err != nil {
			return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
		}
		if err := place(env, *out, s.Service, n, text); err != nil {
			return daemon.Usage(err)
		}
		n++
	}
	if n == 0 {
		return daemon.Unknown(fmt.Errorf("no service has had %d requests since %s", *least, begin.UTC().Format(time.RFC3339)))
	}
	return nil
}

// targets are those that are suggested, the strictest first.
var targets = []float64{0.9999, 0.9995, 0.999, 0.995, 0.99, 0.98, 0.95, 0.9}

// roomy is the share of a budget that the past may have spent for its target to
// be suggested.
const roomy = 0.6

// thresholds are the latencies that are suggested.
var thresholds = []time.Duration{
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// suggestion returns a file for one service: the strictest target that the past
// kept with room, and the lowest threshold that 99 % of answers kept with room.
func suggestion(ctx context.Context, store *clickhouse.Conn, s clickhouse.ServiceTraffic, begin, end time.Time, reach evaluate.Reach) (string, error) {
	base := slo.SLO{Service: s.Service, Period: 30 * 24 * time.Hour, Windows: slo.DefaultWindows(), MinBad: 3}
	var set slo.Set
	for _, t := range targets {
		if s.Count.Ratio() <= roomy*(1-t) {
			one := base
			one.Name, one.Target = name(s.Service)+"-availability", t
			set.SLOs = append(set.SLOs, one)
			break
		}
	}
	const slowShare = 0.01
	for _, d := range thresholds {
		sli := slo.SLI{Kind: slo.Latency, Threshold: d}
		bucket, _ := sli.Bucket()
		if timed := s.Latency.Count(); timed > 0 && float64(timed-s.Latency.AtMost(bucket)) <= roomy*slowShare*float64(timed) {
			one := base
			one.Name, one.SLI, one.Target = name(s.Service)+"-latency", sli, 1-slowShare
			set.SLOs = append(set.SLOs, one)
			break
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Suggested from %d requests to %s between %s and %s, of which %s failed.\n", s.Count.Valid, s.Service, begin.UTC().Format(time.DateOnly), end.UTC().Format(time.DateOnly), ratio(s.Count.Ratio()))
	if len(set.SLOs) == 0 {
		fmt.Fprintf(&b, "# Nothing can be promised: more than a tenth failed.\n")
		return b.String(), nil
	}
	past, err := evaluate.Backtest(ctx, store, evaluate.Test{Set: &set, From: begin, To: end, Reach: reach})
	if err != nil {
		return "", err
	}
	notices := evaluate.Notices(past.Changes)
	for _, o := range set.SLOs {
		pages, tickets := 0, 0
		for _, n := range notices {
			switch {
			case n.SLO != o.Name:
			case n.Severity.String() == "page":
				pages++
			default:
				tickets++
			}
		}
		fmt.Fprintf(&b, "# %s %s would have raised %s and %s.\n", o.Name, o.Percent(), plural(pages, "page"), plural(tickets, "ticket"))
	}
	y, err := slo.Expand(set.SLOs)
	return b.String() + string(y), err
}

// name makes a service fit for the name of an objective and of a file.
func name(service string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(service)), "-")
}

// place writes one suggestion.
func place(env *daemon.Env, dir, service string, n int, text string) error {
	if dir == "" {
		if n > 0 {
			fmt.Fprintln(env.Stdout, "---")
		}
		_, err := fmt.Fprint(env.Stdout, text)
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, name(service)+".yaml")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if os.IsExist(err) {
		fmt.Fprintf(env.Stdout, "%s is there already and stays\n", path)
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	fmt.Fprintf(env.Stdout, "%s\n", path)
	return f.Close()
}
