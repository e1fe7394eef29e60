package evaluate

import (
	"context"
	"fmt"
	"time"
)

const (
	overlap  = 30 * time.Second // how far back in the ledger each tick looks again
	veryLate = 15 * time.Minute // changes that are further back are read together
	together = 5 * time.Minute  // so often
)

// freshness is what is known about what has been read.
type freshness struct {
	seen time.Time // newest ledger row, by the store's clock
	deep time.Time // from where late rows are to be read; zero: none
}

// A batch is what was read for a round, by feed.
type batch struct {
	spans  []Span
	points [][]Point
}

func (b *batch) set(e *Evaluator) {
	for i := range b.points {
		e.Set(i, b.spans[i], b.points[i])
	}
}

// read reads the windows since the last tick, and those before it that have
// changed since. Changes of long ago are read together every few minutes.
func (l *Loop) read(ctx context.Context, to time.Time) (*batch, error) {
	tick := l.eval.Tick()
	change, err := l.deps.Query.Changed(ctx, l.deps.Topics, l.fresh.seen.Add(-overlap))
	if err != nil {
		return nil, fmt.Errorf("read what has changed: %w", err)
	}
	from, deep := tick, l.fresh.deep
	if !change.From.IsZero() && change.From.Before(from) {
		from = change.From
	}
	if horizon := tick.Add(-veryLate); from.Before(horizon) {
		// At a start what is older has just been read.
		if !l.fresh.seen.IsZero() && (deep.IsZero() || from.Before(deep)) {
			deep = from
		}
		from = horizon
	}
	if !deep.IsZero() && tick.Truncate(together).Before(to.Truncate(together)) {
		if from = deep; from.Before(tick.Add(-fineReach)) {
			from = tick.Add(-fineReach)
		}
		deep = time.Time{}
	}
	b, err := fetch(ctx, l.deps.Query, l.eval, from.Truncate(10*time.Second), to)
	if err != nil {
		return nil, err
	}
	l.fresh.deep = deep
	if change.Seen.After(l.fresh.seen) {
		l.fresh.seen = change.Seen
	}
	return b, nil
}

// Advance reads what is new since a time and sets it, without judging.
func Advance(ctx context.Context, q Counter, e *Evaluator, from, to time.Time) error {
	b, err := fetch(ctx, q, e, from, to)
	if err != nil {
		return err
	}
	b.set(e)
	return nil
}

// fetch reads all feeds from a time on; those that are read alike at once.
func fetch(ctx context.Context, q Counter, e *Evaluator, from, to time.Time) (*batch, error) {
	b := &batch{spans: make([]Span, len(e.feeds)), points: make([][]Point, len(e.feeds))}
	alike := map[Span][]int{}
	var order []Span
	for i := range e.feeds {
		s := e.Fresh(i, from, to)
		if alike[s] == nil {
			order = append(order, s)
		}
		b.spans[i], alike[s] = s, append(alike[s], i)
	}
	for _, s := range order {
		points, err := counts(ctx, q, e, alike[s], s)
		if err != nil {
			return nil, err
		}
		for k, i := range alike[s] {
			b.points[i] = points[k]
		}
	}
	return b, nil
}

func counts(ctx context.Context, q Counter, e *Evaluator, feeds []int, s Span) ([][]Point, error) {
	if !s.From.Before(s.To) {
		return make([][]Point, len(feeds)), nil
	}
	points, err := q.Counts(ctx, e.pick(feeds), s.Read, s.From, s.To)
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	return points, nil
}

// chunk is how much of the past is read at once, by points of a feed.
const chunk = 2000

// LoadPast reads the past of all feeds before the tick of Begin.
func LoadPast(ctx context.Context, q Counter, e *Evaluator, reach Reach) error {
	alike := map[Span][]int{}
	var order []Span
	for i := range e.feeds {
		for _, s := range e.Past(i, reach) {
			for _, part := range split(s) {
				if alike[part] == nil {
					order = append(order, part)
				}
				alike[part] = append(alike[part], i)
			}
		}
	}
	for _, s := range order {
		points, err := counts(ctx, q, e, alike[s], s)
		if err != nil {
			return fmt.Errorf("read the past: %w", err)
		}
		for k, i := range alike[s] {
			e.Set(i, s, points[k])
		}
	}
	return nil
}

// split cuts a span at whole hours of the clock, so that what is read at once is
// bounded.
func split(s Span) []Span {
	width := max(time.Hour, (chunk * time.Duration(s.Read)).Truncate(time.Hour))
	var list []Span
	for from := s.From; from.Before(s.To); {
		to := earlier(from.Truncate(width).Add(width), s.To)
		list = append(list, Span{s.Read, s.Grain, from, to})
		from = to
	}
	return list
}
