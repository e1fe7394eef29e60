package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A comparer holds reports against the oracle.
type comparer struct {
	e        *evaluation
	o        *oracle
	from, to time.Time
	figures  int
	wrong    int
}

// maxShown is how many differences are shown of each kind.
const maxShown = 5

// A row is one of a report's table.
type row map[string]any

func (e *evaluation) compare(ctx context.Context) (result, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return result{}, err
	}
	c := &comparer{e: e, o: newOracle(e.traffic, loc), from: e.traffic.Start, to: e.traffic.End}
	var r result
	for _, check := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"usage", c.usage},
		{"sign-ups", c.signUps},
		{"cohorts", c.cohorts},
		{"retention", c.retention},
		{"active", c.active},
		{"workflows", c.workflows},
		{"deprecated", c.deprecated},
		{"versions", c.versions},
		{"sla", c.sla},
		{"quota", c.quota},
		{"fixes", c.fixes},
		{"inventory", c.inventory},
		{"blockers", func(ctx context.Context) (err error) { r.Blockers, r.Stuck, err = c.blockers(ctx); return err }},
		{"forecasts", func(ctx context.Context) (err error) { r.Quota, r.Quotas, err = c.forecasts(ctx); return err }},
	} {
		figures, wrong := c.figures, c.wrong
		began := time.Now()
		if err := check.do(ctx); err != nil {
			return r, fmt.Errorf("%s: %w", check.name, err)
		}
		fmt.Printf("%-12s %7d figures, %d wrong, %.1f s\n", check.name, c.figures-figures, c.wrong-wrong, time.Since(began).Seconds())
	}
	fmt.Printf("blockers: %.1f %% of %d right; forecasts: %.1f %% of %d cover the truth\n", 100*r.Blockers, r.Stuck, 100*r.Quota, r.Quotas)
	r.Figures, r.Wrong = c.figures, c.wrong
	return r, nil
}

// ask returns the tables of a report over the whole traffic.
func (c *comparer) ask(ctx context.Context, question string, args ...string) (map[string][]row, error) {
	return c.askAt(ctx, question, c.from, c.to, args...)
}

func (c *comparer) askAt(ctx context.Context, question string, from, to time.Time, args ...string) (map[string][]row, error) {
	out, err := c.e.aggregate(ctx, append([]string{"report", question, "-o", "json", "--from", from.Format(time.RFC3339), "--to", to.Format(time.RFC3339)}, args...)...)
	if err != nil {
		return nil, err
	}
	var answer struct {
		TimeZone string `json:"time_zone"`
		Tables   []struct {
			Name string
			Rows []row
		}
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", question, err)
	}
	tables := map[string][]row{}
	for _, t := range answer.Tables {
		tables[t.Name] = t.Rows
	}
	c.equal(question+" time zone", answer.TimeZone, zone)
	return tables, nil
}

// equal counts a figure and whether it is right.
func (c *comparer) equal(what string, got, want any) {
	c.figures++
	if same(got, want) {
		return
	}
	if c.wrong++; c.wrong <= 12*maxShown {
		fmt.Printf("  %s: got %v, want %v\n", what, got, want)
	}
}

// within counts a figure that may be off by a share.
func (c *comparer) within(what string, got any, want, share float64) {
	c.figures++
	if f, ok := got.(float64); ok && math.Abs(f-want) <= share*math.Abs(want)+1e-9 {
		return
	}
	c.wrong++
	fmt.Printf("  %s: got %v, want %v\n", what, got, want)
}

// same compares what JSON holds with a Go value.
func same(got, want any) bool {
	switch w := want.(type) {
	case int:
		return same(got, float64(w))
	case int64:
		return same(got, float64(w))
	case float64:
		g, ok := got.(float64)
		return ok && math.Abs(g-w) <= 1e-9*math.Max(1, math.Abs(w))
	case time.Time:
		g, ok := got.(string)
		t, err := time.Parse(time.RFC3339Nano, g)
		return ok && err == nil && t.Equal(w)
	case map[string]int64:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for k, n := range w {
			if !same(g[k], n) {
				return false
			}
		}
		return true
	}
	return got == want
}

// list is the sorted keys of a map, so that differences come in order.
func list[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// index finds rows by the values of columns.
func index(rows []row, columns ...string) map[string]row {
	m := map[string]row{}
	for _, r := range rows {
		var parts []string
		for _, c := range columns {
			parts = append(parts, fmt.Sprint(r[c]))
		}
		m[strings.Join(parts, " | ")] = r
	}
	return m
}

// rows compares which rows there are and hands the pairs over.
func rows[V any](c *comparer, what string, got map[string]row, want map[string]V, each func(name string, got row, want V)) {
	c.equal(what+": rows", float64(len(got)), len(want))
	for _, name := range list(want) {
		g, ok := got[name]
		if !ok {
			c.equal(what+" "+name, "no row", "a row")
			continue
		}
		each(what+" "+name, g, want[name])
	}
}

// A tally is calls by class with their latencies.
type tally struct {
	calls       int64
	classes     map[string]int64
	latency     []int64
	first, last int64
}

func (t *tally) add(c *truth) {
	if t.classes == nil {
		t.classes, t.first = map[string]int64{}, c.At
	}
	t.calls++
	if c.Class != "none" {
		t.classes[c.Class]++
	}
	t.latency = append(t.latency, c.LatencyUS)
	t.last = c.At
}

// quantile is the nearest rank, in milliseconds.
func (t *tally) quantile(q float64) float64 {
	slices.Sort(t.latency)
	return float64(t.latency[max(0, int(math.Ceil(q*float64(len(t.latency))))-1)]) / 1000
}

func (c *comparer) usage(ctx context.Context) error {
	for _, by := range []string{"consumer", "plan", "tier", "service"} {
		tables, err := c.ask(ctx, "usage", "--by", by)
		if err != nil {
			return err
		}
		want := map[string]*tally{}
		for i := range c.o.calls {
			t := &c.o.calls[i]
			name := map[string]string{"consumer": t.consumer, "plan": t.plan, "tier": t.tier, "service": t.Service}[by]
			if want[name] == nil {
				want[name] = &tally{}
			}
			want[name].add(t)
		}
		rows(c, "usage by "+by, index(tables["usage"], "name"), want, func(name string, got row, want *tally) {
			c.equal(name+" calls", got["calls"], want.calls)
			c.equal(name+" errors", got["errors"], want.classes)
			c.equal(name+" first seen", got["first_seen"], time.UnixMicro(want.first))
			c.equal(name+" last seen", got["last_seen"], time.UnixMicro(want.last))
			for q, column := range map[float64]string{0.5: "p50_ms", 0.95: "p95_ms", 0.99: "p99_ms"} {
				c.within(name+" "+column, got[column], want.quantile(q), 0.01)
			}
		})
		if by == "consumer" {
			c.concentration(tables["concentration"][0], want)
		}
	}
	return nil
}

func (c *comparer) concentration(got row, want map[string]*tally) {
	var calls []int64
	total := int64(0)
	for _, t := range want {
		calls = append(calls, t.calls)
		total += t.calls
	}
	slices.Sort(calls)
	slices.Reverse(calls)
	for n, column := range map[int]string{1: "top_1", 5: "top_5", 10: "top_10", 20: "top_20"} {
		sum := int64(0)
		for _, v := range calls[:min(n, len(calls))] {
			sum += v
		}
		c.equal("concentration "+column, got[column], float64(sum)/float64(total))
	}
}
