package slo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog"
)

// readSLI reads an indicator, which is at the keys at.
func (o *object) readSLI(s *SLI, spec *indicatorSpec, obj objective, at []string, all *objects) error {
	r := spec.RatioMetric
	switch {
	case spec.ThresholdMetric != nil && r != nil:
		return o.fault(at, "thresholdMetric and ratioMetric exclude each other")
	case spec.ThresholdMetric != nil:
		src, err := o.readSource(spec.ThresholdMetric, under(at, "thresholdMetric"), all)
		if err != nil {
			return err
		}
		return o.fill(s, spec, src, obj, under(at, "thresholdMetric", "metricSource", "spec"))
	case r == nil:
		return o.fault(at, "the indicator has neither ratioMetric nor thresholdMetric")
	case r.Raw != nil:
		return o.fault(under(at, "ratioMetric", "raw"), "ratioMetric.raw is not read: gatewatch counts requests, write total, and good or bad")
	case r.Total == nil:
		return o.fault(under(at, "ratioMetric"), "ratioMetric.total is missing")
	case r.Good != nil && r.Bad != nil:
		return o.fault(under(at, "ratioMetric"), "ratioMetric.good and ratioMetric.bad exclude each other")
	}
	total, err := o.readSource(r.Total, under(at, "ratioMetric", "total"), all)
	if err != nil {
		return err
	}
	for name, part := range map[string]*metric{"good": r.Good, "bad": r.Bad} {
		if part == nil {
			continue
		}
		where := under(at, "ratioMetric", name)
		src, err := o.readSource(part, where, all)
		if err != nil {
			return err
		}
		if name == "bad" && total.Bad == nil {
			total.Bad = src.Bad
		}
		if src.Kind != total.Kind || src.Threshold != total.Threshold || src.Route != total.Route || src.Method != total.Method ||
			src.Environment != total.Environment || src.Tenant != total.Tenant {
			return o.fault(where, "%s and total select different requests: write the same source in both", name)
		}
	}
	return o.fill(s, spec, total, obj, under(at, "ratioMetric", "total", "metricSource", "spec"))
}

// under returns keys below others.
func under(at []string, keys ...string) []string { return append(slices.Clone(at), keys...) }

// readSource reads a metric source, whose type may stand in the DataSource that it refers to.
func (o *object) readSource(m *metric, at []string, all *objects) (source, error) {
	var src source
	at = under(at, "metricSource")
	kind := m.MetricSource.Type
	if kind == "" && m.MetricSource.Ref != "" {
		if d, ok := all.find("DataSource", m.MetricSource.Ref); ok {
			kind = d.source.Spec.Type
		}
	}
	if kind != sourceType {
		return src, o.fault(under(at, "type"), "metricSource.type %q: only %q is read", kind, sourceType)
	}
	known := []string{"kind", "threshold", "route", "method", "environment", "tenant", "bad", "excluded"}
	if n := &m.MetricSource.Spec; n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if !slices.Contains(known, n.Content[i].Value) {
				return src, o.fault(under(at, "spec", n.Content[i].Value), "metricSource.spec has no %q, but %s", n.Content[i].Value, strings.Join(known, ", "))
			}
		}
	}
	if m.MetricSource.Spec.Kind == 0 {
		return src, o.fault(at, "metricSource.spec is missing; write for instance spec: {kind: availability}")
	}
	if err := m.MetricSource.Spec.Decode(&src); err != nil {
		return src, yamlFault(o.file, lineOf(o.node, at...), err)
	}
	return src, nil
}

// fill makes an indicator of a source, which is at the keys at.
func (o *object) fill(s *SLI, spec *indicatorSpec, src source, obj objective, at []string) error {
	*s = SLI{Route: src.Route, Method: src.Method, Environment: src.Environment, Tenant: src.Tenant}
	var err error
	if s.Bad, err = classes(src.Bad); err != nil {
		return o.fault(append(at, "bad"), "bad: %w", err)
	}
	if s.Excluded, err = classes(src.Excluded); err != nil {
		return o.fault(append(at, "excluded"), "excluded: %w", err)
	}
	if src.Excluded != nil && s.Excluded == nil {
		s.Excluded = []accesslog.ErrorClass{} // none, in contrast to what is excluded by default
	}
	switch {
	case src.Kind == "availability" && spec.ThresholdMetric == nil:
		s.Kind = Availability
		if src.Threshold != "" {
			return o.fault(append(at, "threshold"), "threshold goes with kind: latency")
		}
	case src.Kind == "latency":
		s.Kind = Latency
		if s.Threshold, err = threshold(spec, src, obj); err != nil {
			return o.fault(append(at, "threshold"), "%w", err)
		}
	case src.Kind == "availability":
		return o.fault(append(at, "kind"), "a thresholdMetric is of kind latency")
	default:
		return o.fault(append(at, "kind"), "metricSource.spec.kind %q is neither availability nor latency", src.Kind)
	}
	return nil
}

// threshold returns the one that the source states, or that the objective of a
// thresholdMetric does.
func threshold(spec *indicatorSpec, src source, obj objective) (time.Duration, error) {
	if spec.ThresholdMetric != nil {
		if src.Threshold != "" || obj.Value == nil || obj.Op != "lte" && obj.Op != "lt" {
			return 0, errors.New("a thresholdMetric takes op: lte and value: SECONDS from the objective")
		}
		return time.Duration(*obj.Value * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(src.Threshold)
	if err != nil {
		return 0, fmt.Errorf("threshold %q is no duration such as 300ms", src.Threshold)
	}
	return d, nil
}

// classes returns the error classes of those names.
func classes(names []string) ([]accesslog.ErrorClass, error) {
	var list []accesslog.ErrorClass
	for _, name := range names {
		c, ok := accesslog.ParseErrorClass(name)
		if !ok {
			return nil, fmt.Errorf("there is no error class %q", name)
		}
		list = append(list, c)
	}
	return list, nil
}
