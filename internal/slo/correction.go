package slo

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// A Scope says which objectives a maintenance or an adjustment is for.
type Scope struct {
	SLOs     []string // names or patterns such as payments-*
	Services []string
	From, To time.Time // half open
	Reason   string
}

// Holds tells whether an objective is meant.
func (s Scope) Holds(o SLO) bool {
	for _, p := range s.SLOs {
		if ok, err := path.Match(p, o.Name); ok && err == nil {
			return true
		}
	}
	return slices.Contains(s.Services, o.Service)
}

// A Maintenance is a time in which failures are expected. Requests in it count
// neither for alerts nor for the budget, or, with Count, for the budget only.
type Maintenance struct {
	Name string
	Scope
	Count bool // keep spending the budget
	// Weekly repeats it every seven days until Until.
	Weekly bool
	Until  time.Time

	File string
	Line int
}

// At returns the maintenance that t is in, if it is in one.
func (m Maintenance) At(t time.Time) (from, to time.Time, ok bool) {
	if t.Before(m.From) {
		return from, to, false
	}
	from, to = m.From, m.To
	if m.Weekly {
		const week = 7 * 24 * time.Hour
		n := t.Sub(m.From) / week
		from, to = m.From.Add(n*week), m.To.Add(n*week)
		if !m.Until.IsZero() && !from.Before(m.Until) {
			return from, to, false
		}
	}
	return from, to, t.Before(to)
}

// Overlaps tells whether a maintenance has a part in [from, to).
func (m Maintenance) Overlaps(from, to time.Time) bool {
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		if _, _, ok := m.At(t); ok {
			return true
		}
	}
	return false
}

// An Adjustment gives a part of what was spent back to the budget: bad requests
// that somebody else has to answer for. Alerts are not changed by it.
type Adjustment struct {
	Name string
	Scope
	GiveBack float64 // share of the bad requests, above 0 and up to 1

	File string
	Line int
}

type scopeSpec struct {
	SLOs     []string `yaml:"slos"`
	Services []string `yaml:"services"`
	From     string   `yaml:"from"`
	To       string   `yaml:"to"`
	Reason   string   `yaml:"reason"`
}

// maintenanceDocument is an object of kind Maintenance.
type maintenanceDocument struct {
	header `yaml:",inline"`
	Spec   struct {
		scopeSpec `yaml:",inline"`
		Budget    string `yaml:"budget"` // exclude or count
		Repeat    string `yaml:"repeat"` // weekly
		Until     string `yaml:"until"`
	} `yaml:"spec"`
}

// adjustmentDocument is an object of kind BudgetAdjustment.
type adjustmentDocument struct {
	header `yaml:",inline"`
	Spec   struct {
		scopeSpec `yaml:",inline"`
		GiveBack  *float64 `yaml:"giveBack"`
	} `yaml:"spec"`
}

// corrections reads maintenances and adjustments.
func (all *objects) corrections(list []*object) error {
	var errs []error
	for _, o := range list {
		if o.header.Metadata.Name == "" {
			continue
		}
		switch o.header.Kind {
		case "Maintenance":
			m, err := o.readMaintenance(all)
			if errs = append(errs, err); err == nil {
				errs = append(errs, all.overlaps(o, m))
				all.set.Maintenances = append(all.set.Maintenances, m)
			}
		case "BudgetAdjustment":
			a, err := o.readAdjustment(all)
			if errs = append(errs, err); err == nil {
				all.set.Adjustments = append(all.set.Adjustments, a)
			}
		}
	}
	return errors.Join(errs...)
}

// overlaps reports a maintenance of the same objective at the same time.
func (all *objects) overlaps(o *object, m Maintenance) error {
	for _, other := range all.set.Maintenances {
		for _, s := range all.set.SLOs {
			if m.Holds(s) && other.Holds(s) && m.Count != other.Count && (other.Overlaps(m.From, m.To) || m.Overlaps(other.From, other.To)) {
				return o.fault([]string{"spec", "from"}, "overlaps Maintenance %s at %s:%d for SLO %s, and one says budget: count and the other exclude", other.Name, other.File, other.Line, s.Name)
			}
		}
	}
	return nil
}

func (o *object) readMaintenance(all *objects) (Maintenance, error) {
	d := &o.maintenance.Spec
	m := Maintenance{Name: o.header.Metadata.Name, File: o.file, Line: lineOf(o.node, "metadata", "name")}
	var err error
	if m.Scope, err = o.scope(d.scopeSpec, time.Minute, all); err != nil {
		return m, err
	}
	switch d.Budget {
	case "", "exclude":
	case "count":
		m.Count = true
	default:
		return m, o.fault([]string{"spec", "budget"}, "budget %q is neither exclude nor count", d.Budget)
	}
	switch d.Repeat {
	case "":
		if d.Until != "" {
			return m, o.fault([]string{"spec", "until"}, "until goes with repeat: weekly")
		}
	case "weekly":
		m.Weekly = true
		if m.To.Sub(m.From) >= 7*24*time.Hour {
			return m, o.fault([]string{"spec", "repeat"}, "a weekly maintenance must be shorter than a week")
		}
		if d.Until != "" {
			if m.Until, err = time.Parse(time.RFC3339, d.Until); err != nil {
				return m, o.fault([]string{"spec", "until"}, "until %q is not like 2026-01-31T02:00:00Z", d.Until)
			}
		}
	default:
		return m, o.fault([]string{"spec", "repeat"}, "repeat %q: only weekly is known", d.Repeat)
	}
	return m, nil
}

func (o *object) readAdjustment(all *objects) (Adjustment, error) {
	d := &o.adjustment.Spec
	a := Adjustment{Name: o.header.Metadata.Name, GiveBack: 1, File: o.file, Line: lineOf(o.node, "metadata", "name")}
	var err error
	// Budgets are summed by the hour.
	if a.Scope, err = o.scope(d.scopeSpec, time.Hour, all); err != nil {
		return a, err
	}
	if d.GiveBack != nil {
		a.GiveBack = *d.GiveBack
	}
	if !(a.GiveBack > 0 && a.GiveBack <= 1) {
		return a, o.fault([]string{"spec", "giveBack"}, "giveBack %g must be a share above 0 and up to 1", a.GiveBack)
	}
	return a, nil
}

// scope reads what a correction is for; its times are multiples of step.
func (o *object) scope(d scopeSpec, step time.Duration, all *objects) (Scope, error) {
	s := Scope{SLOs: d.SLOs, Services: d.Services, Reason: d.Reason}
	at := []string{"spec"}
	for _, t := range []struct {
		name, text string
		into       *time.Time
	}{{"from", d.From, &s.From}, {"to", d.To, &s.To}} {
		var err error
		if *t.into, err = time.Parse(time.RFC3339, t.text); err != nil {
			return s, o.fault(under(at, t.name), "%s %q is not like 2026-01-31T02:00:00Z", t.name, t.text)
		}
		if *t.into = t.into.UTC(); !t.into.Truncate(step).Equal(*t.into) {
			return s, o.fault(under(at, t.name), "%s %q must be a multiple of %s", t.name, t.text, strings.TrimSuffix(strings.TrimSuffix(step.String(), "0s"), "0m"))
		}
	}
	switch {
	case !s.From.Before(s.To):
		return s, o.fault(under(at, "to"), "to is not after from")
	case s.To.Sub(s.From) > 92*24*time.Hour:
		return s, o.fault(under(at, "to"), "it is longer than 92 days")
	case s.Reason == "":
		return s, o.fault(at, "reason is missing: people will ask")
	case len(s.SLOs)+len(s.Services) == 0:
		return s, o.fault(at, "names neither slos nor services")
	}
	for _, p := range s.SLOs {
		if _, err := path.Match(p, ""); err != nil {
			return s, o.fault(under(at, "slos"), "pattern %q: %w", p, err)
		}
		only := Scope{SLOs: []string{p}}
		if !slices.ContainsFunc(all.set.SLOs, only.Holds) {
			return s, o.fault(under(at, "slos"), "there is no SLO %s", p)
		}
	}
	for _, service := range s.Services {
		only := Scope{Services: []string{service}}
		if !slices.ContainsFunc(all.set.SLOs, only.Holds) {
			return s, o.fault(under(at, "services"), "no SLO is for a service %s", service)
		}
	}
	return s, nil
}

// Describe says for people what a maintenance does.
func (m Maintenance) Describe() string {
	return fmt.Sprintf("maintenance %s: %s", m.Name, m.Reason)
}
