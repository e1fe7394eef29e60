// Package kpi holds what a product manager declares about an API in files:
// workflows with their value, plans with quotas, promises per tier, what is
// retired and when, what counts as activated. It also holds the arithmetic on
// top that is no sum: which calls make a run of a workflow, and when a quota
// will be used up. It reads no clock and does no I/O beyond an fs.FS.
package kpi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Definitions is what all files of a folder say. The zero value is usable: then
// there are calls, errors, quantiles, active and first-seen keys and repeat
// usage, but nothing that must be declared.
type Definitions struct {
	// Workflows are what consumers want to get done, in steps.
	Workflows []Workflow `yaml:"workflows"`
	// Plans are what consumers buy, with what they may use.
	Plans []Plan `yaml:"plans"`
	// Tiers are levels of service with what is promised to them.
	Tiers []Tier `yaml:"tiers"`
	// Deprecations are what is going to be switched off.
	Deprecations []Deprecation `yaml:"deprecations"`
	// Activation says when a new consumer counts as won. In one file at most.
	Activation Activation `yaml:"activation"`
	// Cohorts says how consumers are grouped for retention. In one file at most.
	Cohorts Cohorts `yaml:"cohorts"`
}

// place is where a definition stands.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// A Workflow is steps of calls that lead to something of value.
type Workflow struct {
	// Name is its name in reports: letters, digits, '-' and '_'.
	Name string `yaml:"name"`
	// Title for people. Default: the name.
	Title string `yaml:"title"`
	// By is whose calls make one run: consumer (default), key, or session, which is
	// the calls of one key without a pause longer than session_gap.
	By Unit `yaml:"by"`
	// SessionGap ends a session. Default 30m; only with by: session.
	SessionGap Duration `yaml:"session_gap"`
	// Unordered says that the steps may come in any order. Default false.
	Unordered bool `yaml:"unordered"`
	// Window is the time from the first step to the last; a run that takes longer is
	// dropped. Above 0, at most 31d.
	Window Duration `yaml:"window"`
	// Steps to be done, one to eight.
	Steps []Step `yaml:"steps"`
	// Value of a completed run. Without it runs are only counted.
	Value *Value `yaml:"value"`

	place place
}

// A Step is one call of a workflow.
type Step struct {
	// Name of the step. Default: method and route.
	Name string `yaml:"name"`
	// Service whose route it is. Default: any.
	Service string `yaml:"service"`
	// Method of the request, such as POST.
	Method string `yaml:"method"`
	// Route is its template, such as /v1/orders/{id}; names of parameters don't count.
	Route string `yaml:"route"`
	// Status that counts as done: 201, 2xx or 200-204. Default 2xx.
	Status StatusRange `yaml:"status"`

	place place
}

// Title returns the step's name, or its method and route.
func (s *Step) Title() string {
	if s.Name != "" {
		return s.Name
	}
	return s.Method + " " + s.Route
}

// A Value is what a completed run is worth: a constant, or what the log says.
type Value struct {
	// Amount is worth of each run, with up to six decimals.
	Amount Money `yaml:"amount"`
	// Field of the log of the last step's call that holds the amount: amount is the only one.
	Field string `yaml:"field"`
	// Currency by ISO 4217, such as EUR. Amounts of different currencies are never added up.
	Currency string `yaml:"currency"`

	place place
}

// A Plan is what a consumer has bought.
type Plan struct {
	// Name as key events and logs state it.
	Name string `yaml:"name"`
	// Quotas are what may be used; calls that were throttled don't count as used.
	Quotas []Quota `yaml:"quotas"`
	// SLA is what is promised to those on the plan.
	SLA *SLA `yaml:"sla"`

	place place
}

// A Quota is how many calls a plan allows in a calendar window.
type Quota struct {
	// Calls allowed in the window; above 0.
	Calls int64 `yaml:"calls"`
	// Per is the window: minute, hour, day or month, in the reporting time zone.
	Per Period `yaml:"per"`
	// Of is whose calls are counted: consumer (default) or key.
	Of Unit `yaml:"of"`

	place place
}

// A Tier is a level of service, as key events state it.
type Tier struct {
	// Name as key events state it.
	Name string `yaml:"name"`
	// SLA is what is promised to the tier.
	SLA *SLA `yaml:"sla"`

	place place
}

// An SLA is what is promised for each calendar month.
type SLA struct {
	// Availability is the share of requests that must not fail for a reason on our
	// side, such as 0.999. Requests beyond a quota count neither way.
	Availability float64 `yaml:"availability"`
	// Latency that is promised.
	Latency *LatencySLA `yaml:"latency"`
	// PerConsumer says that it is promised to each consumer, not to all together.
	PerConsumer bool `yaml:"per_consumer"`

	place place
}

// A LatencySLA promises that a share of requests is fast.
type LatencySLA struct {
	// Under is the time that a request may take, such as 300ms. It counts from the
	// histogram's edge nearest to it, at most 0.55 % away.
	Under Duration `yaml:"under"`
	// Share of the answered requests that must be that fast, such as 0.95.
	Share float64 `yaml:"share"`
}

// A Deprecation is a version or a route that will be switched off.
type Deprecation struct {
	// Service that it is about. Default: all.
	Service string `yaml:"service"`
	// Version of the API, such as v1. Either this or route.
	Version string `yaml:"version"`
	// Route as a template.
	Route string `yaml:"route"`
	// Method of the route. Default: all.
	Method string `yaml:"method"`
	// Sunset is the day from which it no longer answers (2006-01-02, RFC 8594).
	Sunset Date `yaml:"sunset"`
	// Successor is what to use instead, for the notice.
	Successor string `yaml:"successor"`

	place place
}

// Title names what is deprecated.
func (d *Deprecation) Title() string {
	what := d.Version
	if d.Route != "" {
		what = strings.TrimSpace(d.Method + " " + d.Route)
	}
	return strings.TrimSpace(d.Service + " " + what)
}

// Covers tells whether a call is to what is deprecated.
func (d *Deprecation) Covers(service, version, method, route string) bool {
	return (d.Service == "" || d.Service == service) && (d.Version == "" || d.Version == version) &&
		(d.Route == "" || SameRoute(d.Route, route)) && (d.Method == "" || d.Method == method)
}

// Activation says when a new consumer counts as won.
type Activation struct {
	// Calls that must succeed. Default 10.
	Calls int64 `yaml:"calls"`
	// Days, in the reporting time zone, on which calls succeed. Default 2.
	Days int64 `yaml:"days"`
	// Within which time of the sign-up. Default 7d.
	Within Duration `yaml:"within"`

	place place
}

// Cohorts says how consumers are grouped for retention.
type Cohorts struct {
	// By is the width of a cohort by sign-up: week (default, from Monday) or month.
	By Period `yaml:"by"`
	// Days after the sign-up for which retention is shown. Default [1, 7, 30].
	Days []int64 `yaml:"days"`

	place place
}

// complete fills in defaults.
func (d *Definitions) complete() {
	for i := range d.Workflows {
		w := &d.Workflows[i]
		if w.By == "" {
			w.By = UnitConsumer
		}
		if w.By == UnitSession && w.SessionGap == 0 {
			w.SessionGap = Duration(30 * time.Minute)
		}
		if w.Title == "" {
			w.Title = w.Name
		}
		for j := range w.Steps {
			if w.Steps[j].Status == (StatusRange{}) {
				w.Steps[j].Status = StatusRange{200, 299}
			}
		}
	}
	for i := range d.Plans {
		for j := range d.Plans[i].Quotas {
			if q := &d.Plans[i].Quotas[j]; q.Of == "" {
				q.Of = UnitConsumer
			}
		}
	}
	a := &d.Activation
	if *a == (Activation{place: a.place}) {
		a.Calls, a.Days, a.Within = 10, 2, Duration(7*24*time.Hour)
	}
	if d.Cohorts.By == "" {
		d.Cohorts.By = PerWeek
	}
	if len(d.Cohorts.Days) == 0 {
		d.Cohorts.Days = []int64{1, 7, 30}
	}
}

// Default returns what holds without any file.
func Default() *Definitions {
	d := &Definitions{}
	d.complete()
	return d
}

// Plan returns the plan of that name, or nil.
func (d *Definitions) Plan(name string) *Plan {
	for i := range d.Plans {
		if d.Plans[i].Name == name {
			return &d.Plans[i]
		}
	}
	return nil
}

// Workflow returns the workflow of that name, or nil.
func (d *Definitions) Workflow(name string) *Workflow {
	for i := range d.Workflows {
		if d.Workflows[i].Name == name {
			return &d.Workflows[i]
		}
	}
	return nil
}

// Hash identifies what runs of a workflow depend on. Runs of another hash were
// made by another definition and don't count.
func (w *Workflow) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %t %d", w.By, w.SessionGap, w.Unordered, w.Window)
	for i := range w.Steps {
		s := &w.Steps[i]
		fmt.Fprintf(h, "\n%s %s %s %v", s.Service, s.Method, Template(s.Route), s.Status)
	}
	if w.Value != nil {
		fmt.Fprintf(h, "\n%d %s %s", w.Value.Amount, w.Value.Field, w.Value.Currency)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// A Unit is whose calls belong together.
type Unit string

// The units.
const (
	UnitConsumer Unit = "consumer"
	UnitKey      Unit = "key"
	UnitSession  Unit = "session"
)

// A Period is a calendar window.
type Period string

// The periods.
const (
	PerMinute Period = "minute"
	PerHour   Period = "hour"
	PerDay    Period = "day"
	PerWeek   Period = "week"
	PerMonth  Period = "month"
)

// Window returns the period that t lies in, by the calendar of t's location;
// weeks begin on Monday.
func (p Period) Window(t time.Time) (from, to time.Time) {
	y, m, d := t.Date()
	switch p {
	case PerMinute, PerHour:
		width := time.Minute
		if p == PerHour {
			width = time.Hour
		}
		from = t.Truncate(width)
		return from, from.Add(width)
	case PerDay:
		return time.Date(y, m, d, 0, 0, 0, 0, t.Location()), time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
	case PerWeek:
		d -= (int(t.Weekday()) + 6) % 7
		return time.Date(y, m, d, 0, 0, 0, 0, t.Location()), time.Date(y, m, d+7, 0, 0, 0, 0, t.Location())
	case PerMonth:
	}
	return time.Date(y, m, 1, 0, 0, 0, 0, t.Location()), time.Date(y, m+1, 1, 0, 0, 0, 0, t.Location())
}

// A StatusRange is HTTP statuses from the first to the second, both included.
type StatusRange [2]int

// Contains tells whether a status is in the range.
func (r StatusRange) Contains(status int) bool { return status >= r[0] && status <= r[1] }

// Money is an amount in millionths of a unit of its currency, so that sums are exact.
type Money int64

// millionths make one unit.
const millionths = 1_000_000

// ParseMoney reads a decimal number with up to six decimals.
func ParseMoney(s string) (Money, error) {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" || len(fraction) > 6 {
		return 0, fmt.Errorf("%q: want a number with up to six decimals, such as 12.50", s)
	}
	n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", 6-len(fraction)), 10, 64)
	if err != nil || strings.HasPrefix(fraction, "-") || strings.HasPrefix(fraction, "+") {
		return 0, fmt.Errorf("%q: want a number with up to six decimals, such as 12.50", s)
	}
	return Money(n), nil
}

// Float returns the amount in units of its currency.
func (m Money) Float() float64 { return float64(m) / millionths }

// String writes the amount with two decimals, or as many as it has.
func (m Money) String() string {
	sign, n := "", uint64(max(m, -m))
	if m < 0 {
		sign = "-"
	}
	fraction := strings.TrimRight(fmt.Sprintf("%06d", n%millionths), "0")
	for len(fraction) < 2 {
		fraction += "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, n/millionths, fraction)
}

// Date is a day of the calendar, in the reporting time zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// In returns the begin of the day in a location.
func (d Date) In(loc *time.Location) time.Time {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, loc)
}

func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// DaysTo returns how many days are left from the day of now on, negative after it.
func (d Date) DaysTo(now time.Time) int {
	y, m, day := now.Date()
	today := time.Date(y, m, day, 0, 0, 0, 0, time.UTC)
	return int(math.Round(d.In(time.UTC).Sub(today).Hours() / 24))
}

// SameRoute tells whether two templates are the same but for the names of their parameters.
func SameRoute(a, b string) bool { return a == b || Template(a) == Template(b) }

// Template returns a route with its parameters' names taken out: /v1/orders/{}.
func Template(route string) string {
	if !strings.Contains(route, "{") {
		return route
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(route, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		_, after, closed := strings.Cut(rest, "}")
		b.WriteString("{}")
		if !closed {
			return b.String()
		}
		route = after
	}
}
