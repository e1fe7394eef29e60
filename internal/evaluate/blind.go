package evaluate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
)

// What stands in place of an objective in the alerts that say that none can be
// judged, and that none can be delivered.
const (
	blindSLO    = "data-incomplete"
	deliverySLO = "delivery-failing"
)

const (
	unsure = 2 * time.Minute // after which data counts as incomplete
	mute   = 2 * time.Minute // after which failing posts are an alert
)

// A blindness is how long objectives can't be judged, for want of complete data.
// Clocks may be set while this runs: how old data is comes from the process that
// measures it, and from a clock that nobody sets.
type blindness struct {
	started time.Duration
	newest  rollup.Watermark // that was measured
	at      time.Duration    // when it came
	last    rollup.Watermark // newest that is trusted
	seen    time.Duration    // when that came
	extra   time.Duration    // how old it was then, if it is the first
	trusted bool
	since   time.Time // while its alert fires
	sever   alert.Severity
	id      string
	mute    time.Time // while the alert on deliveries fires
	muteID  string
}

// see takes a measurement. It is not trusted when it is in the future and has
// jumped there: the clock of the process that measures was set forward, and what
// looks complete is not.
func (b *blindness) see(w rollup.Watermark, wall time.Time, now time.Duration) {
	if !w.CaughtUp || w.MeasuredAt.Equal(b.newest.MeasuredAt) {
		return
	}
	future := w.CompleteUntil.After(wall.Add(ahead))
	first := b.newest.MeasuredAt.IsZero()
	jump := w.MeasuredAt.Sub(b.newest.MeasuredAt) - (now - b.at)
	switch {
	case !future:
		b.trusted = true
	case first || jump > ahead:
		b.trusted = false
	}
	b.newest, b.at = w, now
	if !b.trusted {
		return
	}
	if b.extra = 0; first {
		b.extra = max(0, wall.Sub(w.MeasuredAt))
	}
	b.last, b.seen = w, now
}

// age returns how long ago data was last complete.
func (b *blindness) age(now time.Duration) time.Duration {
	return b.last.MeasuredAt.Sub(b.last.CompleteUntil) + b.extra + now - b.seen
}

// now returns the time by the clock that data is measured with.
func (b *blindness) now(wall time.Time, elapsed time.Duration) time.Time {
	if b.last.MeasuredAt.IsZero() {
		return wall
	}
	return b.last.CompleteUntil.Add(b.age(elapsed))
}

// look tells when data has been incomplete for too long under an objective: a
// page if one of them pages, for silence would look like calm. It stays silent
// while topics are read for the first time, and for some time after a start.
func (l *Loop) look() {
	now := l.deps.Elapsed()
	if l.blind.newest.MeasuredAt.IsZero() {
		return
	}
	old := l.blind.age(now)
	if l.blind.last.MeasuredAt.IsZero() {
		old = now - l.blind.started
	}
	l.m.age.Set(old.Seconds())
	incomplete := old > unsure || !l.blind.trusted
	l.m.incomplete.Set(map[bool]float64{true: 1}[incomplete])
	l.out.alive = l.begun && !incomplete
	blind := old > stale && len(l.deps.Set.SLOs) > 0 && (now-l.blind.started > stale || !l.blind.since.IsZero())
	if blind != !l.blind.since.IsZero() {
		l.turn(blind)
	}
}

// turn begins or ends the alert.
func (l *Loop) turn(blind bool) {
	t := Transition{At: rollup.Grain10s.Window(l.blind.now(l.deps.Now(), l.deps.Elapsed())).Start, From: alert.Inactive}
	t.Status.SLO = slo.SLO{Name: blindSLO, Service: "gatewatch"}
	if blind {
		l.blind.sever = alert.Ticket
		if slices.ContainsFunc(l.deps.Set.SLOs, slo.SLO.Pages) {
			l.blind.sever = alert.Page
		}
		l.blind.since = l.blind.last.CompleteUntil.Truncate(time.Second)
		if l.blind.last.CompleteUntil.IsZero() {
			l.blind.since = l.deps.Now().Add(-stale).Truncate(time.Second)
		}
		l.blind.id = alert.ID(blindSLO, l.blind.since)
		t.Status.State, t.Status.Severity, t.Status.Since, t.Status.ID = alert.Firing, l.blind.sever, l.blind.since, l.blind.id
		a, team, evidence := l.blindAlert(t)
		l.out.fire(t, a, team, evidence, "")
	} else {
		t.From, t.FromSever, t.ResolvedID, t.Since = alert.Firing, l.blind.sever, l.blind.id, l.blind.since
		t.Status.State = alert.Resolved
		l.out.end(t, fmt.Sprintf("[RESOLVED] gatewatch sees all traffic again: %s after %s\nLinks    `gatewatch-alert explain %s`", l.blind.sever, age(l.deps.Now().Sub(l.blind.since)), l.blind.id), "{}")
		l.blind.since, l.blind.id = time.Time{}, ""
	}
	l.out.due = true
	l.log.Warn("completeness of data changed", "blind", blind, "time", l.blind.last.CompleteUntil)
}

// blindAlert is the alert of data that is not complete.
func (l *Loop) blindAlert(t Transition) (Alert, string, string) {
	since := t.Status.Since.UTC()
	sig := &Signal{
		Kind: alert.DataIncomplete, Service: "gatewatch", Severity: t.Status.Severity, Since: t.Status.Since,
		Headline: "no complete data, objectives can't be judged",
		Lines:    []Line{{"Impact", fmt.Sprintf("%d objectives are not judged; a failure since %s UTC pages nobody", len(l.deps.Set.SLOs), since.Format("15:04"))}},
		Evidence: map[string]any{"objectives": len(l.deps.Set.SLOs)},
	}
	if w := l.blind.newest; !l.blind.trusted {
		sig.Lines = append(sig.Lines, Line{"Reach", fmt.Sprintf("the clock that completeness is measured by is %s ahead of this one: set the clock of gatewatch-aggregate, or of this machine", age(w.CompleteUntil.Sub(l.deps.Now())))})
	}
	if w := l.blind.last; w.Lag > 0 {
		sig.Lines = append(sig.Lines, Line{"Reach", fmt.Sprintf("topic %s, %s messages behind when it was last measured, %s", clean(w.Topic), thousands(w.Lag), w.MeasuredAt.UTC().Format(time.TimeOnly))})
		sig.Evidence["topic"], sig.Evidence["lag"] = clean(w.Topic), w.Lag
	}
	t.Status.Signal = sig
	return l.signalAlert(&t, l.blind.last.CompleteUntil, nil)
}

// lookDelivery records when no Alertmanager takes alerts. It can't be sent by
// them; the metrics, the log and the dead man's switch, which ends with it, tell.
func (l *Loop) lookDelivery() {
	failing := time.Duration(0)
	if l.out.failed > 0 {
		failing = l.deps.Elapsed() - l.out.failed
	}
	l.m.waiting.Set(failing.Seconds())
	bad := failing > mute
	if bad == !l.blind.mute.IsZero() {
		return
	}
	now := l.deps.Now()
	t := Transition{At: rollup.Grain10s.Window(now).Start, From: alert.Inactive}
	sig := &Signal{Kind: alert.DeliveryFailing, Service: "gatewatch", Severity: alert.Page, Headline: "no Alertmanager takes alerts"}
	t.Status.SLO, t.Status.Signal = slo.SLO{Name: deliverySLO, Service: "gatewatch"}, sig
	if bad {
		l.blind.mute = now.Add(-failing).Truncate(time.Second)
		l.blind.muteID = alert.ID(deliverySLO, l.blind.mute)
		sig.Since = l.blind.mute
		sig.Lines = []Line{{"Impact", fmt.Sprintf("%d alerts wait; they are posted when one answers", len(l.out.active))}}
		t.Status.State, t.Status.Severity, t.Status.Since, t.Status.ID = alert.Firing, alert.Page, l.blind.mute, l.blind.muteID
		a, team, evidence := l.signalAlert(&t, l.blind.last.CompleteUntil, nil)
		l.out.fire(t, a, team, evidence, unsendable)
		l.log.Error("no Alertmanager takes alerts", "since", l.blind.mute)
	} else {
		t.From, t.FromSever, t.ResolvedID, t.Since = alert.Firing, alert.Page, l.blind.muteID, l.blind.mute
		t.Status.State = alert.Resolved
		l.out.end(t, l.endText(&t), "{}")
		l.blind.mute, l.blind.muteID = time.Time{}, ""
		l.log.Info("an Alertmanager takes alerts again", "after", age(now.Sub(t.Since)))
	}
	l.out.due = true
}

// annotations are what every alert carries: the page and its parts.
func annotations(text string, st Status, found runbook.Found, base string, vars map[string]string) map[string]string {
	lines := strings.SplitN(text, "\n", 4)
	a := map[string]string{"summary": lines[0], "page": text, "alert_id": st.ID, "since": st.Since.UTC().Format(time.RFC3339)}
	if len(lines) > 2 {
		a["description"] = lines[1] + "\n" + lines[2]
	}
	a["kind"] = string(st.Kind())
	if found.Runbook != nil {
		a["runbook"] = found.Runbook.Name + " § " + found.Section.Title
		a["runbook_reason"] = found.Reason
		a["runbook_url"] = link(found, base, vars)
	}
	return a
}
