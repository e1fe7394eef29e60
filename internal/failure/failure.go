// Package failure tells one client's failures from everybody's: which callers
// fail with a class of error that rose against their own past and against all
// others, how far a failure spreads, and what repeated calls look like. Pure
// statistics over counts of all requests.
package failure

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"gatewatch/internal/slo"
)

// A Caller is who calls: a key, and its consumer where one is known.
type Caller struct{ Key, Consumer, Plan string }

func (c Caller) String() string {
	switch {
	case c.Consumer != "" && c.Key != "":
		return c.Consumer + " (key " + c.Key[:min(8, len(c.Key))] + ")"
	case c.Consumer != "":
		return c.Consumer
	}
	return "key " + c.Key[:min(8, len(c.Key))]
}

// A Place is what is called. Operation is "METHOD route", or empty where only
// the service is known.
type Place struct{ Service, Operation string }

// A Cell is what one caller did at one place, now and in the time before. Counts
// are requests by error class, "none" included.
type Cell struct {
	Caller
	Place
	Now, Before map[string]int64
}

// A Pattern is a caller whose failures are its own.
type Pattern struct {
	Caller
	Place
	Class            string
	Failed, Requests int64
	// Before is the share of the caller's requests that failed so before (NaN: it
	// did not call), Others that of everybody else at the same place now.
	Before, Others float64
	// Chance is the probability that so many fail by chance at the worse of both shares.
	Chance float64
}

func (p Pattern) String() string {
	before := "did not call before"
	if !math.IsNaN(p.Before) {
		before = fmt.Sprintf("%.1f %% before", 100*p.Before)
	}
	return fmt.Sprintf("%s of %d requests (%.1f %%), %s, others %.1f %%", p.Class, p.Requests, 100*float64(p.Failed)/float64(p.Requests), before, 100*p.Others)
}

const (
	chance    = 1e-5 // significance, small since many cells are tested
	minFailed = 5
	minTimes  = 2.0 // above the share before and the others'
)

// none is the class of requests that did not fail.
const none = "none"

// share is a ratio that isn't nil for want of failures among n.
func share(bad, n int64) float64 { return (float64(bad) + 0.5) / (float64(n) + 1) }

// Patterns returns the client-specific failures, the most failed requests first.
func Patterns(cells []Cell) []Pattern {
	all := map[Place]map[string]int64{}
	for _, c := range cells {
		t := all[c.Place]
		if t == nil {
			t = map[string]int64{}
			all[c.Place] = t
		}
		for class, n := range c.Now {
			t[class] += n
		}
	}
	var list []Pattern
	for _, c := range cells {
		n, total := sum(c.Now), sum(all[c.Place])
		for class, failed := range c.Now {
			if class == none || failed < minFailed {
				continue
			}
			p := Pattern{Caller: c.Caller, Place: c.Place, Class: class, Failed: failed, Requests: n, Before: math.NaN()}
			others, limit := all[c.Place][class]-failed, 0.0
			if total > n {
				p.Others = float64(others) / float64(total-n)
				limit = share(others, total-n)
			}
			if before := sum(c.Before); before > 0 {
				p.Before = float64(c.Before[class]) / float64(before)
				limit = max(limit, share(c.Before[class], before))
			} else if total == n {
				continue // nothing to compare with
			}
			p.Chance = slo.AtLeast(failed, n, limit)
			ratio := float64(failed) / float64(n)
			if p.Chance < chance && ratio >= minTimes*p.Others && (math.IsNaN(p.Before) || ratio >= minTimes*p.Before) {
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(a, b Pattern) int {
		return cmp.Or(-cmp.Compare(a.Failed, b.Failed), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Consumer, b.Consumer),
			cmp.Compare(a.Service, b.Service), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Class, b.Class))
	})
	return list
}

func sum(m map[string]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}

// A Verdict says whom a class of error hits at a service.
type Verdict struct {
	Service, Class string
	// Who is one_client, few_clients, everybody, or usual where the class did not rise.
	Who string
	// Failed of Requests now; Before is the share before.
	Failed, Requests int64
	Before           float64
	// Hit callers of all Active ones have the failure; Expected is how many would
	// have it if it struck at random.
	Hit, Active int
	Expected    float64
	// Top is the caller with most of the excess, and its share of it.
	Top      Caller
	TopShare float64
}

// What makes a failure one client's, or everybody's.
const (
	oneShare  = 0.8 // of the excess
	allHit    = 5   // callers
	allSpread = 0.5 // of those that would be hit at random
)

// A spread is what the callers of one service did.
type spread struct {
	callers map[Caller]map[string]int64 // class → requests now
	past    map[Caller]map[string]int64 // the same before
	before  map[string]int64            // of all
	failed  map[string]int64            // class → requests now, of all
}

// Verdicts judges each service and error class, most failed requests first.
// A class that did not rise is "usual".
func Verdicts(cells []Cell) []Verdict {
	services := map[string]*spread{}
	for _, c := range cells {
		s := services[c.Service]
		if s == nil {
			s = &spread{map[Caller]map[string]int64{}, map[Caller]map[string]int64{}, map[string]int64{}, map[string]int64{}}
			services[c.Service] = s
		}
		m := s.callers[c.Caller]
		if m == nil {
			m = map[string]int64{}
			s.callers[c.Caller], s.past[c.Caller] = m, map[string]int64{}
		}
		for class, n := range c.Now {
			m[class] += n
			if class != none {
				s.failed[class] += n
			}
		}
		for class, n := range c.Before {
			s.before[class] += n
			s.past[c.Caller][class] += n
		}
	}
	var list []Verdict
	for name, s := range services {
		for class := range s.failed {
			v := s.judge(class)
			v.Service = name
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b Verdict) int {
		return cmp.Or(-cmp.Compare(a.Failed, b.Failed), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Class, b.Class))
	})
	return list
}

// judge says whom a class hits.
func (s *spread) judge(class string) Verdict {
	v := Verdict{Class: class, Failed: s.failed[class]}
	var usual float64
	if was := sum(s.before); was > 0 {
		v.Before = float64(s.before[class]) / float64(was)
		usual = share(s.before[class], was)
	}
	sorted := slices.SortedFunc(maps.Keys(s.callers), func(a, b Caller) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Plan, b.Plan))
	})
	for _, c := range sorted {
		v.Requests += sum(s.callers[c])
	}
	ratio := float64(v.Failed) / float64(v.Requests)
	var excess, top float64
	var risen, rest, restFailed int64
	var one Caller
	for _, c := range sorted {
		n, failed := sum(s.callers[c]), s.callers[c][class]
		if n == 0 {
			continue
		}
		v.Active++
		v.Expected += 1 - math.Pow(1-ratio, float64(n))
		if failed > 0 {
			v.Hit++
		}
		// Chance makes callers a little better or worse: only the sum of both is excess.
		e := float64(failed) - usual*float64(n)
		excess += e
		if e > top {
			top, v.Top = e, c
		}
		if rose(failed, n, max(usual, own(s.past[c], class))) {
			risen++
			one = c
		} else {
			rest, restFailed = rest+n, restFailed+failed
		}
	}
	if excess > 0 {
		v.TopShare = min(1, top/excess)
	}
	spread := v.Hit >= allHit && float64(v.Hit) >= allSpread*v.Expected
	switch {
	case rose(restFailed, rest, usual) && v.Hit >= allHit, risen >= allHit && spread:
		v.Who = "everybody"
	case risen > 1:
		v.Who = "few_clients"
	case risen == 1:
		v.Who, v.Top = "one_client", one
	case rose(v.Failed, v.Requests, usual) && v.TopShare >= oneShare:
		v.Who = "one_client"
	case rose(v.Failed, v.Requests, usual):
		v.Who = "few_clients"
	default:
		v.Who = "usual"
	}
	return v
}

// rose reports whether so many failures are more than usual, by more than chance.
func rose(failed, n int64, usual float64) bool {
	ratio := float64(failed) / float64(max(1, n))
	return failed >= minFailed && (ratio >= minTimes*usual || ratio-usual >= 0.01) && slo.AtLeast(failed, n, usual) < chance
}

// own is a caller's usual share of a class, 0 if it did not call before.
func own(past map[string]int64, class string) float64 {
	if n := sum(past); n > 0 {
		return share(past[class], n)
	}
	return 0
}

func (v Verdict) String() string {
	rise := fmt.Sprintf("%.1f %% of requests, %.1f %% before", 100*float64(v.Failed)/float64(max(1, v.Requests)), 100*v.Before)
	switch v.Who {
	case "one_client":
		return fmt.Sprintf("%s: %.0f %% of the excess is %s", rise, 100*v.TopShare, v.Top)
	case "everybody":
		return fmt.Sprintf("%s: %d of %d callers have it, %.0f would if it struck at random", rise, v.Hit, v.Active, v.Expected)
	case "few_clients":
		return fmt.Sprintf("%s: %d of %d callers have it, where %.0f would if it struck at random", rise, v.Hit, v.Active, v.Expected)
	}
	return rise
}

// A Sequence is what a caller's requests look like one after the other.
type Sequence struct {
	Caller
	Requests int64
	// Retries are requests that repeat one of the same operation and object that
	// failed up to half a minute before.
	Retries int64
	// Tries is the upstream tries that the gateway made, 0 if it does not say.
	Tries int64
	// Run is the longest row of requests that failed with one class.
	Run            int64
	RunClass       string
	RunFrom, RunTo time.Time
}

// A Call is one request of a caller. Object is what it asked for.
type Call struct {
	Caller
	At        time.Time
	Operation string
	Object    string
	Class     string
	Tries     int64
}

// retryWithin is how soon after a failure the same call is a retry of it.
const retryWithin = 30 * time.Second

// Sequences reads calls, which come by caller and in the order of time.
func Sequences(calls []Call) []Sequence {
	type call struct{ operation, object string }
	var list []Sequence
	var last map[call]Call
	var run Sequence // of the run that goes on
	for i := range calls {
		c := &calls[i]
		if i == 0 || c.Caller != calls[i-1].Caller {
			list = append(list, Sequence{Caller: c.Caller, RunClass: none})
			last, run = map[call]Call{}, Sequence{RunClass: none}
		}
		s := &list[len(list)-1]
		s.Requests++
		s.Tries += c.Tries
		k := call{c.Operation, c.Object}
		if before, ok := last[k]; ok && before.Class != none && c.At.Sub(before.At) <= retryWithin {
			s.Retries++
		}
		last[k] = *c
		if c.Class != run.RunClass {
			run = Sequence{RunClass: c.Class, RunFrom: c.At}
		}
		run.Run++
		if c.Class != none && run.Run > s.Run {
			s.Run, s.RunClass, s.RunFrom, s.RunTo = run.Run, run.RunClass, run.RunFrom, c.At
		}
	}
	return list
}

// Attempts returns the requests per logical call, 1 if nothing is repeated.
func (s Sequence) Attempts() float64 {
	return float64(s.Requests) / float64(max(1, s.Requests-s.Retries))
}

const (
	loopRun       = 20  // refused requests in a row
	longRun       = 20  // of any other class
	stormAttempts = 1.5 // requests a logical call
	stormRetries  = 20
)

// Shapes names what a sequence is: auth_loop (the same refusal again and again),
// error_run and retry_storm.
func (s Sequence) Shapes() []string {
	var list []string
	switch {
	case s.RunClass == "client_auth" && s.Run >= loopRun:
		list = append(list, "auth_loop")
	case s.RunClass != none && s.Run >= longRun:
		list = append(list, "error_run")
	}
	if s.Retries >= stormRetries && s.Attempts() >= stormAttempts {
		list = append(list, "retry_storm")
	}
	return list
}
