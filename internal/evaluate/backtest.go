package evaluate

import (
	"context"
	"slices"
	"sort"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Replayed is what an evaluation of the past comes to.
type Replayed struct {
	Changes  []Transition
	Statuses []Status // at the end
}

// A Watch is called after each tick of a backtest, for what is drawn of it.
type Watch func(e *Evaluator)

// A Test is what a backtest is asked.
type Test struct {
	Set      *slo.Set
	From, To time.Time
	Reach    Reach
	// Every is how far apart counts are, where that is more than a tick: nothing is
	// known in between. Default: every tick.
	Every time.Duration
	Watch Watch // optional
}

// Backtest runs the evaluator over [From, To] and returns what would have
// changed. Where windows of ten seconds are not kept it judges on minutes, a
// minute apart, and from there on with the ticks of live evaluation.
func Backtest(ctx context.Context, q Counter, t Test) (Replayed, error) {
	r := replay{query: q, eval: NewEvaluator(t.Set), watch: t.Watch, every: int64(t.Every / time.Second)}
	from, to := t.From, t.To
	// The first hours on fine windows look back on fine windows.
	border := rollup.Grain1h.Window(t.Reach.Fine.Add(time.Hour - 1)).Start
	tick := rollup.Grain10s.Window(from).Start
	if tick.Before(border) {
		tick = rollup.Grain1m.Window(from).Start
	}
	r.eval.Begin(tick)
	if err := LoadPast(ctx, q, r.eval, t.Reach); err != nil {
		return Replayed{}, err
	}
	r.judge()
	if tick.Before(border) {
		end := rollup.Grain1m.Window(earlier(to, border)).Start
		if err := r.step(ctx, rollup.Grain1m, tick, end); err != nil {
			return Replayed{}, err
		}
		tick = end
	}
	if to.After(border) {
		if err := r.step(ctx, rollup.Grain10s, tick, rollup.Grain10s.Window(to).Start); err != nil {
			return Replayed{}, err
		}
	}
	return Replayed{r.changes, r.eval.Statuses()}, nil
}

type replay struct {
	query   Counter
	eval    *Evaluator
	watch   Watch
	every   int64 // seconds
	changes []Transition
}

func (r *replay) judge() {
	if r.every > 0 && r.eval.tick.Unix()%r.every != 0 {
		return
	}
	r.changes = append(r.changes, r.eval.Judge()...)
	if r.watch != nil {
		r.watch(r.eval)
	}
}

// aDay is how much a backtest reads at once.
const aDay = 24 * time.Hour

// step judges all ticks of a grain after from, up to to.
func (r *replay) step(ctx context.Context, g rollup.Grain, from, to time.Time) error {
	for from.Before(to) {
		end := earlier(from.Truncate(aDay).Add(aDay), to)
		if err := r.day(ctx, g, from, end); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// day judges all ticks after from up to to, which are read at once.
func (r *replay) day(ctx context.Context, g rollup.Grain, from, to time.Time) error {
	read := r.fine
	if g == rollup.Grain1m {
		read = r.minutes
	}
	b, err := read(ctx, from, to)
	if err != nil {
		return err
	}
	done := make([]int, len(b.points)) // of each feed's points
	for tick := from.Add(time.Duration(g)); !tick.After(to); tick = tick.Add(time.Duration(g)) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.eval.Begin(tick)
		for i, ps := range b.points {
			n := done[i] + sort.Search(len(ps)-done[i], func(k int) bool { return !ps[done[i]+k].Time.Before(tick) })
			begin := r.eval.Fresh(i, tick.Add(-time.Duration(g)), tick).From
			first := done[i]
			for ; first > 0 && !ps[first-1].Time.Before(begin); first-- { // the slice that has begun before
			}
			r.eval.Set(i, b.spans[i], ps[first:n])
			done[i] = n
		}
		r.judge()
	}
	return nil
}

func (r *replay) fine(ctx context.Context, from, to time.Time) (*batch, error) {
	return fetch(ctx, r.query, r.eval, from, to)
}

// minutes reads all feeds in minutes.
func (r *replay) minutes(ctx context.Context, from, to time.Time) (*batch, error) {
	b := &batch{}
	alike := map[Span][]int{}
	for i := range r.eval.feeds {
		s := r.eval.Fresh(i, from, to)
		s.Read, s.Grain = rollup.Grain1m, rollup.Grain1m
		b.spans, alike[s] = append(b.spans, s), append(alike[s], i)
	}
	b.points = make([][]Point, len(b.spans))
	for s, feeds := range alike {
		points, err := counts(ctx, r.query, r.eval, feeds, s)
		if err != nil {
			return nil, err
		}
		for k, i := range feeds {
			b.points[i] = points[k]
		}
	}
	return b, nil
}

// pick returns feeds by their numbers.
func (e *Evaluator) pick(numbers []int) []slo.Feed {
	list := make([]slo.Feed, len(numbers))
	for k, i := range numbers {
		list[k] = e.feeds[i]
	}
	return list
}

// has tells whether there is a series of that name.
func (e *Evaluator) has(series string) bool {
	return slices.ContainsFunc(e.objectives, func(j *judged) bool {
		return slices.ContainsFunc(j.items, func(it *item) bool { return it.status.Series() == series })
	})
}

// A Notice is one page or ticket that an evaluation would have sent.
type Notice struct {
	SLO, Group, ID string
	Severity       alert.Severity
	Onset          time.Time // of the failure
	At             time.Time // tick that raised it
	Until          time.Time // tick that ended it; zero: not ended
	Reason         string    // why it was raised
	Total          slo.Count // from the onset to the end, if that is known
	Spent          float64   // share of the period's budget that was spent from the onset to the end
}

// Notices makes the notices of a list of transitions. An alert whose severity
// changes is two, as whoever receives it is told twice.
func Notices(changes []Transition) []Notice {
	var list []Notice
	open := map[string]int{}
	for _, t := range changes {
		name := t.Status.Series()
		if i, ok := open[name]; ok {
			list[i].Until, list[i].Total = t.At, t.Total
			if p := t.Status.Period; p.Valid > 0 {
				list[i].Spent = float64(t.Total.Bad) / (t.Status.SLO.Budget() * float64(p.Valid))
			}
			delete(open, name)
		}
		if st := t.Status; st.State == alert.Firing {
			open[name] = len(list)
			list = append(list, Notice{SLO: st.SLO.Name, Group: st.Group, ID: st.ID, Severity: st.Severity, Onset: st.Since, At: t.At, Reason: st.Reason})
		}
	}
	return list
}
