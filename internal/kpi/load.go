package kpi

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Load reads all .yaml and .yml files of a folder. Its error joins all faults,
// each with file and line, what is wrong and what there is instead.
func Load(fsys fs.FS) (*Definitions, error) {
	var files []*Definitions
	var faults []error
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)) {
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		one, err := read(name, data)
		if err != nil {
			faults = append(faults, err)
			return nil
		}
		files = append(files, one)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read KPI files: %w", err)
	}
	all, err := merge(files)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	all.complete()
	return all, errors.Join(all.validate()...)
}

// Parse is Load for one file.
func Parse(file string, data []byte) (*Definitions, error) {
	d, err := read(file, data)
	if err != nil {
		return nil, err
	}
	d.complete()
	return d, errors.Join(d.validate()...)
}

// merge puts the definitions of files into one.
func merge(files []*Definitions) (*Definitions, error) {
	all := &Definitions{}
	var faults []error
	for _, f := range files {
		all.Workflows = append(all.Workflows, f.Workflows...)
		all.Plans = append(all.Plans, f.Plans...)
		all.Tiers = append(all.Tiers, f.Tiers...)
		all.Deprecations = append(all.Deprecations, f.Deprecations...)
		if f.Activation.place != (place{}) {
			if all.Activation.place != (place{}) {
				faults = append(faults, fmt.Errorf("%s: activation is also defined at %s; keep one", f.Activation.place, all.Activation.place))
			}
			all.Activation = f.Activation
		}
		if f.Cohorts.place != (place{}) {
			if all.Cohorts.place != (place{}) {
				faults = append(faults, fmt.Errorf("%s: cohorts is also defined at %s; keep one", f.Cohorts.place, all.Cohorts.place))
			}
			all.Cohorts = f.Cohorts
		}
	}
	return all, errors.Join(faults...)
}

// read reads one file strictly.
func read(file string, data []byte) (*Definitions, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return &Definitions{}, nil
	} else if err != nil {
		return nil, located(file, 1, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:%d: a second YAML document begins here; write one document only", file, max(more.Line, 1))
	}
	root := doc.Content[0]
	r := reader{file: file}
	d := &Definitions{}
	r.known(root, reflect.TypeFor[Definitions](), "a KPI file")
	if len(r.faults) > 0 {
		return nil, errors.Join(r.faults...)
	}
	if err := root.Decode(d); err != nil {
		return nil, located(file, root.Line, err)
	}
	locate(d, root, file)
	return d, nil
}

// yamlLine is how the YAML library and our own types state a line.
var yamlLine = regexp.MustCompile(`line (\d+): (.*)$`)

// located puts file and line in front of each fault of the YAML library.
func located(file string, line int, err error) error {
	var errs []error
	for text := range strings.SplitSeq(err.Error(), "\n") {
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			errs = append(errs, fmt.Errorf("%s:%s: %s", file, m[1], m[2]))
		}
	}
	if errs == nil {
		return fmt.Errorf("%s:%d: %s", file, line, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return errors.Join(errs...)
}

// A reader finds keys that are not known or given twice.
type reader struct {
	file   string
	faults []error
}

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s:%d: %w", r.file, n.Line, fmt.Errorf(format, args...)))
}

// known compares the keys of n with the fields of t.
func (r *reader) known(n *yaml.Node, t reflect.Type, where string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			r.known(item, t.Elem(), where)
		}
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[Date]() && n.Kind == yaml.MappingNode:
		r.fields(n, t, where)
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[Date]() && n.Tag != "!!null":
		r.fault(n, "%s: want keys with values (%s)", where, strings.Join(fieldNames(t), ", "))
	}
}

func (r *reader) fields(n *yaml.Node, t reflect.Type, where string) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if line, ok := seen[k.Value]; ok {
			r.fault(k, "%s is given twice, first in line %d", k.Value, line)
		}
		seen[k.Value] = k.Line
		found := false
		for f := range t.Fields() {
			if f.Tag.Get("yaml") == k.Value && k.Value != "" {
				found = true
				r.known(n.Content[i+1], f.Type, k.Value)
			}
		}
		if !found {
			r.fault(k, "unknown key %q in %s; there are %s", k.Value, where, strings.Join(fieldNames(t), ", "))
		}
	}
}

func fieldNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		if tag := f.Tag.Get("yaml"); tag != "" {
			names = append(names, tag)
		}
	}
	return names
}

// locate writes down where each definition stands.
func locate(d *Definitions, root *yaml.Node, file string) {
	at := func(n *yaml.Node) place { return place{file, n.Line} }
	items := func(n *yaml.Node, key string) []*yaml.Node {
		if v := child(n, key); v != nil {
			return v.Content
		}
		return nil
	}
	for i, n := range items(root, "workflows") {
		w := &d.Workflows[i]
		w.place = at(n)
		for j, s := range items(n, "steps") {
			w.Steps[j].place = at(s)
		}
		if v := child(n, "value"); v != nil && w.Value != nil {
			w.Value.place = at(v)
		}
	}
	for i, n := range items(root, "plans") {
		p := &d.Plans[i]
		p.place = at(n)
		for j, q := range items(n, "quotas") {
			p.Quotas[j].place = at(q)
		}
		if v := child(n, "sla"); v != nil && p.SLA != nil {
			p.SLA.place = at(v)
		}
	}
	for i, n := range items(root, "tiers") {
		t := &d.Tiers[i]
		t.place = at(n)
		if v := child(n, "sla"); v != nil && t.SLA != nil {
			t.SLA.place = at(v)
		}
	}
	for i, n := range items(root, "deprecations") {
		d.Deprecations[i].place = at(n)
	}
	if n := child(root, "activation"); n != nil {
		d.Activation.place = at(n)
	}
	if n := child(root, "cohorts"); n != nil {
		d.Cohorts.place = at(n)
	}
}

// child returns the value of a key of a mapping, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return n.Content[i+1]
		}
	}
	return nil
}

// Duration is a span such as 300ms, 30m or 7d.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	text, days := n.Value, time.Duration(0)
	if before, after, ok := strings.Cut(text, "d"); ok {
		count, err := strconv.Atoi(before)
		if err != nil {
			return fmt.Errorf("line %d: %q: want a span such as 300ms, 30m or 7d", n.Line, n.Value)
		}
		days, text = time.Duration(count)*24*time.Hour, after
	}
	if text == "" && days != 0 {
		*d = Duration(days)
		return nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("line %d: %q: want a span such as 300ms, 30m or 7d", n.Line, n.Value)
	}
	*d = Duration(days + v)
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *Money) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParseMoney(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*m = v
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Date) UnmarshalYAML(n *yaml.Node) error {
	t, err := time.Parse(time.DateOnly, n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %q: want a day such as 2027-01-31", n.Line, n.Value)
	}
	d.Year, d.Month, d.Day = t.Date()
	return nil
}

var statusText = regexp.MustCompile(`^([1-5])xx$|^([1-5]\d\d)(?:-([1-5]\d\d))?$`)

// UnmarshalYAML implements yaml.Unmarshaler.
func (r *StatusRange) UnmarshalYAML(n *yaml.Node) error {
	m := statusText.FindStringSubmatch(n.Value)
	if m == nil {
		return fmt.Errorf("line %d: status %q: want 201, 2xx or 200-204", n.Line, n.Value)
	}
	if m[1] != "" {
		hundred, _ := strconv.Atoi(m[1])
		*r = StatusRange{hundred * 100, hundred*100 + 99}
		return nil
	}
	r[0], _ = strconv.Atoi(m[2])
	r[1] = r[0]
	if m[3] != "" {
		r[1], _ = strconv.Atoi(m[3])
	}
	if r[1] < r[0] {
		return fmt.Errorf("line %d: status %q ends before it begins", n.Line, n.Value)
	}
	return nil
}
