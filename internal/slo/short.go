package slo

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// shortForm is an objective in two lines:
//
//	service: payments
//	objective: 99.9 %, 99 % under 300ms
//
// and, where they are needed, more.
type shortForm struct {
	Service    string `yaml:"service"`
	Objective  string `yaml:"objective"`
	Name       string `yaml:"name"` // default: service, route and what is counted
	Route      string `yaml:"route"`
	Method     string `yaml:"method"`
	Window     string `yaml:"window"` // default 30d
	Owner      string `yaml:"owner"`
	Runbook    string `yaml:"runbook"`
	Group      string `yaml:"group"`
	Mode       string `yaml:"mode"`
	KeepFiring string `yaml:"keep_firing"`
}

// shortObjectives returns the objectives of a short form.
func (o *object) shortObjectives() ([]SLO, error) {
	f := &o.short
	if f.Service == "" {
		return nil, o.fault(nil, "service is missing")
	}
	s := SLO{
		Service: f.Service, SLI: SLI{Route: f.Route, Method: f.Method}, Period: 30 * 24 * time.Hour,
		Windows: DefaultWindows(), MinBad: defaultMinBad, Owner: f.Owner, Runbook: f.Runbook,
		File: o.file, Line: lineOf(o.node, "service"),
	}
	var errs []error
	for _, a := range []struct{ key, annotation, value string }{
		{"group", annotationGroup, f.Group}, {"mode", annotationMode, f.Mode}, {"keep_firing", annotationKeep, f.KeepFiring},
	} {
		if a.value != "" {
			if err := annotate(&s, a.annotation, a.value); err != nil {
				errs = append(errs, o.fault([]string{a.key}, "%s: %w", a.key, err))
			}
		}
	}
	if s.Group != Whole {
		s.MaxGroups = defaultGroups
	}
	if f.Window != "" {
		var err error
		if s.Period, err = parsePeriod(f.Window); err != nil {
			errs = append(errs, o.fault([]string{"window"}, "%w", err))
		}
	}
	base := f.Name
	if base == "" {
		base = strings.Trim(f.Service+"-"+suffix(f.Method+" "+f.Route, 0), "-")
		if f.Method+f.Route == "" {
			base = f.Service
		}
	}
	promises := strings.Split(f.Objective, ",")
	var list []SLO
	for _, text := range promises {
		one := s
		if err := one.promise(strings.TrimSpace(text)); err != nil {
			errs = append(errs, o.fault([]string{"objective"}, "objective %w", err))
			continue
		}
		one.Name = base
		if f.Name == "" || len(promises) > 1 {
			one.Name = base + "-" + one.SLI.Kind.String()
			if one.SLI.Kind == Latency && strings.Count(f.Objective, "under") > 1 {
				one.Name += "-" + one.SLI.Threshold.String()
			}
		}
		one.Display = strings.ReplaceAll(one.Name, "-", " ")
		errs = append(errs, one.Validate())
		list = append(list, one)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return list, nil
}

// promise reads one objective such as "99.9 %" or "99 % under 300ms".
func (s *SLO) promise(text string) error {
	target, rest := text, ""
	for _, word := range []string{" under ", " below ", " within "} {
		if a, b, ok := strings.Cut(text, word); ok {
			target, rest = a, strings.TrimSpace(b)
			break
		}
	}
	target = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(target), "available"))
	number, isPercent := strings.CutSuffix(target, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not like 99.9 %% or 99 %% under 300ms", text)
	case isPercent:
		v /= 100
	case v > 1:
		return fmt.Errorf("%q: write %g %% if you mean per cent", text, v)
	}
	if !(v > 0 && v < 1) {
		return fmt.Errorf("%q must be above 0 %% and below 100 %%: 100 %% leaves no budget for a single error", text)
	}
	s.Target = v
	if rest == "" {
		s.SLI.Kind = Availability
		return nil
	}
	s.SLI.Kind = Latency
	if s.SLI.Threshold, err = time.ParseDuration(strings.ReplaceAll(rest, " ", "")); err != nil {
		return fmt.Errorf("%q: %q is no duration such as 300ms", text, rest)
	}
	return nil
}
