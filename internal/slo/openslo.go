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

	"go.yaml.in/yaml/v3"
)

// sourceType is the type of metric source that this package reads.
const sourceType = "gatewatch"

// The versions of objects that are read.
const (
	openSLO = "openslo/v1"
	ownAPI  = "gatewatch/v1" // of what OpenSLO has no kind for
)

// A Set is all that a folder of objectives says.
type Set struct {
	SLOs         []SLO
	Maintenances []Maintenance
	Adjustments  []Adjustment
	// Notes are what is read and has no effect, each with file and line.
	Notes []string
}

// header is what all objects have (github.com/OpenSLO/OpenSLO, v1 specification).
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
		AlertPolicies   []policyRef `yaml:"alertPolicies"`
	} `yaml:"spec"`
}

// sliDocument is an object of kind SLI.
type sliDocument struct {
	header `yaml:",inline"`
	Spec   indicatorSpec `yaml:"spec"`
}

// serviceDocument is an object of kind Service.
type serviceDocument struct {
	header `yaml:",inline"`
	Spec   struct {
		Description string `yaml:"description"`
	} `yaml:"spec"`
}

// sourceDocument is an object of kind DataSource.
type sourceDocument struct {
	header `yaml:",inline"`
	Spec   struct {
		Description       string    `yaml:"description"`
		Type              string    `yaml:"type"`
		ConnectionDetails yaml.Node `yaml:"connectionDetails"`
	} `yaml:"spec"`
}

type indicator struct {
	Metadata metadata      `yaml:"metadata"`
	Spec     indicatorSpec `yaml:"spec"`
}

type indicatorSpec struct {
	Description     string       `yaml:"description"`
	ThresholdMetric *metric      `yaml:"thresholdMetric"`
	RatioMetric     *ratioMetric `yaml:"ratioMetric"`
}

type ratioMetric struct {
	Counter bool    `yaml:"counter"`
	Bad     *metric `yaml:"bad"`
	Good    *metric `yaml:"good"`
	Total   *metric `yaml:"total"`
	RawType string  `yaml:"rawType"`
	Raw     *metric `yaml:"raw"`
}

type metric struct {
	MetricSource struct {
		Ref  string    `yaml:"metricSourceRef"`
		Type string    `yaml:"type"`
		Spec yaml.Node `yaml:"spec"`
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
	Calendar  *struct {
		StartTime string `yaml:"startTime"`
		TimeZone  string `yaml:"timeZone"`
	} `yaml:"calendar"`
}

type objective struct {
	DisplayName     string     `yaml:"displayName"`
	Target          *float64   `yaml:"target"`
	TargetPercent   *float64   `yaml:"targetPercent"`
	Op              string     `yaml:"op"`
	Value           *float64   `yaml:"value"` // seconds, of a thresholdMetric
	TimeSliceTarget *float64   `yaml:"timeSliceTarget"`
	TimeSliceWindow string     `yaml:"timeSliceWindow"`
	Indicator       *indicator `yaml:"indicator"`
	IndicatorRef    string     `yaml:"indicatorRef"`
	CompositeWeight *float64   `yaml:"compositeWeight"`
}

// An object is one document of a file.
type object struct {
	file        string
	node        *yaml.Node
	header      header
	slo         document
	sli         sliDocument
	service     serviceDocument
	source      sourceDocument
	policy      policyDocument
	condition   conditionDocument
	target      targetDocument
	maintenance maintenanceDocument
	adjustment  adjustmentDocument
	short       shortForm
}

// kindShort is the kind of an object in the short form, which has none.
const kindShort = "short form"

// kinds are the kinds by version and where each is decoded into.
func (o *object) into() any {
	switch o.header.APIVersion + " " + o.header.Kind {
	case openSLO + " SLO":
		return &o.slo
	case openSLO + " SLI":
		return &o.sli
	case openSLO + " Service":
		return &o.service
	case openSLO + " DataSource":
		return &o.source
	case openSLO + " AlertPolicy":
		return &o.policy
	case openSLO + " AlertCondition":
		return &o.condition
	case openSLO + " AlertNotificationTarget":
		return &o.target
	case ownAPI + " Maintenance":
		return &o.maintenance
	case ownAPI + " BudgetAdjustment":
		return &o.adjustment
	case " " + kindShort:
		return &o.short
	}
	return nil
}

// fault is an error at the line of the deepest of keys that is there.
func (o *object) fault(keys []string, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s: %w", o.file, lineOf(o.node, keys...), o.title(), fmt.Errorf(format, args...))
}

func (o *object) title() string {
	return strings.TrimSpace(o.header.Kind + " " + o.header.Metadata.Name)
}

// note is a remark at the line of the deepest of keys that is there.
func (o *object) note(keys []string, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s: %s", o.file, lineOf(o.node, keys...), o.title(), fmt.Sprintf(format, args...))
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
// of every fault. An object may refer to one of another file.
func Load(fsys fs.FS) (*Set, error) {
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
	set, err2 := resolve(objects)
	return set, errors.Join(append(errs, err, err2)...)
}

// LoadFile reads one file.
func LoadFile(fsys fs.FS, name string) (*Set, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	return Parse(name, b)
}

// Parse reads one file, which may hold several documents.
func Parse(file string, b []byte) (*Set, error) {
	objects, err := read(file, b)
	set, err2 := resolve(objects)
	return set, errors.Join(err, err2)
}

// kinds are those of openslo/v1.
var kinds = [...]string{"SLO", "SLI", "Service", "DataSource", "AlertPolicy", "AlertCondition", "AlertNotificationTarget"}

// read reads the documents of a file.
func read(file string, b []byte) (list []*object, err error) {
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
		if o.header.APIVersion == "" && o.header.Kind == "" && hasKey(o.node, "objective") {
			o.header.Kind = kindShort
		}
		into := o.into()
		known := into != nil
		if !known {
			into = new(yaml.Node)
		}
		err = strict.Decode(into)
		switch {
		case !known && empty(o.node):
		case !known:
			errs = append(errs, fmt.Errorf("%s:%d: apiVersion %q, kind %q: %s has the kinds %s; %s has Maintenance and BudgetAdjustment; the short form has service and objective",
				file, lineOf(o.node, "kind"), o.header.APIVersion, o.header.Kind, openSLO, strings.Join(kinds[:], ", "), ownAPI))
		case err != nil:
			errs = append(errs, yamlFault(file, lineOf(o.node), err))
		default:
			list = append(list, o)
		}
	}
}

// hasKey tells whether a document is a mapping with that key.
func hasKey(n *yaml.Node, key string) bool {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// empty tells whether a document holds nothing, as one of comments only does.
func empty(n *yaml.Node) bool {
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null"
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
