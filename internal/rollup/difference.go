package rollup

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Difference is what a level lacks of what the raw rows add up to, in [From, To).
type Difference struct {
	Level    string
	From, To time.Time
	Rows     []DifferenceRow // in the order of time and dimensions
}

// A DifferenceRow corrects one group of one window.
type DifferenceRow struct {
	Time time.Time
	Dims []string // in the level's order
	// Counts are raw minus level, in the level's order, requests first.
	Counts []int64
	// Latency is raw minus level.
	Latency map[uint16]int64
	// Max is the raw maximum if it is larger than the level's, else 0: a maximum
	// can't be taken back. Likewise FirstSeen and LastSeen.
	Max                 uint64
	FirstSeen, LastSeen time.Time
}

// Equal reports whether two differences would do the same.
func (d Difference) Equal(o Difference) bool { return d.Hash() == o.Hash() }

// Hash identifies level, range and content.
func (d Difference) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %d\n", d.Level, d.From.Unix(), d.To.Unix())
	for _, r := range d.Rows {
		fmt.Fprintf(h, "%d %q %d %d %d %d", r.Time.Unix(), r.Dims, r.Counts, r.Max, r.FirstSeen.UnixMicro(), r.LastSeen.UnixMicro())
		for _, b := range slices.Sorted(maps.Keys(r.Latency)) {
			fmt.Fprintf(h, " %d:%d", b, r.Latency[b])
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Requests returns how many requests the level lacks and how many it has too many.
func (d Difference) Requests() (lacks, extra int64) {
	for _, r := range d.Rows {
		if n := r.Counts[0]; n > 0 {
			lacks += n
		} else {
			extra -= n
		}
	}
	return lacks, extra
}
