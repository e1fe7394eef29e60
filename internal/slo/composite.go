package slo

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// composite returns the one SLO of objectives with an indicator each. Its target
// is the weighted mean of theirs.
func (o *object) composite(s SLO, all *objects) ([]SLO, error) {
	if o.slo.Spec.Indicator != nil || o.slo.Spec.IndicatorRef != "" {
		return nil, o.fault([]string{"spec"}, "spec.indicator and indicators of the objectives exclude each other")
	}
	parts, err := o.parts(s, all, []string{s.Name})
	if err != nil {
		return nil, err
	}
	sum, weights := 0.0, 0.0
	for _, p := range parts {
		sum += p.Weight * p.Target
		weights += p.Weight
	}
	s.Parts, s.SLI, s.Target = parts, parts[0].SLI, sum/weights
	return []SLO{s}, nil
}

// parts returns the parts of a composite: an indicator of its own, a SLI, or the
// indicators of another SLO each. above are the SLOs that led here.
func (o *object) parts(s SLO, all *objects, above []string) ([]Part, error) {
	var list []Part
	var errs []error
	for i, obj := range o.slo.Spec.Objectives {
		at := []string{"spec", "objectives", strconv.Itoa(i)}
		one := s
		if err := errors.Join(o.readTarget(&one, obj, i), o.readSlices(&one, obj, at)); err != nil {
			errs = append(errs, err)
			continue
		}
		p := Part{Name: suffix(obj.DisplayName, i), Service: s.Service, Target: one.Target, Weight: 1}
		if obj.CompositeWeight != nil {
			if p.Weight = *obj.CompositeWeight; !(p.Weight > 0) {
				errs = append(errs, o.fault(under(at, "compositeWeight"), "compositeWeight %g is no number above 0", p.Weight))
				continue
			}
		}
		more, err := o.part(p, obj, at, all, above)
		list = append(list, more...)
		errs = append(errs, err)
	}
	if len(list) == 0 && errors.Join(errs...) == nil {
		errs = append(errs, o.fault([]string{"spec", "objectives"}, "a composite needs objectives with an indicator"))
	}
	return list, errors.Join(errs...)
}

// part returns what one objective of a composite counts.
func (o *object) part(p Part, obj objective, at []string, all *objects, above []string) ([]Part, error) {
	switch {
	case obj.Indicator != nil && obj.IndicatorRef != "":
		return nil, o.fault(under(at, "indicatorRef"), "indicator and indicatorRef exclude each other")
	case obj.Indicator != nil:
		if obj.Indicator.Metadata.Name != "" {
			p.Name = obj.Indicator.Metadata.Name
		}
		return []Part{p}, o.readSLI(&p.SLI, &obj.Indicator.Spec, obj, under(at, "indicator", "spec"), all)
	case obj.IndicatorRef == "":
		return nil, o.fault(at, "the objective has no indicator, but others of this composite have one")
	}
	if in, ok := all.find("SLI", obj.IndicatorRef); ok {
		p.Name = obj.IndicatorRef
		err := in.readSLI(&p.SLI, &in.sli.Spec, obj, []string{"spec"}, all)
		return []Part{p}, err
	}
	other, ok := all.find("SLO", obj.IndicatorRef)
	if !ok {
		return nil, o.fault(under(at, "indicatorRef"), "there is no SLI and no SLO %s", obj.IndicatorRef)
	}
	if slices.Contains(above, obj.IndicatorRef) {
		return nil, o.fault(under(at, "indicatorRef"), "a composite can't be made of itself: %s", strings.Join(append(above, obj.IndicatorRef), " → "))
	}
	d := &other.slo.Spec
	if d.Indicator != nil || d.IndicatorRef != "" {
		in, spec, where, err := other.indicator(all)
		if err != nil {
			return nil, err
		}
		p.Name, p.Service = obj.IndicatorRef, d.Service
		return []Part{p}, in.readSLI(&p.SLI, spec, firstOf(d.Objectives), where, all)
	}
	inner, err := other.parts(SLO{Name: obj.IndicatorRef, Service: d.Service}, all, append(slices.Clone(above), obj.IndicatorRef))
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for _, q := range inner {
		sum += q.Weight
	}
	for i := range inner {
		inner[i].Name = obj.IndicatorRef + "/" + inner[i].Name
		inner[i].Target, inner[i].Weight = p.Target, p.Weight*inner[i].Weight/sum
	}
	return inner, nil
}

func firstOf(list []objective) objective {
	if len(list) == 0 {
		return objective{}
	}
	return list[0]
}
