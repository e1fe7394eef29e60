package slo

import "time"

// Bounds returns the two-sided 90 % Clopper-Pearson interval of a share of bad
// requests: the true one lies in it in nine of ten cases, or more.
func Bounds(c Count) (low, high float64) {
	if c.Valid <= 0 {
		return 0, 1
	}
	const tail = 0.05
	low, high = 0, 1
	if c.Bad > 0 {
		low = bisect(func(p float64) bool { return AtLeast(c.Bad, c.Valid, p) < tail })
	}
	if c.Bad < c.Valid {
		high = bisect(func(p float64) bool { return 1-AtLeast(c.Bad+1, c.Valid, p) >= tail })
	}
	return low, high
}

// bisect returns the largest p in [0, 1] for which below is true; it is true up
// to there.
func bisect(below func(p float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// An Exhaustion is when a budget will be spent if errors go on as they are.
type Exhaustion struct {
	At               time.Time // zero: not within the horizon
	Earliest, Latest time.Time // of the interval of the share of bad requests; zero: not within the horizon
	Straight         bool      // by the traffic of the last day, for want of two weeks of history
}

// horizon is how far a budget is forecast.
const horizon = 92 * 24 * time.Hour

// Forecast says when left bad requests will be spent from now on, by the share of
// bad ones among recent requests, and by how many valid requests each hour has.
func Forecast(now time.Time, left float64, recent Count, traffic func(hour time.Time) float64) Exhaustion {
	low, high := Bounds(recent)
	e := Exhaustion{At: spent(now, left, recent.Ratio(), traffic)}
	e.Earliest, e.Latest = spent(now, left, high, traffic), spent(now, left, low, traffic)
	return e
}

func spent(now time.Time, left, ratio float64, traffic func(time.Time) float64) time.Time {
	if left <= 0 {
		return now
	}
	if ratio <= 0 {
		return time.Time{}
	}
	for at := now; at.Sub(now) < horizon; {
		next := at.Truncate(time.Hour).Add(time.Hour)
		part := next.Sub(at).Hours()
		bad := ratio * traffic(at.Truncate(time.Hour)) * part
		if bad >= left {
			return at.Add(time.Duration(left / bad * float64(next.Sub(at)))).Truncate(time.Minute)
		}
		left -= bad
		at = next
	}
	return time.Time{}
}
