package baseline

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// weeks returns hourly points of n weeks from monday: a day's curve with noise.
func weeks(n int, value func(h int) float64) []Point {
	var ps []Point
	for h := range n * hoursAWeek {
		ps = append(ps, Point{monday.Add(time.Duration(h) * time.Hour), value(h)})
	}
	return ps
}

func curve(h int) float64 { return 1000 + 800*math.Sin(float64(h%24)/24*2*math.Pi) }

func TestNoBaselineBelowTwoWeeks(t *testing.T) {
	ps := weeks(2, curve)
	if _, ok := New(ps[:len(ps)-1], Counts).Expected(monday); ok {
		t.Error("a history one hour short of two weeks gives a baseline")
	}
	if _, ok := New(nil, Counts).Expected(monday); ok {
		t.Error("no history gives a baseline")
	}
	e, ok := New(ps, Counts).Expected(monday.AddDate(0, 0, 14).Add(6*time.Hour + 59*time.Minute))
	if !ok || e.Median != 1800 || e.Weeks != 2 {
		t.Errorf("%+v, %v; want the hour's own median 1800 of 2 weeks", e, ok)
	}
	// A month of history in which this hour of the week has one value only.
	sparse := []Point{{monday, 5}, {monday.AddDate(0, 0, 28).Add(time.Hour), 5}}
	if _, ok := New(sparse, Counts).Expected(monday); ok {
		t.Error("one week's value gives a baseline")
	}
}

func TestZerosCountAsValues(t *testing.T) {
	ps := Zeros([]Point{{monday.Add(time.Minute), 7}}, monday, monday.AddDate(0, 0, 21))
	if len(ps) != 21*24 {
		t.Fatalf("%d points, want one an hour", len(ps))
	}
	e, ok := New(ps, Counts).Expected(monday)
	if !ok || e.Median != 0 || e.Score(3) != 3 {
		t.Errorf("%+v, %v: want 0 ± 1", e, ok)
	}
}

// One week with an outage, and one with a tenfold rush, leave the median and
// the spread as they are.
func TestOutliersDoNotMove(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	value := func(h int) float64 { return curve(h) * (1 + 0.05*rng.NormFloat64()) }
	ps := weeks(6, value)
	for i := range ps {
		switch i / hoursAWeek {
		case 1:
			ps[i].Value = 0
		case 4:
			ps[i].Value *= 10
		}
	}
	e, _ := New(ps, Counts).Expected(monday.AddDate(0, 0, 42).Add(6 * time.Hour))
	if math.Abs(e.Median-1800) > 180 || e.Spread > 400 {
		t.Errorf("median %.0f, spread %.0f; want 1800 ± 10 %% and less than 400", e.Median, e.Spread)
	}
	if e.Score(0) > -4 {
		t.Errorf("silence scores %.1f", e.Score(0))
	}
}

// Without incidents, scores are near to a normal distribution's, also with the
// shortest history: a limit of 5 is hardly ever passed.
func TestScoresAreHonest(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 8} {
		rng := rand.New(rand.NewPCG(3, uint64(n)))
		var sum, beyond float64
		const repeats = 40
		for range repeats {
			value := func(h int) float64 { return curve(h) * (1 + 0.1*rng.NormFloat64()) }
			b := New(weeks(n, value), Counts)
			for h := range hoursAWeek {
				e, ok := b.Expected(monday.Add(time.Duration(h) * time.Hour))
				if !ok {
					t.Fatal("no baseline")
				}
				s := e.Score(value(h))
				sum += math.Abs(s)
				if math.Abs(s) > 5 {
					beyond++
				}
			}
		}
		total := float64(repeats * hoursAWeek)
		if mean := sum / total; mean < 0.6 || mean > 1.2 {
			t.Errorf("%d weeks: mean |score| %.2f, a normal distribution has 0.80", n, mean)
		}
		if beyond/total > 0.01 {
			t.Errorf("%d weeks: %.2f %% beyond 5 deviations", n, 100*beyond/total)
		}
	}
}

func TestIntervalAndPart(t *testing.T) {
	e, _ := New(weeks(3, func(int) float64 { return 3600 }), Counts).Expected(monday)
	if low, high := e.Interval(2); low != 3480 || high != 3720 {
		t.Errorf("interval %v to %v, want 3600 ± 2·60", low, high)
	}
	if p := e.Part(1.0 / 36); p.Median != 100 || p.Spread != 10 {
		t.Errorf("100 s of it: %+v, want 100 ± 10", p)
	}
	if low, _ := e.Interval(100); low != 0 {
		t.Errorf("a negative bound: %v", low)
	}
	r, _ := New(weeks(3, func(int) float64 { return 0.02 }), Share(0.1, 0.01)).Expected(monday)
	if s := r.Score(0.05); math.Abs(s-3) > 1e-9 {
		t.Errorf("an error ratio of 5 %% against 2 ± 1 %% scores %v, want 3", s)
	}
}

func TestHourOfWeek(t *testing.T) {
	for at, want := range map[time.Time]int{
		monday: 0, monday.Add(-time.Second): 167, monday.Add(25 * time.Hour): 25,
		monday.In(time.FixedZone("", 7200)): 0,
	} {
		if got := HourOfWeek(at); got != want {
			t.Errorf("%v is hour %d, want %d", at, got, want)
		}
	}
}
