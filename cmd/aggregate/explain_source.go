package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

const (
	// silentRate is how many requests a minute a node must have at least to be
	// missed, and silentAfter for how many minutes.
	silentRate  = 10
	silentAfter = 3
	// gapShare of what a gateway served is worth a word when it was not logged.
	gapShare = 0.995
	// skewed is how far a node's clock may be off.
	skewed = 2 * time.Second
)

// lastDay bounds a scope to its newest day whose raw rows are kept, and says so.
func (r *reporter) lastDay(s clickhouse.Scope, out *sheet) clickhouse.Scope {
	from := s.To.Add(-24 * time.Hour)
	if raw := r.rawFrom(); from.Before(raw) {
		from = raw
	}
	if s.From.Before(from) {
		s.From = from
		out.notes = append(out.notes, "the newest day of the window")
	}
	out.from, out.to = s.From, s.To
	return s
}

func askGaps(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	out := &sheet{source: "access_log, gateway_counter", fields: []field{
		{name: "node", text: true},
		{name: "logged"},
		{name: "served"},
		{name: "logged_of_served", show: showShare},
		{name: "silent_minutes"},
		{name: "last_seen"},
		{name: "delay_ms", show: showMS},
		{name: "evidence", text: true, show: showLong},
	}}
	s = r.lastDay(s, out)
	served, err := r.store.Served(ctx, s.From, s.To)
	if err != nil {
		return nil, err
	}
	minutes, err := r.store.NodeMinutes(ctx, s)
	if err != nil {
		return nil, err
	}
	delays, err := r.store.NodeDelays(ctx, s)
	if err != nil {
		return nil, err
	}
	end := s.To
	if c, err := r.completeness(ctx, s.To); err != nil {
		return nil, err
	} else if c.CompleteUntil != nil && c.CompleteUntil.Before(end) {
		end = *c.CompleteUntil
	}
	nodes := map[string][]clickhouse.NodeMinute{}
	for _, m := range minutes {
		nodes[m.Node] = append(nodes[m.Node], m)
	}
	for _, x := range served {
		if _, ok := nodes[x.Node]; !ok {
			nodes[x.Node] = nil
		}
	}
	names := make([]string, 0, len(nodes))
	for n := range nodes {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		out.rows = append(out.rows, gapRow(n, nodes[n], served, delays, end))
	}
	if len(served) == 0 {
		out.notes = append(out.notes, "no counter was read: list your gateways under aggregate.gateways to see what is not logged")
	}
	return out, nil
}

// gapRow tells what is missing of a node.
func gapRow(n string, minutes []clickhouse.NodeMinute, served []clickhouse.Served, delays map[string]time.Duration, end time.Time) []any {
	row := []any{n, int64(0), nil, nil, int64(0), nil, nil, ""}
	var words []string
	silence, last, logged := silent(minutes, end)
	row[1], row[4] = logged, int64(len(silence))
	if !last.IsZero() {
		row[5] = last
	}
	if i := slices.IndexFunc(served, func(x clickhouse.Served) bool { return x.Node == n }); i >= 0 && served[i].Requests > 0 {
		x := served[i]
		share := float64(x.Logged) / float64(x.Requests)
		row[2], row[3] = x.Requests, share
		if share < gapShare {
			words = append(words, fmt.Sprintf("node %s logs %.1f %% of what it serves (%s of %s, %s to %s)", n, 100*share, grouped(x.Logged), grouped(x.Requests), x.First.UTC().Format("15:04:05"), x.Last.UTC().Format("15:04:05")))
		}
		if x.Failed > 0 {
			words = append(words, fmt.Sprintf("its counter could not be read %d times: %s", x.Failed, x.Error))
		}
	}
	if len(silence) >= silentAfter {
		words = append(words, fmt.Sprintf("silent for %d minutes, first at %s", len(silence), silence[0].Format("01-02 15:04")))
	}
	if d, ok := delays[n]; ok {
		row[6] = float64(d) / float64(time.Millisecond)
		if off := d - medianDelay(delays); off.Abs() > skewed {
			words = append(words, fmt.Sprintf("its clock or its shipping is %s off the other nodes'", off.Round(100*time.Millisecond)))
		}
	}
	row[7] = strings.Join(words, "; ")
	return row
}

// silent returns the minutes in which a node logged nothing though it usually
// does, up to end, and what it logged.
func silent(minutes []clickhouse.NodeMinute, end time.Time) (list []time.Time, last time.Time, logged int64) {
	if len(minutes) == 0 {
		return nil, last, 0
	}
	counts := make([]int64, len(minutes))
	have := map[time.Time]bool{}
	for i, m := range minutes {
		counts[i] = m.Requests
		logged += m.Requests
		have[m.Minute] = true
	}
	slices.Sort(counts)
	last = minutes[len(minutes)-1].Minute
	if counts[len(counts)/2] < silentRate {
		return nil, last, logged
	}
	for t := minutes[0].Minute; t.Add(time.Minute).Before(end); t = t.Add(time.Minute) {
		if !have[t] {
			list = append(list, t)
		}
	}
	return list, last, logged
}

func medianDelay(delays map[string]time.Duration) time.Duration {
	var list []time.Duration
	for _, d := range delays {
		list = append(list, d)
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func askPropagation(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	out := &sheet{source: "access_log, span", fields: []field{
		{name: "service", text: true}, {name: "route", text: true}, {name: "requests"}, {name: "traced"}, {name: "continued", show: showShare}, {name: "spans"}, {name: "orphans", show: showShare},
	}}
	if keep := r.conf.Retention.Span; keep > 0 && s.From.Before(r.now.Add(-keep)) {
		s.From = r.now.Add(-keep)
		out.notes = append(out.notes, "spans are not kept longer; the window begins where they do")
	}
	if !s.From.Before(s.To) {
		out.unknown = "no spans are kept of this window"
		return out, nil
	}
	n, err := r.store.Requests(ctx, s.From, s.To)
	if err != nil {
		return nil, err
	}
	if n > maxRaw {
		s.From = s.To.Add(-time.Duration(float64(s.To.Sub(s.From)) * maxRaw / float64(n))).Truncate(time.Minute)
		n = maxRaw
		out.notes = append(out.notes, "there are too many requests to look at all: these are the newest")
	}
	out.from, out.to = s.From, s.To
	sample := 1 + n/maxRaw
	if sample > 1 {
		out.notes = append(out.notes, fmt.Sprintf("shares are of one in %d traces", sample))
	}
	list, err := r.store.Propagation(ctx, s, slices.Contains(r.by, "route"), sample)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		row := []any{p.Service, p.Route, p.Requests, p.Traced, nil, p.Spans, nil}
		if p.Traced > 0 {
			row[4] = p.Continued
		}
		if p.Spans > 0 {
			row[6] = p.Orphans
		}
		out.rows = append(out.rows, row)
	}
	out.notes = append(out.notes, "continued: share of traced requests with a span behind the gateway; with sampling it can't exceed the sampled share")
	return out, nil
}

func askChanges(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	out := &sheet{source: "v_change", fields: []field{
		{name: "time", text: true}, {name: "service", text: true}, {name: "kind", text: true}, {name: "what", text: true}, {name: "who", text: true}, {name: "url", text: true, show: showLong},
	}}
	list, err := r.store.Changes(ctx, s.From, s.To, "")
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		out.rows = append(out.rows, []any{c.Time, c.Service, c.Kind, c.What, c.Who, c.URL})
	}
	return out, nil
}

func askAuth(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	out := &sheet{source: "access_log, audit_event", fields: []field{
		{name: "key_id", text: true}, {name: "consumer", text: true}, {name: "client", text: true}, {name: "refused"}, {name: "forbidden"}, {name: "succeeded"}, {name: "first"}, {name: "last"},
	}}
	whole := s
	s = r.lastDay(s, out)
	list, err := r.store.Authentications(ctx, s)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		out.rows = append(out.rows, []any{a.Key, a.Consumer, a.Client, a.Refused, a.Forbidden, a.Succeeded, a.First, a.Last})
	}
	counts, err := r.store.AuditCounts(ctx, whole.From, whole.To)
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		out.notes = append(out.notes, fmt.Sprintf("audit: %s %s of %s, %s: %s", c.Class, c.Action, c.Source, c.Outcome, daemon.Plural(c.Events, "event")))
	}
	return out, nil
}
