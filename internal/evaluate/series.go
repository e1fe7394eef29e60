package evaluate

import (
	"time"

	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Point is the counts of the window of some grain that begins at Time.
type Point struct {
	Time  time.Time
	Group string // of a feed that is read apart
	slo.Count
}

const (
	tickSeconds = int64(time.Duration(rollup.Grain10s) / time.Second)
	// fineReach is how far back counts are held in slots of ten seconds, and so
	// the longest window that is exact to the slot. Longer windows are summed
	// from minutes, the period from hours; of the slot at a window's beginning
	// they take the part that lies inside it.
	fineReach   = 6 * time.Hour
	minuteReach = 3 * 24 * time.Hour
)

// A series is one objective's counts over its period, with the running sum of
// each window that ends where the series ends. What it answers depends on the
// counts alone, not on when and in which grain they came: a series that was
// read anew at a restart equals one that has grown tick by tick.
type series struct {
	fine    tier[int32]
	minutes tier[int32]
	hours   tier[int64]
	widths  []windowSum // by number of the window
}

// A windowSum is the tier that sums a window, and which of its sums that is.
type windowSum struct{ tier, index int }

// newSeries returns an empty series that answers for these windows. One of slices
// is read from a whole hour on.
func newSeries(widths []time.Duration, sliced bool) *series {
	s := &series{}
	s.fine.step, s.minutes.step, s.hours.step = tickSeconds, 60, 3600
	for _, w := range widths {
		switch {
		case w <= fineReach:
			s.widths = append(s.widths, windowSum{0, s.fine.watch(w)})
		case w <= minuteReach:
			s.widths = append(s.widths, windowSum{1, s.minutes.watch(w)})
		default:
			s.widths = append(s.widths, windowSum{2, s.hours.watch(w)})
		}
	}
	margin := pastMargin + 2*time.Minute // the past is read from a whole minute on
	if sliced {
		margin += time.Hour
	}
	s.fine.grow(fineReach + margin)
	s.minutes.grow(minuteReach + fineReach + time.Hour)
	s.hours.grow(0)
	return s
}

// advance moves the end to t, with nothing in the new slots.
func (s *series) advance(t time.Time) {
	s.fine.reach(t.Unix())
	s.minutes.reach(t.Unix())
	s.hours.reach(t.Unix())
}

// set replaces the counts of p's window, if the series holds it and it began
// before the end.
func (s *series) set(g rollup.Grain, p Point) {
	at := p.Time.Unix()
	switch {
	case g == rollup.Grain1h:
		s.hours.replace(at/3600, p.Count)
	case s.fine.holds(at / tickSeconds):
		diff := s.fine.replace(at/tickSeconds, p.Count)
		s.minutes.add(at/60, diff)
		s.hours.add(at/3600, diff)
	case g == rollup.Grain1m && s.minutes.holds(at/60):
		s.hours.add(at/3600, s.minutes.replace(at/60, p.Count))
	}
}

// sum returns the counts of window i.
func (s *series) sum(i int) slo.Count {
	switch w := s.widths[i]; w.tier {
	case 0:
		return s.fine.sum(w.index)
	case 1:
		return s.minutes.sum(w.index)
	default:
		return s.hours.sum(w.index)
	}
}

// between returns the counts of whole minutes in [from, to), as far as they are held.
func (s *series) between(from, to time.Time) slo.Count {
	var sum slo.Count
	for n := from.Unix() / 60; n < to.Unix()/60; n++ {
		if s.minutes.holds(n) {
			c := s.minutes.at(n)
			sum.Valid += int64(c.valid)
			sum.Bad += int64(c.bad)
		}
	}
	return sum
}

// hoursBetween returns the counts of the hours that begin in [from, to), as far
// as they are held.
func (s *series) hoursBetween(from, to time.Time) slo.Count {
	var sum slo.Count
	for n := (from.Unix() + 3599) / 3600; n < (to.Unix()+3599)/3600; n++ {
		if s.hours.holds(n) {
			c := s.hours.at(n)
			sum.Valid += c.valid
			sum.Bad += c.bad
		}
	}
	return sum
}

// onset returns since when more than limit is bad: the beginning of the slots up
// to the end that hold the most bad requests above that limit. A calm of the
// length gap separates an earlier failure from this one.
func (s *series) onset(limit float64, longest, gap time.Duration) time.Time {
	end := s.fine.end
	first, most, sum := end, 0.0, 0.0
	for n := end - 1; s.fine.holds(n) && n >= end-int64(longest/time.Second)/tickSeconds && (first-n)*tickSeconds <= int64(gap/time.Second); n-- {
		at := s.fine.at(n)
		sum += float64(at.bad) - limit*float64(at.valid)
		if sum > most {
			most, first = sum, n
		}
	}
	return time.Unix(first*tickSeconds, 0).UTC()
}

// A slot is the counts of one step.
type slot[N int32 | int64] struct{ valid, bad N }

// A tier is a ring of slots of one width.
type tier[N int32 | int64] struct {
	step  int64 // seconds
	slots []slot[N]
	end   int64 // number of the first slot that has not begun
	part  int64 // seconds of the last slot that are not over
	sums  []tierSum
}

// A tierSum is the counts of the newest width slots.
type tierSum struct {
	width int64
	count slo.Count
}

// watch keeps the sum of a window from now on and returns its number.
func (t *tier[N]) watch(w time.Duration) int {
	t.sums = append(t.sums, tierSum{width: int64(w/time.Second) / t.step})
	return len(t.sums) - 1
}

// grow makes room for reach and for all watched windows.
func (t *tier[N]) grow(reach time.Duration) {
	n := int64(reach/time.Second) / t.step
	for _, s := range t.sums {
		n = max(n, s.width)
	}
	t.slots = make([]slot[N], n+2)
}

func (t *tier[N]) at(n int64) *slot[N] { return &t.slots[n%int64(len(t.slots))] }

func (t *tier[N]) holds(n int64) bool {
	return n >= 0 && n < t.end && n >= t.end-int64(len(t.slots))
}

// reach moves the end to second now.
func (t *tier[N]) reach(now int64) {
	end := (now + t.step - 1) / t.step
	t.part = end*t.step - now
	if end-t.end >= int64(len(t.slots)) {
		clear(t.slots)
		for i := range t.sums {
			t.sums[i].count = slo.Count{}
		}
		t.end = end
		return
	}
	for ; t.end < end; t.end++ {
		for i := range t.sums {
			s := &t.sums[i]
			if n := t.end - s.width; t.holds(n) {
				gone := t.at(n)
				s.count.Valid -= int64(gone.valid)
				s.count.Bad -= int64(gone.bad)
			}
		}
		*t.at(t.end) = slot[N]{}
	}
}

// replace sets the counts of slot n and returns by how much they changed.
func (t *tier[N]) replace(n int64, c slo.Count) slo.Count {
	if !t.holds(n) {
		return slo.Count{}
	}
	at := t.at(n)
	diff := slo.Count{Valid: c.Valid - int64(at.valid), Bad: c.Bad - int64(at.bad)}
	t.add(n, diff)
	return diff
}

// add changes the counts of slot n.
func (t *tier[N]) add(n int64, diff slo.Count) {
	if diff == (slo.Count{}) || !t.holds(n) {
		return
	}
	at := t.at(n)
	at.valid += N(diff.Valid)
	at.bad += N(diff.Bad)
	for i := range t.sums {
		if s := &t.sums[i]; n >= t.end-s.width {
			s.count.Valid += diff.Valid
			s.count.Bad += diff.Bad
		}
	}
}

// sum returns the counts of window i: its whole slots, and of the one before
// them the part that is inside because the last slot is not over.
func (t *tier[N]) sum(i int) slo.Count {
	c := t.sums[i].count
	if n := t.end - t.sums[i].width - 1; t.part > 0 && t.holds(n) {
		at := t.at(n)
		c.Valid += int64(at.valid) * t.part / t.step
		c.Bad += int64(at.bad) * t.part / t.step
	}
	return c
}
