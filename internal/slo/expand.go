package slo

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog"
)

// Expand writes objectives as OpenSLO v1, one document each. What it writes can
// be read again and means the same.
func Expand(list []SLO) ([]byte, error) {
	var b bytes.Buffer
	for i, s := range list {
		if i > 0 {
			b.WriteString("---\n")
		}
		enc := yaml.NewEncoder(&b)
		enc.SetIndent(2)
		if err := enc.Encode(s.openSLO()); err != nil {
			return nil, fmt.Errorf("write SLO %s: %w", s.Name, err)
		}
		if err := enc.Close(); err != nil {
			return nil, fmt.Errorf("write SLO %s: %w", s.Name, err)
		}
	}
	return b.Bytes(), nil
}

// A field is one key of a YAML mapping, in the order of writing.
type field struct {
	key   string
	value any
}

// mapping makes a node of fields; those without a value are left out. Mappings
// of plain values are written on one line.
func mapping(flow bool, fields ...field) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if flow {
		n.Style = yaml.FlowStyle
	}
	for _, f := range fields {
		v := node(f.value)
		if v == nil {
			continue
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, v)
	}
	return n
}

// node makes a node of a value; nil of one that says nothing.
func node(value any) *yaml.Node {
	switch v := value.(type) {
	case *yaml.Node:
		if v == nil || v.Kind == yaml.MappingNode && len(v.Content) == 0 {
			return nil
		}
		return v
	case []*yaml.Node:
		return &yaml.Node{Kind: yaml.SequenceNode, Content: v}
	case []string:
		if v == nil {
			return nil
		}
		list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, s := range v {
			list.Content = append(list.Content, node(s))
		}
		return list
	case string:
		if v == "" {
			return nil
		}
		n := &yaml.Node{}
		n.SetString(v)
		return n
	case float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(v, 'g', -1, 64), Tag: "!!float"}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(v), Tag: "!!bool"}
	}
	return nil
}

func (s SLO) openSLO() *yaml.Node {
	display := s.Display
	if display == s.Name {
		display = ""
	}
	meta := mapping(false, field{"name", s.Name}, field{"displayName", display}, field{"annotations", s.annotated()})
	spec := []field{{"service", s.Service}}
	var objectives []*yaml.Node
	if len(s.Parts) == 0 {
		spec = append(spec, field{"indicator", s.SLI.node(s.Name)})
		objectives = append(objectives, mapping(true, append([]field{{"target", s.Target}}, s.sliced()...)...))
	}
	for _, p := range s.Parts {
		objectives = append(objectives, mapping(false, field{"displayName", p.Name}, field{"target", p.Target}, field{"compositeWeight", p.Weight}, field{"indicator", p.SLI.node(p.Name)}))
	}
	spec = append(spec, field{"timeWindow", []*yaml.Node{s.window()}}, field{"budgetingMethod", s.Method.String()}, field{"objectives", objectives})
	return mapping(false, field{"apiVersion", openSLO}, field{"kind", "SLO"}, field{"metadata", meta}, field{"spec", mapping(false, spec...)})
}

func (s SLO) window() *yaml.Node {
	if c := s.Calendar; c != nil {
		return mapping(true, field{"duration", fmt.Sprintf("%d%c", c.Every, c.Unit)}, field{"calendar", mapping(true,
			field{"startTime", c.Start.Format(startTimes[0])}, field{"timeZone", c.Start.Location().String()})})
	}
	return mapping(true, field{"duration", fmt.Sprintf("%dd", s.Period/(24*time.Hour))}, field{"isRolling", true})
}

func (s SLO) sliced() []field {
	switch s.Method {
	case Timeslices:
		return []field{{"timeSliceTarget", s.SliceTarget}, {"timeSliceWindow", short(s.Slice)}}
	case RatioTimeslices:
		return []field{{"timeSliceWindow", short(s.Slice)}}
	}
	return nil
}

// short writes a duration as files do: 5m, 6h, 3d, 1m30s.
func short(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// annotated returns the annotations that differ from what is said by default.
func (s SLO) annotated() *yaml.Node {
	fields := []field{{annotationOwner, s.Owner}, {annotationRunbook, s.Runbook}, {annotationTier, s.Tier}}
	if s.MinBad != defaultMinBad {
		fields = append(fields, field{annotationMinBad, strconv.FormatInt(s.MinBad, 10)})
	}
	if text := windowsText(s.Windows); text != windowsText(DefaultWindows()) {
		fields = append(fields, field{annotationWindows, text})
	}
	fields = append(fields, field{annotationTargets, strings.Join(s.Notify, ", ")})
	if s.Group != Whole {
		fields = append(fields, field{annotationGroup, string(s.Group)})
		if s.MaxGroups != defaultGroups {
			fields = append(fields, field{annotationGroupMax, strconv.Itoa(s.MaxGroups)})
		}
	}
	if s.KeepFiring > 0 {
		fields = append(fields, field{annotationKeep, short(s.KeepFiring)})
	}
	if s.Preview {
		fields = append(fields, field{annotationMode, "preview"})
	}
	return mapping(false, fields...)
}

func windowsText(list []AlertWindow) string {
	var windows []string
	for _, w := range list {
		text := fmt.Sprintf("%g %s %s %s", w.Factor, short(w.Long), short(w.Short), w.Severity)
		if w.For > 0 {
			text += " after " + short(w.For)
		}
		windows = append(windows, text)
	}
	return strings.Join(windows, ", ")
}

// node writes an indicator as an OpenSLO ratio of bad to total.
func (s SLI) node(name string) *yaml.Node {
	threshold := ""
	if s.Kind == Latency {
		threshold = s.Threshold.String()
	}
	src := func() *yaml.Node {
		return mapping(true, field{"metricSource", mapping(true, field{"type", sourceType}, field{"spec", mapping(true,
			field{"kind", s.Kind.String()}, field{"threshold", threshold}, field{"route", s.Route}, field{"method", s.Method},
			field{"environment", s.Environment}, field{"tenant", s.Tenant}, field{"bad", names(s.Bad)}, field{"excluded", names(s.Excluded)})})})
	}
	return mapping(false, field{"metadata", mapping(true, field{"name", name})}, field{"spec", mapping(false, field{"ratioMetric", mapping(false,
		field{"counter", true}, field{"bad", src()}, field{"total", src()})})})
}

// names returns the names of error classes; nil stays nil.
func names(list []accesslog.ErrorClass) []string {
	if list == nil {
		return nil
	}
	out := []string{}
	for _, c := range list {
		out = append(out, c.String())
	}
	return out
}
