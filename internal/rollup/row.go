package rollup

import (
	"time"

	"gatewatch/internal/histogram"
)

// A Row is what a group of requests adds up to.
type Row struct {
	// Group holds the values of the dimensions that were asked for, in their order.
	Group []string
	// Time is the start of the row's step; zero if the question was not over time.
	Time              time.Time
	Requests          int64
	BytesIn, BytesOut int64
	// Timed is how many requests stated a latency; LatencySum and LatencyMax are in µs.
	Timed, LatencySum int64
	LatencyMax        uint64
	// Latency counts the timed requests by bucket.
	Latency histogram.Histogram
	// Classes counts requests by error class, "none" included.
	Classes map[string]int64
	// Satisfied and Tolerating are for Apdex: requests that did not fail by the
	// service's fault within the threshold, and within four times of it.
	Satisfied, Tolerating int64
	// FirstSeen and LastSeen are event times; zero where the level has none.
	FirstSeen, LastSeen time.Time
}

// Add adds o's requests to r.
func (r *Row) Add(o Row) {
	r.Requests += o.Requests
	r.BytesIn += o.BytesIn
	r.BytesOut += o.BytesOut
	r.Timed += o.Timed
	r.LatencySum += o.LatencySum
	r.LatencyMax = max(r.LatencyMax, o.LatencyMax)
	r.Satisfied += o.Satisfied
	r.Tolerating += o.Tolerating
	if r.Latency == nil {
		r.Latency = histogram.Histogram{}
	}
	r.Latency.Merge(o.Latency)
	if r.Classes == nil {
		r.Classes = map[string]int64{}
	}
	for c, n := range o.Classes {
		r.Classes[c] += n
	}
	if r.FirstSeen.IsZero() || !o.FirstSeen.IsZero() && o.FirstSeen.Before(r.FirstSeen) {
		r.FirstSeen = o.FirstSeen
	}
	if o.LastSeen.After(r.LastSeen) {
		r.LastSeen = o.LastSeen
	}
}

// Apdex returns (satisfied + tolerating / 2) / timed (Application Performance
// Index, technical specification 1.1), and false without timed requests.
func (r *Row) Apdex() (float64, bool) {
	if r.Timed <= 0 {
		return 0, false
	}
	return (float64(r.Satisfied) + float64(r.Tolerating)/2) / float64(r.Timed), true
}
