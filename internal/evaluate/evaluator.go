package evaluate

import (
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Status is what an Evaluator knows about one objective at its last tick.
type Status struct {
	SLO      slo.SLO
	State    alert.State
	Severity alert.Severity
	Since    time.Time // onset, while firing
	ID       string    // of the incident, while firing
	Window   slo.AlertWindow
	Reason   string // why it has fired or ended
	Long     slo.Count
	Short    slo.Count
	Period   slo.Count
	Hour     slo.Count // the last hour
	Usual    slo.Count // the day before the onset, while firing
}

// A Transition is a change of state at a tick.
type Transition struct {
	At        time.Time // tick
	From      alert.State
	FromSever alert.Severity
	Status    Status // after it
	// Of the incident that ended, when the change ended one:
	ResolvedID string
	Since      time.Time // its onset
	Total      slo.Count // from the onset to the tick, zero if that is too long ago
}

// An Evaluator judges objectives tick by tick. It is a pure function of what
// it is given: it reads no clock and does no I/O, so a restart, a second
// instance and a backtest come to the same result. It is used by one goroutine.
type Evaluator struct {
	tick  time.Time
	items []item
}

type item struct {
	status Status
	series *series
}

// usualSpan is how long before an onset is taken for the usual state.
const usualSpan = 24 * time.Hour

const (
	periodSum = 0 // index of the sum over the period
	hourSum   = 1
	pairSums  = 2 // then long and short of each pair
)

// NewEvaluator returns an evaluator without data; see Begin.
func NewEvaluator(slos []slo.SLO) *Evaluator {
	e := &Evaluator{}
	for _, s := range slos {
		widths := []time.Duration{s.Period, time.Hour}
		for _, w := range s.Windows {
			widths = append(widths, w.Long, w.Short)
		}
		e.items = append(e.items, item{Status{SLO: s, State: alert.Inactive}, newSeries(widths)})
	}
	return e
}

// Tick returns the last tick that was judged.
func (e *Evaluator) Tick() time.Time { return e.tick }

// Statuses returns what is known about each objective, in the order given to NewEvaluator.
func (e *Evaluator) Statuses() []Status {
	list := make([]Status, len(e.items))
	for i := range e.items {
		list[i] = e.items[i].status
	}
	return list
}

// Restore sets the state that an earlier evaluation left for the objective of
// that name; it reports whether there is one. The past has been Set before.
func (e *Evaluator) Restore(name string, severity alert.Severity, since time.Time, id string) bool {
	for i := range e.items {
		if st := &e.items[i].status; st.SLO.Name == name {
			st.State, st.Severity, st.Since, st.ID = alert.Firing, severity, since, id
			st.Usual = e.items[i].series.between(since.Add(-usualSpan), since)
			return true
		}
	}
	return false
}

// Begin moves the series to tick without judging; points of all grains follow by Set.
func (e *Evaluator) Begin(tick time.Time) {
	e.tick = tick
	for i := range e.items {
		e.items[i].series.advance(tick)
	}
}

// Set replaces the counts of objective i's windows of that grain, as far as
// they began before the tick.
func (e *Evaluator) Set(i int, g rollup.Grain, points []Point) {
	for _, p := range points {
		e.items[i].series.set(g, p)
	}
}

// Judge decides on every objective at the present tick and returns what changed.
func (e *Evaluator) Judge() []Transition {
	var list []Transition
	for i := range e.items {
		if t, changed := e.judge(&e.items[i]); changed {
			list = append(list, t)
		}
	}
	return list
}

func (e *Evaluator) judge(it *item) (Transition, bool) {
	st := &it.status
	before := *st
	severity := alert.None
	st.Period, st.Hour = it.series.sum(periodSum), it.series.sum(hourSum)
	for k, w := range st.SLO.Windows {
		long, short := it.series.sum(pairSums+2*k), it.series.sum(pairSums+2*k+1)
		fires := st.SLO.Fires(w, long, short)
		if k == 0 || fires && w.Severity > severity {
			st.Window, st.Long, st.Short = w, long, short
		}
		if fires {
			severity = max(severity, w.Severity)
		}
	}
	st.Severity = severity
	if severity != before.Severity {
		st.Reason = st.SLO.Decide(st.Window, st.Long, st.Short).Reason
	}
	switch {
	case severity == alert.None && before.State != alert.Firing:
		return Transition{}, false
	case severity == alert.None:
		st.State, st.ID, st.Since, st.Usual = alert.Resolved, "", time.Time{}, slo.Count{}
		t := Transition{At: e.tick, From: before.State, FromSever: before.Severity, Status: *st, ResolvedID: before.ID, Since: before.Since}
		if e.tick.Sub(before.Since) <= minuteReach {
			t.Total = it.series.between(before.Since, e.tick.Add(time.Minute))
		}
		return t, true
	case before.State == alert.Firing:
		st.State = alert.Firing
		return Transition{At: e.tick, From: before.State, FromSever: before.Severity, Status: *st}, severity != before.Severity
	}
	st.State = alert.Firing
	st.Since = it.series.onset(st.Window.Factor*st.SLO.Budget(), fineReach, st.Window.Short)
	st.ID = alert.ID(st.SLO.Name, st.Since)
	st.Usual = it.series.between(st.Since.Add(-usualSpan), st.Since)
	return Transition{At: e.tick, From: before.State, FromSever: before.Severity, Status: *st}, true
}

// A Span is a part of the past and the grain at which it is read.
type Span struct {
	Grain    rollup.Grain
	From, To time.Time
}

// pastMargin is how much more than the longest fine window is read finely.
const pastMargin = 10 * time.Minute

// Past returns how the past before tick is read at the start: finely where
// windows are short, coarsely where they are long.
func Past(tick time.Time, slos []slo.SLO) []Span {
	longest := minuteReach
	for _, s := range slos {
		longest = max(longest, s.Period)
	}
	fine := tick.Add(-fineReach - pastMargin).Truncate(time.Minute)
	minutes := tick.Add(-minuteReach - fineReach).Truncate(time.Hour)
	return []Span{
		{rollup.Grain1h, tick.Add(-longest).Truncate(time.Hour), minutes},
		{rollup.Grain1m, minutes, fine},
		{rollup.Grain10s, fine, tick},
	}
}
