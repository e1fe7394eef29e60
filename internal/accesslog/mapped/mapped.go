// Package mapped decodes any JSON object by a mapping that the user gives:
// which path fills which field, in which unit, with which time layout.
package mapped

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog/jsonlog"
)

// A Source is where a field is in an object and how to read it.
type Source struct {
	Path   string // dotted; \. is a dot inside a key
	Unit   string // of a duration or epoch: s, ms, us, ns; empty: ms, or what an epoch's magnitude says
	Layout string // of a time: rfc3339, epoch, clf or a Go layout; empty: by its look
}

// New returns a decoder of format json for a mapping from field names to
// sources. It reports all faults of the mapping at once.
func New(mapping map[string]Source, loc *time.Location) (*jsonlog.Decoder, error) {
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
	return jsonlog.New(rules, jsonlog.Options{Location: loc, UpstreamKnown: known})
}

func newRule(name string, src Source) (jsonlog.Rule, error) {
	field, ok := jsonlog.ParseField(name)
	if !ok {
		return jsonlog.Rule{}, fmt.Errorf("no such field; the fields are %s", strings.Join(jsonlog.FieldNames(), ", "))
	}
	unit, ok := jsonlog.ParseUnit(src.Unit)
	if !ok {
		return jsonlog.Rule{}, fmt.Errorf("unit %q is not s, ms, us or ns", src.Unit)
	}
	return jsonlog.Rule{Path: src.Path, Field: field, Unit: unit, Layout: src.Layout}, nil
}
