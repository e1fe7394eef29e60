package evaluate

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/suspect"
)

const (
	poll       = 250 * time.Millisecond // how often completeness is asked for
	repeat     = 30 * time.Second       // how often firing alerts are posted again
	expiry     = 4 * time.Minute        // after which Alertmanager resolves what is not posted again
	late       = 2 * time.Minute        // how far back each tick reads again
	veryLate   = 15 * time.Minute       // how far back a tick reads again once a minute
	catchingUp = 2 * time.Minute        // data older than that is still catching up, and nothing begins
	maxCatchUp = time.Hour              // a longer gap is judged at its end only
	evidenceIn = 5 * time.Minute        // the newest part of a failure that a page describes
)

// A Loop evaluates objectives for ever.
type Loop struct {
	config Config
	deps   Deps
	log    *slog.Logger
	m      *metrics

	eval   *Evaluator
	begun  bool
	active map[string]Alert // by objective: what is posted again and again
	posted time.Time
	unsent []Alert // ends that no Alertmanager has taken yet

	mu    sync.Mutex
	fault error // of the last round, for readiness
	ready bool
}

// New returns a loop; Run starts it.
func New(c Config, d Deps, log *slog.Logger, reg prometheus.Registerer) *Loop {
	return &Loop{config: c, deps: d, log: log, m: newMetrics(reg), eval: NewEvaluator(d.SLOs), active: map[string]Alert{}}
}

// Ready returns nil, or why nothing can be evaluated.
func (l *Loop) Ready(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil && !l.ready {
		return fmt.Errorf("no round of evaluation has ended yet")
	}
	return l.fault
}

// Run evaluates until ctx ends. Errors are counted, logged and tried again.
func (l *Loop) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var logged time.Time
	for {
		err := l.round(ctx)
		l.mu.Lock()
		l.fault, l.ready = err, l.ready || err == nil
		l.mu.Unlock()
		if err != nil && ctx.Err() == nil && l.deps.Now().Sub(logged) > 10*time.Second {
			logged = l.deps.Now()
			l.log.Error("evaluation failed and will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round judges all ticks that have become complete.
func (l *Loop) round(ctx context.Context) error {
	complete, ok, err := l.completeUntil(ctx)
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		return err
	}
	if ok {
		to := rollup.Grain10s.Window(complete.Add(-l.config.Grace)).Start
		if err := l.evaluate(ctx, to, complete); err != nil {
			l.m.errors.WithLabelValues("query").Inc()
			return err
		}
	}
	return l.post(ctx, false)
}

// completeUntil returns until when all access-log topics are complete. It
// reports false until each of them has been read to its end once.
func (l *Loop) completeUntil(ctx context.Context) (time.Time, bool, error) {
	marks, err := l.deps.Query.Watermarks(ctx)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read completeness: %w", err)
	}
	var least time.Time
	found := 0
	for _, w := range marks {
		if !slices.Contains(l.deps.Topics, w.Topic) {
			continue
		}
		if !w.CaughtUp {
			return time.Time{}, false, nil
		}
		if found == 0 || w.CompleteUntil.Before(least) {
			least = w.CompleteUntil
		}
		found++
	}
	return least, found == len(l.deps.Topics) && found > 0, nil
}

func (l *Loop) evaluate(ctx context.Context, to, complete time.Time) error {
	// Data that appears before what has been judged is a topic being filled with
	// its past: the series must be read anew when that has ended.
	if l.begun && to.Before(l.eval.Tick().Add(-veryLate)) {
		l.begun = false
	}
	if !l.begun {
		if l.deps.Now().Sub(complete) > catchingUp {
			return nil
		}
		return l.begin(ctx, to, complete)
	}
	if !to.After(l.eval.Tick()) {
		return nil
	}
	begin := l.deps.Now()
	from := l.eval.Tick().Add(-late)
	if l.eval.Tick().Unix()%60 == 0 {
		from = l.eval.Tick().Add(-veryLate)
	}
	points := make([][]Point, len(l.deps.SLOs))
	for i, s := range l.deps.SLOs {
		var err error
		if points[i], err = l.deps.Query.Counts(ctx, s, rollup.Grain10s, from, to); err != nil {
			return fmt.Errorf("read the counts of %s: %w", s.Name, err)
		}
	}
	tick := l.eval.Tick().Add(time.Duration(rollup.Grain10s))
	if to.Sub(tick) > maxCatchUp {
		tick = to
	}
	for ; !tick.After(to); tick = tick.Add(time.Duration(rollup.Grain10s)) {
		l.eval.Begin(tick)
		for i := range points {
			l.eval.Set(i, points[i])
		}
		if err := l.handle(ctx, l.eval.Judge(), complete); err != nil {
			return err
		}
		l.m.ticks.Inc()
	}
	l.m.show(l.eval.Tick(), l.eval.Statuses())
	l.m.duration.Observe(l.deps.Now().Sub(begin).Seconds())
	return nil
}

// begin loads the past and what an earlier process left firing.
func (l *Loop) begin(ctx context.Context, to, complete time.Time) error {
	if len(l.deps.SLOs) == 0 {
		l.begun = true
		return nil
	}
	l.eval = NewEvaluator(l.deps.SLOs)
	l.eval.Begin(to)
	for i, s := range l.deps.SLOs {
		for _, span := range Past(to, l.deps.SLOs) {
			points, err := l.deps.Query.Counts(ctx, s, span.Grain, span.From, span.To)
			if err != nil {
				return fmt.Errorf("read the past of %s: %w", s.Name, err)
			}
			l.eval.Set(i, points)
		}
	}
	firing, err := l.deps.Query.Firing(ctx)
	if err != nil {
		return fmt.Errorf("read what was firing: %w", err)
	}
	for _, r := range firing {
		l.eval.Restore(r.SLO, r.Severity, r.Since, r.ID)
	}
	l.begun = true
	l.log.Info("evaluation begins", "time", to, "slos", len(l.deps.SLOs), "firing", len(firing))
	changes := l.eval.Judge()
	for _, st := range l.eval.Statuses() {
		changed := slices.ContainsFunc(changes, func(t Transition) bool { return t.Status.SLO.Name == st.SLO.Name })
		if st.State == alert.Firing && !changed {
			f := l.find(ctx, st, complete)
			l.active[st.SLO.Name] = l.alert(&f)
		}
	}
	l.m.show(to, l.eval.Statuses())
	return l.handle(ctx, changes, complete)
}

// handle turns transitions into alerts, posts them and records them.
func (l *Loop) handle(ctx context.Context, changes []Transition, complete time.Time) error {
	if len(changes) == 0 {
		return nil
	}
	var events []Event
	for _, t := range changes {
		f := l.find(ctx, t.Status, complete)
		ev := Event{Transition: t, AlertID: t.Status.ID, Owner: f.owner.Team.Name, Evidence: f.explanation()}
		name := t.Status.SLO.Name
		old, was := l.active[name]
		if was {
			old.EndsAt = l.deps.Now()
		}
		switch {
		case t.Status.State == alert.Firing:
			if was && t.FromSever != t.Status.Severity {
				l.unsent = append(l.unsent, old) // the alert of the other severity ends
			}
			a := l.alert(&f)
			l.active[name], ev.Labels, ev.Annotations = a, a.Labels, a.Annotations
		default:
			ev.AlertID = t.ResolvedID
			if was {
				old.Annotations = maps.Clone(old.Annotations)
				old.Annotations["page"] = f.resolvedText(t.ResolvedID, old.StartsAt, t.FromSever)
				l.unsent = append(l.unsent, old)
				ev.Labels, ev.Annotations = old.Labels, old.Annotations
				delete(l.active, name)
			}
		}
		l.log.Info("alert changed", "slo", name, "from", t.From, "to", t.Status.State, "severity", t.Status.Severity.String(), "alert", ev.AlertID)
		events = append(events, ev)
	}
	sendErr := l.post(ctx, true)
	for i := range events {
		if sendErr != nil {
			events[i].SendError = sendErr.Error()
		} else if l.sending() {
			events[i].SentAt = l.deps.Now()
		}
	}
	if err := l.deps.Query.Record(ctx, events); err != nil {
		l.m.errors.WithLabelValues("record").Inc()
		return fmt.Errorf("record %d changes: %w", len(events), err)
	}
	return nil
}

func (l *Loop) sending() bool { return l.deps.Send != nil && !l.config.Preview }

// post sends what fires and what has ended: now, or when it is time to repeat it.
func (l *Loop) post(ctx context.Context, now bool) error {
	at := l.deps.Now()
	if !l.sending() || len(l.active)+len(l.unsent) == 0 || !now && at.Sub(l.posted) < repeat && len(l.unsent) == 0 {
		return nil
	}
	list := slices.Clone(l.unsent)
	for _, name := range slices.Sorted(maps.Keys(l.active)) {
		a := l.active[name]
		a.EndsAt = at.Add(expiry)
		list = append(list, a)
	}
	if err := l.deps.Send.Send(ctx, list); err != nil {
		l.m.errors.WithLabelValues("send").Inc()
		return fmt.Errorf("post %d alerts: %w", len(list), err)
	}
	l.m.sent.Add(float64(len(list)))
	l.unsent, l.posted = nil, at
	return nil
}

// find collects what a page tells. A page goes out without what can't be read.
func (l *Loop) find(ctx context.Context, st Status, complete time.Time) finding {
	f := finding{status: st, complete: complete, now: l.deps.Now()}
	onset := st.Since
	if newest := l.eval.Tick().Add(-evidenceIn); onset.IsZero() || onset.Before(newest) {
		onset = newest
	}
	ev, err := l.deps.Query.Evidence(ctx, st.SLO, onset, l.eval.Tick())
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		l.log.Error("a page goes out without evidence", "slo", st.SLO.Name, "err", err)
		ev.Now, ev.From, ev.To = st.Short, l.eval.Tick().Add(-st.Window.Short), l.eval.Tick()
	}
	f.evidence = ev
	f.suspects = suspect.Rank(ev.Cells, ev.Now, ev.Before)
	f.reach = suspect.ReachOf(f.suspects, len(ev.Responders) > 0 && ev.Responders[0].Name == "gateway" && len(ev.Classes) > 0 && strings.HasPrefix(ev.Classes[0].Name, "gateway_"))
	sig := f.signal()
	f.owner = l.deps.Owners.Lookup(owner.Question{Stated: st.SLO.Owner, Service: st.SLO.Service, Method: st.SLO.SLI.Method, Route: sig.Route}, l.config.DefaultOwner)
	f.runbook, _ = match(l.deps.Runbooks, st.SLO.Runbook, sig)
	return f
}

// match returns the runbook that the objective names, else the best one.
func match(set *runbook.Set, named string, sig runbook.Signal) (runbook.Found, bool) {
	if named != "" {
		if found, ok := set.Named(named, sig); ok {
			return found, true
		}
	}
	return set.Match(sig)
}

// alert makes what is posted from a finding. Labels are the identity of the
// alert: whatever changes while it fires is an annotation.
func (l *Loop) alert(f *finding) Alert {
	st := &f.status
	severity := st.Severity.String()
	if other, ok := l.config.SeverityMap[severity]; ok {
		severity = other
	}
	labels := map[string]string{
		"alertname": "SLOBurn", "slo": st.SLO.Name, "service": st.SLO.Service, "owner": f.owner.Team.Name, "severity": severity,
	}
	maps.Copy(labels, l.config.ExtraLabels)
	annotations := map[string]string{
		"page": f.text(l.config), "alert_id": st.ID, "reason": st.Reason, "reach": f.reach.String(), "since": st.Since.UTC().Format(time.RFC3339),
		"complete_until": f.complete.UTC().Format(time.RFC3339),
	}
	annotations["summary"], _, _ = strings.Cut(annotations["page"], "\n")
	if f.runbook.Runbook != nil {
		annotations["runbook"] = f.runbook.Runbook.Name + " § " + f.runbook.Section.Title
		annotations["runbook_reason"] = f.runbook.Reason
		annotations["runbook_url"] = f.runbook.Link(l.config.runbookBase(), f.vars())
	}
	return Alert{Labels: labels, Annotations: annotations, StartsAt: st.Since, GeneratorURL: l.config.external() + "/"}
}

// external is where people reach this process.
func (c Config) external() string {
	if c.ExternalURL != "" {
		return strings.TrimRight(c.ExternalURL, "/")
	}
	return "http://" + c.Listen
}

// runbookBase begins links to runbooks.
func (c Config) runbookBase() string {
	if c.Runbooks.BaseURL != "" {
		return strings.TrimRight(c.Runbooks.BaseURL, "/")
	}
	return c.external() + "/runbooks"
}
