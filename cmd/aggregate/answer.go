package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/rollup"
)

// reportSchema names the form of report's JSON.
const reportSchema = "gatewatch/report/v1"

// maxSteps is how many steps a series has at most.
const maxSteps = 31

// An answer is a report's content, as its JSON has it.
type answer struct {
	Schema   string `json:"schema"`
	Question string `json:"question"`
	// From and To are the window that is answered for: whole windows of Source.
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Source string    `json:"source"`
	// StepSeconds is the width of a row's window in a series, else absent.
	StepSeconds int64             `json:"step_seconds,omitempty"`
	By          []string          `json:"by"`
	Where       map[string]string `json:"where,omitempty"`
	Total       *figures          `json:"total"`
	Rows        []figures         `json:"rows"`
	Notes       []string          `json:"notes,omitempty"`
	completeness
}

// completeness says how far an answer can be trusted.
type completeness struct {
	// CompleteUntil: what Kafka received before is in the answer; null if nobody measured it.
	CompleteUntil *time.Time `json:"complete_until"`
	// FinalUntil: windows before it will normally not change any more.
	FinalUntil *time.Time `json:"final_until"`
	// Provisional: the window reaches beyond FinalUntil.
	Provisional bool `json:"provisional"`
}

// completeness reads how far the topics with access logs are complete.
func (r *reporter) completeness(ctx context.Context, to time.Time) (completeness, error) {
	ws, err := r.store.Watermarks(ctx)
	if err != nil {
		return completeness{}, err
	}
	logs := map[string]bool{}
	for _, t := range r.conf.Kafka.Topics {
		logs[t.Name] = !strings.HasPrefix(t.Format, "otlp")
	}
	w, ok := rollup.Oldest(slices.DeleteFunc(ws, func(w rollup.Watermark) bool { return !logs[w.Topic] }))
	if !ok {
		return completeness{Provisional: true}, nil
	}
	until, final := w.CompleteUntil.UTC(), w.Final(r.conf.Aggregate.Lateness).UTC()
	return completeness{CompleteUntil: &until, FinalUntil: &final, Provisional: to.After(final)}, nil
}

// line is the last line of every table.
func (c completeness) line() string {
	if c.CompleteUntil == nil {
		return "completeness unknown: gatewatch-aggregate run has not measured it"
	}
	const layout = "2006-01-02 15:04:05"
	s := "complete until " + c.CompleteUntil.Format(layout) + " UTC"
	if c.Provisional {
		s += " (provisional after " + c.FinalUntil.Format(layout) + ")"
	}
	return s
}

// answer answers q and writes it.
func (r *reporter) answer(ctx context.Context, env *daemon.Env, q question) error {
	by, where, err := r.dimensions(q)
	if err != nil {
		return err
	}
	from, to, err := r.window(r.now.Add(-time.Hour), r.now)
	if err != nil {
		return err
	}
	a, err := r.ask(ctx, q, by, where, from, to)
	if err != nil {
		return err
	}
	if err := a.write(env.Stdout, r.flags.output, q.columns); err != nil {
		return err
	}
	if len(a.Rows) == 0 {
		return daemon.Unknown(nil)
	}
	return nil
}

// ask reads what q wants to know.
func (r *reporter) ask(ctx context.Context, q question, by []string, where []clickhouse.Condition, from, to time.Time) (*answer, error) {
	sums, grain, err := r.query(ctx, by, where, from, to)
	if err != nil {
		return nil, err
	}
	series := slices.Contains(by, "time")
	a := &answer{Schema: reportSchema, Question: q.name, From: sums.From, To: sums.To, Source: sums.Table, By: by, Rows: []figures{}}
	if a.completeness, err = r.completeness(ctx, to); err != nil {
		return nil, err
	}
	// Rates count the time that has passed and is complete.
	known := r.now
	if a.CompleteUntil != nil {
		known = *a.CompleteUntil
	}
	total := sums
	total.By = nil
	totals, err := r.store.Sums(ctx, total)
	if err != nil || len(totals) == 0 {
		return a, err
	}
	a.Total = newFigures(nil, totals[0], rollup.Window{Start: sums.From, Width: sums.To.Sub(sums.From)}, known)
	sums.ErrorsOnly = q.errorsOnly
	sums.Limit = r.flags.limit
	if series {
		sums.Step = grain.Step(sums.From, sums.To, maxSteps)
		a.StepSeconds = int64(sums.Step / time.Second)
		sums.Limit = 0
	}
	rows, err := r.store.Sums(ctx, sums)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		w := rollup.Window{Start: sums.From, Width: sums.To.Sub(sums.From)}
		if series {
			w = clip(rollup.Window{Start: row.Time, Width: sums.Step}, sums.From, sums.To)
		}
		f := newFigures(group(by, row), row, w, known)
		f.provisional = a.FinalUntil != nil && w.End().After(*a.FinalUntil)
		a.Rows = append(a.Rows, *f)
	}
	a.note(sums, where, q)
	if sums.Source == clickhouse.SourceDimension {
		reached, err := r.store.Reached(ctx, sums.Table)
		if err != nil {
			return nil, err
		}
		a.Notes = append(a.Notes, sums.Table+" is computed until "+reached.Until.UTC().Format("2006-01-02 15:04")+" UTC")
	}
	return a, nil
}

// clip cuts a window to [from, to).
func clip(w rollup.Window, from, to time.Time) rollup.Window {
	start, end := w.Start, w.End()
	if start.Before(from) {
		start = from
	}
	if end.After(to) {
		end = to
	}
	return rollup.Window{Start: start, Width: end.Sub(start)}
}

// group names a row's values.
func group(by []string, row rollup.Row) []labelled {
	var g []labelled
	values := row.Group
	for _, d := range by {
		if d == "time" {
			g = append(g, labelled{d, row.Time.UTC().Format(time.RFC3339)})
			continue
		}
		g = append(g, labelled{d, values[0]})
		values = values[1:]
	}
	return g
}

// note adds what a reader has to know.
func (a *answer) note(q clickhouse.SumsQuery, where []clickhouse.Condition, asked question) {
	if len(where) > 0 {
		a.Where = map[string]string{}
		for _, w := range where {
			a.Where[w.Dimension] = w.Value
		}
	}
	if q.Source == clickhouse.SourceKey && asked.name != "keys" {
		a.Notes = append(a.Notes, "requests without a key and a consumer are left out")
	}
	if q.Limit > 0 && len(a.Rows) == q.Limit {
		a.Notes = append(a.Notes, fmt.Sprintf("the %d largest groups; --limit 0 shows all", q.Limit))
	}
}

// write writes a in the form that was asked for.
func (a *answer) write(w io.Writer, output string, columns []column) error {
	switch output {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(a)
	case "csv":
		return a.writeCSV(w)
	}
	fmt.Fprintf(w, "%s %s to %s UTC, %s\n\n", a.Question, a.From.Format("2006-01-02 15:04:05"), a.To.Format("2006-01-02 15:04:05"), a.Source)
	if len(a.Rows) == 0 {
		if a.Total != nil {
			fmt.Fprintf(w, "none of %s requests\n\n%s\n", grouped(a.Total.Requests), a.line())
			return nil
		}
		fmt.Fprintf(w, "no requests in this window\n\n%s\n", a.line())
		return nil
	}
	if err := a.writeTable(w, columns); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if slices.ContainsFunc(columns, func(c column) bool {
		return slices.ContainsFunc(a.Rows, func(f figures) bool { return strings.HasPrefix(c.cell(&f, a), "~") })
	}) {
		fmt.Fprintln(w, "~ is a quantile of too few requests: fewer than 1/(1-q) stated a latency")
	}
	for _, n := range a.Notes {
		fmt.Fprintln(w, n)
	}
	_, err := fmt.Fprintln(w, a.line())
	return err
}
