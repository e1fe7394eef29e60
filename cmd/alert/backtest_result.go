package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/slo"
)

// A backtestResult is what objectives would have raised.
type backtestResult struct {
	from, to time.Time
	set      *slo.Set
	since    map[string]time.Time // from where each objective is judged
	notices  []evaluate.Notice
	statuses []evaluate.Status // at the end
	notes    []string
	chart    *chart
	// Of a comparison:
	compared       bool
	added, removed []evaluate.Notice
}

// shortLived is how short a page must be to count as noise: it was over before
// somebody could act.
const shortLived = 10 * time.Minute

func (r *backtestResult) count(severity string) (n int) {
	for _, x := range r.notices {
		if x.Severity.String() == severity {
			n++
		}
	}
	return n
}

// compare finds the notices that the other objectives do not raise, and those
// that only they do: of the same series and severity at the same time.
func (r *backtestResult) compare(old *backtestResult) {
	r.compared = true
	r.added, r.removed = missing(r.notices, old.notices), missing(old.notices, r.notices)
}

// missing returns what of list has no counterpart in others.
func missing(list, others []evaluate.Notice) []evaluate.Notice {
	out := []evaluate.Notice{}
	for _, n := range list {
		if !slices.ContainsFunc(others, func(o evaluate.Notice) bool { return same(n, o) }) {
			out = append(out, n)
		}
	}
	return out
}

func same(a, b evaluate.Notice) bool {
	return a.SLO == b.SLO && a.Group == b.Group && a.Severity == b.Severity && (b.Until.IsZero() || a.At.Before(b.Until)) && (a.Until.IsZero() || b.At.Before(a.Until))
}

type noticeJSON struct {
	SLO      string     `json:"slo"`
	Group    string     `json:"group,omitempty"`
	Alert    string     `json:"alert"`
	Severity string     `json:"severity"`
	Onset    time.Time  `json:"onset"`
	Raised   time.Time  `json:"raised"`
	DelayS   float64    `json:"delay_s"`
	Ended    *time.Time `json:"ended,omitempty"`
	LastedS  float64    `json:"lasted_s,omitempty"`
	Short    bool       `json:"short_lived"`
	Requests int64      `json:"requests,omitempty"`
	Failed   int64      `json:"failed,omitempty"`
	Spent    float64    `json:"budget_spent,omitempty"`
	Reason   string     `json:"reason"`
}

func toNotice(n evaluate.Notice) noticeJSON {
	j := noticeJSON{
		SLO: n.SLO, Group: n.Group, Alert: n.ID, Severity: n.Severity.String(), Onset: n.Onset.UTC(), Raised: n.At.UTC(), DelayS: n.At.Sub(n.Onset).Seconds(),
		Requests: n.Total.Valid, Failed: n.Total.Bad, Spent: n.Spent, Reason: n.Reason,
	}
	if !n.Until.IsZero() {
		until := n.Until.UTC()
		j.Ended, j.LastedS, j.Short = &until, until.Sub(n.At).Seconds(), until.Sub(n.At) < shortLived
	}
	return j
}

func toNotices(list []evaluate.Notice) []noticeJSON {
	out := []noticeJSON{}
	for _, n := range list {
		out = append(out, toNotice(n))
	}
	return out
}

// A sloSummary is what a backtest says about one objective.
type sloSummary struct {
	SLO       string    `json:"slo"`
	Since     time.Time `json:"judged_from"`
	Judged    bool      `json:"judged"`
	Pages     int       `json:"pages"`
	Tickets   int       `json:"tickets"`
	Short     int       `json:"short_lived"`
	DelayS    float64   `json:"median_delay_s"`
	Spent     float64   `json:"budget_spent"`
	Effective string    `json:"effective_threshold,omitempty"`
}

func (r *backtestResult) summaries() []sloSummary {
	var list []sloSummary
	for _, s := range r.set.SLOs {
		sum := sloSummary{SLO: s.Name, Since: r.since[s.Name].UTC(), Judged: r.since[s.Name].Before(r.to)}
		var delays []float64
		for _, n := range r.notices {
			if n.SLO != s.Name {
				continue
			}
			j := toNotice(n)
			if sum.Short += map[bool]int{true: 1}[j.Short]; j.Severity == "page" {
				sum.Pages++
				delays = append(delays, j.DelayS)
			} else {
				sum.Tickets++
			}
		}
		if slices.Sort(delays); len(delays) > 0 {
			sum.DelayS = delays[len(delays)/2]
		}
		var period slo.Count
		for _, st := range r.statuses {
			if st.SLO.Name == s.Name {
				period.Valid += st.Period.Valid
				period.Bad += st.Period.Bad
			}
		}
		sum.Spent = 1 - s.Remaining(period)
		if s.SLI.Kind == slo.Latency {
			_, edge := s.SLI.Bucket()
			sum.Effective = edge.Round(10 * time.Microsecond).String()
		}
		list = append(list, sum)
	}
	return list
}

func (r *backtestResult) print(env *daemon.Env, output string) error {
	switch output {
	case "json":
		doc := map[string]any{
			"schema": "gatewatch/backtest/v2", "from": r.from.UTC(), "to": r.to.UTC(), "objectives": len(r.set.SLOs),
			"pages": r.count("page"), "tickets": r.count("ticket"), "notices": toNotices(r.notices), "slos": r.summaries(), "notes": append([]string{}, r.notes...),
		}
		if r.compared {
			doc["added"], doc["removed"] = toNotices(r.added), toNotices(r.removed)
		}
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(doc)
	case "jsonl":
		enc := json.NewEncoder(env.Stdout)
		for _, n := range r.notices {
			if err := enc.Encode(toNotice(n)); err != nil {
				return err
			}
		}
		return nil
	}
	var table [][]string
	for _, n := range r.notices {
		table = append(table, r.row(n))
	}
	if err := daemon.WriteTable(env.Stdout, output == "csv", []string{"RAISED", "SEVERITY", "SLO", "AFTER ONSET", "LASTED", "SPENT", "REASON"}, table); err != nil || output == "csv" {
		return err
	}
	return r.printSummary(env)
}

func (r *backtestResult) row(n evaluate.Notice) []string {
	j := toNotice(n)
	lasted := "not ended"
	if j.Ended != nil {
		lasted = (time.Duration(j.LastedS) * time.Second).String()
	}
	name := n.SLO
	if n.Group != "" {
		name += " " + n.Group
	}
	mark := ""
	if r.compared && slices.Contains(r.added, n) {
		mark = "+ "
	}
	return []string{mark + j.Raised.Format(time.RFC3339), j.Severity, name, (time.Duration(j.DelayS) * time.Second).String(), lasted, ratio(j.Spent), j.Reason}
}

func (r *backtestResult) printSummary(env *daemon.Env) error {
	var table [][]string
	for _, s := range r.summaries() {
		short := "-"
		if n := s.Pages + s.Tickets; n > 0 {
			short = fmt.Sprintf("%d of %d", s.Short, n)
		}
		name := s.SLO
		if s.Effective != "" {
			name += " (counted at " + s.Effective + ")"
		}
		table = append(table, []string{name, fmt.Sprint(s.Pages), fmt.Sprint(s.Tickets), short, (time.Duration(s.DelayS) * time.Second).String(), ratio(s.Spent)})
	}
	fmt.Fprintln(env.Stdout)
	if err := daemon.WriteTable(env.Stdout, false, []string{"SLO", "PAGES", "TICKETS", "UNDER 10 M", "MEDIAN DELAY", "BUDGET SPENT"}, table); err != nil {
		return err
	}
	for _, n := range r.notes {
		fmt.Fprintf(env.Stdout, "note  %s\n", n)
	}
	if r.compared {
		fmt.Fprintf(env.Stdout, "%s would be added (+) and %s fall away against the other rules\n", plural(len(r.added), "alert"), plural(len(r.removed), "alert"))
		for _, n := range r.removed {
			fmt.Fprintf(env.Stdout, "- %s %s %s: %s\n", n.At.UTC().Format(time.RFC3339), n.Severity, n.SLO, n.Reason)
		}
	}
	_, err := fmt.Fprintf(env.Stdout, "%s and %s of %s from %s to %s\n",
		plural(r.count("page"), "page"), plural(r.count("ticket"), "ticket"), plural(len(r.set.SLOs), "objective"), r.from.UTC().Format(time.RFC3339), r.to.UTC().Format(time.RFC3339))
	return err
}

// ratio writes a share for people.
func ratio(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
