package slo

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	minWindow = time.Minute // the shortest window of an alert
	maxGroups = 1000        // that an objective may be judged apart by
)

// Validate reports what is wrong with an objective.
func (s SLO) Validate() error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: SLO %s: "+format, append([]any{s.File, s.Line, s.Name}, args...)...))
	}
	if s.Service == "" {
		fault("spec.service is missing")
	}
	if s.Target <= 0 || s.Target >= 1 {
		fault("target %g must be a ratio between 0 and 1, such as 0.999", s.Target)
	}
	for _, f := range s.Feeds() {
		if f.SLI.Kind == Latency && f.SLI.Threshold <= 0 {
			fault("a latency indicator needs a threshold")
		}
		if f.SLI.Kind == Latency && f.SLI.Threshold > time.Hour {
			fault("threshold %s is above 1h", f.SLI.Threshold)
		}
	}
	s.validateWindows(fault)
	s.validateSlices(fault)
	s.validateGroups(fault)
	return errors.Join(errs...)
}

func (s SLO) validateWindows(fault func(string, ...any)) {
	for i, w := range s.Windows {
		if w.Short < minWindow || w.Long <= w.Short || w.Long > s.Period || w.Long%time.Minute != 0 || w.Short%time.Minute != 0 {
			fault("windows %s and %s must be whole minutes, the short one below the long one, and that within the period", w.Long, w.Short)
		}
		for _, other := range s.Windows[:i] {
			if other.Long == w.Long && other.Short == w.Short {
				fault("windows %s and %s are there twice", Span(w.Long), Span(w.Short))
			}
		}
		if w.For < 0 || w.For > w.Long {
			fault("alertAfter %s must be within the window %s", w.For, Span(w.Long))
		}
	}
	if s.KeepFiring < 0 || s.KeepFiring > 24*time.Hour || s.KeepFiring%(10*time.Second) != 0 {
		fault("keep-firing %s must be a multiple of 10s, at most 24h", s.KeepFiring)
	}
	if s.Period < 24*time.Hour || s.Period > 92*24*time.Hour {
		fault("time window %s must be from 1d to 90d", s.Period)
	}
}

func (s SLO) validateSlices(fault func(string, ...any)) {
	if s.Method == Occurrences {
		return
	}
	if s.Slice < time.Minute || s.Slice%time.Minute != 0 || time.Hour%s.Slice != 0 {
		fault("timeSliceWindow %s must be whole minutes that divide an hour, such as 1m, 5m or 30m", s.Slice)
		return
	}
	if s.Method == Timeslices && (s.SliceTarget <= 0 || s.SliceTarget > 1) {
		fault("timeSliceTarget %g must be a ratio above 0 and up to 1, such as 0.95", s.SliceTarget)
	}
	if len(s.Parts) > 0 {
		fault("a composite is counted in Occurrences")
	}
	for _, w := range s.Windows {
		if w.Short < s.Slice {
			fault("window %s is shorter than a slice of %s", Span(w.Short), Span(s.Slice))
		}
	}
}

func (s SLO) validateGroups(fault func(string, ...any)) {
	if s.Group == Whole {
		return
	}
	switch {
	case !slices.Contains(Dimensions(), s.Group):
		fault("group %q is none of route, consumer, plan, region", s.Group)
	case len(s.Parts) > 0:
		fault("a composite is not judged apart by %s", s.Group)
	case s.MaxGroups < 1 || s.MaxGroups > maxGroups:
		fault("group-max %d must be from 1 to %d", s.MaxGroups, maxGroups)
	case s.Group != ByRoute && (s.SLI.Route != "" || s.SLI.Method != ""):
		fault("counts by %s are kept for whole services: leave out route and method, or group by route", s.Group)
	}
}
