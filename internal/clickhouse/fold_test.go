package clickhouse

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"
)

// TestPour compares what a fold and the coarser one hold with sums by hand.
func TestPour(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	type groupBucket struct {
		key    edgeKey
		bucket uint16
	}
	floor := func(k edgeKey, seconds uint32) edgeKey {
		k.time -= k.time % seconds
		return k
	}
	fine, coarse := newFold[edgeKey](time.Minute), newFold[edgeKey](time.Hour)
	var c counter
	for range 3 { // memory is used again
		fine.reset()
		coarse.reset()
		want := [2]map[groupBucket]int64{{}, {}}
		requests := [2]map[edgeKey]int64{{}, {}}
		for range 20_000 {
			k := edgeKey{time: 60 * r.Uint32N(300), service: r.Uint32N(5), class: int8(r.IntN(3))}
			s := sums{requests: 1, first: 1, last: 2}
			bucket := uint16(noBucket)
			if r.IntN(10) > 0 {
				bucket = uint16(r.IntN(500))
			}
			fine.add(k, &s, bucket)
			for i, key := range [...]edgeKey{k, floor(k, 3600)} {
				requests[i][key]++
				if bucket != noBucket {
					want[i][groupBucket{key, bucket}]++
				}
			}
		}
		fine.counts = c.count(fine.counted, len(fine.keys))
		fine.pour(coarse, floor)
		coarse.counts = c.count(coarse.counted, len(coarse.keys))
		for i, f := range [...]*fold[edgeKey]{fine, coarse} {
			got, n := map[groupBucket]int64{}, map[edgeKey]int64{}
			next := uint64(0)
			for g, k := range f.keys {
				n[k] += f.requests(g)
				for ; next < f.counts.offsets[g]; next++ {
					gb := groupBucket{k, f.counts.buckets[next]}
					if got[gb] != 0 {
						t.Fatalf("bucket %d of %v is there twice", gb.bucket, k)
					}
					got[gb] = f.counts.numbers[next]
				}
			}
			if !maps.Equal(got, want[i]) || !maps.Equal(n, requests[i]) {
				t.Fatalf("fold %d: %d buckets in %d groups, want %d in %d", i, len(got), len(n), len(want[i]), len(requests[i]))
			}
		}
	}
}
