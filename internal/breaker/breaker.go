// Package breaker finds the episodes of circuit breakers in a service's requests:
// stated by the gateway's own flag, or inferred from what shed requests look
// like. Pure: it reads seconds and returns episodes.
package breaker

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// A Second is what a service's requests did in one second.
type Second struct {
	Time time.Time
	// Flagged were shed by a breaker as the gateway says; Fast failed at once
	// without reaching an upstream, which it does not explain.
	Flagged, Fast int64
	// Passed reached an upstream and did not fail by its fault.
	Passed int64
	// Failed reached for an upstream and failed by its fault, by class and by upstream.
	Failed, Upstreams map[string]int64
}

func (s Second) failed() int64 { return sum(s.Failed) }

func sum(m map[string]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}

// An Episode is one time that a breaker was open.
type Episode struct {
	Service, Upstream string // Upstream where one host explains the trigger
	Opened            time.Time
	// HalfOpen are the moments at which requests were let through to try.
	HalfOpen []time.Time
	// Closed is when requests passed again; zero while it is open.
	Closed time.Time
	// Shed requests, and how many of the service's reached an upstream meanwhile.
	Shed, Reached int64
	// Evidence is stated (by the gateway's flag) or inferred.
	Evidence string
	// Trigger is the class that failed most in the minute before, of that many
	// requests; empty if nothing failed.
	Trigger                        string
	TriggerFailed, TriggerRequests int64
}

const (
	// quiet is how long nothing must have been shed for a breaker to be closed.
	quiet = 20 * time.Second
	// lead is how long before its opening a trigger is looked for.
	lead = time.Minute
	// An inferred breaker needs a trigger and sheds most of what comes.
	minTrigger      = 5
	minTriggerShare = 0.1
	minShed         = 10
	minShedShare    = 0.4
)

// Episodes returns the episodes in seconds, which are a service's in order,
// without those in which there were no requests. until is up to when they are
// complete: what has not been quiet for long enough by then is still open.
func Episodes(service string, seconds []Second, until time.Time) []Episode {
	var list []Episode
	for _, stated := range []bool{true, false} {
		shed := func(s Second) int64 { return s.Flagged }
		if !stated {
			shed = func(s Second) int64 { return s.Fast }
		}
		for first := 0; first < len(seconds); first++ {
			if shed(seconds[first]) == 0 {
				continue
			}
			last := first
			for i := first; i < len(seconds) && seconds[i].Time.Sub(seconds[last].Time) <= quiet; i++ {
				if shed(seconds[i]) > 0 {
					last = i
				}
			}
			if e, ok := episode(service, seconds, first, last, shed, until); ok {
				e.Evidence = "stated"
				if !stated {
					e.Evidence = "inferred"
				}
				if (stated || e.plausible()) && !overlaps(list, e) {
					list = append(list, e)
				}
			}
			first = last
		}
	}
	slices.SortFunc(list, func(a, b Episode) int { return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.Evidence, b.Evidence)) })
	return list
}

// overlaps reports whether an episode that the gateway states covers e.
func overlaps(list []Episode, e Episode) bool {
	return slices.ContainsFunc(list, func(o Episode) bool {
		return (o.Closed.IsZero() || e.Opened.Before(o.Closed.Add(quiet))) && (e.Closed.IsZero() || o.Opened.Before(e.Closed.Add(quiet)))
	})
}

// plausible tells a breaker from an upstream that is merely away: something
// failed at the upstream first, and then most requests were shed.
func (e Episode) plausible() bool {
	return e.TriggerFailed >= minTrigger && float64(e.TriggerFailed) >= minTriggerShare*float64(e.TriggerRequests) &&
		e.Shed >= minShed && float64(e.Shed) >= minShedShare*float64(e.Shed+e.Reached)
}

func episode(service string, seconds []Second, first, last int, shed func(Second) int64, until time.Time) (Episode, bool) {
	e := Episode{Service: service, Opened: seconds[first].Time}
	closed := true
	if end := seconds[last].Time.Add(time.Second); until.Sub(end) < quiet {
		closed = false
	} else {
		e.Closed = end
	}
	onlyShed := false
	for _, s := range seconds[first : last+1] {
		e.Shed += shed(s)
		reached := s.Passed + s.failed()
		e.Reached += reached
		// The first request that is let through after some were only shed.
		if reached > 0 && onlyShed {
			e.HalfOpen = append(e.HalfOpen, s.Time)
		}
		onlyShed = shed(s) > 0 && reached == 0 || onlyShed && reached == 0
	}
	if closed {
		// It closes with the first request that passes after the last one shed.
		for _, s := range seconds[last+1:] {
			if s.Passed > 0 {
				e.Closed = s.Time
				break
			}
		}
	}
	failed, upstreams := map[string]int64{}, map[string]int64{}
	for i := first; i >= 0 && e.Opened.Sub(seconds[i].Time) <= lead; i-- {
		s := seconds[i]
		if i < first {
			e.TriggerRequests += s.Passed
		}
		e.TriggerRequests += s.failed()
		for c, n := range s.Failed {
			failed[c] += n
		}
		for u, n := range s.Upstreams {
			upstreams[u] += n
		}
	}
	for _, c := range slices.Sorted(maps.Keys(failed)) {
		if failed[c] > e.TriggerFailed {
			e.Trigger, e.TriggerFailed = c, failed[c]
		}
	}
	all := sum(upstreams)
	for u, n := range upstreams {
		if float64(n) >= 0.8*float64(all) {
			e.Upstream = u
		}
	}
	return e, e.Shed > 0
}
