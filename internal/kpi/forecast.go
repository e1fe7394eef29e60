package kpi

import (
	"math"
	"time"
)

// A Forecast says when a quota will be used up.
type Forecast struct {
	// Known is false with less than three full days of history.
	Known bool
	// At is when it is used up at the usual pace; Earliest and Latest hold the true
	// moment between them in 95 of 100 cases. Zero: not within the window.
	At, Earliest, Latest time.Time
	// Expected is how many calls there will be at the end of the window, limits aside.
	Expected float64
}

const (
	// forecastDays is how much history a forecast reads at most.
	forecastDays = 28
	// minForecastDays is how many full days it needs.
	minForecastDays = 3
	hoursAWeek      = 168
)

// student are the 97.5 % quantiles of Student's t by degrees of freedom, from 2
// on; beyond the last one 2.05 is near enough.
var student = [...]float64{4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06}

// Exhaustion forecasts when used calls of a window that ends at end reach quota.
// Hours are the calls of each full hour up to now's hour, the last one just
// before it; used includes what came in now's hour so far.
//
// The pace is that of the same hour of the week, as far as four weeks tell it
// apart (hours of a day, below two weeks), times how busy the last days were.
// Two things make it uncertain: how much whole days differ from that pace, and
// chance in the number of calls.
func Exhaustion(hours []float64, now, end time.Time, used, quota float64) Forecast {
	hours = hours[max(0, len(hours)-forecastDays*24):]
	days := len(hours) / 24
	var f Forecast
	if days < minForecastDays {
		return f
	}
	hours = hours[len(hours)-days*24:]
	first := now.Truncate(time.Hour).Add(-time.Duration(len(hours)) * time.Hour)
	shape := newShape(hours, first)
	level, spread := shape.level(hours, first)
	f.Known = true
	t := student[min(max(days-1-shape.fitted, 0), len(student)-1)]
	var pace float64
	reach := func(deviations float64, expected, ahead float64) bool {
		// Days vary as a whole: those ahead around the pace, and those seen, from which
		// the pace of each day of the week and the level come.
		ahead = math.Max(1, ahead)
		alike := float64(days)
		if shape.fitted > 1 {
			alike *= math.Min(ahead, 7) / 7
		}
		sd := expected * spread * math.Sqrt(1/ahead+1/alike+1/float64(min(days, recentDays)))
		sd = math.Sqrt(sd*sd + expected)
		return used+expected+deviations*sd >= quota
	}
	for at := now; ; {
		next := at.Truncate(time.Hour).Add(time.Hour)
		if next.After(end) {
			next = end
		}
		const parts = 6 // an hour is looked at in steps of ten minutes
		for i := 1; i <= parts; i++ {
			then := at.Add(next.Sub(at) * time.Duration(i) / parts)
			expected := pace + level*shape.hour(at)*then.Sub(at).Hours()
			ahead := then.Sub(now).Hours() / 24
			mark := func(moment *time.Time, deviations float64) {
				if moment.IsZero() && reach(deviations, expected, ahead) {
					*moment = then
				}
			}
			mark(&f.Earliest, t)
			mark(&f.At, 0)
			mark(&f.Latest, -t)
		}
		pace += level * shape.hour(at) * next.Sub(at).Hours()
		if at = next; !at.Before(end) {
			break
		}
	}
	f.Expected = used + pace
	return f
}

// A shape is the usual number of calls at each hour of the week.
type shape struct {
	hours  [hoursAWeek]float64
	fitted int // how many figures about whole days come from the history
}

func hourOfWeek(t time.Time) int {
	t = t.UTC()
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

// newShape averages hours. From two weeks on days of the week differ: the shape
// is that of the day times what the day of the week has of an average day.
func newShape(hours []float64, first time.Time) shape {
	var byHour [24]float64
	var byDay [7]float64
	var hourCount [24]float64
	var dayCount [7]float64
	var sum float64
	for i, v := range hours {
		k := hourOfWeek(first.Add(time.Duration(i) * time.Hour))
		byHour[k%24] += v
		hourCount[k%24]++
		byDay[k/24] += v
		dayCount[k/24]++
		sum += v
	}
	mean := sum / float64(len(hours))
	s := shape{fitted: 1}
	weekly := len(hours) >= 2*hoursAWeek && mean > 0
	if weekly {
		s.fitted = 7
	}
	for k := range s.hours {
		s.hours[k] = byHour[k%24] / math.Max(1, hourCount[k%24])
		if weekly {
			s.hours[k] *= byDay[k/24] / math.Max(1, dayCount[k/24]) / mean
		}
	}
	return s
}

func (s *shape) hour(t time.Time) float64 { return s.hours[hourOfWeek(t)] }

// recentDays is how many days tell the level.
const recentDays = 14

// level returns how busy the last days were against the shape, and by which
// share of it single days differ, what chance alone does taken off.
func (s *shape) level(hours []float64, first time.Time) (level, spread float64) {
	var ratios []float64
	var chance float64
	for d := range len(hours) / 24 {
		var actual, expected float64
		for h := range 24 {
			actual += hours[d*24+h]
			expected += s.hour(first.Add(time.Duration(d*24+h) * time.Hour))
		}
		if expected > 0 {
			ratios = append(ratios, actual/expected)
			chance += 1 / expected
		}
	}
	if len(ratios) == 0 {
		return 0, 0
	}
	mean := func(vs []float64) (sum float64) {
		for _, v := range vs {
			sum += v
		}
		return sum / float64(len(vs))
	}
	level = mean(ratios[max(0, len(ratios)-recentDays):])
	all := mean(ratios)
	var variance float64
	for _, r := range ratios {
		variance += (r - all) * (r - all)
	}
	// What was fitted to the days takes a part of how they differ away.
	variance = variance/math.Max(1, float64(len(ratios)-s.fitted)) - chance/float64(len(ratios))
	return level, math.Sqrt(math.Max(0, variance))
}

// Covers tells whether a moment lies in the interval; the zero moment is "not
// within the window". An hour's edge is as exact as the history is.
func (f *Forecast) Covers(moment time.Time) bool {
	if moment.IsZero() {
		return f.Latest.IsZero()
	}
	return !f.Earliest.IsZero() && !moment.Before(f.Earliest.Add(-time.Hour)) && (f.Latest.IsZero() || !moment.After(f.Latest.Add(time.Hour)))
}
