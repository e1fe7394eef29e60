// Package slo holds service level objectives and the arithmetic of error
// budgets and burn rates (SRE Workbook, chapter 5). Objectives are read from
// OpenSLO v1 files. Targets are ratios in (0, 1), never per cent.
//
// An OpenSLO metricSource of type gatewatch says what is counted; its spec has
//
//	kind         availability or latency
//	threshold    of latency, such as 300ms: an answer that takes longer is bad
//	route        template; method, environment, tenant: narrow the service down
//	bad          error classes that count as bad (default: the gateway's and the upstream's)
//	excluded     error classes that count neither way (default: client_quota)
//
// It is written as ratioMetric.total, and again as good or bad where other tools
// want that; a thresholdMetric takes op: lte and value: SECONDS from each
// objective instead of a threshold. Annotations hold what OpenSLO can't say:
// gatewatch/owner, runbook, tier, windows, min-bad, group, group-max,
// keep-firing, targets and mode.
//
// Objectives with an indicator each make a composite. Two lines, service and
// objective, make an objective too (see Expand). Kinds Maintenance and
// BudgetAdjustment of gatewatch/v1 say what is not to count.
package slo

import (
	"fmt"
	"math"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/histogram"
)

// A Kind is what a service level indicator counts as bad.
type Kind int

// The kinds.
const (
	// Availability: bad are requests that the gateway or the upstream failed;
	// requests over a quota count neither way.
	Availability Kind = iota
	// Latency: bad are answered requests that took longer than the threshold;
	// failed ones count neither way, availability has them.
	Latency
)

func (k Kind) String() string {
	if k == Latency {
		return "latency"
	}
	return "availability"
}

// An SLI says which requests are valid and which of those are bad.
type SLI struct {
	Kind Kind
	// Threshold of a latency indicator.
	Threshold time.Duration
	// Route, Method, Environment and Tenant narrow the service down; empty is all.
	Route, Method       string
	Environment, Tenant string
	// Bad are the error classes that count as bad, Excluded those that count
	// neither way. Nil: what the Kind says.
	Bad, Excluded []accesslog.ErrorClass
}

// BadClasses returns the error classes that count as bad.
func (s SLI) BadClasses() []accesslog.ErrorClass {
	if s.Bad != nil {
		return s.Bad
	}
	var list []accesslog.ErrorClass
	for _, c := range accesslog.ErrorClasses() {
		if c.Server() {
			list = append(list, c)
		}
	}
	return list
}

// ExcludedClasses returns the error classes that count neither as good nor as bad.
func (s SLI) ExcludedClasses() []accesslog.ErrorClass {
	if s.Excluded != nil {
		return s.Excluded
	}
	return []accesslog.ErrorClass{accesslog.ClientQuota}
}

// Bucket returns the histogram bucket up to whose upper bound a request is
// fast enough, and that bound: the edge nearest to the threshold.
func (s SLI) Bucket() (uint16, time.Duration) {
	i, edge := histogram.NearestEdge(uint64(s.Threshold.Microseconds()))
	return i, time.Duration(edge * float64(time.Microsecond))
}

// A Dimension is what an objective may be judged apart by.
type Dimension string

// The dimensions. ByRoute takes method and route template together.
const (
	Whole      Dimension = ""
	ByRoute    Dimension = "route"
	ByConsumer Dimension = "consumer"
	ByPlan     Dimension = "plan"
	ByRegion   Dimension = "region"
)

// Dimensions returns those that a file may name.
func Dimensions() []Dimension { return []Dimension{ByRoute, ByConsumer, ByPlan, ByRegion} }

// Step returns how finely counts are kept by this dimension: ten seconds where
// the request rollups have it, else a minute.
func (d Dimension) Step() time.Duration {
	if d == Whole || d == ByRoute {
		return 10 * time.Second
	}
	return time.Minute
}

// Other is the group of all that are beyond the largest ones.
const Other = "other"

// A Method says what a budget is counted in.
type Method int

// The methods, as OpenSLO names them.
const (
	Occurrences     Method = iota // requests
	Timeslices                    // slices of time whose share of good requests is below SliceTarget
	RatioTimeslices               // slices of time, each bad by its share of bad requests
)

func (m Method) String() string {
	return [...]string{"Occurrences", "Timeslices", "RatioTimeslices"}[m]
}

// sliceUnit is what one slice counts as in RatioTimeslices, whose slices are
// bad in parts.
const sliceUnit = 10_000

// A Feed is what is counted: requests of a service by an indicator, as a whole
// or apart by a dimension.
type Feed struct {
	Service string
	SLI     SLI
	Group   Dimension
}

// A Part is one indicator of a composite objective.
type Part struct {
	Name    string
	Service string
	SLI     SLI
	Target  float64
	Weight  float64 // above 0
}

// An SLO is one objective.
type SLO struct {
	Name    string // unique
	Display string // for people; Name if the file has none
	Service string
	SLI     SLI
	Target  float64 // share of good among valid requests, in (0, 1)
	// Period is the time that the budget is for; of a calendar period its longest.
	Period   time.Duration
	Calendar *Calendar // nil: the Period rolls
	Method   Method
	// Slice and SliceTarget are of timeslices: their length, whole minutes that
	// divide an hour, and the share of good requests that makes one good.
	Slice       time.Duration
	SliceTarget float64
	// Parts are the indicators of a composite; its burn is their weighted mean.
	Parts   []Part
	Windows []AlertWindow
	// KeepFiring is how long an alert goes on after its windows have calmed down.
	KeepFiring time.Duration
	// Group tells what the objective is judged apart by; the MaxGroups with most
	// traffic are judged each, the rest together as Other.
	Group     Dimension
	MaxGroups int
	// MinBad is how many bad requests the long window must hold before an alert
	// fires. Default 3. 0 switches the whole guard against low traffic off.
	MinBad int64
	// Owner, Runbook and Tier are those that the file names, if it does.
	Owner, Runbook, Tier string
	// Notify are the notification targets of its alert policies.
	Notify []string
	// Preview records what would be sent and sends nothing.
	Preview bool

	File string
	Line int // of the document's metadata.name
}

// Feeds returns what is counted for an objective: one feed, or one a part.
func (s SLO) Feeds() []Feed {
	if len(s.Parts) == 0 {
		return []Feed{{s.Service, s.SLI, s.Group}}
	}
	var list []Feed
	for _, p := range s.Parts {
		list = append(list, Feed{p.Service, p.SLI, Whole})
	}
	return list
}

// Budget returns the share of valid requests that may be bad.
func (s SLO) Budget() float64 { return 1 - s.Target }

// Pages tells whether some window of an objective pages.
func (s SLO) Pages() bool {
	for _, w := range s.Windows {
		if w.Severity == alert.Page {
			return true
		}
	}
	return false
}

// Percent writes the target for people, such as "99.9 %".
func (s SLO) Percent() string { return percent(s.Target) }

func percent(ratio float64) string { return fmt.Sprintf("%.10g %%", math.Round(ratio*1e8)/1e6) }

// Unit returns how many counts make one request or slice.
func (s SLO) Unit() int64 {
	if s.Method == RatioTimeslices {
		return sliceUnit
	}
	return 1
}

// SliceCount returns what a slice with these requests counts as; nothing if it
// has none.
func (s SLO) SliceCount(c Count) Count {
	switch {
	case c.Valid <= 0:
		return Count{}
	case s.Method == RatioTimeslices:
		return Count{Valid: sliceUnit, Bad: int64(math.Round(sliceUnit * c.Ratio()))}
	case 1-c.Ratio() < s.SliceTarget:
		return Count{Valid: 1, Bad: 1}
	}
	return Count{Valid: 1}
}

// Combine returns the counts of a composite from those of its parts: all valid
// requests, and as many bad ones as make the weighted mean of the parts' ratios.
// Parts without requests have no say.
func (s SLO) Combine(parts []Count) Count {
	var c Count
	sum, weights := 0.0, 0.0
	for i, p := range parts {
		if p.Valid > 0 {
			c.Valid += p.Valid
			sum += s.Parts[i].Weight * p.Ratio()
			weights += s.Parts[i].Weight
		}
	}
	if weights > 0 {
		c.Bad = int64(math.Round(sum / weights * float64(c.Valid)))
	}
	return c
}

// An AlertWindow is a pair of windows that must both burn faster than Factor.
type AlertWindow struct {
	Long, Short time.Duration
	Factor      float64 // burn rate: 1 spends exactly the budget in the period
	Severity    alert.Severity
	// For is how long both must burn before the alert fires. Default: at once.
	For time.Duration
}

// defaultMinBad is the MinBad of an objective that states none.
const defaultMinBad = 3

// DefaultWindows returns the pairs for a period of 30 days (SRE Workbook, table 5-8, and one more ticket).
func DefaultWindows() []AlertWindow {
	const day = 24 * time.Hour
	return []AlertWindow{
		{Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Severity: alert.Page},
		{Long: 6 * time.Hour, Short: 30 * time.Minute, Factor: 6, Severity: alert.Page},
		{Long: day, Short: 2 * time.Hour, Factor: 3, Severity: alert.Ticket},
		{Long: 3 * day, Short: 6 * time.Hour, Factor: 1, Severity: alert.Ticket},
	}
}

// A Count is the valid and the bad requests of some time.
type Count struct{ Valid, Bad int64 }

// Ratio returns the share of bad requests, 0 if there are none at all.
func (c Count) Ratio() float64 {
	if c.Valid <= 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.Valid)
}

// Burn returns how many times faster than allowed c spends the budget of s.
func (s SLO) Burn(c Count) float64 { return c.Ratio() / s.Budget() }

// Remaining returns the share of the budget that is left when the period holds
// c; it is negative when more than all is spent, and 1 without requests.
func (s SLO) Remaining(c Count) float64 {
	if c.Valid <= 0 {
		return 1
	}
	return 1 - s.Burn(c)
}

// nearlySpent is the share of a budget below which little is left.
const nearlySpent = 0.1

// NearlySpent reports whether less than a tenth of the budget is left when the
// period holds c, and by more than chance: one bad request of a young
// objective's first hundred says nothing about its month.
func (s SLO) NearlySpent(c Count) bool {
	limit := (1 - nearlySpent) * s.Budget()
	return c.Ratio() > limit && s.beyondChance(c, limit)
}

// confidence is how sure an alert must be that the true ratio is above the limit.
const confidence = 0.95

// beyondChance reports whether c has enough bad requests, and so many that the
// one-sided 95 % Clopper-Pearson lower bound of their ratio is above limit.
func (s SLO) beyondChance(c Count, limit float64) bool {
	return s.MinBad <= 0 || c.Bad >= s.MinBad*s.Unit() && AtLeast(c.Bad/s.Unit(), c.Valid/s.Unit(), limit) < 1-confidence
}

// A Decision says whether a pair of windows fires, and why.
type Decision struct {
	Fires  bool
	Reason string
}

// Fires judges one pair of windows by their counts: both burn faster than the
// factor, and the long one by more than chance.
func (s SLO) Fires(w AlertWindow, long, short Count) bool {
	limit := w.Factor * s.Budget()
	return long.Ratio() > limit && short.Ratio() > limit && s.beyondChance(long, limit)
}

// Decide judges as Fires does, and says why.
func (s SLO) Decide(w AlertWindow, long, short Count) Decision {
	limit := w.Factor * s.Budget()
	switch {
	case s.Fires(w, long, short):
		return Decision{true, fmt.Sprintf("burn %.1fx over %s and %.1fx over %s, above %gx", s.Burn(long), Span(w.Long), s.Burn(short), Span(w.Short), w.Factor)}
	case long.Ratio() <= limit:
		return Decision{false, fmt.Sprintf("burn %.1fx over %s is not above %gx", s.Burn(long), Span(w.Long), w.Factor)}
	case short.Ratio() <= limit:
		return Decision{false, fmt.Sprintf("burn %.1fx over %s is not above %gx", s.Burn(short), Span(w.Short), w.Factor)}
	case long.Bad < s.MinBad*s.Unit():
		return Decision{false, fmt.Sprintf("too few %s: %d bad, at least %d needed", s.counted(), long.Bad/s.Unit(), s.MinBad)}
	default:
		return Decision{false, fmt.Sprintf("too few %s: %d bad of %d may be chance", s.counted(), long.Bad/s.Unit(), long.Valid/s.Unit())}
	}
}

// counted names what the budget is counted in.
func (s SLO) counted() string {
	if s.Method == Occurrences {
		return "requests"
	}
	return "slices"
}

// Span writes a duration for people: 5 m, 1 h, 3 d.
func Span(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d m", d/time.Minute)
	default:
		return d.String()
	}
}

// AtLeast returns the probability of k or more bad among n requests when each
// is bad with probability p. The Clopper-Pearson lower bound of k/n at
// confidence c is above p exactly when this is below 1 - c.
func AtLeast(k, n int64, p float64) float64 {
	switch {
	case k <= 0:
		return 1
	case p <= 0:
		return 0
	case p >= 1:
		return 1
	}
	// Far above the mean the probability is nil, and the fraction below slow.
	mean := float64(n) * p
	if n > 1_000_000 && float64(k) > mean+10*math.Sqrt(mean) {
		return 0
	}
	return incompleteBeta(float64(k), float64(n-k+1), p)
}

// incompleteBeta returns the regularised incomplete beta function I_x(a, b) by
// its continued fraction (DLMF 8.17.22).
func incompleteBeta(a, b, x float64) float64 {
	if x > (a+1)/(a+b+2) {
		return 1 - incompleteBeta(b, a, 1-x)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab-la-lb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny = 1e-300
	c, d := 1.0, 1-(a+b)*x/(a+1)
	if math.Abs(d) < tiny {
		d = tiny
	}
	d = 1 / d
	f := d
	step := func(num float64) float64 {
		d = 1 + num*d
		if math.Abs(d) < tiny {
			d = tiny
		}
		c = 1 + num/c
		if math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		return c * d
	}
	for i := 1; i < 20_000; i++ {
		m := float64(i)
		step(m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m)))
		if math.Abs(step(-(a+m)*(a+b+m)*x/((a+2*m)*(a+2*m+1)))-1) < 1e-12 {
			break
		}
	}
	return front * f
}
