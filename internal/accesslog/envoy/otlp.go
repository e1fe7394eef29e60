package envoy

import (
	"strconv"
	"strings"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/logformat"
	"gatewatch/internal/accesslog/outcome"
)

// records turns log records of Envoy's OpenTelemetry access logger into
// entries, whatever their encoding: the body as a text line, a JSON object or a
// list of keys and values, then the attributes.
type records struct {
	lines   *logformat.Decoder
	objects *jsonlog.Decoder
	rules   []field.Rule
	index   map[string]int
	setter  *field.Setter
	table   *outcome.Table

	// the record at hand
	body   string
	values []value
	node   string // of the resource at hand
}

// A value fills the field of a rule; rule is -1 as long as its key isn't known.
type value struct {
	rule     int
	text     string
	resource bool
}

// maxRecordDepth bounds lists inside lists of keys and values.
const maxRecordDepth = 4

func newRecords(o accesslog.Options) (*records, error) {
	r := &records{setter: field.NewSetter(o.Location), index: map[string]int{}}
	var err error
	if r.table, err = outcome.Parse(outcomesTSV); err != nil {
		return nil, err
	}
	if r.lines, err = newLines(o, r.table); err != nil {
		return nil, err
	}
	if r.objects, err = newObjects(o, r.table); err != nil {
		return nil, err
	}
	for i, rule := range jsonRules {
		r.rules = append(r.rules, field.Rule{Field: rule.Field, Unit: rule.Unit, Layout: rule.Layout})
		r.index[rule.Path] = i
	}
	r.rules = append(r.rules,
		field.Rule{Field: field.StartTime, Unit: field.Nanoseconds, Layout: "epoch"}, field.Rule{Field: field.TraceID}, field.Rule{Field: field.SpanID})
	return r, nil
}

// ruleOf returns the rule of what a record has beside its attributes.
func (r *records) ruleOf(f field.Field) int {
	n := len(r.rules)
	switch f {
	case field.StartTime:
		return n - 3
	case field.TraceID:
		return n - 2
	}
	return n - 1
}

func (r *records) begin() {
	r.body, r.values = "", r.values[:0]
}

// own keeps what a record has beside its attributes.
func (r *records) own(f field.Field, text string) {
	r.values = append(r.values, value{rule: r.ruleOf(f), text: text})
}

// An owner is what keys and values belong to.
type owner uint8

const (
	ofRecord owner = iota
	ofBody
	ofResource
)

// inside returns what the pairs of a list belong to: those of a body are like attributes.
func (o owner) inside() owner {
	if o == ofBody {
		return ofRecord
	}
	return o
}

// take keeps the value of a key. The body itself has no key. A value whose key
// isn't known yet waits for name.
func (r *records) take(of owner, key, text string) {
	switch {
	case of == ofResource && key != "":
		r.resource(key, text)
	case of == ofBody && key == "":
		r.body = text
	case key == "":
		r.values = append(r.values, value{rule: -1, text: text, resource: of == ofResource})
	default:
		if i, ok := r.index[key]; ok {
			r.values = append(r.values, value{rule: i, text: text})
		}
	}
}

// name gives the values from first on that wait for it their key.
func (r *records) name(first int, key string) {
	kept := r.values[:first]
	for _, v := range r.values[first:] {
		if v.rule >= 0 {
			kept = append(kept, v)
			continue
		}
		if v.resource {
			r.resource(key, v.text)
		} else if i, ok := r.index[key]; ok {
			kept = append(kept, value{rule: i, text: v.text})
		}
	}
	r.values = kept
}

// resource keeps what a resource's attribute says of the gateway instance.
func (r *records) resource(key, text string) {
	switch key {
	case "node_name", "host.name", "service.instance.id", "k8s.pod.name":
		if r.node == "" && text != "-" {
			r.node = text
		}
	}
}

// end makes an entry of the record.
func (r *records) end(out *accesslog.Entries) error {
	e, err := r.line(out)
	if e == nil {
		e = out.Next()
		e.UpstreamKnown = true
	}
	r.setter.Begin()
	for _, v := range r.values {
		if v.rule == r.ruleOf(field.StartTime) && !e.Time.IsZero() {
			continue // the line's own time says more
		}
		if err := r.setter.Set(&r.rules[v.rule], v.rule, v.text, e); err != nil {
			return err
		}
	}
	if r.setter.End(e, &out.Arena) {
		err = nil
	}
	if err == nil {
		e.Outcome = stated(r.table, e)
	}
	return err
}

var errNoRequest = &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "a log record with neither status nor method nor target"}

// line reads the body, where it is text; the error counts unless attributes make an entry.
func (r *records) line(out *accesslog.Entries) (*accesslog.Entry, error) {
	body := strings.TrimSpace(r.body)
	start := out.Len()
	var err error
	switch {
	case body == "":
		return nil, errNoRequest
	case body[0] == '{':
		err = r.objects.Decode(unsafe.Slice(unsafe.StringData(body), len(body)), out)
	default:
		err = r.lines.Line(body, out.Next(), &out.Arena)
	}
	if err != nil {
		out.Truncate(start)
		return nil, err
	}
	return &out.All()[out.Len()-1], nil
}

// finish gives the entries since start the node of their resource.
func (r *records) finish(out *accesslog.Entries, start int) {
	entries := out.All()[start:]
	for i := range entries {
		if entries[i].Node == "" {
			entries[i].Node = r.node
		}
	}
	r.node = ""
}

// digits returns n as text in the arena.
func digits(n int64, arena *accesslog.Arena) string {
	b := strconv.AppendInt(arena.Grow(20), n, 10)
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}
