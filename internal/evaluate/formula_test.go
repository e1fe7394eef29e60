package evaluate

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// An incident is a share of bad requests, in multiples of the budget, for some time.
type incident struct {
	burn float64
	long time.Duration
}

// incidents lie around every threshold of the default windows, below and above,
// shorter and longer than the windows.
var incidents = []incident{
	{0.9, 100 * time.Hour},
	{1.1, 74 * time.Hour},
	{1.5, 60 * time.Hour},
	{2.9, 20 * time.Hour},
	{3.1, 26 * time.Hour},
	{4, 17 * time.Hour},
	{5.9, 9 * time.Hour},
	{6.1, 7 * time.Hour},
	{7, 5*time.Hour + 17*time.Minute},
	{10, 3 * time.Hour},
	{14.3, 90 * time.Minute},
	{14.5, 2 * time.Hour},
	{15, 57 * time.Minute},
	{20, 44 * time.Minute},
	{20, 43 * time.Minute},
	{40, 21 * time.Minute},
	{100, 8 * time.Minute},
	{100, 9 * time.Minute},
	{144, 5*time.Minute + 50*time.Second},
	{144, 6*time.Minute + 10*time.Second},
	{500, 40 * time.Second},
	{500, 3 * time.Minute},
	{1000, 30 * time.Second},
	{1000, 2 * time.Hour},
}

// traffic has the shape of days, and an incident from begin on.
type traffic struct {
	valid, bad []int64 // sums of all slots before
}

func newTraffic(in incident, begin time.Duration, total time.Duration) traffic {
	n := int(total/(10*time.Second)) + 1
	tr := traffic{make([]int64, n+1), make([]int64, n+1)}
	failed := 0.0
	for i := range n {
		at := time.Duration(i) * 10 * time.Second
		valid := int64(2000 + 1200*math.Sin(2*math.Pi*at.Hours()/24))
		if at >= begin && at < begin+in.long {
			failed += in.burn * 0.001 * float64(valid)
		}
		tr.valid[i+1] = tr.valid[i] + valid
		tr.bad[i+1] = int64(failed)
	}
	return tr
}

// last returns the counts of the slots [to-width, to).
func (tr traffic) last(to int, width time.Duration) slo.Count {
	from := max(0, to-int(width/(10*time.Second)))
	return slo.Count{Valid: tr.valid[to] - tr.valid[from], Bad: tr.bad[to] - tr.bad[from]}
}

func (tr traffic) Counts(_ context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	var list []Point
	width := time.Duration(g)
	for t := g.Window(from).Start; t.Before(to); t = t.Add(width) {
		i := int(t.Sub(start)/(10*time.Second)) + int(width/(10*time.Second))
		if t.Before(start) || i >= len(tr.valid) {
			continue
		}
		list = append(list, Point{Time: t, Count: tr.last(i, width)})
	}
	return each(list, len(feeds)), nil
}

// formula is the SRE Workbook's, over exact windows: the severity at the end of slot i.
func (tr traffic) formula(s slo.SLO, i int) alert.Severity {
	severity := alert.None
	for _, w := range s.Windows {
		limit := w.Factor * (1 - s.Target)
		long, short := tr.last(i, w.Long), tr.last(i, w.Short)
		if float64(long.Bad) > limit*float64(long.Valid) && float64(short.Bad) > limit*float64(short.Valid) {
			severity = max(severity, w.Severity)
		}
	}
	return severity
}

// TestFormula compares every tick of every incident with the formula: the
// severity is at most one tick early or late, with the guard off.
func TestFormula(t *testing.T) {
	const before = 80 * time.Hour
	var reached [alert.Page + 1]atomic.Int32 // incidents by the highest severity
	for _, in := range incidents {
		t.Run(fmt.Sprintf("%gx for %s", in.burn, in.long), func(t *testing.T) {
			t.Parallel()
			total := before + in.long + 8*time.Hour
			tr := newTraffic(in, before, total)
			s := objective("a")
			s.MinBad = 0
			first := int((before - time.Minute) / (10 * time.Second))
			from := start.Add(time.Duration(first) * 10 * time.Second)
			changes := backtest(t, tr, set(s), from, start.Add(total))
			severity, next, fired := alert.None, 0, alert.None
			for i := first; i < len(tr.valid)-1; i++ {
				tick := start.Add(time.Duration(i) * 10 * time.Second)
				for ; next < len(changes) && !changes[next].At.After(tick); next++ {
					severity = changes[next].Status.Severity
				}
				want := tr.formula(s, i)
				fired = max(fired, want)
				if severity != want && severity != tr.formula(s, i-1) && severity != tr.formula(s, i+1) {
					t.Fatalf("%s after the beginning: %s, the formula says %s", tick.Sub(start)-before, severity, want)
				}
			}
			reached[fired].Add(1)
		})
	}
	t.Cleanup(func() {
		for severity := range reached {
			if reached[severity].Load() < 3 {
				t.Errorf("only %d incidents reach %s", reached[severity].Load(), alert.Severity(severity))
			}
		}
	})
}

// TestGuard: with little traffic a page comes only when chance can't explain
// what happened, and at the first slot at which it can't.
func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name  string
		every int           // a request every so many slots
		burn  float64       // multiples of the budget
		long  time.Duration // of the incident
		want  time.Duration // of the first page after the beginning; 0: none
	}{
		// Six requests an hour, all of which fail: three bad of eight are no chance
		// (the probability of three or more is 0.0002), two are below the least number.
		{"all of few fail", 60, 1000, 2 * time.Hour, 20*time.Minute + 10*time.Second},
		{"one of few fails", 60, 1000, 10 * time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			begin := start.Add(40 * 24 * time.Hour)
			m := memory{func(at time.Time) slo.Count {
				n := int(at.Sub(begin) / (10 * time.Second))
				if n%c.every != 0 {
					return slo.Count{}
				}
				if at.Before(begin) || !at.Before(begin.Add(c.long)) {
					return slo.Count{Valid: 1}
				}
				return slo.Count{Valid: 1, Bad: 1}
			}}
			got := backtest(t, m, set(objective("a")), begin.Add(-time.Minute), begin.Add(c.long+time.Hour))
			var first time.Duration
			for _, tr := range got {
				if tr.Status.Severity == alert.Page && first == 0 {
					first = tr.At.Sub(begin)
				}
			}
			if first != c.want {
				t.Errorf("first page after %s, want %s: %v", first, c.want, changes(got, begin))
			}
		})
	}
}

// BenchmarkTick judges one tick of 10,000 series, with the counts of the slot
// and of late ones set.
func BenchmarkTick(b *testing.B) {
	const n = 10_000
	slos := make([]slo.SLO, n)
	for i := range slos {
		slos[i] = objective(fmt.Sprint(i))
		slos[i].Service = fmt.Sprint(i)
	}
	e := NewEvaluator(set(slos...))
	tick := start
	e.Begin(tick)
	points := make([]Point, 12)
	for b.Loop() {
		tick = tick.Add(10 * time.Second)
		e.Begin(tick)
		for k := range points {
			points[k] = Point{Time: tick.Add(-time.Duration(k+1) * 10 * time.Second), Count: slo.Count{Valid: 50 + int64(k), Bad: 1}}
		}
		for i := range slos {
			e.Set(i, Span{Read: rollup.Grain10s, Grain: rollup.Grain10s}, points)
		}
		e.Judge()
	}
}

// TestFormulaWithGuard repeats the incidents with little traffic and the guard on:
// the severity at each tick is that of the formula where the exact binomial allows
// it, so a page is never later than that requires.
func TestFormulaWithGuard(t *testing.T) {
	const before = 80 * time.Hour
	guarded, fired := atomic.Int32{}, atomic.Int32{}
	for _, in := range incidents {
		t.Run(fmt.Sprintf("%gx for %s", in.burn, in.long), func(t *testing.T) {
			t.Parallel()
			total := before + in.long + 8*time.Hour
			tr := newTraffic(in, before, total)
			for i := range tr.valid { // about one request in ten seconds instead of 2,000
				tr.valid[i], tr.bad[i] = tr.valid[i]/2000, tr.bad[i]/2000
			}
			s := objective("a")
			first := int((before - time.Minute) / (10 * time.Second))
			from := start.Add(time.Duration(first) * 10 * time.Second)
			changes := backtest(t, tr, set(s), from, start.Add(total))
			exact := func(i int) alert.Severity {
				severity := alert.None
				for _, w := range s.Windows {
					limit := w.Factor * s.Budget()
					long, short := tr.last(i, w.Long), tr.last(i, w.Short)
					burns := float64(long.Bad) > limit*float64(long.Valid) && float64(short.Bad) > limit*float64(short.Valid)
					sure := long.Bad >= 3 && tail(long.Bad, long.Valid, limit) < 0.05
					if burns && !sure {
						guarded.Add(1)
					}
					if burns && sure {
						severity = max(severity, w.Severity)
					}
				}
				return severity
			}
			severity, next := alert.None, 0
			for i := first; i < len(tr.valid)-1; i++ {
				tick := start.Add(time.Duration(i) * 10 * time.Second)
				for ; next < len(changes) && !changes[next].At.After(tick); next++ {
					severity = changes[next].Status.Severity
				}
				want := exact(i)
				fired.Store(max(fired.Load(), int32(want)))
				if severity != want && severity != exact(i-1) && severity != exact(i+1) {
					t.Fatalf("%s after the beginning: %s, the exact bound says %s", tick.Sub(start)-before, severity, want)
				}
			}
		})
	}
	t.Cleanup(func() {
		if guarded.Load() == 0 || fired.Load() != int32(alert.Page) {
			t.Errorf("the guard held %d times, the highest severity was %d: the test says little", guarded.Load(), fired.Load())
		}
	})
}

// tail is the probability of k or more of n by summing up, one by one.
func tail(k, n int64, p float64) float64 {
	below, term := 0.0, math.Pow(1-p, float64(n))
	for i := range k {
		below += term
		term *= float64(n-i) / float64(i+1) * p / (1 - p)
	}
	return 1 - below
}
