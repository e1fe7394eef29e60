package slo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog"
)

// Import reads specifications of Sloth (prometheus/v1, sloth.slok.dev/v1) and
// Pyrra (pyrra.dev/v1alpha1) where they are about requests and errors. Notes say
// what is not the same and which objectives it can't convert.
func Import(file string, b []byte) (list []SLO, notes []string, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		im := importer{file: file, node: new(yaml.Node)}
		err := dec.Decode(im.node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, yamlFault(file, 1, err)
		}
		if err := im.document(); err != nil {
			return nil, nil, err
		}
		list, notes = append(list, im.list...), append(notes, im.notes...)
	}
	if len(list) == 0 && len(notes) == 0 {
		return nil, nil, fmt.Errorf("%s:1: no objectives of Sloth or Pyrra", file)
	}
	return list, notes, nil
}

type importer struct {
	file  string
	node  *yaml.Node
	list  []SLO
	notes []string
}

func (im *importer) note(keys []string, format string, args ...any) {
	im.notes = append(im.notes, fmt.Sprintf("%s:%d: %s", im.file, lineOf(im.node, keys...), fmt.Sprintf(format, args...)))
}

func (im *importer) document() error {
	var head struct {
		Version    string `yaml:"version"`
		APIVersion string `yaml:"apiVersion"`
	}
	if empty(im.node) {
		return nil
	}
	if err := im.node.Decode(&head); err != nil {
		return yamlFault(im.file, lineOf(im.node), err)
	}
	switch {
	case head.Version == "prometheus/v1":
		var d slothSpec
		if err := im.node.Decode(&d); err != nil {
			return yamlFault(im.file, lineOf(im.node), err)
		}
		im.sloth(d, nil)
	case head.APIVersion == "sloth.slok.dev/v1":
		var d struct{ Spec slothSpec }
		if err := im.node.Decode(&d); err != nil {
			return yamlFault(im.file, lineOf(im.node), err)
		}
		im.sloth(d.Spec, []string{"spec"})
	case strings.HasPrefix(head.APIVersion, "pyrra.dev/"):
		var d pyrraSpec
		if err := im.node.Decode(&d); err != nil {
			return yamlFault(im.file, lineOf(im.node), err)
		}
		im.pyrra(d)
	default:
		return fmt.Errorf("%s:%d: version %q, apiVersion %q: want prometheus/v1 or sloth.slok.dev/v1 of Sloth, or pyrra.dev/v1alpha1 of Pyrra", im.file, lineOf(im.node), head.Version, head.APIVersion)
	}
	return nil
}

// slothSpec is a specification of Sloth; the names of its Kubernetes form differ in case.
type slothSpec struct {
	Service string            `yaml:"service"`
	Labels  map[string]string `yaml:"labels"`
	SLOs    []slothSLO        `yaml:"slos"`
}

type slothSLO struct {
	Name      string  `yaml:"name"`
	Objective float64 `yaml:"objective"`
	SLI       struct {
		Events *slothEvents `yaml:"events"`
		Raw    yaml.Node    `yaml:"raw"`
		Plugin yaml.Node    `yaml:"plugin"`
	} `yaml:"sli"`
	Alerting struct {
		Page   slothAlert `yaml:"page_alert"`
		Ticket slothAlert `yaml:"ticket_alert"`
		PageK  slothAlert `yaml:"pageAlert"`
		TickK  slothAlert `yaml:"ticketAlert"`
	} `yaml:"alerting"`
}

type slothEvents struct {
	Error  string `yaml:"error_query"`
	Total  string `yaml:"total_query"`
	ErrorK string `yaml:"errorQuery"`
	TotalK string `yaml:"totalQuery"`
}

type slothAlert struct {
	Disable bool `yaml:"disable"`
}

func (im *importer) sloth(d slothSpec, at []string) {
	for i, in := range d.SLOs {
		where := under(at, "slos", strconv.Itoa(i))
		ev := in.SLI.Events
		if ev == nil {
			im.note(where, "%s: can't be converted: only sli.events with error and total queries is about requests", in.Name)
			continue
		}
		failed, total := selector(ev.Error+ev.ErrorK), selector(ev.Total+ev.TotalK)
		s := im.base(d.Service+"-"+in.Name, d.Service, in.Objective/100)
		for _, off := range []struct {
			alerts [2]slothAlert
			page   bool
		}{{[2]slothAlert{in.Alerting.Page, in.Alerting.PageK}, true}, {[2]slothAlert{in.Alerting.Ticket, in.Alerting.TickK}, false}} {
			if off.alerts[0].Disable || off.alerts[1].Disable {
				s.Windows = slices.DeleteFunc(s.Windows, func(w AlertWindow) bool { return (w.Severity.String() == "page") == off.page })
			}
		}
		im.convert(s, where, failed, total, 0)
	}
}

// pyrraSpec is a ServiceLevelObjective of Pyrra.
type pyrraSpec struct {
	Metadata struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		Target    string `yaml:"target"`
		Window    string `yaml:"window"`
		Indicator struct {
			Ratio *struct {
				Errors   pyrraMetric `yaml:"errors"`
				Total    pyrraMetric `yaml:"total"`
				Grouping []string    `yaml:"grouping"`
			} `yaml:"ratio"`
			Latency *struct {
				Success  pyrraMetric `yaml:"success"`
				Total    pyrraMetric `yaml:"total"`
				Grouping []string    `yaml:"grouping"`
			} `yaml:"latency"`
			LatencyNative *struct {
				Latency  string      `yaml:"latency"`
				Total    pyrraMetric `yaml:"total"`
				Grouping []string    `yaml:"grouping"`
			} `yaml:"latencyNative"`
		} `yaml:"indicator"`
	} `yaml:"spec"`
}

type pyrraMetric struct {
	Metric string `yaml:"metric"`
}

func (im *importer) pyrra(d pyrraSpec) {
	at := []string{"spec", "indicator"}
	target, err := strconv.ParseFloat(strings.TrimSuffix(d.Spec.Target, "%"), 64)
	if err != nil {
		im.note([]string{"spec", "target"}, "%s: can't be converted: target %q is no number", d.Metadata.Name, d.Spec.Target)
		return
	}
	s := im.base(d.Metadata.Name, "", target/100)
	if p, err := ParseSpan(d.Spec.Window); err == nil {
		s.Period = p
	} else if d.Spec.Window != "" {
		im.note([]string{"spec", "window"}, "%s: window %q is not read, 30d is taken", d.Metadata.Name, d.Spec.Window)
	}
	var grouping []string
	switch in := d.Spec.Indicator; {
	case in.Ratio != nil:
		grouping = in.Ratio.Grouping
		im.grouped(&s, grouping, at)
		im.convert(s, at, selector(in.Ratio.Errors.Metric), selector(in.Ratio.Total.Metric), 0)
	case in.Latency != nil:
		fast := selector(in.Latency.Success.Metric)
		le, err := strconv.ParseFloat(fast.labels["le"].value, 64)
		if err != nil {
			im.note(at, "%s: can't be converted: its success metric has no label le", s.Name)
			return
		}
		grouping = in.Latency.Grouping
		im.grouped(&s, grouping, at)
		im.convert(s, at, promSelector{}, selector(in.Latency.Total.Metric), time.Duration(le*float64(time.Second)))
	case in.LatencyNative != nil:
		t, err := time.ParseDuration(in.LatencyNative.Latency)
		if err != nil {
			im.note(at, "%s: can't be converted: latency %q is no duration", s.Name, in.LatencyNative.Latency)
			return
		}
		grouping = in.LatencyNative.Grouping
		im.grouped(&s, grouping, at)
		im.convert(s, at, promSelector{}, selector(in.LatencyNative.Total.Metric), t)
	default:
		im.note(at, "%s: can't be converted: only ratio, latency and latencyNative are about requests", s.Name)
	}
}

// grouped reads Pyrra's grouping.
func (im *importer) grouped(s *SLO, labels, at []string) {
	for _, l := range labels {
		switch field := meaning[l]; {
		case field == "route" && s.Group == Whole:
			s.Group, s.MaxGroups = ByRoute, defaultGroups
		case field == "method" || field == "service" || field == "route":
		default:
			im.note(at, "%s: grouping by %s is not converted; groups are by route, consumer, plan or region", s.Name, l)
		}
	}
}

func (im *importer) base(name, service string, target float64) SLO {
	name = suffix(name, 0)
	return SLO{
		Name: name, Display: name, Service: service, Target: target, Period: 30 * 24 * time.Hour, Windows: DefaultWindows(), MinBad: defaultMinBad,
		File: im.file, Line: lineOf(im.node),
	}
}

// convert makes an objective of the selectors of bad and all requests; of a
// latency the threshold is above 0.
func (im *importer) convert(s SLO, at []string, failed, total promSelector, threshold time.Duration) {
	refuse := func(format string, args ...any) {
		im.note(at, "%s: can't be converted: %s", s.Name, fmt.Sprintf(format, args...))
	}
	if total.fault != "" {
		refuse("%s", total.fault)
		return
	}
	if threshold > 0 {
		s.SLI.Kind, s.SLI.Threshold = Latency, threshold
	} else if failed.fault != "" {
		refuse("%s", failed.fault)
		return
	}
	for _, label := range total.order {
		m := total.labels[label]
		field := meaning[label]
		switch {
		case field == "" || m.op != "=":
			im.note(at, "%s: matcher %s%s%q has no counterpart and is left out: check that the same requests are meant", s.Name, label, m.op, m.value)
		case field == "service":
			s.Service = m.value
		case field == "route":
			s.SLI.Route = m.value
		case field == "method":
			s.SLI.Method = m.value
		}
	}
	if threshold == 0 {
		bad, why := failed.badClasses()
		if why != "" {
			refuse("%s", why)
			return
		}
		if s.SLI.Bad = bad; bad != nil {
			s.SLI.Excluded = []accesslog.ErrorClass{}
		}
	}
	if s.Service == "" {
		refuse("no label names the service (one of job, service, app)")
		return
	}
	if err := s.Validate(); err != nil {
		refuse("%v", err)
		return
	}
	im.list = append(im.list, s)
}

// meaning is what labels usually mean in metrics of HTTP servers and gateways.
var meaning = map[string]string{
	"job": "service", "service": "service", "app": "service", "destination_service_name": "service", "kubernetes_service": "service",
	"handler": "route", "path": "route", "route": "route", "uri": "route", "http_route": "route", "endpoint": "route",
	"method": "method", "verb": "method", "http_method": "method", "http_request_method": "method", "request_method": "method",
}

var statusLabels = []string{"code", "status", "status_code", "http_status", "http_status_code", "http_response_status_code", "response_code", "grpc_code"}

// A promSelector is the one selector of a PromQL query, or why there is not exactly one.
type promSelector struct {
	labels map[string]matcher
	order  []string
	fault  string
}

type matcher struct{ op, value string }

var (
	selectors = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\{([^{}]*)\}`)
	matchers  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
	operators = regexp.MustCompile(`\)\s*(?:[-+*/%^]|and\b|or\b|unless\b|[<>]=?|[!=]=)|(?:[-+*/%^]|\band|\bor|\bunless)\s*\(`)
)

func selector(query string) promSelector {
	s := promSelector{labels: map[string]matcher{}}
	found := selectors.FindAllStringSubmatch(query, -1)
	if len(found) != 1 || operators.MatchString(query) {
		s.fault = fmt.Sprintf("query %q is not the sum of the requests of one selector", strings.Join(strings.Fields(query), " "))
		return s
	}
	for _, m := range matchers.FindAllStringSubmatch(found[0][1], -1) {
		s.labels[m[1]] = matcher{m[2], m[3]}
		s.order = append(s.order, m[1])
	}
	return s
}

var (
	serverErrors = regexp.MustCompile(`^\^?\(?5(?:\.\.|xx|\.\*|\[0-9\]\{2\}|\\d\\d|\.\+)\)?\$?$`)
	withQuota    = regexp.MustCompile(`^\^?\(?(?:5(?:\.\.|xx|\.\*)\|429|429\|5(?:\.\.|xx|\.\*))\)?\$?$`)
	notGood      = regexp.MustCompile(`^\^?\(?(?:[1-4]\.\.\|?)+\)?\$?$|^\^?\[1-4\]\.\.\$?$|^\^?\[12?3?4?\]\.\.\$?$`)
)

// badClasses returns the error classes that the selector of bad requests means;
// nil is the default.
func (s promSelector) badClasses() (bad []accesslog.ErrorClass, fault string) {
	for _, label := range statusLabels {
		m, ok := s.labels[label]
		if !ok {
			continue
		}
		switch {
		case m.op == "=~" && serverErrors.MatchString(m.value), m.op == "!~" && notGood.MatchString(m.value):
			return nil, ""
		case m.op == "=~" && withQuota.MatchString(m.value):
			return append(SLI{}.BadClasses(), accesslog.ClientQuota), ""
		}
		return nil, fmt.Sprintf("%s%s%q is no set of error classes; name them in metricSource.spec.bad", label, m.op, m.value)
	}
	return nil, "the query of errors has no matcher of a status"
}
