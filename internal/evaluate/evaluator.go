package evaluate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Status is what an Evaluator knows about one objective, or one group of it,
// at its last tick.
type Status struct {
	SLO      slo.SLO
	Group    string   // of SLO.Group; empty: the whole
	Feed     slo.Feed // whose requests fail, while firing; of a composite its worst part's
	State    alert.State
	Severity alert.Severity
	Since    time.Time // onset, while firing
	ID       string    // of the incident, while firing
	Window   slo.AlertWindow
	Reason   string // why it has fired or ended
	Long     slo.Count
	Short    slo.Count
	Period   slo.Count // of the budget, with adjustments
	Hour     slo.Count // the last hour
	Usual    slo.Count // the day before the onset, while firing
	Signal   *Signal   // what was found, where it is no objective
}

// Series is the unique name of what is judged: the objective's, and the group's
// behind it.
func (s *Status) Series() string { return seriesName(s.SLO.Name, s.Group) }

func seriesName(name, group string) string {
	if group == "" {
		return name
	}
	return name + "/" + group
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
	tick       time.Time
	objectives []*judged
	feeds      []slo.Feed
	users      [][]user // by feed
	names      map[string]*judged
}

// A user is the part of an objective that a feed is counted for.
type user struct {
	of   *judged
	part int
}

// A judged is an objective with all of its groups.
type judged struct {
	slo          slo.SLO
	maintenances []slo.Maintenance
	adjustments  []slo.Adjustment
	items        []*item
	byGroup      map[string]*item
}

// usualSpan is how long before an onset is taken for the usual state.
const usualSpan = 24 * time.Hour

const (
	periodSum = 0 // index of the sum over the period
	hourSum   = 1
	pairSums  = 2 // then long and short of each pair
)

// NewEvaluator returns an evaluator without data; see Begin.
func NewEvaluator(set *slo.Set) *Evaluator {
	e := &Evaluator{names: map[string]*judged{}}
	byKey := map[string]int{}
	for _, s := range set.SLOs {
		j := &judged{slo: s, byGroup: map[string]*item{}}
		for _, m := range set.Maintenances {
			if m.Holds(s) {
				j.maintenances = append(j.maintenances, m)
			}
		}
		for _, a := range set.Adjustments {
			if a.Holds(s) {
				j.adjustments = append(j.adjustments, a)
			}
		}
		if s.Group == slo.Whole {
			j.add("", e.tick)
		}
		e.objectives = append(e.objectives, j)
		e.names[s.Name] = j
		for part, f := range s.Feeds() {
			k := feedKey(f)
			if _, ok := byKey[k]; !ok {
				byKey[k] = len(e.feeds)
				e.feeds, e.users = append(e.feeds, f), append(e.users, nil)
			}
			e.users[byKey[k]] = append(e.users[byKey[k]], user{j, part})
		}
	}
	return e
}

// Feeds returns what is to be read, by the numbers that Set takes.
func (e *Evaluator) Feeds() []slo.Feed { return e.feeds }

// Tick returns the last tick that was judged.
func (e *Evaluator) Tick() time.Time { return e.tick }

// Each calls f for what is known about each objective and group, in order.
func (e *Evaluator) Each(f func(*Status)) {
	for _, j := range e.objectives {
		for _, it := range j.items {
			f(&it.status)
		}
	}
}

// Statuses returns copies of what is known about each objective and group.
func (e *Evaluator) Statuses() []Status {
	var list []Status
	e.Each(func(st *Status) { list = append(list, *st) })
	return list
}

// add makes the item of a group.
func (j *judged) add(group string, tick time.Time) *item {
	s := j.slo
	widths := []time.Duration{s.Period, time.Hour}
	for _, w := range s.Windows {
		widths = append(widths, w.Long, w.Short)
	}
	it := &item{status: Status{SLO: s, Group: group, Feed: s.Feeds()[0], State: alert.Inactive}, of: j, held: make([]pairState, len(s.Windows))}
	for range max(1, len(s.Parts)) {
		one := newSeries(widths, s.Method != slo.Occurrences)
		if !tick.IsZero() {
			one.advance(tick)
		}
		it.parts = append(it.parts, one)
	}
	j.byGroup[group] = it
	j.items = append(j.items, it)
	return it
}

// Begin moves the series to tick without judging; points follow by Set.
func (e *Evaluator) Begin(tick time.Time) {
	e.tick = tick
	for _, j := range e.objectives {
		for _, it := range j.items {
			for _, s := range it.parts {
				s.advance(tick)
			}
		}
	}
}

// A slotKey is a slot of a group.
type slotKey struct {
	item *item
	at   int64 // seconds
}

// Set replaces the counts of a feed's windows, as they were read for a span, as
// far as they are over at the tick. Points must be all of the windows that they
// are of. Of a feed that is judged apart, groups that are new are admitted while
// there is room, those with most requests first; the rest are slo.Other.
func (e *Evaluator) Set(feed int, span Span, points []Point) {
	for _, u := range e.users[feed] {
		e.set(u, span, points)
	}
}

func (e *Evaluator) set(u user, span Span, points []Point) {
	s := &u.of.slo
	if len(u.of.maintenances) == 0 && s.Method == slo.Occurrences && s.Group == slo.Whole && span.Read == span.Grain {
		series := u.of.items[0].parts[u.part]
		for _, p := range points {
			series.set(span.Grain, p)
		}
		return
	}
	if s.Group != slo.Whole {
		u.of.admit(points, e.tick)
	}
	width := time.Duration(span.Read)
	if s.Method != slo.Occurrences {
		width = s.Slice
		points = cutSlices(s, points)
	}
	sums := map[slotKey]slo.Count{}
	var order []slotKey
	for _, p := range points {
		if u.of.excludes(p.Time) {
			p.Count = slo.Count{}
		}
		k := slotKey{u.of.itemOf(p.Group), place(p.Time, width, span.Grain).Unix()}
		c, ok := sums[k]
		if !ok {
			order = append(order, k)
		}
		sums[k] = slo.Count{Valid: c.Valid + p.Valid, Bad: c.Bad + p.Bad}
	}
	for _, k := range order {
		k.item.parts[u.part].set(span.Grain, Point{Time: time.Unix(k.at, 0).UTC(), Count: sums[k]})
	}
}

// itemOf returns the item of a group, or the one of all that have none.
func (j *judged) itemOf(group string) *item {
	if j.slo.Group == slo.Whole {
		return j.items[0]
	}
	if it, ok := j.byGroup[group]; ok {
		return it
	}
	return j.byGroup[slo.Other]
}

// admit makes items for groups that are new, those with most requests first.
func (j *judged) admit(points []Point, tick time.Time) {
	fresh := map[string]int64{}
	for _, p := range points {
		if _, ok := j.byGroup[p.Group]; !ok {
			fresh[p.Group] += p.Valid
		}
	}
	for _, group := range slices.SortedFunc(maps.Keys(fresh), func(a, b string) int {
		return cmp.Or(cmp.Compare(fresh[b], fresh[a]), cmp.Compare(a, b))
	}) {
		if len(j.groups()) >= j.slo.MaxGroups {
			if _, ok := j.byGroup[slo.Other]; !ok {
				j.add(slo.Other, tick)
			}
			return
		}
		j.add(group, tick)
	}
}

// groups returns those that are judged each, in the order of admission.
func (j *judged) groups() []string {
	var list []string
	for _, it := range j.items {
		if it.status.Group != slo.Other {
			list = append(list, it.status.Group)
		}
	}
	return list
}

// excludes tells whether requests of t do not count at all.
func (j *judged) excludes(t time.Time) bool {
	for _, m := range j.maintenances {
		if _, _, ok := m.At(t); ok && !m.Count {
			return true
		}
	}
	return false
}

// maintained returns the maintenance that t is in.
func (j *judged) maintained(t time.Time) (slo.Maintenance, bool) {
	for _, m := range j.maintenances {
		if _, _, ok := m.At(t); ok {
			return m, true
		}
	}
	return slo.Maintenance{}, false
}

// Judge decides on every objective at the present tick and returns what changed.
func (e *Evaluator) Judge() []Transition {
	var list []Transition
	for _, j := range e.objectives {
		for _, it := range j.items {
			if t, changed := it.judge(e.tick); changed {
				list = append(list, t)
			}
		}
	}
	return list
}

// place returns the slot of a grain in which a window of some width counts: the
// last one inside of it, so that it counts when it is over.
func place(t time.Time, width time.Duration, g rollup.Grain) time.Time {
	if width < time.Duration(g) {
		width = time.Duration(g)
		t = g.Window(t).Start
	}
	return g.Window(t.Add(width - time.Duration(g))).Start
}

// cutSlices makes slices of the points of shorter windows.
func cutSlices(s *slo.SLO, points []Point) []Point {
	type key struct {
		group string
		at    int64
	}
	sums := map[key]int{}
	var list []Point
	for _, p := range points {
		k := key{p.Group, p.Time.Truncate(s.Slice).Unix()}
		i, ok := sums[k]
		if !ok {
			i = len(list)
			sums[k] = i
			list = append(list, Point{Time: time.Unix(k.at, 0).UTC(), Group: p.Group})
		}
		list[i].Valid += p.Valid
		list[i].Bad += p.Bad
	}
	for i := range list {
		list[i].Count = s.SliceCount(list[i].Count)
	}
	return list
}
