// Package mapped decodes any JSON object by a mapping that the user gives:
// which path fills which field, in which unit, with which time layout.
package mapped

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
)

// Formats returns the one format.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "json", Summary: "any JSON object, by the topic's mapping",
		Doc: "deploy/config/gatewatch.yaml, kafka.topics[].mapping", Needs: "mapping", New: newDecoder,
	}}
}

// newDecoder returns a decoder for o.Mapping. It reports all faults of the mapping at once.
func newDecoder(o accesslog.Options) (accesslog.Decoder, error) {
	mapping := o.Mapping
	if len(mapping) == 0 {
		return nil, errors.New("format json needs a mapping: field name to path")
	}
	names := make([]string, 0, len(mapping))
	for name := range mapping {
		names = append(names, name)
	}
	slices.Sort(names)
	var rules []jsonlog.Rule
	var faults []error
	for _, name := range names {
		rule, err := newRule(name, mapping[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("mapping %s: %w", name, err))
			continue
		}
		rules = append(rules, rule)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	// A log that names its upstream would name it wherever one was asked.
	_, known := mapping["upstream_addr"]
	return jsonlog.New(rules, jsonlog.Options{Location: o.Location, UpstreamKnown: known})
}

func newRule(name string, src accesslog.Source) (jsonlog.Rule, error) {
	f, ok := field.Parse(name)
	if !ok {
		return jsonlog.Rule{}, fmt.Errorf("no such field; the fields are %s", strings.Join(field.Names(), ", "))
	}
	unit, ok := field.ParseUnit(src.Unit)
	if !ok {
		return jsonlog.Rule{}, fmt.Errorf("unit %q is not s, ms, us or ns", src.Unit)
	}
	return jsonlog.Rule{Path: src.Path, Field: f, Unit: unit, Layout: src.Layout}, nil
}
