package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/rollup"
)

func runBudget(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "budget", "shows how much of each error budget is left, how it went down, and when it will be spent.", "gatewatch-alert budget")
	file := configFlag(fs)
	slos := fs.String("slo", "", "OpenSLO `file` or folder instead of the configured ones")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("budget takes no arguments, got %q", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	if *slos != "" {
		if k.set, err = loadSLOs(*slos); err != nil {
			return daemon.Usage(err)
		}
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return err
	}
	defer store.Close()
	mark, err := completeUntil(ctx, store, k.config)
	if err != nil {
		return err
	}
	now := time.Now()
	budgets, err := evaluate.Budgets(ctx, store, k.set, rollup.Grain10s.Window(mark.CompleteUntil.Add(-k.config.Alert.Grace)).Start, reach(k.config, now))
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	return printBudgets(env, *output, now, mark.CompleteUntil, budgets)
}

// completeUntil returns how far all access-log topics are complete.
func completeUntil(ctx context.Context, store *clickhouse.Conn, c *config.Config) (rollup.Watermark, error) {
	marks, err := store.Watermarks(ctx)
	if err != nil {
		return rollup.Watermark{}, daemon.Unreachable(clickhouse.Explain(c.ClickHouse, err))
	}
	wanted := map[string]bool{}
	for _, t := range accessLogTopics(c.Kafka.Topics) {
		wanted[t] = true
	}
	var ours []rollup.Watermark
	for _, w := range marks {
		if wanted[w.Topic] {
			ours = append(ours, w)
		}
	}
	oldest, ok := rollup.Oldest(ours)
	if !ok || len(ours) < len(wanted) {
		return oldest, daemon.Unknown(fmt.Errorf("not all topics are measured yet: is gatewatch-aggregate running?"))
	}
	return oldest, nil
}

// behind is how old data may be for a budget to be called up to date.
const behind = 2 * time.Minute

// state says in a word how an objective stands.
func state(b *evaluate.Budget, old time.Duration) string {
	switch {
	case old > behind:
		return "incomplete data"
	case b.Status.Period.Valid == 0:
		return "no requests"
	case b.Left <= 0:
		return "spent"
	case b.Status.Severity.String() != "none":
		return b.Status.Severity.String()
	case b.Status.Hour.Valid == 0:
		return "no requests in 1 h"
	case strings.HasPrefix(b.Status.SLO.Decide(b.Status.Window, b.Status.Long, b.Status.Short).Reason, "too few"):
		return "too few requests"
	}
	return "ok"
}

func printBudgets(env *daemon.Env, output string, now, complete time.Time, list []evaluate.Budget) error {
	type row struct {
		SLO       string     `json:"slo"`
		Group     string     `json:"group,omitempty"`
		Target    float64    `json:"target"`
		Period    string     `json:"period"`
		From      time.Time  `json:"from"`
		Since     *time.Time `json:"counted_since,omitempty"`
		Valid     int64      `json:"valid"`
		Bad       int64      `json:"bad"`
		Allowed   float64    `json:"allowed_bad"`
		Spent     float64    `json:"spent"`
		Left      float64    `json:"left"`
		Burn      float64    `json:"burn_1h"`
		Exhausted *time.Time `json:"exhausted_at,omitempty"`
		Earliest  *time.Time `json:"exhausted_earliest,omitempty"`
		Latest    *time.Time `json:"exhausted_latest,omitempty"`
		Straight  bool       `json:"forecast_is_straight"`
		Down      []float64  `json:"left_by_day"`
		State     string     `json:"state"`
	}
	rows := []row{}
	var table [][]string
	for i := range list {
		b := &list[i]
		st := &b.Status
		unit := st.SLO.Unit()
		r := row{
			SLO: st.SLO.Name, Group: st.Group, Target: st.SLO.Target, Period: st.SLO.PeriodName(), From: b.From.UTC(), Since: moment(b.Since),
			Valid: st.Period.Valid / unit, Bad: st.Period.Bad / unit, Allowed: b.Allowed, Spent: 1 - b.Left, Left: b.Left, Burn: st.SLO.Burn(st.Hour),
			Exhausted: moment(b.Spent.At), Earliest: moment(b.Spent.Earliest), Latest: moment(b.Spent.Latest), Straight: b.Spent.Straight,
			Down: append([]float64{}, b.Down...), State: state(b, now.Sub(complete)),
		}
		rows = append(rows, r)
		name := r.SLO
		if r.Group != "" {
			name += " " + r.Group
		}
		period := r.Period
		if !b.Since.IsZero() {
			period += ", counted since " + b.Since.UTC().Format(time.DateOnly)
		}
		table = append(table, []string{name, st.SLO.Percent(), period, fmt.Sprint(r.Bad), fmt.Sprintf("%.0f", r.Allowed), bar(r.Left) + fmt.Sprintf(" %.0f %%", 100*r.Left), sparkline(r.Down), fmt.Sprintf("%.1fx", r.Burn), goneText(b, now), r.State})
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"schema": "gatewatch/budget/v1", "complete_until": complete.UTC(), "provisional": now.Sub(complete) > behind, "budgets": rows})
	}
	if err := daemon.WriteTable(env.Stdout, output == "csv", []string{"SLO", "TARGET", "PERIOD", "BAD", "ALLOWED", "LEFT", "BURN-DOWN", "BURN 1 H", "GONE", "STATE"}, table); err != nil || output == "csv" {
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "complete until %s\n", complete.UTC().Format(time.RFC3339))
	return err
}

// goneText says when a budget will be spent, with the interval.
func goneText(b *evaluate.Budget, now time.Time) string {
	e := b.Spent
	switch {
	case b.Status.Period.Valid == 0:
		return "-"
	case b.Left <= 0:
		return "now"
	case e.At.IsZero():
		return "not in 92 d"
	}
	text := "in " + roughly(e.At.Sub(now))
	latest := "never"
	if !e.Latest.IsZero() {
		latest = roughly(e.Latest.Sub(now))
	}
	text += fmt.Sprintf(" (%s to %s)", roughly(e.Earliest.Sub(now)), latest)
	if e.Straight {
		text += ", straight line"
	}
	return text
}

func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f m", max(0, d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// bar draws a share in ten blocks.
func bar(share float64) string {
	n := int(math.Round(10 * min(1, max(0, share))))
	return strings.Repeat("█", n) + strings.Repeat("░", 10-n)
}

// maxSpark is how many columns a burn-down has at most.
const maxSpark = 30

// sparkline draws shares between 0 and 1, the newest last.
func sparkline(values []float64) string {
	const marks = "▁▂▃▄▅▆▇█"
	levels := []rune(marks)
	var b strings.Builder
	for _, v := range values[max(0, len(values)-maxSpark):] {
		b.WriteRune(levels[int(math.Round(float64(len(levels)-1)*min(1, max(0, v))))])
	}
	return b.String()
}
