package histogram

import (
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The order and grouping in which histograms are merged never changes an answer.
func TestMergeOrderDoesNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		whole := Histogram{}
		parts := make([]Histogram, 1+r.IntN(8))
		for i := range parts {
			parts[i] = Histogram{}
		}
		for range r.IntN(2000) {
			v := r.Uint64N(1 << (1 + r.Uint64N(40)))
			whole.Observe(v)
			parts[r.IntN(len(parts))].Observe(v)
		}
		for range 5 {
			r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			cut := r.IntN(len(parts))
			left, right := Histogram{}, Histogram{}
			for i, p := range parts {
				if i < cut {
					left.Merge(p)
				} else {
					right.Merge(p)
				}
			}
			left.Merge(right)
			if !maps.Equal(left, whole) {
				t.Fatalf("merged %v, want %v", left, whole)
			}
		}
	}
}

// A correction and what it corrects add up to the truth.
func TestSignedDifferences(t *testing.T) {
	wrong, right := Histogram{3: 5, 7: 1}, Histogram{3: 4, 9: 2}
	difference := Histogram{3: -1, 7: -1, 9: 2}
	wrong.Merge(difference)
	for _, q := range []float64{0, 0.5, 1} {
		got, _ := wrong.Quantile(q)
		want, _ := right.Quantile(q)
		if got != want || wrong.Count() != right.Count() || wrong.AtMost(8) != right.AtMost(8) {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}

func FuzzQuantile(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255}, 0.5)
	f.Add([]byte{}, 0.99)
	f.Fuzz(func(t *testing.T, data []byte, q float64) {
		if math.IsNaN(q) || q < 0 || q > 1 {
			return
		}
		h := Histogram{}
		var values []uint64
		for len(data) >= 8 {
			v := binary.LittleEndian.Uint64(data)
			data = data[8:]
			values = append(values, max(v, 1))
			h.Observe(v)
		}
		got, ok := h.Quantile(q)
		if ok != (len(values) > 0) || h.Count() != int64(len(values)) {
			t.Fatalf("%d values: quantile %t, count %d", len(values), ok, h.Count())
		}
		if !ok {
			return
		}
		slices.Sort(values)
		exact := float64(values[min(len(values), max(1, int(math.Ceil(q*float64(len(values))))))-1])
		if exact > 1 && math.Abs(got/exact-1) > 0.0055 {
			t.Errorf("quantile %v of %v is %v, want %v", q, values, got, exact)
		}
		if last := h.AtMost(math.MaxUint16); last != h.Count() {
			t.Errorf("AtMost of all is %d of %d", last, h.Count())
		}
	})
}
