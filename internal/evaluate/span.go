package evaluate

import (
	"time"

	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A Span is a part of the past, the grain at which it is read and the one at
// which it is summed.
type Span struct {
	Read, Grain rollup.Grain
	From, To    time.Time
}

// Reach says since when counts are kept, by grain. The zero time is for ever.
type Reach struct {
	Fine    time.Time // ten seconds
	Minutes time.Time
}

// pastMargin is how much more than the longest fine window is read finely.
const pastMargin = 10 * time.Minute

// Past returns how the past before the tick of Begin is read for a feed: finely
// where windows are short, coarsely where they are long, and in minutes where
// hours can't be cut as the objective wants.
func (e *Evaluator) Past(feed int, reach Reach) []Span {
	tick := e.tick
	longest := minuteReach
	sliced := false
	var cuts []slo.Maintenance
	for _, u := range e.users[feed] {
		longest = max(longest, u.of.slo.Period)
		sliced = sliced || u.of.slo.Method != slo.Occurrences
		for _, m := range u.of.maintenances {
			if !m.Count {
				cuts = append(cuts, m)
			}
		}
	}
	fine := tick.Add(-fineReach - pastMargin).Truncate(time.Minute)
	if sliced {
		fine = fine.Truncate(time.Hour)
	}
	minutes := tick.Add(-minuteReach - fineReach).Truncate(time.Hour)
	list := hourSpans(tick.Add(-longest).Truncate(time.Hour), minutes, reach.Minutes, sliced, cuts)
	list = append(list, Span{rollup.Grain1m, rollup.Grain1m, minutes, fine})
	border := e.border(feed, reach)
	if fine.Before(border) {
		cut := earlier(border, tick)
		list = append(list, Span{rollup.Grain1m, rollup.Grain10s, fine, cut})
		fine = cut
	}
	if fine.Before(tick) {
		list = append(list, Span{rollup.Grain10s, rollup.Grain10s, fine, tick})
	}
	return list
}

// border returns since when a feed is read in windows of ten seconds.
func (e *Evaluator) border(feed int, reach Reach) time.Time {
	if e.feeds[feed].Group.Step() > time.Duration(rollup.Grain10s) {
		return farFuture
	}
	if reach.Fine.IsZero() {
		return time.Time{}
	}
	return rollup.Grain1h.Window(reach.Fine.Add(time.Hour - 1)).Start
}

var farFuture = time.Unix(1<<40, 0)

// hourSpans splits the hours of [from, to) into those that are read as such and
// those that are read in minutes.
func hourSpans(from, to, minutesSince time.Time, sliced bool, cuts []slo.Maintenance) []Span {
	grain := func(hour time.Time) rollup.Grain {
		if hour.Before(minutesSince) {
			return rollup.Grain1h
		}
		if sliced {
			return rollup.Grain1m
		}
		for _, m := range cuts {
			if m.Overlaps(hour, hour.Add(time.Hour)) {
				return rollup.Grain1m
			}
		}
		return rollup.Grain1h
	}
	if sliced && minutesSince.After(from) { // hours say nothing about slices
		from = rollup.Grain1h.Window(minutesSince.Add(time.Hour - 1)).Start
	}
	if !sliced && len(cuts) == 0 {
		return []Span{{rollup.Grain1h, rollup.Grain1h, from, to}}
	}
	var list []Span
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		g := grain(h)
		if n := len(list); n > 0 && list[n-1].Read == g {
			list[n-1].To = h.Add(time.Hour)
			continue
		}
		list = append(list, Span{g, rollup.Grain1h, h, h.Add(time.Hour)})
	}
	return list
}

// Fresh returns how a feed is read from a time on to the end of data: whole
// minutes or slices, where it is counted in these.
func (e *Evaluator) Fresh(feed int, from, to time.Time) Span {
	step := e.feeds[feed].Group.Step()
	span := Span{rollup.Grain10s, rollup.Grain10s, from, to}
	if step > time.Duration(rollup.Grain10s) {
		span.Read = rollup.Grain1m
	}
	for _, u := range e.users[feed] {
		step = max(step, u.of.slo.Slice)
	}
	span.From = from.Truncate(step)
	return span
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
