// Package histogram is the one latency histogram of gatewatch: the base-2
// exponential histogram of OpenTelemetry at scale 6. Bucket i counts values in
// (2^(i/64), 2^((i+1)/64)] microseconds; values up to 1 µs are in bucket 0. A
// value read back from its bucket is wrong by at most 0.55 %. The store's views
// count with the same formula.
package histogram

import (
	"maps"
	"math"
	"slices"
)

// perDoubling is how many buckets there are between a value and its double (2^scale).
const perDoubling = 64

// Index returns the bucket of a latency in microseconds.
func Index(us uint64) uint16 {
	if us <= 1 {
		return 0
	}
	return uint16(math.Ceil(math.Log2(float64(us))*perDoubling) - 1)
}

// Upper returns the inclusive upper bound of bucket i in microseconds.
func Upper(i uint16) float64 { return math.Exp2((float64(i) + 1) / perDoubling) }

// Middle returns the value that stands for bucket i, in microseconds: the
// geometric mean of its bounds.
func Middle(i uint16) float64 { return math.Exp2((float64(i) + 0.5) / perDoubling) }

// NearestEdge returns the bucket whose upper bound is nearest to us, which is
// what "at most us" is counted at, and that bound in microseconds.
func NearestEdge(us uint64) (i uint16, edge float64) {
	if us <= 1 {
		return 0, Upper(0)
	}
	i = uint16(max(0, math.Round(math.Log2(float64(us))*perDoubling)-1))
	return i, Upper(i)
}

// A Histogram is how many values each bucket holds. Histograms of disjoint
// requests add up. Counts may be negative where one corrects another.
type Histogram map[uint16]int64

// Observe counts a latency in microseconds.
func (h Histogram) Observe(us uint64) { h[Index(us)]++ }

// Merge adds o to h.
func (h Histogram) Merge(o Histogram) {
	for i, n := range o {
		h[i] += n
	}
}

// Count returns how many values h holds.
func (h Histogram) Count() int64 {
	var n int64
	for _, c := range h {
		n += c
	}
	return n
}

// AtMost returns how many values are in bucket i or below it.
func (h Histogram) AtMost(i uint16) int64 {
	var n int64
	for j, c := range h {
		if j <= i {
			n += c
		}
	}
	return n
}

// Quantile returns the value in microseconds below which a share q of all
// values lie (nearest rank), and false if h is empty.
func (h Histogram) Quantile(q float64) (us float64, ok bool) {
	n := h.Count()
	if n <= 0 {
		return 0, false
	}
	rank := max(1, int64(math.Ceil(q*float64(n))))
	for _, i := range slices.Sorted(maps.Keys(h)) {
		if rank -= h[i]; rank <= 0 {
			return Middle(i), true
		}
	}
	return 0, false
}

// Resolves reports whether n values are enough to speak of quantile q: at least
// one is expected above it.
func Resolves(q float64, n int64) bool { return float64(n)*(1-q) >= 1-1e-9 }
