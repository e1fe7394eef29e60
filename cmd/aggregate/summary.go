package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/rollup"
)

// summarySchema names the form of the summary's JSON.
const summarySchema = "gatewatch/summary/v1"

// A summary is all that report summary says.
type summary struct {
	Schema        string    `json:"schema"`
	From          time.Time `json:"from"`
	To            time.Time `json:"to"`
	Total         *figures  `json:"total"`
	Statuses      []figures `json:"statuses"`
	Errors        []figures `json:"errors"`
	Routes        []figures `json:"routes"`
	Clients       []figures `json:"clients"` // addresses as stored: truncated unless configured otherwise
	BusiestMinute *figures  `json:"busiest_minute"`
	Unreadable    []unread  `json:"unreadable"`
	UnreadableN   int64     `json:"unreadable_messages"`
	completeness
}

// unread is the messages that could not be read for one reason.
type unread struct {
	Reason   string `json:"reason"`
	Messages int64  `json:"messages"`
	Detail   string `json:"detail,omitempty"`
	Excerpt  string `json:"excerpt,omitempty"` // masked
}

// summary writes everything about a window, by default all that is stored.
func (r *reporter) summary(ctx context.Context, env *daemon.Env) error {
	if r.flags.by != "" {
		return daemon.Usagef("summary has no --by")
	}
	if r.flags.output == "csv" {
		return daemon.Usagef("-o csv: summary has several tables; want table or json")
	}
	_, where, err := r.dimensions(question{})
	if err != nil {
		return err
	}
	from, to, any, err := r.store.Extent(ctx)
	if err != nil {
		return err
	}
	if !any {
		from, to = r.now.Add(-time.Hour), r.now
	}
	if keep := r.conf.Retention.AccessLog; keep > 0 && from.Before(r.now.Add(-keep)) {
		from = r.now.Add(-keep + time.Minute) // older rows are only not removed yet
	}
	if from, to, err = r.window(from.Truncate(10*time.Second), to.Add(time.Microsecond)); err != nil {
		return err
	}
	s, err := r.summarise(ctx, where, from, to)
	if err != nil {
		return err
	}
	if r.flags.output == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(s); err != nil {
			return err
		}
	} else if err := s.write(env.Stdout); err != nil {
		return err
	}
	if s.Total == nil && s.UnreadableN == 0 {
		return daemon.Unknown(nil)
	}
	return nil
}

func (r *reporter) summarise(ctx context.Context, where []clickhouse.Condition, from, to time.Time) (*summary, error) {
	s := &summary{Schema: summarySchema, Unreadable: []unread{}}
	ask := func(errorsOnly bool, by ...string) (*answer, error) {
		return r.ask(ctx, question{errorsOnly: errorsOnly}, by, where, from, to)
	}
	statuses, err := ask(false, "status")
	if err != nil {
		return nil, err
	}
	s.From, s.To, s.Total, s.completeness, s.Statuses = statuses.From, statuses.To, statuses.Total, statuses.completeness, statuses.Rows
	for _, part := range []struct {
		to         *[]figures
		errorsOnly bool
		by         []string
	}{
		{&s.Errors, true, []string{"error_class", "responder"}},
		{&s.Routes, false, []string{"service", "method", "route"}},
		{&s.Clients, false, []string{"client_ip"}},
	} {
		a, err := ask(part.errorsOnly, part.by...)
		if err != nil {
			return nil, err
		}
		*part.to = a.Rows
	}
	if s.BusiestMinute, err = r.busiestMinute(ctx, where, from, to); err != nil {
		return nil, err
	}
	// Dead letters have no event time: without a window given all of them count.
	var deadFrom, deadTo time.Time
	if r.flags.from != "" {
		deadFrom = from
	}
	if r.flags.to != "" {
		deadTo = to
	}
	reasons, err := r.store.DeadLetterReasons(ctx, deadFrom, deadTo)
	if err != nil {
		return nil, err
	}
	for _, d := range reasons {
		s.Unreadable = append(s.Unreadable, unread(d))
		s.UnreadableN += d.Messages
	}
	return s, nil
}

// busiestMinute returns the minute with most requests, the first of several, or nil.
func (r *reporter) busiestMinute(ctx context.Context, where []clickhouse.Condition, from, to time.Time) (*figures, error) {
	q, _, err := r.query(ctx, nil, where, from, to)
	if err != nil {
		return nil, err
	}
	if q.Source == clickhouse.SourceRequest {
		q.Table = "request_1m"
		q.From, q.To = rollup.Grain1m.Cover(from, to)
	}
	q.Step, q.Limit, q.Largest = time.Minute, 1, true
	rows, err := r.store.Sums(ctx, q)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	w := rollup.Window{Start: rows[0].Time, Width: time.Minute}
	return newFigures(group([]string{"time"}, rows[0]), rows[0], w, w.End()), nil
}

func (s *summary) write(w io.Writer) error {
	const layout = "2006-01-02 15:04:05"
	if s.Total == nil {
		fmt.Fprintln(w, "no requests")
	} else {
		t := s.Total
		fmt.Fprintf(w, "Requests    %s (%s/s), %s in, %s out\n", grouped(t.Requests), rate(t.RatePerS), size(t.BytesIn), size(t.BytesOut))
		fmt.Fprintf(w, "Window      %s to %s UTC\n", s.From.Format(layout), s.To.Format(layout))
		fmt.Fprintf(w, "Errors      %s server, %s client\n", grouped(t.ServerErrors), grouped(t.ClientErrors))
		if l := t.Latency; l != nil {
			fmt.Fprintf(w, "Latency     p50 %s, p95 %s, p99 %s (n = %s)\n", milliseconds(l.P50), milliseconds(l.P95), milliseconds(l.P99), grouped(l.N))
		}
		if b := s.BusiestMinute; b != nil {
			fmt.Fprintf(w, "Busiest     minute %s, %s requests\n", strings.NewReplacer("T", " ", ":00Z", " UTC").Replace(b.Group[0].value), grouped(b.Requests))
		}
	}
	fmt.Fprintf(w, "Unreadable  %s\n", grouped(s.UnreadableN))
	for _, part := range []struct {
		by   []string
		rows []figures
	}{
		{[]string{"status"}, s.Statuses},
		{[]string{"error_class", "responder"}, s.Errors},
		{[]string{"service", "method", "route"}, s.Routes},
		{[]string{"client_ip"}, s.Clients},
	} {
		if len(part.rows) == 0 {
			continue
		}
		fmt.Fprintln(w)
		a := &answer{By: part.by, Rows: part.rows, Total: s.Total}
		if err := a.writeTable(w, []column{colRequests, colShareOfAll, colBytesOut, colBar}); err != nil {
			return err
		}
	}
	if len(s.Unreadable) > 0 {
		fmt.Fprintln(w)
		var rows [][]string
		for _, u := range s.Unreadable {
			rows = append(rows, []string{u.Reason, u.Detail, u.Excerpt, grouped(u.Messages)})
		}
		if err := writeAligned(w, []string{"unreadable", "for example", "masked", "messages"}, rows, 3); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", s.line())
	return err
}
