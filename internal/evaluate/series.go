package evaluate

import (
	"time"

	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Point is the counts of the window of some grain that begins at Time.
type Point struct {
	Time time.Time
	slo.Count
}

const tickSeconds = int64(time.Duration(rollup.Grain10s) / time.Second)

// A series is one objective's counts in slots of ten seconds over its period,
// with the running sum of each window that ends where the series ends.
type series struct {
	slots []slot // ring: slot n is at n modulo the length
	end   int64  // number of the first slot that is not counted yet
	sums  []windowSum
}

// A slot is a Count in small; counts of ten seconds, or of an hour far back.
type slot struct{ valid, bad int32 }

type windowSum struct {
	width int64 // slots
	sum   slo.Count
}

// newSeries returns an empty series that answers for these windows.
func newSeries(widths []time.Duration) *series {
	s := &series{}
	var longest int64
	for _, w := range widths {
		n := int64(w/time.Second) / tickSeconds
		s.sums = append(s.sums, windowSum{width: n})
		longest = max(longest, n)
	}
	s.slots = make([]slot, longest+1)
	return s
}

func (s *series) at(n int64) *slot { return &s.slots[n%int64(len(s.slots))] }

// advance moves the end to t, with nothing in the new slots.
func (s *series) advance(t time.Time) {
	end := t.Unix() / tickSeconds
	if end-s.end >= int64(len(s.slots)) {
		clear(s.slots)
		for i := range s.sums {
			s.sums[i].sum = slo.Count{}
		}
		s.end = end
		return
	}
	for ; s.end < end; s.end++ {
		for i := range s.sums {
			w := &s.sums[i]
			gone := s.at(s.end + int64(len(s.slots)) - w.width)
			w.sum.Valid -= int64(gone.valid)
			w.sum.Bad -= int64(gone.bad)
		}
		*s.at(s.end) = slot{}
	}
}

// set replaces the counts of p's slot, if it is in the series.
func (s *series) set(p Point) {
	n := p.Time.Unix() / tickSeconds
	if n >= s.end || n <= s.end-int64(len(s.slots)) {
		return
	}
	at := s.at(n)
	valid, bad := p.Valid-int64(at.valid), p.Bad-int64(at.bad)
	*at = slot{int32(p.Valid), int32(p.Bad)}
	for i := range s.sums {
		if w := &s.sums[i]; n >= s.end-w.width {
			w.sum.Valid += valid
			w.sum.Bad += bad
		}
	}
}

// sum returns the counts of window i.
func (s *series) sum(i int) slo.Count { return s.sums[i].sum }

// onset returns the start of the run of slots up to the end in each of which
// more than limit is bad; empty slots neither end nor begin it.
func (s *series) onset(limit float64, longest time.Duration) time.Time {
	first := s.end
	for n := s.end - 1; n >= 0 && n > s.end-int64(longest/time.Second)/tickSeconds; n-- {
		at := s.at(n)
		if at.valid == 0 {
			continue
		}
		if float64(at.bad) <= limit*float64(at.valid) {
			break
		}
		first = n
	}
	return time.Unix(first*tickSeconds, 0).UTC()
}
