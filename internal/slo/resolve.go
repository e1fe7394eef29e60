package slo

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/alert"
)

// The annotations in which an objective says what OpenSLO can't.
const (
	annotationOwner    = "gatewatch/owner"
	annotationRunbook  = "gatewatch/runbook"
	annotationTier     = "gatewatch/tier"
	annotationMinBad   = "gatewatch/min-bad"   // 0 switches the guard against low traffic off
	annotationWindows  = "gatewatch/windows"   // such as "14.4 1h 5m page, 6 6h 30m page"
	annotationGroup    = "gatewatch/group"     // route, consumer, plan or region
	annotationGroupMax = "gatewatch/group-max" // how many are judged each; default 20
	annotationKeep     = "gatewatch/keep-firing"
	annotationMode     = "gatewatch/mode"    // live or preview
	annotationTargets  = "gatewatch/targets" // names of notification targets
)

var annotations = []string{
	annotationOwner, annotationRunbook, annotationTier, annotationMinBad, annotationWindows,
	annotationGroup, annotationGroupMax, annotationKeep, annotationMode, annotationTargets,
}

// defaultGroups is the MaxGroups of an objective that states none.
const defaultGroups = 20

// objects are all objects, by kind and name.
type objects struct {
	byName map[string]map[string]*object
	set    *Set
}

func (all *objects) find(kind, name string) (*object, bool) {
	o, ok := all.byName[kind][name]
	return o, ok
}

func (all *objects) note(text string) { all.set.Notes = append(all.set.Notes, text) }

// resolve makes objectives of objects.
func resolve(list []*object) (*Set, error) {
	all := &objects{byName: map[string]map[string]*object{}, set: &Set{}}
	var errs []error
	for _, o := range list {
		kind, name := o.header.Kind, o.header.Metadata.Name
		if all.byName[kind] == nil {
			all.byName[kind] = map[string]*object{}
		}
		if kind == kindShort {
			continue
		}
		if name == "" {
			errs = append(errs, o.fault([]string{"metadata"}, "metadata.name is missing"))
			continue
		}
		if first, ok := all.byName[kind][name]; ok {
			errs = append(errs, fmt.Errorf("%s:%d: %s %s is already in %s:%d", o.file, lineOf(o.node, "metadata", "name"), kind, name, first.file, lineOf(first.node, "metadata", "name")))
			continue
		}
		all.byName[kind][name] = o
		if kind == "DataSource" {
			all.note(o.note([]string{"kind"}, "has no effect: what is counted is in gatewatch's own store"))
		}
	}
	first := map[string]SLO{}
	for _, o := range list {
		var slos []SLO
		var err error
		switch {
		case o.header.Kind == "SLO" && all.byName["SLO"][o.header.Metadata.Name] == o:
			slos, err = o.objectives(all)
		case o.header.Kind == kindShort:
			slos, err = o.shortObjectives()
		}
		errs = append(errs, err)
		for _, s := range slos {
			if f, ok := first[s.Name]; ok {
				errs = append(errs, fmt.Errorf("%s:%d: SLO %s is already in %s:%d", s.File, s.Line, s.Name, f.File, f.Line))
				continue
			}
			first[s.Name] = s
			all.set.SLOs = append(all.set.SLOs, s)
			all.remark(s)
		}
	}
	errs = append(errs, all.corrections(list))
	return all.set, errors.Join(errs...)
}

// remark notes what an objective says in vain.
func (all *objects) remark(s SLO) {
	if services := all.byName["Service"]; len(services) > 0 && services[s.Service] == nil {
		all.note(fmt.Sprintf("%s:%d: SLO %s: there is no Service %s in these files", s.File, s.Line, s.Name, s.Service))
	}
	for _, w := range s.Windows {
		if highest := 1 / s.Budget(); w.Factor >= highest {
			all.note(fmt.Sprintf("%s:%d: SLO %s: its %s at burn rate %g over %s never fires: when all requests fail, the rate is %.4g; state others in the annotation %s",
				s.File, s.Line, s.Name, w.Severity, w.Factor, Span(w.Long), highest, annotationWindows))
		}
	}
}

// objectives returns the objectives of an SLO. Of several, each is one of its
// own, with its display name or its number behind the SLO's name; with an
// indicator each they are the parts of one composite.
func (o *object) objectives(all *objects) ([]SLO, error) {
	d := &o.slo
	s := SLO{
		Name: d.Metadata.Name, Display: d.Metadata.DisplayName, Service: d.Spec.Service,
		Windows: DefaultWindows(), MinBad: defaultMinBad, File: o.file, Line: lineOf(o.node, "metadata", "name"),
	}
	if s.Display == "" {
		s.Display = s.Name
	}
	var errs []error
	if service, ok := all.find("Service", s.Service); ok {
		errs = append(errs, service.inherited(&s))
	}
	errs = append(errs, o.policies(&s, all), o.annotations(&s), o.frame(&s))
	if len(d.Spec.Objectives) == 0 {
		errs = append(errs, o.fault([]string{"spec", "objectives"}, "spec.objectives is missing"))
	}
	composite := slices.ContainsFunc(d.Spec.Objectives, func(obj objective) bool { return obj.Indicator != nil || obj.IndicatorRef != "" })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var list []SLO
	var err error
	if composite {
		list, err = o.composite(s, all)
	} else {
		list, err = o.separate(s, all)
	}
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		errs = append(errs, one.Validate())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return list, nil
}

// separate returns an SLO for each objective.
func (o *object) separate(s SLO, all *objects) ([]SLO, error) {
	var list []SLO
	in, spec, at, err := o.indicator(all)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i, obj := range o.slo.Spec.Objectives {
		one := s
		if len(o.slo.Spec.Objectives) > 1 {
			one.Name, one.Display = s.Name+"-"+suffix(obj.DisplayName, i), strings.TrimSpace(s.Display+" "+obj.DisplayName)
		}
		where := []string{"spec", "objectives", strconv.Itoa(i)}
		if obj.CompositeWeight != nil {
			errs = append(errs, o.fault(append(where, "compositeWeight"), "compositeWeight is for objectives with an indicator each"))
		}
		errs = append(errs, o.readTarget(&one, obj, i), o.readSlices(&one, obj, where), in.readSLI(&one.SLI, spec, obj, at, all))
		list = append(list, one)
	}
	return list, errors.Join(errs...)
}

// readSlices reads what a budget of timeslices needs.
func (o *object) readSlices(s *SLO, obj objective, at []string) error {
	switch {
	case s.Method == Occurrences && (obj.TimeSliceTarget != nil || obj.TimeSliceWindow != ""):
		return o.fault(at, "timeSliceTarget and timeSliceWindow go with budgetingMethod Timeslices or RatioTimeslices")
	case s.Method == Occurrences:
		return nil
	case obj.TimeSliceWindow == "":
		return o.fault(at, "timeSliceWindow is missing; write for instance 1m")
	case s.Method == Timeslices && obj.TimeSliceTarget == nil:
		return o.fault(at, "timeSliceTarget is missing; write for instance 0.95")
	}
	// A number alone is minutes.
	text := obj.TimeSliceWindow
	if _, err := strconv.Atoi(text); err == nil {
		text += "m"
	}
	var err error
	if s.Slice, err = ParseSpan(text); err != nil {
		return o.fault(append(at, "timeSliceWindow"), "timeSliceWindow %w", err)
	}
	if s.Method == Timeslices {
		s.SliceTarget = *obj.TimeSliceTarget
		if s.SliceTarget <= 0 || s.SliceTarget > 1 {
			return o.fault(append(at, "timeSliceTarget"), "timeSliceTarget %g must be a ratio above 0 and up to 1, such as 0.95", s.SliceTarget)
		}
	}
	return nil
}

// suffix tells the objectives of one SLO apart.
func suffix(display string, i int) string {
	word := strings.Join(strings.FieldsFunc(strings.ToLower(display), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
	if word == "" {
		return strconv.Itoa(i + 1)
	}
	return word
}

// inherited reads what the objectives of a service have from it.
func (o *object) inherited(s *SLO) error {
	var errs []error
	for name, value := range o.header.Metadata.Annotations {
		switch name {
		case annotationOwner:
			s.Owner = value
		case annotationRunbook:
			s.Runbook = value
		case annotationTier:
			s.Tier = value
		default:
			if strings.HasPrefix(name, "gatewatch/") {
				errs = append(errs, o.fault([]string{"metadata", "annotations", name}, "annotation %s: a Service takes %s, %s and %s", name, annotationOwner, annotationRunbook, annotationTier))
			}
		}
	}
	return errors.Join(errs...)
}

func (o *object) annotations(s *SLO) error {
	var errs []error
	for name, value := range o.header.Metadata.Annotations {
		if err := annotate(s, name, value); err != nil {
			errs = append(errs, o.fault([]string{"metadata", "annotations", name}, "annotation %s: %w", name, err))
		}
	}
	if s.Group != Whole && s.MaxGroups == 0 {
		s.MaxGroups = defaultGroups
	}
	return errors.Join(errs...)
}

func annotate(s *SLO, name, value string) (err error) {
	switch name {
	case annotationOwner:
		s.Owner = value
	case annotationRunbook:
		s.Runbook = value
	case annotationTier:
		s.Tier = value
	case annotationMinBad:
		if s.MinBad, err = strconv.ParseInt(value, 10, 64); err != nil || s.MinBad < 0 {
			err = fmt.Errorf("%q is no number from 0 on", value)
		}
	case annotationWindows:
		s.Windows, err = parseWindows(value)
	case annotationGroup:
		if s.Group = Dimension(value); !slices.Contains(Dimensions(), s.Group) {
			err = fmt.Errorf("%q is none of route, consumer, plan, region", value)
		}
	case annotationGroupMax:
		if s.MaxGroups, err = strconv.Atoi(value); err != nil || s.MaxGroups < 1 || s.MaxGroups > maxGroups {
			err = fmt.Errorf("%q is no number from 1 to %d", value, maxGroups)
		}
	case annotationKeep:
		s.KeepFiring, err = ParseSpan(value)
	case annotationTargets:
		for name := range strings.SplitSeq(value, ",") {
			s.Notify = append(s.Notify, strings.TrimSpace(name))
		}
	case annotationMode:
		if s.Preview = value == "preview"; !s.Preview && value != "live" {
			err = fmt.Errorf("%q is neither live nor preview", value)
		}
	default:
		if strings.HasPrefix(name, "gatewatch/") {
			err = fmt.Errorf("unknown; known are %s", strings.Join(annotations, ", "))
		}
	}
	return err
}

// frame reads what all objectives of an SLO have in common.
func (o *object) frame(s *SLO) error {
	var errs []error
	d := &o.slo.Spec
	switch d.BudgetingMethod {
	case "", "Occurrences":
	case "Timeslices":
		s.Method = Timeslices
	case "RatioTimeslices":
		s.Method = RatioTimeslices
	default:
		errs = append(errs, o.fault([]string{"spec", "budgetingMethod"}, "budgetingMethod %q is none of Occurrences, Timeslices, RatioTimeslices", d.BudgetingMethod))
	}
	if len(d.TimeWindow) != 1 {
		return errors.Join(append(errs, o.fault([]string{"spec", "timeWindow"}, "exactly one timeWindow is read, such as [{duration: 30d, isRolling: true}]; write another SLO for a second one"))...)
	}
	at := []string{"spec", "timeWindow", "0", "duration"}
	w := d.TimeWindow[0]
	switch {
	case w.IsRolling && w.Calendar != nil:
		errs = append(errs, o.fault(at[:3], "isRolling: true and calendar exclude each other"))
	case w.Calendar != nil:
		c, err := readCalendar(w.Duration, w.Calendar.StartTime, w.Calendar.TimeZone)
		if err != nil {
			return errors.Join(append(errs, o.fault(at, "%w", err))...)
		}
		s.Calendar, s.Period = c, c.longest()
	case !w.IsRolling:
		errs = append(errs, o.fault(at[:3], "write isRolling: true, or a calendar with startTime and timeZone"))
	default:
		var err error
		if s.Period, err = parsePeriod(w.Duration); err != nil {
			errs = append(errs, o.fault(at, "%w", err))
		}
	}
	return errors.Join(errs...)
}

func (o *object) readTarget(s *SLO, obj objective, i int) error {
	at := []string{"spec", "objectives", strconv.Itoa(i)}
	switch {
	case obj.Target != nil && obj.TargetPercent != nil:
		return o.fault(at, "target and targetPercent exclude each other")
	case obj.Target != nil:
		s.Target = *obj.Target
		at = append(at, "target")
	case obj.TargetPercent != nil:
		s.Target = *obj.TargetPercent / 100
		at = append(at, "targetPercent")
	default:
		return o.fault(at, "target is missing")
	}
	switch {
	case s.Target > 1 && s.Target < 100:
		return o.fault(at, "target %g must be a ratio between 0 and 1: write target: %.10g or targetPercent: %g", s.Target, s.Target/100, s.Target)
	case s.Target <= 0 || s.Target >= 1 || s.Target != s.Target:
		return o.fault(at, "target %g must be a ratio between 0 and 1, such as 0.999: 0 promises nothing, and 1 leaves no budget for a single error", s.Target)
	}
	return nil
}

// indicator returns the indicator of an SLO and in which object and where it is.
func (o *object) indicator(all *objects) (in *object, spec *indicatorSpec, at []string, err error) {
	switch d := &o.slo.Spec; {
	case d.Indicator != nil && d.IndicatorRef != "":
		return o, nil, nil, o.fault([]string{"spec", "indicatorRef"}, "indicator and indicatorRef exclude each other")
	case d.Indicator != nil:
		return o, &d.Indicator.Spec, []string{"spec", "indicator", "spec"}, nil
	case d.IndicatorRef == "":
		return o, nil, nil, o.fault([]string{"spec"}, "spec.indicator is missing")
	default:
		in, ok := all.find("SLI", d.IndicatorRef)
		if !ok {
			return o, nil, nil, o.fault([]string{"spec", "indicatorRef"}, "there is no SLI %s", d.IndicatorRef)
		}
		return in, &in.sli.Spec, []string{"spec"}, nil
	}
}

// parseWindows reads pairs such as "14.4 1h 5m page", with commas between them;
// "after 2m" behind one lets it fire when both have burnt for that long.
func parseWindows(text string) ([]AlertWindow, error) {
	var list []AlertWindow
	for part := range strings.SplitSeq(text, ",") {
		f := strings.Fields(part)
		if len(f) != 4 && (len(f) != 6 || f[4] != "after") {
			return nil, fmt.Errorf("%q is not like 14.4 1h 5m page", strings.TrimSpace(part))
		}
		factor, err := strconv.ParseFloat(f[0], 64)
		if err != nil || !(factor > 0) {
			return nil, fmt.Errorf("burn rate %q is no number above 0", f[0])
		}
		w := AlertWindow{Factor: factor}
		for i, d := range []*time.Duration{&w.Long, &w.Short} {
			if *d, err = ParseSpan(f[1+i]); err != nil {
				return nil, fmt.Errorf("window %w", err)
			}
		}
		if w.Severity, err = alert.ParseSeverity(f[3]); err != nil || w.Severity == alert.None {
			return nil, fmt.Errorf("severity %q is neither page nor ticket", f[3])
		}
		if len(f) == 6 {
			if w.For, err = ParseSpan(f[5]); err != nil {
				return nil, fmt.Errorf("after %w", err)
			}
		}
		list = append(list, w)
	}
	return list, nil
}
