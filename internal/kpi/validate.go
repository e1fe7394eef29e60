package kpi

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxSteps is how many steps a workflow has at most, maxWindow how long it takes.
const (
	maxSteps  = 8
	maxWindow = 31 * 24 * time.Hour
)

var (
	nameText     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	currencyText = regexp.MustCompile(`^[A-Z]{3}$`)
	methodText   = regexp.MustCompile(`^[A-Z]+$`)
)

// A validator collects faults.
type validator struct{ faults []error }

func (v *validator) fault(at place, format string, args ...any) {
	v.faults = append(v.faults, fmt.Errorf("%s: %w", at, fmt.Errorf(format, args...)))
}

// unique reports a name that was taken before.
func (v *validator) unique(seen map[string]place, at place, what, name string) {
	if before, ok := seen[name]; ok {
		v.fault(at, "%s %q is also defined at %s; names are unique", what, name, before)
	}
	seen[name] = at
}

// validate returns all faults of what was read.
func (d *Definitions) validate() []error {
	v := &validator{}
	names := map[string]place{}
	for i := range d.Workflows {
		w := &d.Workflows[i]
		v.unique(names, w.place, "workflow", w.Name)
		v.workflow(w)
	}
	names = map[string]place{}
	for i := range d.Plans {
		p := &d.Plans[i]
		if p.Name == "" {
			v.fault(p.place, "plan: name is missing; write it as key events and logs state it")
		}
		v.unique(names, p.place, "plan", p.Name)
		v.quotas(p)
		v.sla(p.SLA)
	}
	names = map[string]place{}
	for i := range d.Tiers {
		t := &d.Tiers[i]
		if t.Name == "" {
			v.fault(t.place, "tier: name is missing; write it as key events state it")
		}
		v.unique(names, t.place, "tier", t.Name)
		if t.SLA == nil {
			v.fault(t.place, "tier %s: sla is missing; a tier is there for its promise", t.Name)
		}
		v.sla(t.SLA)
	}
	for i := range d.Deprecations {
		v.deprecation(&d.Deprecations[i])
	}
	v.activation(&d.Activation)
	v.cohorts(&d.Cohorts)
	return v.faults
}

func (v *validator) workflow(w *Workflow) {
	if !nameText.MatchString(w.Name) {
		v.fault(w.place, "workflow: name %q: want letters, digits, '-' and '_', such as checkout", w.Name)
	}
	if !slices.Contains([]Unit{UnitConsumer, UnitKey, UnitSession}, w.By) {
		v.fault(w.place, "workflow %s: by %q: there are consumer, key and session", w.Name, w.By)
	}
	if w.SessionGap < 0 || w.SessionGap != 0 && w.By != UnitSession {
		v.fault(w.place, "workflow %s: session_gap goes with by: session, and is above 0", w.Name)
	}
	switch window := time.Duration(w.Window); {
	case window == 0:
		v.fault(w.place, "workflow %s: window is missing; write how long a run may take, such as 30m", w.Name)
	case window < 0 || window > maxWindow:
		v.fault(w.place, "workflow %s: window %s is impossible: want above 0 and at most 31d", w.Name, window)
	}
	if len(w.Steps) == 0 || len(w.Steps) > maxSteps {
		v.fault(w.place, "workflow %s has %d steps; want 1 to %d", w.Name, len(w.Steps), maxSteps)
	}
	titles := map[string]place{}
	for i := range w.Steps {
		s := &w.Steps[i]
		v.route(s.place, "step", s.Method, s.Route)
		if s.Method == "" {
			v.fault(s.place, "step: method is missing; write for instance POST")
		}
		v.unique(titles, s.place, "step", s.Title())
		for j := range w.Steps[:i] {
			if o := &w.Steps[j]; o.overlaps(s) {
				v.fault(s.place, "step %q overlaps step %q at %s: one call would be both; give them different routes or statuses", s.Title(), o.Title(), o.place)
			}
		}
	}
	v.value(w)
}

// overlaps tells whether one call could be both steps.
func (s *Step) overlaps(o *Step) bool {
	return s.Method == o.Method && SameRoute(s.Route, o.Route) && (s.Service == o.Service || s.Service == "" || o.Service == "") &&
		s.Status[0] <= o.Status[1] && o.Status[0] <= s.Status[1]
}

func (v *validator) route(at place, what, method, route string) {
	if !strings.HasPrefix(route, "/") {
		v.fault(at, "%s: route %q: want a template that begins with /, such as /v1/orders/{id}", what, route)
	}
	if method != "" && !methodText.MatchString(method) {
		v.fault(at, "%s: method %q: want capitals, such as POST", what, method)
	}
}

func (v *validator) value(w *Workflow) {
	value := w.Value
	if value == nil {
		return
	}
	if value.Currency == "" {
		v.fault(value.place, "workflow %s: currency is missing; write its ISO 4217 code, such as EUR", w.Name)
	} else if !currencyText.MatchString(value.Currency) {
		v.fault(value.place, "workflow %s: currency %q: want an ISO 4217 code, such as EUR", w.Name, value.Currency)
	}
	switch {
	case (value.Amount != 0) == (value.Field != ""):
		v.fault(value.place, "workflow %s: a value is either an amount or a field of the log; write one of them", w.Name)
	case value.Amount < 0:
		v.fault(value.place, "workflow %s: amount %s: want above 0", w.Name, value.Amount)
	case value.Field != "" && value.Field != "amount":
		v.fault(value.place, "workflow %s: field %q: the one field of a log that holds money is amount", w.Name, value.Field)
	}
}

func (v *validator) quotas(p *Plan) {
	seen := map[string]place{}
	for i := range p.Quotas {
		q := &p.Quotas[i]
		if q.Calls <= 0 {
			v.fault(q.place, "plan %s: calls %d: want above 0", p.Name, q.Calls)
		}
		if !slices.Contains([]Period{PerMinute, PerHour, PerDay, PerMonth}, q.Per) {
			v.fault(q.place, "plan %s: per %q: there are minute, hour, day and month", p.Name, q.Per)
		}
		if q.Of != UnitConsumer && q.Of != UnitKey {
			v.fault(q.place, "plan %s: of %q: there are consumer and key", p.Name, q.Of)
		}
		v.unique(seen, q.place, "quota of plan "+p.Name, string(q.Per)+" of "+string(q.Of))
	}
}

func (v *validator) sla(s *SLA) {
	if s == nil {
		return
	}
	if s.Availability == 0 && s.Latency == nil {
		v.fault(s.place, "sla promises nothing; write availability or latency")
	}
	if s.Availability < 0 || s.Availability >= 1 {
		v.fault(s.place, "sla: availability %v: want a share below 1, such as 0.999", s.Availability)
	}
	if l := s.Latency; l != nil && (l.Under <= 0 || l.Share <= 0 || l.Share >= 1) {
		v.fault(s.place, "sla: latency wants under, such as 300ms, and a share below 1, such as 0.95")
	}
}

func (v *validator) deprecation(d *Deprecation) {
	if (d.Version == "") == (d.Route == "") {
		v.fault(d.place, "deprecation: write either a version or a route")
	}
	if d.Route != "" {
		v.route(d.place, "deprecation", d.Method, d.Route)
	} else if d.Method != "" {
		v.fault(d.place, "deprecation: a method goes with a route")
	}
	if d.Sunset == (Date{}) {
		v.fault(d.place, "deprecation: sunset is missing; write the day from which it no longer answers, such as 2027-01-31")
	}
}

func (v *validator) activation(a *Activation) {
	if a.Calls < 1 || a.Days < 1 || a.Within <= 0 {
		v.fault(a.place, "activation: want calls and days of at least 1 and within above 0, all three")
		return
	}
	if time.Duration(a.Within) < time.Duration(a.Days-1)*24*time.Hour {
		v.fault(a.place, "activation: %d days don't fit within %s", a.Days, time.Duration(a.Within))
	}
}

func (v *validator) cohorts(c *Cohorts) {
	if c.By != PerWeek && c.By != PerMonth {
		v.fault(c.place, "cohorts: by %q: there are week and month", c.By)
	}
	for i, n := range c.Days {
		if n < 1 || n > 365 || i > 0 && n <= c.Days[i-1] {
			v.fault(c.place, "cohorts: days: want rising numbers from 1 to 365, such as [1, 7, 30]")
			return
		}
	}
}

// A Route is an operation that exists.
type Route struct{ Service, Method, Template string }

// UnknownRoutes returns a fault for each route of the definitions that is not
// among those that exist. Unless known is all there is, a service about which
// nothing is known has none.
func (d *Definitions) UnknownRoutes(known []Route, all bool) []error {
	v := &validator{}
	for i := range d.Workflows {
		for j := range d.Workflows[i].Steps {
			s := &d.Workflows[i].Steps[j]
			v.exists(s.place, "step "+s.Title(), Route{s.Service, s.Method, s.Route}, known, all)
		}
	}
	for i := range d.Deprecations {
		if dep := &d.Deprecations[i]; dep.Route != "" {
			v.exists(dep.place, "deprecation of "+dep.Title(), Route{dep.Service, dep.Method, dep.Route}, known, all)
		}
	}
	return v.faults
}

func (v *validator) exists(at place, what string, r Route, known []Route, all bool) {
	var near, services []string
	for _, k := range known {
		if r.Service != "" && k.Service != r.Service {
			if !slices.Contains(services, k.Service) {
				services = append(services, k.Service)
			}
			continue
		}
		if SameRoute(k.Template, r.Template) && (r.Method == "" || k.Method == r.Method) {
			return
		}
		near = append(near, k.Method+" "+k.Template)
	}
	if near == nil {
		if all && len(services) > 0 {
			v.fault(at, "%s: no such service %s; there are %s", what, r.Service, strings.Join(services, ", "))
		}
		return
	}
	// Those that share most of their begin come first.
	want := r.Method + " " + r.Template
	slices.SortStableFunc(near, func(a, b string) int { return shared(b, want) - shared(a, want) })
	v.fault(at, "%s: no such route %s; there are %s", what, strings.TrimSpace(r.Service+" "+want), strings.Join(near[:min(5, len(near))], ", "))
}

// shared counts the equal characters at the begin and the end.
func shared(a, b string) int {
	n, m := 0, 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for m < min(len(a), len(b))-n && a[len(a)-1-m] == b[len(b)-1-m] {
		m++
	}
	return n + m
}
