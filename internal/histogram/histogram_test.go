package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestIndexIsTheBucketThatHoldsTheValue(t *testing.T) {
	values := []uint64{1, 2, 3, 4, 63, 64, 65, 1 << 20, 1<<20 + 1, 1 << 40, math.MaxUint64}
	for range 100_000 {
		values = append(values, rand.Uint64N(1<<rand.Uint64N(50))+1)
	}
	for _, v := range values {
		i := Index(v)
		if float64(v) > Upper(i)*(1+1e-12) || i > 0 && float64(v) <= Upper(i-1)*(1-1e-12) {
			t.Errorf("Index(%d) = %d, whose bounds are (%v, %v]", v, i, Upper(i-1), Upper(i))
		}
		if e := math.Abs(Middle(i)/float64(v) - 1); v > 1 && e > 0.0055 {
			t.Errorf("%d reads back as %v, wrong by %.2f %%", v, Middle(i), e*100)
		}
	}
	if Index(0) != 0 || Index(1) != 0 || Index(2) != 63 {
		t.Errorf("Index(0, 1, 2) = %d, %d, %d, want 0, 0, 63", Index(0), Index(1), Index(2))
	}
}

func TestQuantileAgainstSortedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h, other := Histogram{}, Histogram{}
	var values []float64
	for i := range 50_000 {
		v := uint64(math.Exp(10+r.NormFloat64())) + 1
		values = append(values, float64(v))
		if i%2 == 0 {
			h.Observe(v)
		} else {
			other.Observe(v)
		}
	}
	h.Merge(other)
	slices.Sort(values)
	for _, q := range []float64{0, 0.5, 0.95, 0.99, 0.999, 1} {
		got, ok := h.Quantile(q)
		want := values[max(1, int(math.Ceil(q*float64(len(values)))))-1]
		if !ok || math.Abs(got/want-1) > 0.0055 {
			t.Errorf("Quantile(%v) = %v, want %v", q, got, want)
		}
	}
	for _, us := range []uint64{1, 20_000, 100_000} {
		i, edge := NearestEdge(us)
		if us > 1 && math.Abs(edge/float64(us)-1) > 0.0055 {
			t.Errorf("NearestEdge(%d) = %v", us, edge)
		}
		want, _ := slices.BinarySearchFunc(values, edge, func(v, e float64) int {
			if v <= e {
				return -1
			}
			return 1
		})
		if got := h.AtMost(i); got != int64(want) {
			t.Errorf("AtMost(%v µs) = %d, want %d", edge, got, want)
		}
	}
}

func TestQuantileOfNothing(t *testing.T) {
	if _, ok := (Histogram{}).Quantile(0.5); ok {
		t.Error("an empty histogram has a median")
	}
	if _, ok := (Histogram{3: 1, 4: -1}).Quantile(0.5); ok {
		t.Error("a histogram of count 0 has a median")
	}
}

func TestResolves(t *testing.T) {
	for _, c := range []struct {
		q    float64
		n    int64
		want bool
	}{{0.99, 99, false}, {0.99, 100, true}, {0.5, 2, true}, {0.999, 999, false}, {0.5, 0, false}} {
		if got := Resolves(c.q, c.n); got != c.want {
			t.Errorf("Resolves(%v, %d) = %t", c.q, c.n, got)
		}
	}
}
