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
