package evaluate

import (
	"context"
	"time"

	"gatewatch/internal/baseline"
	"gatewatch/internal/slo"
)

// A Budget is how an objective's error budget stands.
type Budget struct {
	Status   Status
	From, To time.Time // of the period
	Allowed  float64   // bad requests or slices in the period so far
	Left     float64   // share; negative when more than all is spent
	// Spent is when it will be spent if errors go on as in the last six hours.
	Spent slo.Exhaustion
	// Down is the share that was left at the end of each day of the period, the
	// newest last.
	Down []float64
	// Since is where its counts begin, if that is later than From.
	Since time.Time
}

// Budgets judges objectives at a tick, from counts alone.
func Budgets(ctx context.Context, q Counter, set *slo.Set, tick time.Time, reach Reach) ([]Budget, error) {
	e := NewEvaluator(set)
	e.Begin(tick)
	if err := LoadPast(ctx, q, e, reach); err != nil {
		return nil, err
	}
	e.Judge()
	var list []Budget
	for _, j := range e.objectives {
		for _, it := range j.items {
			list = append(list, it.budget(tick))
		}
	}
	return list, nil
}

// recent is how long errors are taken as going on.
const recent = 6 * time.Hour

func (it *item) budget(tick time.Time) Budget {
	st := it.status
	b := Budget{Status: st, Left: st.SLO.Remaining(st.Period), Allowed: st.SLO.Budget() * float64(st.Period.Valid) / float64(st.SLO.Unit())}
	b.From, b.To = st.SLO.PeriodAt(tick)
	history := it.history(tick)
	if len(history) > 0 && history[0].Time.After(b.From.Add(time.Hour)) {
		b.Since = history[0].Time
	}
	usual := baseline.New(history, baseline.Counts)
	day := float64(it.between(tick.Add(-24*time.Hour), tick).Valid) / 24
	straight := false
	traffic := func(hour time.Time) float64 {
		if x, ok := usual.Expected(hour); ok {
			return x.Median
		}
		straight = true
		return day
	}
	left := b.Left * st.SLO.Budget() * float64(st.Period.Valid)
	b.Spent = slo.Forecast(tick, left, it.between(tick.Add(-recent), tick), traffic)
	b.Spent.Straight = straight
	b.Down = it.down(b.From, tick)
	return b
}

// history returns the valid requests of each hour that is held, from the first
// that has some.
func (it *item) history(tick time.Time) []baseline.Point {
	var list []baseline.Point
	end := tick.Truncate(time.Hour)
	for h := end.Add(-max(it.status.SLO.Period, minuteReach)); h.Before(end); h = h.Add(time.Hour) {
		n := it.hours(h, h.Add(time.Hour)).Valid
		if len(list) > 0 || n > 0 {
			list = append(list, baseline.Point{Time: h.Truncate(time.Hour), Value: float64(n)})
		}
	}
	return list
}

// down returns the share of the whole period's budget that was left after each day.
func (it *item) down(from, tick time.Time) []float64 {
	allowed := it.status.SLO.Budget() * float64(it.status.Period.Valid)
	if allowed <= 0 {
		return nil
	}
	var list []float64
	left := 1.0
	for day := from; day.Before(tick); day = day.Add(24 * time.Hour) {
		left -= float64(it.hours(day, earlier(day.Add(24*time.Hour), tick.Add(time.Hour))).Bad) / allowed
		list = append(list, left)
	}
	return list
}
