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
	stale      = 10 * time.Minute       // data older than that begins no notification
	maxCatchUp = fineReach              // a longer gap is judged at its end only
	keepEvery  = time.Minute            // between checkpoints
	ahead      = time.Minute            // how far data may be complete in the future
)

// A Loop evaluates objectives for ever.
type Loop struct {
	config Config
	deps   Deps
	log    *slog.Logger
	m      *metrics

	eval    *Evaluator
	begun   bool
	caught  bool // every topic has been read to its end once
	kept    time.Time
	fresh   freshness
	known   map[string]bool // keys of events that are recorded after the last checkpoint
	signals *Signals
	out     delivery
	blind   blindness

	observed observation

	mu    sync.Mutex
	fault error // of the last round, for readiness
	ready bool
}

// New returns a loop; Run starts it.
func New(c Config, d Deps, log *slog.Logger, reg prometheus.Registerer) *Loop {
	l := &Loop{config: c, deps: d, log: log, m: newMetrics(reg), eval: NewEvaluator(d.Set)}
	l.blind.started = d.Elapsed()
	l.signals = NewSignals(c.Signals)
	l.out = delivery{journal: d.Journal, send: d.Send, now: d.Now, elapsed: d.Elapsed, m: l.m, url: c.external() + "/", active: map[string]*standing{}, deadman: deadman(c)}
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
	logged := -time.Hour
	for {
		err := l.round(ctx)
		l.mu.Lock()
		l.fault, l.ready = err, l.ready || err == nil
		l.mu.Unlock()
		if err != nil && ctx.Err() == nil && l.deps.Elapsed()-logged > 10*time.Second {
			logged = l.deps.Elapsed()
			l.log.Error("evaluation failed and will be tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step does one round of Run, for a caller with a clock of its own.
func (l *Loop) Step(ctx context.Context) error { return l.round(ctx) }

// round judges all ticks that have become complete.
func (l *Loop) round(ctx context.Context) error {
	complete, ok, err := l.complete(ctx)
	if err == nil && ok {
		l.blind.see(complete, l.deps.Now(), l.deps.Elapsed())
	}
	if err == nil && ok && (l.blind.trusted || !complete.CaughtUp) {
		err = l.evaluate(ctx, rollup.Grain10s.Window(complete.CompleteUntil.Add(-l.config.Grace)).Start, complete)
	}
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
	}
	l.look()
	l.lookDelivery()
	if err2 := l.out.flush(ctx); err == nil {
		err = err2
	}
	l.observe(ctx)
	if err == nil && l.begun && l.eval.Tick().Sub(l.kept) >= keepEvery {
		err = l.keep(ctx)
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
	case l.blind.age(l.deps.Elapsed()) > stale:
		return "catching up: data is complete until " + complete.CompleteUntil.UTC().Format(time.RFC3339)
	}
	return ""
}

func (l *Loop) evaluate(ctx context.Context, to time.Time, complete rollup.Watermark) error {
	// When a topic has been filled with its past, or at the beginning of a day, the
	// series are read anew.
	day := l.eval.Tick().Truncate(24 * time.Hour)
	if l.begun && (complete.CaughtUp && !l.caught || to.Truncate(24*time.Hour).After(day)) {
		if err := l.rebuild(ctx); err != nil {
			return err
		}
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
	begin := l.deps.Elapsed()
	if err := l.advance(ctx, to, complete, hold); err != nil {
		return err
	}
	l.m.show(l.eval)
	l.m.duration.Observe((l.deps.Elapsed() - begin).Seconds())
	return nil
}

// advance judges all ticks up to to.
func (l *Loop) advance(ctx context.Context, to time.Time, complete rollup.Watermark, hold string) error {
	batch, err := l.read(ctx, to)
	if err != nil {
		return err
	}
	tick := l.eval.Tick().Add(time.Duration(rollup.Grain10s))
	if to.Sub(tick) > maxCatchUp {
		tick = to
	}
	for ; !tick.After(to); tick = tick.Add(time.Duration(rollup.Grain10s)) {
		l.eval.Begin(tick)
		batch.set(l.eval)
		changes := l.eval.Judge()
		if tick.Unix()%60 == 0 && tick.Add(time.Minute).After(to) {
			changes = append(changes, l.signal(ctx, tick)...)
		}
		l.handle(ctx, changes, complete.CompleteUntil, hold)
		l.m.ticks.Inc()
	}
	return nil
}

// begin loads the past and what an earlier process left: it goes on at the last
// checkpoint, so that every tick since is judged as it would have been.
func (l *Loop) begin(ctx context.Context, to time.Time, complete rollup.Watermark, hold string) error {
	if len(l.out.events) > 0 {
		return nil // what fires is read from the records
	}
	cp, found, err := l.deps.Journal.Kept(ctx)
	if err != nil {
		return fmt.Errorf("read the last checkpoint: %w", err)
	}
	at := to
	if found && cp.Tick.Before(to) && to.Sub(cp.Tick) <= maxCatchUp {
		at = cp.Tick.UTC()
	}
	if found && cp.Tick.After(to) && cp.Tick.Sub(to) < 24*time.Hour {
		return nil // what was judged is not judged again: wait for the data
	}
	eval, err := l.load(ctx, at, cp)
	if err != nil {
		return err
	}
	firing, err := l.deps.Journal.Firing(ctx)
	if err != nil {
		return fmt.Errorf("read what was firing: %w", err)
	}
	if l.known, err = l.deps.Journal.Recorded(ctx, at); err != nil {
		return fmt.Errorf("read what was recorded: %w", err)
	}
	l.eval, l.begun, l.kept = eval, true, at
	if found {
		eval.Resume(cp)
	}
	for _, r := range firing {
		l.restore(r, cp, found && at.Before(to), at, hold)
	}
	l.log.Info("evaluation begins", "time", at, "slos", len(l.deps.Set.SLOs), "firing", len(firing), "hold", hold)
	if !at.Before(to) {
		l.handle(ctx, l.eval.Judge(), complete.CompleteUntil, hold)
	}
	l.m.show(l.eval)
	return nil
}

// load returns an evaluator with the past before a tick.
func (l *Loop) load(ctx context.Context, at time.Time, cp Checkpoint) (*Evaluator, error) {
	eval := NewEvaluator(l.deps.Set)
	eval.Begin(at)
	eval.Admit(cp)
	if err := LoadPast(ctx, l.deps.Query, eval, l.deps.reach(l.deps.Now())); err != nil {
		return nil, err
	}
	return eval, nil
}

// restore takes over an alert that was recorded as firing. resumed tells that
// the checkpoint says how its series stood.
func (l *Loop) restore(r Restored, cp Checkpoint, resumed bool, at time.Time, hold string) {
	series := seriesName(r.SLO, r.Group)
	l.out.restore(series, r, hold)
	switch {
	case l.signals.Restore(r):
	case r.SLO == blindSLO:
		l.blind.since, l.blind.id, l.blind.sever = r.Since, r.ID, r.Severity
	case r.SLO == deliverySLO:
		l.blind.mute, l.blind.muteID = r.Since, r.ID
	case resumed && slices.ContainsFunc(cp.Kept, func(k Kept) bool { return k.SLO == r.SLO && k.Group == r.Group }) && l.eval.has(series):
	case l.known[eventKey(r.ID, r.raised(), alert.Firing, r.Severity)]: // judged again from the checkpoint on
	case !l.eval.Restore(series, r.Severity, r.Since, r.ID):
		l.out.end(gone(r, at), "", "{}")
	}
}

// rebuild reads the series anew, as a restart would.
func (l *Loop) rebuild(ctx context.Context) error {
	cp := l.eval.Checkpoint()
	cp.Groups = nil // the largest groups are chosen again
	eval, err := l.load(ctx, cp.Tick, cp)
	if err != nil {
		return err
	}
	eval.Resume(cp)
	l.eval = eval
	return nil
}

// keep writes a checkpoint: what happened before it is recorded.
func (l *Loop) keep(ctx context.Context) error {
	if err := l.deps.Journal.Keep(ctx, l.eval.Checkpoint()); err != nil {
		l.m.errors.WithLabelValues("record").Inc()
		return fmt.Errorf("keep a checkpoint: %w", err)
	}
	l.kept = l.eval.Tick()
	return nil
}

// gone is the end of an alert whose objective is no longer there.
func gone(r Restored, at time.Time) Transition {
	t := Transition{At: at, From: alert.Firing, FromSever: r.Severity, ResolvedID: r.ID, Since: r.Since}
	t.Status.SLO.Name, t.Status.Group, t.Status.SLO.Service, t.Status.State = r.SLO, r.Group, r.Labels["service"], alert.Resolved
	t.Status.Reason = "the objective was removed"
	return t
}

// handle turns transitions into alerts, posts them and records them. hold says
// why they are not sent, if so.
func (l *Loop) handle(ctx context.Context, changes []Transition, complete time.Time, hold string) {
	n := 0
	for _, t := range changes {
		if l.known[t.Key()] {
			continue // an earlier process has posted and recorded it
		}
		n++
		id, why := t.Status.ID, hold
		if t.Status.SLO.Preview && why == "" {
			why = preview
		}
		if t.Status.State == alert.Firing {
			a, team, evidence := l.compose(ctx, &t, complete)
			l.out.fire(t, a, team, evidence, why)
		} else {
			id = t.ResolvedID
			l.out.end(t, l.endText(&t), endEvidence(&t))
		}
		l.log.Info("alert changed", "slo", t.Status.SLO.Name, "group", t.Status.Group, "from", t.From, "to", t.Status.State, "severity", t.Status.Severity.String(), "alert", id, "hold", why)
	}
	if n == 0 {
		return
	}
	l.out.due = true
	if err := l.out.flush(ctx); err != nil {
		l.log.Error("a change of an alert will be posted or recorded again", "err", err)
	}
}

// compose makes the alert of a transition, its owner and its evidence.
func (l *Loop) compose(ctx context.Context, t *Transition, complete time.Time) (a Alert, team, evidence string) {
	if t.Status.Signal != nil {
		return l.signalAlert(t, complete, l.drill(ctx, t, complete))
	}
	f := l.find(ctx, t.Status, complete)
	a, evidence = l.alert(&f)
	return a, f.owner.Team.Name, evidence
}
