package evaluate

import (
	"context"
	"fmt"
	"sort"
	"time"

	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// fineFor is how old 10 s rollups are at most by default; what is older is
// judged on minutes.
const fineFor = 48 * time.Hour

// A Counter reads counts; a Querier is one.
type Counter interface {
	Counts(ctx context.Context, s slo.SLO, g rollup.Grain, from, to time.Time) ([]Point, error)
}

// Backtest runs the evaluator over [from, to] and returns what would have
// changed. Ticks are those of live evaluation, 10 s apart, where the data is
// that fine, else a minute apart.
func Backtest(ctx context.Context, q Counter, slos []slo.SLO, from, to time.Time) ([]Transition, error) {
	grain := rollup.Grain10s
	if to.Sub(from) > fineFor {
		grain = rollup.Grain1m
	}
	from, to = grain.Window(from).Start, grain.Window(to).Start
	e := NewEvaluator(slos)
	e.Begin(from)
	points := make([][]Point, len(slos))
	for i, s := range slos {
		for _, span := range Past(from, slos) {
			past, err := q.Counts(ctx, s, span.Grain, span.From, span.To)
			if err != nil {
				return nil, fmt.Errorf("read the past of %s: %w", s.Name, err)
			}
			e.Set(i, past)
		}
		var err error
		if points[i], err = q.Counts(ctx, s, grain, from, to); err != nil {
			return nil, fmt.Errorf("read the counts of %s: %w", s.Name, err)
		}
	}
	list := e.Judge()
	next := make([]int, len(slos))
	for tick := from.Add(time.Duration(grain)); !tick.After(to); tick = tick.Add(time.Duration(grain)) {
		e.Begin(tick)
		for i, ps := range points {
			n := next[i] + sort.Search(len(ps)-next[i], func(k int) bool { return !ps[next[i]+k].Time.Before(tick) })
			e.Set(i, ps[next[i]:n])
			next[i] = n
		}
		list = append(list, e.Judge()...)
	}
	return list, nil
}
