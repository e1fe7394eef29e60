package evaluate

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

var start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func objective(name string) slo.SLO {
	return slo.SLO{Name: name, Service: "payments", Target: 0.999, Period: 30 * 24 * time.Hour, Windows: slo.DefaultWindows(), MinBad: 3}
}

// TestSeriesSums moves a series at random, with late data and gaps, and adds
// up each window by hand after every step.
func TestSeriesSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	widths := []time.Duration{time.Minute, 5 * time.Minute, time.Hour}
	s := newSeries(widths, false)
	truth := map[int64]slo.Count{} // by slot
	end := start
	for range 3000 {
		step := time.Duration(1+r.IntN(3)) * 10 * time.Second
		if r.IntN(200) == 0 {
			step = 2 * time.Hour // longer than all windows
		}
		end = end.Add(step)
		s.advance(end)
		for range r.IntN(4) {
			at := end.Add(-time.Duration(1+r.IntN(380)) * 10 * time.Second) // up to 63 min: partly outside
			p := Point{Time: at, Count: slo.Count{Valid: int64(r.IntN(100)), Bad: int64(r.IntN(5))}}
			s.set(rollup.Grain10s, p)
			truth[at.Unix()/10] = p.Count
		}
		// What fell out of the longest window is gone for good.
		for n := range truth {
			if n < end.Add(-time.Hour-10*time.Second).Unix()/10 {
				delete(truth, n)
			}
		}
		for i, w := range widths {
			var want slo.Count
			for n, c := range truth {
				if n >= end.Add(-w).Unix()/10 && n < end.Unix()/10 {
					want.Valid += c.Valid
					want.Bad += c.Bad
				}
			}
			if got := s.sum(i); got != want {
				t.Fatalf("at %s the last %s hold %+v, want %+v", end, w, got, want)
			}
		}
	}
}

// outage is a steady service of 5 requests a second that fails by share from
// one moment to another.
func outage(from, to time.Time, share float64) func(time.Time) slo.Count {
	return func(at time.Time) slo.Count {
		c := slo.Count{Valid: 50}
		if !at.Before(from) && at.Before(to) {
			c.Bad = int64(share * 50)
		}
		return c
	}
}

// memory is a store that makes its counts from a function.
type memory struct{ at func(time.Time) slo.Count }

func (m memory) Counts(_ context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	var list []Point
	for t := g.Window(from).Start; t.Before(to); t = t.Add(time.Duration(g)) {
		if t.Before(start) || t.Before(from) {
			continue
		}
		p := Point{Time: t}
		for s := t; s.Before(t.Add(time.Duration(g))); s = s.Add(10 * time.Second) {
			c := m.at(s)
			p.Valid += c.Valid
			p.Bad += c.Bad
		}
		list = append(list, p)
	}
	return each(list, len(feeds)), nil
}

// each returns the same points for every feed.
func each(points []Point, feeds int) [][]Point {
	list := make([][]Point, feeds)
	for i := range list {
		list[i] = points
	}
	return list
}

// set is objectives alone.
func set(list ...slo.SLO) *slo.Set { return &slo.Set{SLOs: list} }

// backtest runs objectives over counts that are kept finely for ever.
func backtest(t *testing.T, q Counter, s *slo.Set, from, to time.Time) []Transition {
	t.Helper()
	got, err := Backtest(t.Context(), q, Test{Set: s, From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	return got.Changes
}

type turn struct {
	At       time.Duration // after the outage began
	From, To alert.State
	Severity alert.Severity
}

// TestBacktest checks the moments of an outage of 20 % that lasts ten minutes
// against arithmetic on paper. The hour holds 18,000 requests and exceeds
// 1.44 % with 260 bad ones; that is no chance (259.2 expected, deviation 16,
// one-sided 95 %) from 286 on: 10 a slot, so with the 29th slot, 290 s after
// the beginning. The page pair of six hours (0.6 % of 108,000) needs 649. Ten
// minutes after the end (at 600 s), at 1200 s … the short windows decide: five
// minutes hold no more than 1.44 % of 1,500 = 21 bad when two slots are left,
// at 600 + 280 s; by then the hour's other pair (0.6 % of 9,000 = 54 in 30 min)
// has not fired, as the six hours hold 600 bad. The day's ticket needs 1,297.
func TestBacktest(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	m := memory{outage(begin, begin.Add(10*time.Minute), 0.2)}
	got := backtest(t, m, set(objective("a")), begin.Add(-time.Hour), begin.Add(2*time.Hour))
	want := []turn{
		{290 * time.Second, alert.Inactive, alert.Firing, alert.Page},
		{880 * time.Second, alert.Firing, alert.Resolved, alert.None},
	}
	if diff := cmp.Diff(changes(got, begin), want); diff != "" {
		t.Errorf("changes (-got +want):\n%s", diff)
	}
	if got[0].Status.Since != begin {
		t.Errorf("onset %s, want %s", got[0].Status.Since, begin)
	}
}

func changes(list []Transition, begin time.Time) []turn {
	var out []turn
	for _, t := range list {
		out = append(out, turn{t.At.Sub(begin), t.From, t.Status.State, t.Status.Severity})
	}
	return out
}

// TestRestart: an evaluator that begins in mid-outage, with the state that
// another left, goes on as if nothing had happened.
func TestRestart(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	m := memory{outage(begin, begin.Add(3*time.Hour), 0.3)}
	slos := set(objective("a"))
	whole := backtest(t, m, slos, begin.Add(-time.Minute), begin.Add(5*time.Hour))
	middle := begin.Add(30 * time.Minute)
	first := backtest(t, m, slos, begin.Add(-time.Minute), middle)
	last := first[len(first)-1].Status
	e := NewEvaluator(slos)
	e.Begin(middle)
	if err := LoadPast(t.Context(), m, e, Reach{}); err != nil {
		t.Fatal(err)
	}
	e.Restore("a", last.Severity, last.Since, last.ID)
	rest := e.Judge()
	for tick := middle.Add(10 * time.Second); !tick.After(begin.Add(5 * time.Hour)); tick = tick.Add(10 * time.Second) {
		e.Begin(tick)
		b, err := fetch(t.Context(), m, e, tick.Add(-2*time.Minute), tick)
		if err != nil {
			t.Fatal(err)
		}
		b.set(e)
		rest = append(rest, e.Judge()...)
	}
	if diff := cmp.Diff(append(changes(first, begin), changes(rest, begin)...), changes(whole, begin)); diff != "" {
		t.Errorf("with a restart (-got +want):\n%s", diff)
	}
}
