package slo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The annotations in which an objective says what OpenSLO can't.
const (
	annotationOwner   = "gatewatch/owner"
	annotationRunbook = "gatewatch/runbook"
	annotationMinBad  = "gatewatch/min-bad"
)

// sourceType is the type of metric source that this package reads.
const sourceType = "gatewatch"

// A document is an OpenSLO v1 object of kind SLO (github.com/OpenSLO/OpenSLO, v1 specification).
type document struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        yaml.Node         `yaml:"name"`
		DisplayName string            `yaml:"displayName"`
		Labels      map[string]any    `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		Description     string      `yaml:"description"`
		Service         string      `yaml:"service"`
		Indicator       indicator   `yaml:"indicator"`
		TimeWindow      []window    `yaml:"timeWindow"`
		BudgetingMethod string      `yaml:"budgetingMethod"`
		Objectives      []objective `yaml:"objectives"`
		AlertPolicies   []yaml.Node `yaml:"alertPolicies"`
	} `yaml:"spec"`
}

type indicator struct {
	Metadata map[string]any `yaml:"metadata"`
	Spec     struct {
		RatioMetric *struct {
			Counter bool    `yaml:"counter"`
			Bad     *metric `yaml:"bad"`
			Good    *metric `yaml:"good"`
			Total   *metric `yaml:"total"`
		} `yaml:"ratioMetric"`
	} `yaml:"spec"`
}

type metric struct {
	MetricSource struct {
		Type string `yaml:"type"`
		Spec source `yaml:"spec"`
	} `yaml:"metricSource"`
}

// A source says what gatewatch counts.
type source struct {
	Kind      string `yaml:"kind"`      // availability or latency
	Threshold string `yaml:"threshold"` // of latency, such as 300ms
	Route     string `yaml:"route"`
	Method    string `yaml:"method"`
}

type window struct {
	Duration  string `yaml:"duration"`
	IsRolling bool   `yaml:"isRolling"`
}

type objective struct {
	DisplayName   string  `yaml:"displayName"`
	Target        float64 `yaml:"target"`
	TargetPercent float64 `yaml:"targetPercent"`
}

// Load reads all .yaml and .yml files of a folder. Its error names file and line of every fault.
func Load(fsys fs.FS) ([]SLO, error) {
	var list []SLO
	var errs []error
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, path.Ext(name)) {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		more, err := Parse(name, b)
		list = append(list, more...)
		errs = append(errs, err)
		return nil
	})
	errs = append(errs, err)
	first := map[string]SLO{}
	for _, s := range list {
		if f, ok := first[s.Name]; ok {
			errs = append(errs, fmt.Errorf("%s:%d: SLO %s is already in %s:%d", s.File, s.Line, s.Name, f.File, f.Line))
		}
		first[s.Name] = s
	}
	return list, errors.Join(errs...)
}

// Parse reads the objectives of one file, which may hold several documents.
func Parse(file string, b []byte) ([]SLO, error) {
	var list []SLO
	var errs []error
	nodes := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var node yaml.Node
		err := nodes.Decode(&node)
		if errors.Is(err, io.EOF) {
			return list, errors.Join(errs...)
		}
		if err != nil {
			return list, errors.Join(append(errs, fmt.Errorf("%s: %w", file, err))...)
		}
		s, err := fromNode(file, &node)
		if err == nil {
			err = s.Validate()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, s)
	}
}

func fromNode(file string, node *yaml.Node) (SLO, error) {
	// A second pass through text makes the decoder strict about unknown keys.
	text, err := yaml.Marshal(node)
	if err != nil {
		return SLO{}, fmt.Errorf("%s:%d: %w", file, node.Line, err)
	}
	var d document
	if err := node.Decode(&d); err != nil {
		return SLO{}, fmt.Errorf("%s:%d: %w", file, node.Line, err)
	}
	line := max(node.Line, d.Metadata.Name.Line)
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: "+format, append([]any{file, line}, args...)...)
	}
	if d.APIVersion != "openslo/v1" || d.Kind != "SLO" {
		return SLO{}, fault("apiVersion %q, kind %q: only SLO of openslo/v1 is read", d.APIVersion, d.Kind)
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	if err := strict.Decode(new(document)); err != nil {
		return SLO{}, fault("%w", err)
	}
	s := SLO{
		Name: d.Metadata.Name.Value, Display: d.Metadata.DisplayName, Service: d.Spec.Service,
		Owner: d.Metadata.Annotations[annotationOwner], Runbook: d.Metadata.Annotations[annotationRunbook],
		Windows: DefaultWindows(), MinBad: 3, File: file, Line: line,
	}
	if s.Name == "" {
		return s, fault("metadata.name is missing")
	}
	if s.Display == "" {
		s.Display = s.Name
	}
	for name, value := range d.Metadata.Annotations {
		if err := s.annotate(name, value); err != nil {
			return s, fault("%w", err)
		}
	}
	if err := s.objective(&d); err != nil {
		return s, fault("SLO %s: %w", s.Name, err)
	}
	if err := s.indicator(d.Spec.Indicator); err != nil {
		return s, fault("SLO %s: %w", s.Name, err)
	}
	return s, nil
}

func (s *SLO) annotate(name, value string) error {
	switch name {
	case annotationOwner, annotationRunbook:
	case annotationMinBad:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("annotation %s: %q is no number above 0", name, value)
		}
		s.MinBad = n
	default:
		if strings.HasPrefix(name, "gatewatch/") {
			return fmt.Errorf("unknown annotation %s: known are %s, %s, %s", name, annotationOwner, annotationRunbook, annotationMinBad)
		}
	}
	return nil
}

func (s *SLO) objective(d *document) error {
	if n := len(d.Spec.Objectives); n != 1 {
		return fmt.Errorf("%d objectives: exactly one is read", n)
	}
	o := d.Spec.Objectives[0]
	s.Target = o.Target
	if o.TargetPercent != 0 {
		if o.Target != 0 {
			return errors.New("target and targetPercent exclude each other")
		}
		s.Target = o.TargetPercent / 100
	}
	if len(d.Spec.TimeWindow) != 1 || !d.Spec.TimeWindow[0].IsRolling {
		return errors.New("exactly one timeWindow with isRolling: true is read")
	}
	if m := d.Spec.BudgetingMethod; m != "" && m != "Occurrences" {
		return fmt.Errorf("budgetingMethod %s: only Occurrences is read", m)
	}
	if len(d.Spec.AlertPolicies) > 0 {
		return errors.New("alertPolicies are not read: the windows are those of the SRE Workbook")
	}
	var err error
	s.Period, err = parsePeriod(d.Spec.TimeWindow[0].Duration)
	return err
}

func (s *SLO) indicator(in indicator) error {
	r := in.Spec.RatioMetric
	if r == nil || r.Total == nil {
		return errors.New("indicator.spec.ratioMetric.total is missing")
	}
	src := r.Total.MetricSource
	if src.Type != sourceType {
		return fmt.Errorf("metricSource.type %q: only %q is read", src.Type, sourceType)
	}
	s.SLI.Route, s.SLI.Method = src.Spec.Route, src.Spec.Method
	switch src.Spec.Kind {
	case "availability":
		s.SLI.Kind = Availability
	case "latency":
		s.SLI.Kind = Latency
		d, err := time.ParseDuration(src.Spec.Threshold)
		if err != nil {
			return fmt.Errorf("threshold %q is no duration such as 300ms", src.Spec.Threshold)
		}
		s.SLI.Threshold = d
	default:
		return fmt.Errorf("metricSource.spec.kind %q is neither availability nor latency", src.Spec.Kind)
	}
	return nil
}

// parsePeriod reads an OpenSLO duration: a number and one of d, w, M (28 days) or Q (90 days).
func parsePeriod(text string) (time.Duration, error) {
	units := map[byte]int{'d': 1, 'w': 7, 'M': 28, 'Q': 90}
	if text != "" {
		if n, err := strconv.Atoi(text[:len(text)-1]); err == nil && units[text[len(text)-1]] > 0 {
			return time.Duration(n*units[text[len(text)-1]]) * 24 * time.Hour, nil
		}
	}
	return 0, fmt.Errorf("timeWindow.duration %q is not like 30d or 4w", text)
}
