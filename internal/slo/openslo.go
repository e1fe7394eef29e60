package slo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
)

// The annotations in which an objective says what OpenSLO can't.
const (
	annotationOwner   = "gatewatch/owner"
	annotationRunbook = "gatewatch/runbook"
	annotationMinBad  = "gatewatch/min-bad" // 0 switches the guard against low traffic off
	annotationWindows = "gatewatch/windows" // such as "14.4 1h 5m page, 6 6h 30m page"
)

// sourceType is the type of metric source that this package reads.
const sourceType = "gatewatch"

// header is what all OpenSLO objects have (github.com/OpenSLO/OpenSLO, v1 specification).
type header struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
}

type metadata struct {
	Name        string            `yaml:"name"`
	DisplayName string            `yaml:"displayName"`
	Labels      map[string]any    `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// document is an object of kind SLO.
type document struct {
	header `yaml:",inline"`
	Spec   struct {
		Description     string      `yaml:"description"`
		Service         string      `yaml:"service"`
		Indicator       *indicator  `yaml:"indicator"`
		IndicatorRef    string      `yaml:"indicatorRef"`
		TimeWindow      []window    `yaml:"timeWindow"`
		BudgetingMethod string      `yaml:"budgetingMethod"`
		Objectives      []objective `yaml:"objectives"`
		AlertPolicies   []yaml.Node `yaml:"alertPolicies"`
	} `yaml:"spec"`
}

// sliDocument is an object of kind SLI.
type sliDocument struct {
	header `yaml:",inline"`
	Spec   indicatorSpec `yaml:"spec"`
}

type indicator struct {
	Metadata metadata      `yaml:"metadata"`
	Spec     indicatorSpec `yaml:"spec"`
}

type indicatorSpec struct {
	Description     string  `yaml:"description"`
	ThresholdMetric *metric `yaml:"thresholdMetric"`
	RatioMetric     *struct {
		Counter bool    `yaml:"counter"`
		Bad     *metric `yaml:"bad"`
		Good    *metric `yaml:"good"`
		Total   *metric `yaml:"total"`
	} `yaml:"ratioMetric"`
}

type metric struct {
	MetricSource struct {
		Ref  string `yaml:"metricSourceRef"`
		Type string `yaml:"type"`
		Spec source `yaml:"spec"`
	} `yaml:"metricSource"`
}

// A source says what gatewatch counts.
type source struct {
	Kind        string   `yaml:"kind"`      // availability or latency
	Threshold   string   `yaml:"threshold"` // of latency, such as 300ms
	Route       string   `yaml:"route"`
	Method      string   `yaml:"method"`
	Environment string   `yaml:"environment"`
	Tenant      string   `yaml:"tenant"`
	Bad         []string `yaml:"bad"`      // error classes
	Excluded    []string `yaml:"excluded"` // error classes
}

type window struct {
	Duration  string `yaml:"duration"`
	IsRolling bool   `yaml:"isRolling"`
}

type objective struct {
	DisplayName   string   `yaml:"displayName"`
	Target        *float64 `yaml:"target"`
	TargetPercent *float64 `yaml:"targetPercent"`
	Op            string   `yaml:"op"`
	Value         *float64 `yaml:"value"` // seconds, of a thresholdMetric
}

// An object is one document of a file.
type object struct {
	file   string
	node   *yaml.Node
	header header
	slo    document
	sli    sliDocument
}

// fault is an error at the line of the deepest of keys that is there.
func (o *object) fault(keys []string, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s %s: %w", o.file, lineOf(o.node, keys...), o.header.Kind, o.header.Metadata.Name, fmt.Errorf(format, args...))
}

// lineOf returns the line of the deepest of keys that is there; a number is an index.
func lineOf(n *yaml.Node, keys ...string) int {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
walk:
	for _, key := range keys {
		if i, err := strconv.Atoi(key); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			n = n.Content[i]
			line = n.Line
			continue
		}
		if n.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					line, n = n.Content[i].Line, n.Content[i+1]
					continue walk
				}
			}
		}
		break
	}
	return line
}

// Load reads all .yaml and .yml files of a folder. Its error names file and line
// of every fault. An SLO may refer to an SLI of another file.
func Load(fsys fs.FS) ([]SLO, error) {
	var objects []*object
	var errs []error
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)) {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		more, err := read(name, b)
		objects = append(objects, more...)
		errs = append(errs, err)
		return nil
	})
	list, err2 := resolve(objects)
	return list, errors.Join(append(errs, err, err2)...)
}

// LoadFile reads one file.
func LoadFile(fsys fs.FS, name string) ([]SLO, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	return Parse(name, b)
}

// Parse reads the objectives of one file, which may hold several documents.
func Parse(file string, b []byte) ([]SLO, error) {
	objects, err := read(file, b)
	list, err2 := resolve(objects)
	return list, errors.Join(err, err2)
}

// kinds are the OpenSLO v1 kinds. Of those but SLO and SLI nothing is needed here.
var kinds = [...]string{"SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"}

func read(file string, b []byte) ([]*object, error) {
	var list []*object
	var errs []error
	nodes := yaml.NewDecoder(bytes.NewReader(b))
	strict := yaml.NewDecoder(bytes.NewReader(b))
	strict.KnownFields(true)
	for {
		o := &object{file: file, node: new(yaml.Node)}
		err := nodes.Decode(o.node)
		if errors.Is(err, io.EOF) {
			return list, errors.Join(errs...)
		}
		if err != nil {
			return list, errors.Join(append(errs, yamlFault(file, 1, err))...)
		}
		if err := o.node.Decode(&o.header); err != nil {
			errs = append(errs, yamlFault(file, lineOf(o.node), err))
		}
		var into any = new(yaml.Node)
		switch o.header.Kind {
		case "SLO":
			into = &o.slo
		case "SLI":
			into = &o.sli
		}
		err = strict.Decode(into)
		switch {
		case o.header.APIVersion != "openslo/v1" || !slices.Contains(kinds[:], o.header.Kind):
			errs = append(errs, fmt.Errorf("%s:%d: apiVersion %q, kind %q: openslo/v1 has the kinds %s", file, lineOf(o.node, "kind"), o.header.APIVersion, o.header.Kind, strings.Join(kinds[:], ", ")))
		case err != nil:
			errs = append(errs, yamlFault(file, lineOf(o.node), err))
		default:
			list = append(list, o)
		}
	}
}

// yamlLine is how the YAML library states a line.
var yamlLine = regexp.MustCompile(`line (\d+): (.*?)(?: in type slo\.\w+)?$`)

// yamlFault puts file and line in front of each of the library's faults.
func yamlFault(file string, line int, err error) error {
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

// resolve makes objectives of objects.
func resolve(objects []*object) ([]SLO, error) {
	var list []SLO
	var errs []error
	indicators := map[string]*object{}
	for _, o := range objects {
		if o.header.Kind == "SLI" {
			indicators[o.header.Metadata.Name] = o
		}
	}
	first := map[string]SLO{}
	for _, o := range objects {
		if o.header.Kind != "SLO" {
			continue
		}
		slos, err := o.objectives(indicators)
		errs = append(errs, err)
		for _, s := range slos {
			if f, ok := first[s.Name]; ok {
				errs = append(errs, fmt.Errorf("%s:%d: SLO %s is already in %s:%d", s.File, s.Line, s.Name, f.File, f.Line))
				continue
			}
			first[s.Name] = s
			list = append(list, s)
		}
	}
	return list, errors.Join(errs...)
}

// objectives returns the objectives of an SLO. Of several, each is one of its
// own, with its display name or its number behind the SLO's name.
func (o *object) objectives(indicators map[string]*object) ([]SLO, error) {
	d := &o.slo
	s := SLO{
		Name: d.Metadata.Name, Display: d.Metadata.DisplayName, Service: d.Spec.Service,
		Windows: DefaultWindows(), MinBad: defaultMinBad, File: o.file, Line: lineOf(o.node, "metadata", "name"),
	}
	if s.Name == "" {
		return nil, o.fault([]string{"metadata"}, "metadata.name is missing")
	}
	if s.Display == "" {
		s.Display = s.Name
	}
	errs := []error{o.annotations(&s), o.frame(&s)}
	owner, spec, at, err := o.indicator(indicators)
	errs = append(errs, err)
	if len(d.Spec.Objectives) == 0 {
		errs = append(errs, o.fault([]string{"spec", "objectives"}, "spec.objectives is missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var list []SLO
	for i, obj := range d.Spec.Objectives {
		one := s
		if len(d.Spec.Objectives) > 1 {
			one.Name, one.Display = s.Name+"-"+suffix(obj.DisplayName, i), strings.TrimSpace(s.Display+" "+obj.DisplayName)
		}
		errs = append(errs, o.target(&one, obj, i), owner.readSLI(&one.SLI, spec, obj, at))
		list = append(list, one)
	}
	if err := errors.Join(errs...); err != nil {
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

// suffix tells the objectives of one SLO apart.
func suffix(display string, i int) string {
	word := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(display)), "-")
	if word == "" {
		return strconv.Itoa(i + 1)
	}
	return word
}

func (o *object) annotations(s *SLO) error {
	var errs []error
	for name, value := range o.header.Metadata.Annotations {
		var err error
		switch name {
		case annotationOwner:
			s.Owner = value
		case annotationRunbook:
			s.Runbook = value
		case annotationMinBad:
			if s.MinBad, err = strconv.ParseInt(value, 10, 64); err != nil || s.MinBad < 0 {
				err = fmt.Errorf("%q is no number from 0 on", value)
			}
		case annotationWindows:
			s.Windows, err = parseWindows(value)
		default:
			if strings.HasPrefix(name, "gatewatch/") {
				err = fmt.Errorf("unknown; known are %s, %s, %s, %s", annotationOwner, annotationRunbook, annotationMinBad, annotationWindows)
			}
		}
		if err != nil {
			errs = append(errs, o.fault([]string{"metadata", "annotations", name}, "annotation %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// frame reads what all objectives of an SLO have in common.
func (o *object) frame(s *SLO) error {
	var errs []error
	d := &o.slo.Spec
	if m := d.BudgetingMethod; m != "" && m != "Occurrences" {
		errs = append(errs, o.fault([]string{"spec", "budgetingMethod"}, "budgetingMethod %s: only Occurrences is read", m))
	}
	if len(d.AlertPolicies) > 0 {
		errs = append(errs, o.fault([]string{"spec", "alertPolicies"}, "alertPolicies are not read: leave them out for the windows of the SRE Workbook, or state others in the annotation %s", annotationWindows))
	}
	if len(d.TimeWindow) != 1 || !d.TimeWindow[0].IsRolling {
		return errors.Join(append(errs, o.fault([]string{"spec", "timeWindow"}, "exactly one timeWindow with isRolling: true is read"))...)
	}
	var err error
	if s.Period, err = parsePeriod(d.TimeWindow[0].Duration); err != nil {
		errs = append(errs, o.fault([]string{"spec", "timeWindow", "0", "duration"}, "%w", err))
	}
	return errors.Join(errs...)
}

func (o *object) target(s *SLO, obj objective, i int) error {
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
func (o *object) indicator(indicators map[string]*object) (in *object, spec *indicatorSpec, at []string, err error) {
	switch d := &o.slo.Spec; {
	case d.Indicator != nil && d.IndicatorRef != "":
		return o, nil, nil, o.fault([]string{"spec", "indicatorRef"}, "indicator and indicatorRef exclude each other")
	case d.Indicator != nil:
		return o, &d.Indicator.Spec, []string{"spec", "indicator", "spec"}, nil
	case d.IndicatorRef == "":
		return o, nil, nil, o.fault([]string{"spec"}, "spec.indicator is missing")
	default:
		in, ok := indicators[d.IndicatorRef]
		if !ok {
			return o, nil, nil, o.fault([]string{"spec", "indicatorRef"}, "there is no SLI %s", d.IndicatorRef)
		}
		return in, &in.sli.Spec, []string{"spec"}, nil
	}
}

// readSLI reads an indicator, which is at the keys at.
func (o *object) readSLI(s *SLI, spec *indicatorSpec, obj objective, at []string) error {
	var m *metric
	switch r := spec.RatioMetric; {
	case spec.ThresholdMetric != nil && r != nil:
		return o.fault(at, "thresholdMetric and ratioMetric exclude each other")
	case spec.ThresholdMetric != nil:
		m, at = spec.ThresholdMetric, append(slices.Clone(at), "thresholdMetric")
	case r == nil || r.Total == nil:
		return o.fault(append(slices.Clone(at), "ratioMetric"), "ratioMetric.total is missing")
	default:
		m, at = r.Total, append(slices.Clone(at), "ratioMetric", "total")
		for _, part := range []*metric{r.Good, r.Bad} {
			if part != nil && (part.MetricSource.Spec.Kind != m.MetricSource.Spec.Kind || part.MetricSource.Spec.Threshold != m.MetricSource.Spec.Threshold ||
				part.MetricSource.Spec.Route != m.MetricSource.Spec.Route || part.MetricSource.Spec.Method != m.MetricSource.Spec.Method) {
				return o.fault(at, "good or bad and total select different requests: write the same source in both")
			}
		}
	}
	at = append(at, "metricSource")
	src := m.MetricSource.Spec
	if t := m.MetricSource.Type; t != sourceType {
		return o.fault(append(at, "type"), "metricSource.type %q: only %q is read", t, sourceType)
	}
	at = append(at, "spec")
	*s = SLI{Route: src.Route, Method: src.Method, Environment: src.Environment, Tenant: src.Tenant}
	var err error
	if s.Bad, err = classes(src.Bad); err != nil {
		return o.fault(append(at, "bad"), "bad: %w", err)
	}
	if s.Excluded, err = classes(src.Excluded); err != nil {
		return o.fault(append(at, "excluded"), "excluded: %w", err)
	}
	switch {
	case src.Kind == "availability" && spec.ThresholdMetric == nil:
		s.Kind = Availability
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

// parseWindows reads pairs such as "14.4 1h 5m page", with commas between them.
func parseWindows(text string) ([]AlertWindow, error) {
	var list []AlertWindow
	for part := range strings.SplitSeq(text, ",") {
		f := strings.Fields(part)
		if len(f) != 4 {
			return nil, fmt.Errorf("%q is not like 14.4 1h 5m page", strings.TrimSpace(part))
		}
		factor, err := strconv.ParseFloat(f[0], 64)
		if err != nil || !(factor > 0) {
			return nil, fmt.Errorf("burn rate %q is no number above 0", f[0])
		}
		w := AlertWindow{Factor: factor}
		for i, d := range []*time.Duration{&w.Long, &w.Short} {
			if *d, err = parseSpan(f[1+i]); err != nil {
				return nil, err
			}
		}
		if w.Severity, err = alert.ParseSeverity(f[3]); err != nil || w.Severity == alert.None {
			return nil, fmt.Errorf("severity %q is neither page nor ticket", f[3])
		}
		list = append(list, w)
	}
	return list, nil
}

// parseSpan reads a duration in Go's words or in days.
func parseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= 90 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	return 0, fmt.Errorf("window %q is not like 5m, 6h or 3d", text)
}

// parsePeriod reads an OpenSLO duration: a number and one of d, w, M (28 days) or Q (90 days).
func parsePeriod(text string) (time.Duration, error) {
	units := map[byte]int{'d': 1, 'w': 7, 'M': 28, 'Q': 90}
	if text != "" {
		if n, err := strconv.Atoi(text[:len(text)-1]); err == nil && n > 0 && n <= 90 && units[text[len(text)-1]] > 0 {
			return time.Duration(n*units[text[len(text)-1]]) * 24 * time.Hour, nil
		}
	}
	return 0, fmt.Errorf("timeWindow.duration %q is not like 30d or 4w", text)
}
