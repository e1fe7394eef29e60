package evaluate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
)

const (
	poll       = 250 * time.Millisecond // how often completeness is asked for
	late       = 2 * time.Minute        // how far back each tick reads again
	veryLate   = 15 * time.Minute       // how far back a tick reads again once a minute
	stale      = 10 * time.Minute       // data older than that begins no notification
	maxCatchUp = time.Hour              // a longer gap is judged at its end only
)

// A Loop evaluates objectives for ever.
type Loop struct {
	config Config
	deps   Deps
	log    *slog.Logger
	m      *metrics

	eval    *Evaluator
	begun   bool
	started time.Time
	caught  bool // every topic has been read to its end once
	out     delivery
	blind   blindness

	mu    sync.Mutex
	fault error // of the last round, for readiness
	ready bool
}

// New returns a loop; Run starts it.
func New(c Config, d Deps, log *slog.Logger, reg prometheus.Registerer) *Loop {
	l := &Loop{config: c, deps: d, log: log, m: newMetrics(reg), eval: NewEvaluator(d.SLOs), started: d.Now()}
	l.out = delivery{query: d.Query, send: d.Send, now: d.Now, m: l.m, url: c.external() + "/", active: map[string]*standing{}}
	if c.Preview {
		l.out.send = nil
	}
	return l
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
	complete, ok, err := l.complete(ctx)
	if err == nil && ok {
		err = l.evaluate(ctx, rollup.Grain10s.Window(complete.CompleteUntil.Add(-l.config.Grace)).Start, complete)
	}
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
	}
	l.look(ctx, complete)
	if err2 := l.out.flush(ctx); err == nil {
		err = err2
	}
	return err
}

// complete returns the watermark of all access-log topics together: the oldest
// one, caught up if all are. It reports false until each of them is measured.
func (l *Loop) complete(ctx context.Context) (rollup.Watermark, bool, error) {
	marks, err := l.deps.Query.Watermarks(ctx)
	if err != nil {
		return rollup.Watermark{}, false, fmt.Errorf("read completeness: %w", err)
	}
	marks = slices.DeleteFunc(marks, func(w rollup.Watermark) bool { return !slices.Contains(l.deps.Topics, w.Topic) })
	oldest, found := rollup.Oldest(marks)
	for _, w := range marks {
		oldest.CaughtUp = oldest.CaughtUp && w.CaughtUp
	}
	return oldest, found && len(marks) == len(l.deps.Topics), nil
}

// held returns why what changes now is recorded and not sent, if it is so.
func (l *Loop) held(complete rollup.Watermark) string {
	switch {
	case !complete.CaughtUp:
		return "catching up: a topic has not been read to its end yet"
	case l.deps.Now().Sub(complete.CompleteUntil) > stale:
		return "catching up: data is complete until " + complete.CompleteUntil.UTC().Format(time.RFC3339)
	}
	return ""
}

func (l *Loop) evaluate(ctx context.Context, to time.Time, complete rollup.Watermark) error {
	// When a topic has been filled with its past, or data appears before what has
	// been judged, the series must be read anew.
	if l.begun && (complete.CaughtUp && !l.caught || to.Before(l.eval.Tick().Add(-veryLate))) {
		l.begun = false
	}
	l.caught = complete.CaughtUp
	hold := l.held(complete)
	if !l.begun {
		if err := l.begin(ctx, to, complete, hold); err != nil {
			return err
		}
	}
	if hold == "" {
		l.out.release()
	}
	if !l.begun || !to.After(l.eval.Tick()) {
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
			l.eval.Set(i, rollup.Grain10s, points[i])
		}
		l.handle(ctx, l.eval.Judge(), complete.CompleteUntil, hold)
		l.m.ticks.Inc()
	}
	l.m.show(l.eval.Tick(), l.eval.Statuses())
	l.m.duration.Observe(l.deps.Now().Sub(begin).Seconds())
	return nil
}

// begin loads the past and what an earlier process left firing.
func (l *Loop) begin(ctx context.Context, to time.Time, complete rollup.Watermark, hold string) error {
	if len(l.out.events) > 0 {
		return nil // what fires is read from the records
	}
	eval := NewEvaluator(l.deps.SLOs)
	eval.Begin(to)
	for i, s := range l.deps.SLOs {
		for _, span := range Past(to, l.deps.SLOs) {
			points, err := l.deps.Query.Counts(ctx, s, span.Grain, span.From, span.To)
			if err != nil {
				return fmt.Errorf("read the past of %s: %w", s.Name, err)
			}
			eval.Set(i, span.Grain, points)
		}
	}
	firing, err := l.deps.Query.Firing(ctx)
	if err != nil {
		return fmt.Errorf("read what was firing: %w", err)
	}
	l.eval, l.begun = eval, true
	for _, r := range firing {
		if r.SLO == blindSLO {
			l.blind.since, l.blind.id = r.Since, r.ID
			l.out.restore(r, hold)
			continue
		}
		l.out.restore(r, hold)
		if !l.eval.Restore(r.SLO, r.Severity, r.Since, r.ID) {
			l.out.end(gone(r, to), "", "{}")
		}
	}
	l.log.Info("evaluation begins", "time", to, "slos", len(l.deps.SLOs), "firing", len(firing), "hold", hold)
	l.handle(ctx, l.eval.Judge(), complete.CompleteUntil, hold)
	l.m.show(to, l.eval.Statuses())
	return nil
}

// gone is the end of an alert whose objective is no longer there.
func gone(r Restored, at time.Time) Transition {
	t := Transition{At: at, From: alert.Firing, FromSever: r.Severity, ResolvedID: r.ID}
	t.Status.SLO.Name, t.Status.SLO.Service, t.Status.State = r.SLO, r.Labels["service"], alert.Resolved
	t.Status.Reason = "the objective was removed"
	return t
}

// handle turns transitions into alerts, posts them and records them. hold says
// why they are not sent, if so.
func (l *Loop) handle(ctx context.Context, changes []Transition, complete time.Time, hold string) {
	if len(changes) == 0 {
		return
	}
	for _, t := range changes {
		id := t.Status.ID
		if t.Status.State == alert.Firing {
			f := l.find(ctx, t.Status, complete)
			l.out.fire(t, l.alert(&f), f.owner.Team.Name, f.explanation(), hold)
		} else {
			id = t.ResolvedID
			l.out.end(t, resolvedText(&t), endEvidence(&t))
		}
		l.log.Info("alert changed", "slo", t.Status.SLO.Name, "from", t.From, "to", t.Status.State, "severity", t.Status.Severity.String(), "alert", id, "hold", hold)
	}
	l.out.due = true
	if err := l.out.flush(ctx); err != nil {
		l.log.Error("a change of an alert will be posted or recorded again", "err", err)
	}
}
