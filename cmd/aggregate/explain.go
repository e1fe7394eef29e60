package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/failure"
	"gatewatch/internal/layer"
	"gatewatch/internal/rollup"
)

// rawOnly is what questions to the raw rows can be restricted to.
var rawOnly = clickhouse.SourceRaw.Dimensions()

// explainQuestions are those of an engineer who looks for a cause.
var explainQuestions = []sheetQuestion{
	{name: "clients", summary: "failures that are one client's own, and whom each class hits", where: clickhouse.SourceKey.Dimensions(), ask: askClients},
	{name: "breakers", summary: "episodes of circuit breakers, stated or inferred", where: []string{"service", "tenant", "environment"}, ask: askBreakers},
	{
		name: "layers", summary: "what gateway, service, database and others added since the window before",
		by: []string{"service", "route"}, where: clickhouse.LayerDimensions(), ask: askLayers,
	},
	{name: "unusual", summary: "what left its hour-of-week baseline, and shapes of abuse", ask: askUnusual},
	{name: "gaps", summary: "requests logged against the gateways' own counters, silent nodes, clocks", where: rawOnly, ask: askGaps},
	{name: "propagation", summary: "how far trace context gets, by service and route", by: []string{"service", "route"}, where: rawOnly, ask: askPropagation},
	{name: "changes", summary: "releases, configuration, keys and versions first seen", ask: askChanges},
	{name: "auth", summary: "authentication by key and client, audit events", where: rawOnly, ask: askAuth},
}

// maxRaw is how many raw rows a question reads at most: about half a second's work.
const maxRaw = 2_000_000

// rawFrom is the oldest moment from which all raw rows are kept.
func (r *reporter) rawFrom() time.Time {
	if keep := r.conf.Retention.AccessLog; keep > 0 {
		return r.now.Add(-keep)
	}
	return time.Time{}
}

// clientFields returns the columns of the answer about clients.
func clientFields() []field {
	return []field{
		{name: "finding", text: true},
		{name: "service", text: true},
		{name: "operation", text: true},
		{name: "caller", text: true},
		{name: "plan", text: true},
		{name: "error_class", text: true},
		{name: "failed"},
		{name: "requests"},
		{name: "now", show: showShare},
		{name: "before", show: showShare},
		{name: "others", show: showShare},
		{name: "evidence", text: true, show: showLong},
	}
}

func askClients(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	onset, before := s.From, s.From.Add(-s.To.Sub(s.From))
	n, err := r.store.Requests(ctx, before, s.To)
	if err != nil {
		return nil, err
	}
	out := &sheet{fields: clientFields()}
	source, table := clickhouse.SourceRaw, "access_log"
	if n > maxRaw || before.Before(r.rawFrom()) {
		level, kept := rollup.Choose(keyLevels(r.conf.Retention), before, s.To, r.now)
		if !kept {
			out.unknown = "the window before this one is older than what is kept of keys (" + config.FormatDuration(level.Keep) + ")"
			return out, nil
		}
		source, table = clickhouse.SourceKey, level.Name
		onset = level.Grain.Window(onset).Start
		before, s.To = level.Grain.Cover(before, s.To)
		out.notes = append(out.notes, "by service: the window is too long to compare operations; a shorter one is")
	}
	out.source, out.from, out.to = table, onset, s.To
	s.From = before
	cells, err := r.store.Clients(ctx, s, onset, source, table)
	if err != nil {
		return nil, err
	}
	everybody := map[string]bool{} // classes
	for _, v := range failure.Verdicts(cells) {
		if v.Who == "usual" {
			continue
		}
		everybody[v.Class] = everybody[v.Class] || v.Who == "everybody"
		caller, plan := "", ""
		if v.Who == "one_client" {
			caller, plan = v.Top.String(), v.Top.Plan
		}
		out.rows = append(out.rows, []any{v.Who, v.Service, "", caller, plan, v.Class, v.Failed, v.Requests, float64(v.Failed) / float64(v.Requests), v.Before, nil, v.String()})
	}
	patterns := failure.Patterns(cells)
	for _, p := range patterns {
		row := []any{"own_failure", p.Service, p.Operation, p.Caller.String(), p.Plan, p.Class, p.Failed, p.Requests, float64(p.Failed) / float64(p.Requests), p.Before, p.Others, p.String()}
		if math.IsNaN(p.Before) {
			row[9] = nil
		}
		out.rows = append(out.rows, row)
	}
	shapes, err := r.shapes(ctx, clickhouse.Scope{From: onset, To: s.To, Where: s.Where}, cells, patterns, everybody)
	if err != nil {
		return nil, err
	}
	out.rows = append(out.rows, shapes...)
	out.notes = append(out.notes, fmt.Sprintf("compared with %s to %s UTC", before.Format("01-02 15:04:05"), onset.Format("01-02 15:04:05")))
	return out, nil
}

// maxSequences is of how many callers the single requests are read.
const maxSequences = 30

// shapes reads the calls of those that fail most, one after the other. Runs of
// what everybody has are left out.
func (r *reporter) shapes(ctx context.Context, s clickhouse.Scope, cells []failure.Cell, patterns []failure.Pattern, everybody map[string]bool) ([][]any, error) {
	if s.From.Before(r.rawFrom()) {
		s.From = r.rawFrom()
	}
	if day := s.To.Add(-24 * time.Hour); s.From.Before(day) {
		s.From = day // the newest part of a long window
	}
	s.Where = slices.DeleteFunc(slices.Clone(s.Where), func(c clickhouse.Condition) bool {
		return !slices.Contains(clickhouse.SourceRaw.Dimensions(), c.Dimension)
	})
	failed := map[failure.Caller]int64{}
	for _, c := range cells {
		for class, n := range c.Now {
			if class != "none" {
				failed[c.Caller] += n
			}
		}
	}
	callers := make([]failure.Caller, 0, len(failed))
	for c := range failed {
		callers = append(callers, c)
	}
	own := map[failure.Caller]bool{}
	for _, p := range patterns {
		own[p.Caller] = true
	}
	slices.SortFunc(callers, func(a, b failure.Caller) int {
		if own[a] != own[b] {
			return map[bool]int{true: -1, false: 1}[own[a]]
		}
		return cmp.Or(-cmp.Compare(failed[a], failed[b]), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Consumer, b.Consumer))
	})
	calls, err := r.store.Calls(ctx, s, callers[:min(len(callers), maxSequences)])
	if err != nil {
		return nil, err
	}
	var rows [][]any
	for _, q := range failure.Sequences(calls) {
		for _, shape := range q.Shapes() {
			if shape == "error_run" && everybody[q.RunClass] {
				continue
			}
			class, n := q.RunClass, q.Run
			evidence := fmt.Sprintf("%s %s in a row, %s to %s UTC", grouped(q.Run), q.RunClass, q.RunFrom.Format("15:04:05"), q.RunTo.Format("15:04:05"))
			if shape == "retry_storm" {
				class, n = "", q.Retries
				evidence = fmt.Sprintf("%.1f requests per logical call: %s of %s repeat one that failed up to 30 s before", q.Attempts(), grouped(q.Retries), grouped(q.Requests))
			}
			rows = append(rows, []any{shape, "", "", q.String(), q.Plan, class, n, q.Requests, float64(n) / float64(q.Requests), nil, nil, evidence})
		}
	}
	return rows, nil
}

func askBreakers(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	level, kept := rollup.Choose(requestLevels(r.conf.Retention)[1:], s.From, s.To, r.now)
	out := &sheet{source: level.Name + ", access_log", fields: []field{
		{name: "service", text: true},
		{name: "upstream", text: true},
		{name: "evidence", text: true},
		{name: "opened"},
		{name: "half_open"},
		{name: "closed"},
		{name: "shed"},
		{name: "trigger", text: true, show: showLong},
	}}
	if !kept {
		out.unknown = "--from is older than what is kept (" + config.FormatDuration(level.Keep) + ")"
		return out, nil
	}
	s.From, s.To = level.Grain.Cover(s.From, s.To)
	out.from, out.to = s.From, s.To
	until := r.now
	if c, err := r.completeness(ctx, s.To); err != nil {
		return nil, err
	} else if c.CompleteUntil != nil {
		until = *c.CompleteUntil
	}
	list, whole, err := r.store.Breakers(ctx, s, level.Name, r.rawFrom(), until)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		var closed any
		if !e.Closed.IsZero() {
			closed = e.Closed
		}
		trigger := "nothing failed before"
		if e.Trigger != "" {
			trigger = fmt.Sprintf("%s: %s of %s requests in the minute before", e.Trigger, grouped(e.TriggerFailed), grouped(e.TriggerRequests))
		}
		out.rows = append(out.rows, []any{e.Service, e.Upstream, e.Evidence, e.Opened, int64(len(e.HalfOpen)), closed, e.Shed, trigger})
	}
	if !whole {
		out.notes = append(out.notes, "not all of the window was looked at: its raw rows are gone, or too many requests were shed; ask for a shorter one")
	}
	return out, nil
}

// layerFields returns the columns of the answer about layers.
func layerFields() []field {
	return []field{
		{name: "service", text: true},
		{name: "route", text: true},
		{name: "layer", text: true},
		{name: "blame", text: true},
		{name: "n"},
		{name: "traces"},
		{name: "p95_ms", show: showMS},
		{name: "before_ms", show: showMS},
		{name: "added_ms", show: showAdded},
		{name: "mean_ms", show: showMS},
		{name: "errors", show: showShare},
		{name: "errors_before", show: showShare},
		{name: "evidence", text: true, show: showLong},
	}
}

func askLayers(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	grain, table, keep := rollup.Grain1m, "layer_1m", r.conf.Retention.Layer1m
	if s.To.Sub(s.From) > 3*time.Hour {
		grain, table, keep = rollup.Grain1h, "layer_1h", r.conf.Retention.Layer1h
	}
	s.From, s.To = grain.Cover(s.From, s.To)
	before := s.From.Add(-s.To.Sub(s.From))
	out := &sheet{source: table, from: s.From, to: s.To, fields: layerFields()}
	if keep > 0 && before.Before(r.now.Add(-keep)) {
		out.unknown = "the window before this one is older than what is kept of layers (" + config.FormatDuration(keep) + ")"
		return out, nil
	}
	byRoute := slices.Contains(r.by, "route")
	now, err := r.store.Layers(ctx, s.From, s.To, table, s.Where, byRoute)
	if err != nil {
		return nil, err
	}
	was, err := r.store.Layers(ctx, before, s.From, table, s.Where, byRoute)
	if err != nil {
		return nil, err
	}
	var services []string
	places := make([]failure.Place, 0, len(now))
	for p := range now {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b failure.Place) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), -cmp.Compare(now[a][layer.Upstream].Requests, now[b][layer.Upstream].Requests), cmp.Compare(a.Operation, b.Operation))
	})
	for _, p := range places {
		v := layer.Compare(now[p], was[p])
		for _, c := range v.Changes {
			out.rows = append(out.rows, layerRow(p, v, c))
		}
		if (v.Latency == layer.Database || v.Errors == layer.Database) && !slices.Contains(services, p.Service) {
			services = append(services, p.Service)
		}
	}
	if len(services) > 0 {
		list, err := r.store.Statements(ctx, s.From, s.To, services, 5)
		if err != nil {
			return nil, err
		}
		for _, st := range list {
			out.notes = append(out.notes, fmt.Sprintf("%s %s: %s  %s calls, mean %s, p95 %s, max %s in trace %s", st.Service, st.System, short(labelled{"", st.Text}),
				grouped(st.Calls), milliseconds(st.MeanUS/1000), milliseconds(st.P95US/1000), milliseconds(st.MaxUS/1000), st.TraceID))
		}
	}
	out.notes = append(out.notes, fmt.Sprintf("compared with %s to %s UTC; upstream is what the gateway waited for, from the logs of all requests", before.Format("01-02 15:04:05"), s.From.Format("01-02 15:04:05")))
	return out, nil
}

func layerRow(p failure.Place, v layer.Verdict, c layer.Change) []any {
	row := []any{p.Service, p.Operation, c.Layer, "", c.Now.Measured, nil, nil, nil, nil, nil, c.Now.ErrorRatio(), c.Before.ErrorRatio(), ""}
	if c.Layer == v.Latency {
		row[3] = "slower"
	}
	if c.Layer == v.Errors {
		row[3] = "fails"
		if c.Layer == v.Latency {
			row[3] = "slower, fails"
		}
	}
	if row[3] != "" || v.Latency+v.Errors == "" && c.Layer == layer.Gateway {
		row[12] = v.Why
	}
	if c.Now.Traces > 0 {
		row[5] = c.Now.Traces
	}
	now, ok := c.Now.P95()
	was, had := c.Before.P95()
	if ok {
		row[6], row[9] = now/1000, c.Now.Mean()/1000
	}
	if had {
		row[7] = was / 1000
	}
	if ok && had {
		row[8] = c.P95US / 1000
	}
	return row
}

func askUnusual(ctx context.Context, r *reporter, s clickhouse.Scope) (*sheet, error) {
	s.From, s.To = rollup.Grain1h.Cover(s.From, s.To)
	out := &sheet{source: "unusual_1h", from: s.From, to: s.To, fields: []field{
		{name: "time"},
		{name: "kind", text: true},
		{name: "subject", text: true},
		{name: "service", text: true},
		{name: "name", text: true},
		{name: "score", show: showScore},
		{name: "value"},
		{name: "expected"},
		{name: "evidence", text: true, show: showLong},
	}}
	out.fields[0] = field{name: "time", text: true}
	list, until, err := r.store.Unusual(ctx, s.From, s.To)
	if err != nil {
		return nil, err
	}
	if until.IsZero() {
		out.unknown = "no hour has been judged: start gatewatch-aggregate run"
		return out, nil
	}
	for _, u := range list {
		out.rows = append(out.rows, []any{u.Time, u.Kind, u.Subject.Kind, u.Service, u.Name, u.Score, u.Value, u.Expected, u.Evidence})
	}
	out.notes = append(out.notes, "hours are judged until "+until.Format("2006-01-02 15:04")+" UTC; what has less than two weeks of history has no baseline")
	return out, nil
}
