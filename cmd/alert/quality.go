package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
)

// A quality is what the alerts of one objective were worth.
type quality struct {
	SLO        string  `json:"slo"`
	Pages      int     `json:"pages"`
	Tickets    int     `json:"tickets"`
	ShortLived int     `json:"short_lived"`
	ActedOn    int     `json:"acted_on"`
	InVain     int     `json:"in_vain"`
	Missed     int     `json:"missed"`
	NoticeM    float64 `json:"median_minutes_of_notice"`

	notices []float64
}

func runQuality(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "incidents quality", "sums up by objective what its alerts were worth: how many were short-lived, were acted on by the notes,\n"+
		"burns that a backtest finds and nobody was told of, and the time from a page to a spent budget.", "gatewatch-alert incidents quality --from 30d")
	file, from, to := rangeFlags(fs, "30d")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("incidents quality takes no arguments, got %q", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	now := time.Now()
	begin, end, err := parseRange(*from, *to, now)
	if err != nil {
		return err
	}
	s, err := openHistory(ctx, env, *file)
	if err != nil {
		return err
	}
	defer s.store.Close()
	list, err := s.quality(ctx, begin, end, now)
	if err != nil {
		return s.unreachable(err)
	}
	return printQuality(env, *output, begin, end, list)
}

func (s *history) quality(ctx context.Context, begin, end, now time.Time) ([]*quality, error) {
	incidents, err := s.store.Incidents(ctx, begin, end)
	if err != nil {
		return nil, err
	}
	notes, err := s.store.Notes(ctx)
	if err != nil {
		return nil, err
	}
	past, err := evaluate.Backtest(ctx, s.store, evaluate.Test{Set: s.set, From: begin, To: end, Reach: reach(s.config, now)})
	if err != nil {
		return nil, err
	}
	rows := map[string]*quality{}
	at := func(name string) *quality {
		if rows[name] == nil {
			rows[name] = &quality{SLO: name}
		}
		return rows[name]
	}
	for _, o := range s.set.SLOs {
		at(o.Name)
	}
	for _, i := range incidents {
		at(i.SLO).take(i, notes[i.ID])
	}
	for _, n := range evaluate.Notices(past.Changes) {
		if n.Severity.String() == "page" && !told(incidents, n) {
			at(n.SLO).Missed++
		}
	}
	var list []*quality
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		q := rows[name]
		if slices.Sort(q.notices); len(q.notices) > 0 {
			q.NoticeM = q.notices[len(q.notices)/2]
		}
		list = append(list, q)
	}
	return list, nil
}

// take counts an incident.
func (q *quality) take(i clickhouse.Incident, notes []clickhouse.Note) {
	if i.Severity == "page" {
		q.Pages++
	} else {
		q.Tickets++
	}
	if !i.Ended.IsZero() && i.Ended.Sub(i.Raised) < shortLived {
		q.ShortLived++
	}
	switch useful(notes) {
	case "yes":
		q.ActedOn++
	case "no":
		q.InVain++
	}
	var f struct {
		NoticeS float64 `json:"notice_s"`
	}
	if err := json.Unmarshal([]byte(i.Evidence), &f); err == nil && f.NoticeS > 0 && i.Severity == "page" {
		q.notices = append(q.notices, f.NoticeS/60)
	}
}

// told tells whether somebody was told of a burn while it lasted.
func told(incidents []clickhouse.Incident, n evaluate.Notice) bool {
	return slices.ContainsFunc(incidents, func(i clickhouse.Incident) bool {
		return i.SLO == n.SLO && i.Group == n.Group && i.Sent && (n.Until.IsZero() || i.Raised.Before(n.Until)) && (i.Ended.IsZero() || !i.Ended.Before(n.At))
	})
}

func printQuality(env *daemon.Env, output string, begin, end time.Time, list []*quality) error {
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"schema": "gatewatch/quality/v1", "from": begin.UTC(), "to": end.UTC(), "slos": list})
	}
	var table [][]string
	for _, q := range list {
		notice := "-"
		if q.NoticeM > 0 {
			notice = fmt.Sprintf("%.0f m", q.NoticeM)
		}
		table = append(table, []string{q.SLO, fmt.Sprint(q.Pages), fmt.Sprint(q.Tickets), fmt.Sprint(q.ShortLived), fmt.Sprint(q.ActedOn), fmt.Sprint(q.InVain), fmt.Sprint(q.Missed), notice})
	}
	return daemon.WriteTable(env.Stdout, output == "csv", []string{"SLO", "PAGES", "TICKETS", "UNDER 10 M", "ACTED ON", "IN VAIN", "MISSED", "NOTICE"}, table)
}
