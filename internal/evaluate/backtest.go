package evaluate

import (
	"context"
	"fmt"
	"sort"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Counter reads counts; a Querier is one.
type Counter interface {
	Counts(ctx context.Context, s slo.SLO, g rollup.Grain, from, to time.Time) ([]Point, error)
}

// Backtest runs the evaluator over [from, to] and returns what would have
// changed. Windows of ten seconds are taken as kept since fine; before that it
// judges on minutes, a minute apart, and from there on with the ticks of live
// evaluation.
func Backtest(ctx context.Context, q Counter, slos []slo.SLO, from, to, fine time.Time) ([]Transition, error) {
	r := replay{query: q, slos: slos, eval: NewEvaluator(slos)}
	// The first hours on fine windows look back on fine windows.
	border := rollup.Grain1h.Window(fine.Add(time.Hour - 1)).Start
	tick := rollup.Grain10s.Window(from).Start
	if tick.Before(border) {
		tick = rollup.Grain1m.Window(from).Start
	}
	r.eval.Begin(tick)
	if err := r.past(ctx, tick, border); err != nil {
		return nil, err
	}
	r.changes = r.eval.Judge()
	if tick.Before(border) {
		end := rollup.Grain1m.Window(earlier(to, border)).Start
		if err := r.step(ctx, rollup.Grain1m, tick, end); err != nil {
			return nil, err
		}
		tick = end
	}
	if to.After(border) {
		if err := r.step(ctx, rollup.Grain10s, tick, rollup.Grain10s.Window(to).Start); err != nil {
			return nil, err
		}
	}
	return r.changes, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

type replay struct {
	query   Counter
	slos    []slo.SLO
	eval    *Evaluator
	changes []Transition
}

// past loads what lies before tick, in minutes where finer windows are gone.
func (r *replay) past(ctx context.Context, tick, fine time.Time) error {
	for _, span := range Past(tick, r.slos) {
		parts := []Span{span}
		if span.Grain == rollup.Grain10s && span.From.Before(fine) {
			cut := earlier(fine, span.To)
			parts = []Span{{rollup.Grain1m, span.From, cut}, {rollup.Grain10s, cut, span.To}}
		}
		for _, p := range parts {
			if !p.From.Before(p.To) {
				continue
			}
			for i, s := range r.slos {
				points, err := r.query.Counts(ctx, s, p.Grain, p.From, p.To)
				if err != nil {
					return fmt.Errorf("read the past of %s: %w", s.Name, err)
				}
				r.eval.Set(i, p.Grain, points)
			}
		}
	}
	return nil
}

// step judges all ticks of a grain after from, up to to.
func (r *replay) step(ctx context.Context, g rollup.Grain, from, to time.Time) error {
	points := make([][]Point, len(r.slos))
	for i, s := range r.slos {
		var err error
		if points[i], err = r.query.Counts(ctx, s, g, from, to); err != nil {
			return fmt.Errorf("read the counts of %s: %w", s.Name, err)
		}
	}
	for tick := from.Add(time.Duration(g)); !tick.After(to); tick = tick.Add(time.Duration(g)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.eval.Begin(tick)
		for i, ps := range points {
			n := sort.Search(len(ps), func(k int) bool { return !ps[k].Time.Before(tick) })
			r.eval.Set(i, g, ps[:n])
			points[i] = ps[n:]
		}
		r.changes = append(r.changes, r.eval.Judge()...)
	}
	return nil
}

// A Notice is one page or ticket that an evaluation would have sent.
type Notice struct {
	SLO, ID  string
	Severity alert.Severity
	Onset    time.Time // of the failure
	At       time.Time // tick that raised it
	Until    time.Time // tick that ended it; zero: not ended
	Reason   string    // why it was raised
	Total    slo.Count // from the onset to the end, if that is known
}

// Notices makes the notices of a list of transitions. An alert whose severity
// changes is two, as whoever receives it is told twice.
func Notices(changes []Transition) []Notice {
	var list []Notice
	open := map[string]int{}
	for _, t := range changes {
		name := t.Status.SLO.Name
		if i, ok := open[name]; ok {
			list[i].Until, list[i].Total = t.At, t.Total
			delete(open, name)
		}
		if st := t.Status; st.State == alert.Firing {
			open[name] = len(list)
			list = append(list, Notice{SLO: name, ID: st.ID, Severity: st.Severity, Onset: st.Since, At: t.At, Reason: st.Reason})
		}
	}
	return list
}
