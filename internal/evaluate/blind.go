package evaluate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
)

// blindSLO stands in place of an objective in the alert that says that none can be judged.
const blindSLO = "data-incomplete"

// A blindness is how long objectives can't be judged, for want of complete data.
type blindness struct {
	last  rollup.Watermark // newest that is known
	since time.Time        // while its alert fires
	id    string
}

// look pages when data has been incomplete for too long under an objective that
// pages: silence would look like calm. It stays silent while topics are read
// for the first time, and for some time after a start.
func (l *Loop) look(ctx context.Context, complete rollup.Watermark) {
	now := l.deps.Now()
	if complete.CaughtUp {
		l.blind.last = complete
	}
	last := l.blind.last.CompleteUntil
	if last.IsZero() {
		return
	}
	l.m.age.Set(now.Sub(last).Seconds())
	blind := now.Sub(last) > stale && now.Sub(l.started) > stale && slices.ContainsFunc(l.deps.SLOs, pages)
	if blind == !l.blind.since.IsZero() {
		return
	}
	t := Transition{At: rollup.Grain10s.Window(now).Start, From: alert.Inactive}
	t.Status.SLO = slo.SLO{Name: blindSLO, Service: "gatewatch"}
	if blind {
		l.blind.since = last.Truncate(time.Second)
		l.blind.id = alert.ID(blindSLO, l.blind.since)
		t.Status.State, t.Status.Severity, t.Status.Since, t.Status.ID = alert.Firing, alert.Page, l.blind.since, l.blind.id
		a, team := l.blindAlert(t)
		l.out.fire(t, a, team, "{}", "")
	} else {
		t.From, t.FromSever, t.ResolvedID, t.Since = alert.Firing, alert.Page, l.blind.id, l.blind.since
		t.Status.State = alert.Resolved
		l.out.end(t, fmt.Sprintf("[RESOLVED] gatewatch sees all traffic again: page after %s\nLinks    `gatewatch-alert explain %s`", age(now.Sub(l.blind.since)), l.blind.id), "{}")
		l.blind.since, l.blind.id = time.Time{}, ""
	}
	l.out.due = true
	l.log.Warn("completeness of data changed", "blind", blind, "time", last)
}

// pages tells whether some window of an objective pages.
func pages(s slo.SLO) bool {
	return slices.ContainsFunc(s.Windows, func(w slo.AlertWindow) bool { return w.Severity == alert.Page })
}

func (l *Loop) blindAlert(t Transition) (Alert, string) {
	answer := l.deps.Owners.Lookup(owner.Question{}, l.config.DefaultOwner)
	sig := runbook.Signal{Kind: "data_incomplete", Service: "gatewatch", Severity: "page"}
	found, _ := l.deps.Runbooks.Match(sig)
	var p page
	p.lines = append(p.lines, fmt.Sprintf("[PAGE] gatewatch sees no complete data since %s UTC: objectives can't be judged", t.Status.Since.UTC().Format("15:04")))
	p.add("Impact", "%d objectives are not judged; a failure since then pages nobody", len(l.deps.SLOs))
	if w := l.blind.last; w.Lag > 0 {
		p.add("Reach", "topic %s, %s messages behind when it was last measured, %s", clean(w.Topic), thousands(w.Lag), w.MeasuredAt.UTC().Format(time.TimeOnly))
	}
	vars := map[string]string{"service": "gatewatch", "since": t.Status.Since.UTC().Format(time.RFC3339), "alert": t.Status.ID}
	p.steps(found, vars)
	p.runbook(found, l.config.runbookBase(), vars)
	p.add("Owner", "%s", ownerLine(answer))
	p.add("Links", "`gatewatch-alert explain %s` · `gatewatch-ingest status`", t.Status.ID)
	labels := l.labels(t.Status, answer.Team.Name)
	labels["alertname"] = "DataIncomplete"
	return Alert{Labels: labels, Annotations: annotations(p.text(), t.Status, found, l.config.runbookBase(), vars), StartsAt: t.Status.Since, GeneratorURL: l.config.external() + "/"}, answer.Team.Name
}

// annotations are what every alert carries: the page and its parts.
func annotations(text string, st Status, found runbook.Found, base string, vars map[string]string) map[string]string {
	lines := strings.SplitN(text, "\n", 4)
	a := map[string]string{"summary": lines[0], "page": text, "alert_id": st.ID, "since": st.Since.UTC().Format(time.RFC3339)}
	if len(lines) > 2 {
		a["description"] = lines[1] + "\n" + lines[2]
	}
	if found.Runbook != nil {
		a["runbook"] = found.Runbook.Name + " § " + found.Section.Title
		a["runbook_reason"] = found.Reason
		a["runbook_url"] = link(found, base, vars)
	}
	return a
}
