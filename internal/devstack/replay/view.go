package replay

import (
	"context"
	"reflect"
	"slices"
	"sort"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A view is the store as the evaluation sees it at the data's clock: complete
// until now, and told of each part once. Counts of a part, which do not change
// while it passes, are read once and handed out up to the tick that asks.
type view struct {
	*clickhouse.Conn
	now   func() time.Time
	topic string
	every time.Duration // between two looks for signals; 0: each minute

	part   part
	told   bool // of the part
	cached []countsOf
}

// countsOf is what was read of some feeds.
type countsOf struct {
	grain  rollup.Grain
	feeds  []slo.Feed
	points [][]evaluate.Point
}

// before is how much before a part is kept with it: a tick looks back at most
// that far for windows that late rows have touched.
const before = 15 * time.Minute

// loaded begins with a new part.
func (v *view) loaded(p part) {
	v.part, v.told, v.cached = p, false, nil
}

// Signals implements evaluate.Querier. Minutes that are left out are not judged.
func (v *view) Signals(ctx context.Context, at time.Time) (evaluate.Readings, error) {
	if v.every > 0 && at.Unix()%int64(v.every/time.Second) != 0 {
		return evaluate.Readings{At: at}, nil
	}
	return v.Conn.Signals(ctx, at)
}

// Watermarks implements evaluate.Querier.
func (v *view) Watermarks(context.Context) ([]rollup.Watermark, error) {
	now := v.now()
	return []rollup.Watermark{{Topic: v.topic, MeasuredAt: now, CompleteUntil: now, CaughtUp: true}}, nil
}

// Changed implements evaluate.Querier.
func (v *view) Changed(context.Context, []string, time.Time) (evaluate.Change, error) {
	if v.told {
		return evaluate.Change{}, nil
	}
	v.told = true
	return evaluate.Change{From: v.part.oldest, To: v.part.end, Seen: v.part.end}, nil
}

// Counts implements evaluate.Counter.
func (v *view) Counts(ctx context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]evaluate.Point, error) {
	begin := v.part.begin.Add(-before).Truncate(time.Hour)
	if from.Before(begin) || to.After(v.part.end) || to.Sub(from) >= time.Hour {
		return v.Conn.Counts(ctx, feeds, g, from, to)
	}
	i := slices.IndexFunc(v.cached, func(c countsOf) bool { return c.grain == g && reflect.DeepEqual(c.feeds, feeds) })
	if i < 0 {
		points, err := v.Conn.Counts(ctx, feeds, g, begin, v.part.end)
		if err != nil {
			return nil, err
		}
		i = len(v.cached)
		v.cached = append(v.cached, countsOf{g, feeds, points})
	}
	out := make([][]evaluate.Point, len(feeds))
	for k, list := range v.cached[i].points {
		first := sort.Search(len(list), func(n int) bool { return !list[n].Time.Before(from) })
		last := first + sort.Search(len(list)-first, func(n int) bool { return !list[first+n].Time.Before(to) })
		out[k] = list[first:last]
	}
	return out, nil
}
