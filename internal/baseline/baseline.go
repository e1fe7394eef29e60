// Package baseline says what is usual at an hour of the week: the median of
// that hour in the weeks before, and how far values stray from it. It reads no
// clock and does no I/O; values are counts, ratios or durations, never negative.
package baseline

import (
	"math"
	"slices"
	"time"
)

// MinHistory is how long a history has to be: below two weeks there is no baseline.
const MinHistory = 14 * 24 * time.Hour

// hoursAWeek is how many hours of the week there are; the first begins Monday 00:00 UTC.
const hoursAWeek = 168

// minWeeks is in how many weeks an hour of the week must have a value.
const minWeeks = 2

// A Point is a value measured over the hour that Time lies in.
type Point struct {
	Time  time.Time
	Value float64
}

// Zeros returns points with a zero for each hour of [from, to) that has none:
// for counts, where no row means that nothing happened. Whole hours only.
func Zeros(points []Point, from, to time.Time) []Point {
	have := make(map[time.Time]bool, len(points))
	for _, p := range points {
		have[p.Time.UTC().Truncate(time.Hour)] = true
	}
	out := slices.Clone(points)
	for t := from.UTC().Truncate(time.Hour); t.Before(to); t = t.Add(time.Hour) {
		if !have[t] && !t.Before(from) {
			out = append(out, Point{Time: t})
		}
	}
	return out
}

// A Noise is the least deviation that a value around median has by chance alone.
// A score is never taken against less.
type Noise func(median float64) float64

// Counts is the noise of a number of independent events (Poisson), at least 1.
func Counts(median float64) float64 { return math.Sqrt(max(median, 1)) }

// Share returns a noise of that share of the median, and at least least.
func Share(share, least float64) Noise {
	return func(median float64) float64 { return max(share*median, least) }
}

// A Baseline holds what is usual at each hour of the week.
type Baseline struct {
	noise Noise
	slots [hoursAWeek]slot
	ok    bool
}

type slot struct {
	weeks  int
	median float64
	spread float64 // standard deviation that the deviations stand for
}

// HourOfWeek returns the hour of the week that t lies in, 0 is Monday 00:00 UTC.
func HourOfWeek(t time.Time) int {
	t = t.UTC()
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

// New makes a baseline from hourly points, one an hour, in any order. Bound them
// to the weeks that are to count, and leave out the hour that is judged.
func New(points []Point, noise Noise) *Baseline {
	b := &Baseline{noise: noise}
	var values [hoursAWeek][]float64
	var first, last time.Time
	for i, p := range points {
		h := p.Time.UTC().Truncate(time.Hour)
		if i == 0 || h.Before(first) {
			first = h
		}
		if h.After(last) {
			last = h
		}
		k := HourOfWeek(h)
		values[k] = append(values[k], p.Value)
	}
	b.ok = len(points) > 0 && last.Add(time.Hour).Sub(first) >= MinHistory
	var off [hoursAWeek][]float64
	for k, vs := range values {
		b.slots[k] = slot{weeks: len(vs), median: median(vs)}
		off[k] = deviations(vs, b.slots[k].median)
	}
	// The hours around count for the spread too: with a few weeks one hour alone
	// has too few deviations, and may by chance have none.
	for k := range b.slots {
		var near []float64
		for d := -nearHours; d <= nearHours; d++ {
			near = append(near, off[(k+d+hoursAWeek)%hoursAWeek]...)
		}
		n := float64(max(1, b.slots[k].weeks))
		// A new value strays from the median of n by more than from the true one.
		b.slots[k].spread = toDeviation * median(near) * math.Sqrt(1+math.Pi/2/n)
	}
	return b
}

// nearHours is how many hours before and after one count for its spread.
const nearHours = 2

// toDeviation turns a median absolute deviation into a standard deviation, for
// normally distributed values.
const toDeviation = 1.4826

// deviations returns how far each value is from the median m of all, without the
// zero of the median itself where that is a value. Where it is between two, both
// are too near to it, so all are enlarged (factors for normally distributed
// values, by simulation).
func deviations(vs []float64, m float64) []float64 {
	factor := 1.0
	switch n := len(vs); {
	case n == 2:
		factor = math.Sqrt2
	case n%2 == 0:
		factor = 1 + 1.6/float64(n)
	}
	out := make([]float64, len(vs))
	for i, v := range vs {
		out[i] = math.Abs(v-m) * factor
	}
	slices.Sort(out)
	return out[len(out)%2:]
}

// median returns the median of vs, 0 if there is none.
func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(vs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// An Expectation is what is usual at a moment.
type Expectation struct {
	// Median of the same hour of the week.
	Median float64
	// Spread is the standard deviation that values have around it, by their median
	// absolute deviation and at least the noise.
	Spread float64
	// Weeks is how many weeks the median comes from.
	Weeks int

	noise Noise
}

// Expected returns what is usual for the hour that t lies in. It returns false
// where there is no baseline: a history below MinHistory, or this hour of the
// week known from fewer than two weeks.
func (b *Baseline) Expected(t time.Time) (Expectation, bool) {
	s := b.slots[HourOfWeek(t)]
	if !b.ok || s.weeks < minWeeks {
		return Expectation{}, false
	}
	return Expectation{Median: s.median, Spread: max(s.spread, b.noise(s.median)), Weeks: s.weeks, noise: b.noise}, true
}

// Part returns what is usual for a share (0 to 1) of the hour, of something
// that is counted: a shorter time has relatively more noise.
func (e Expectation) Part(share float64) Expectation {
	e.Median *= share
	e.Spread = max(e.Spread*share, e.noise(e.Median))
	return e
}

// Interval returns the values within k deviations of the median, never negative.
func (e Expectation) Interval(k float64) (low, high float64) {
	return max(0, e.Median-k*e.Spread), e.Median + k*e.Spread
}

// Score returns how many deviations v is above the median, negative below it.
// Chance alone passes 5 in less than one of a hundred hours with two weeks of
// history, and hardly ever with six.
func (e Expectation) Score(v float64) float64 {
	if v == e.Median {
		return 0
	}
	return (v - e.Median) / e.Spread
}
