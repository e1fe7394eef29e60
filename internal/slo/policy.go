package slo

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/alert"
)

// policyDocument is an object of kind AlertPolicy.
type policyDocument struct {
	header `yaml:",inline"`
	Spec   policySpec `yaml:"spec"`
}

type policySpec struct {
	Description         string         `yaml:"description"`
	AlertWhenNoData     bool           `yaml:"alertWhenNoData"`
	AlertWhenResolved   *bool          `yaml:"alertWhenResolved"`
	AlertWhenBreaching  *bool          `yaml:"alertWhenBreaching"`
	Conditions          []conditionRef `yaml:"conditions"`
	NotificationTargets []targetRef    `yaml:"notificationTargets"`
}

// A policyRef is a policy, or the name of one.
type policyRef struct {
	Ref            string `yaml:"alertPolicyRef"`
	policyDocument `yaml:",inline"`
}

// UnmarshalYAML also takes a name alone.
func (r *policyRef) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&r.Ref)
	}
	type plain policyRef
	return n.Decode((*plain)(r))
}

// conditionDocument is an object of kind AlertCondition.
type conditionDocument struct {
	header `yaml:",inline"`
	Spec   conditionSpec `yaml:"spec"`
}

type conditionSpec struct {
	Description string `yaml:"description"`
	Severity    string `yaml:"severity"`
	Condition   struct {
		Kind           string   `yaml:"kind"`
		Op             string   `yaml:"op"`
		Threshold      *float64 `yaml:"threshold"`
		LookbackWindow string   `yaml:"lookbackWindow"`
		AlertAfter     string   `yaml:"alertAfter"`
	} `yaml:"condition"`
}

type conditionRef struct {
	Ref               string `yaml:"conditionRef"`
	conditionDocument `yaml:",inline"`
}

// targetDocument is an object of kind AlertNotificationTarget.
type targetDocument struct {
	header `yaml:",inline"`
	Spec   struct {
		Description string `yaml:"description"`
		Target      string `yaml:"target"`
	} `yaml:"spec"`
}

type targetRef struct {
	Ref            string `yaml:"targetRef"`
	targetDocument `yaml:",inline"`
}

// policies reads the alert policies of an SLO. Their conditions replace the
// default windows.
func (o *object) policies(s *SLO, all *objects) error {
	var windows []AlertWindow
	var errs []error
	for i, ref := range o.slo.Spec.AlertPolicies {
		at := []string{"spec", "alertPolicies", strconv.Itoa(i)}
		in, spec, where := o, &ref.Spec, under(at, "spec")
		if ref.Ref != "" {
			p, ok := all.find("AlertPolicy", ref.Ref)
			if !ok {
				errs = append(errs, o.fault(at, "there is no AlertPolicy %s", ref.Ref))
				continue
			}
			in, spec, where = p, &p.policy.Spec, []string{"spec"}
		}
		more, err := in.policy1(s, spec, where, all)
		errs = append(errs, err)
		windows = append(windows, more...)
	}
	if len(o.slo.Spec.AlertPolicies) > 0 {
		s.Windows = windows
	}
	return errors.Join(errs...)
}

// policy1 reads one policy: its windows, and its targets into s.
func (o *object) policy1(s *SLO, spec *policySpec, at []string, all *objects) ([]AlertWindow, error) {
	var errs []error
	if spec.AlertWhenNoData {
		all.note(o.note(under(at, "alertWhenNoData"), "alertWhenNoData has no effect: the signals traffic_lost and data_incomplete tell when there is no data"))
	}
	if spec.AlertWhenResolved != nil && !*spec.AlertWhenResolved {
		all.note(o.note(under(at, "alertWhenResolved"), "alertWhenResolved: false has no effect: set send_resolved: false at Alertmanager's receiver"))
	}
	if len(spec.Conditions) == 0 {
		errs = append(errs, o.fault(at, "the policy has no conditions"))
	}
	var windows []AlertWindow
	for i, ref := range spec.Conditions {
		where := under(at, "conditions", strconv.Itoa(i))
		in, c, inner := o, &ref.Spec, under(where, "spec")
		if ref.Ref != "" {
			d, ok := all.find("AlertCondition", ref.Ref)
			if !ok {
				errs = append(errs, o.fault(where, "there is no AlertCondition %s", ref.Ref))
				continue
			}
			in, c, inner = d, &d.condition.Spec, []string{"spec"}
		}
		w, err := in.window(c, inner)
		if errs = append(errs, err); err == nil && (spec.AlertWhenBreaching == nil || *spec.AlertWhenBreaching) {
			windows = append(windows, w)
		}
	}
	for i, ref := range spec.NotificationTargets {
		name := ref.Metadata.Name
		if ref.Ref != "" {
			name = ref.Ref
			if _, ok := all.find("AlertNotificationTarget", name); !ok {
				errs = append(errs, o.fault(under(at, "notificationTargets", strconv.Itoa(i)), "there is no AlertNotificationTarget %s", name))
				continue
			}
		}
		if name != "" && !slices.Contains(s.Notify, name) {
			s.Notify = append(s.Notify, name)
		}
	}
	return windows, errors.Join(errs...)
}

// severities are the words for severities that conditions may use.
var severities = map[string]alert.Severity{
	"page": alert.Page, "critical": alert.Page, "high": alert.Page, "urgent": alert.Page,
	"ticket": alert.Ticket, "warning": alert.Ticket, "medium": alert.Ticket, "low": alert.Ticket, "info": alert.Ticket,
}

// shortShare is the short window's part of the long one, as in the SRE Workbook.
const shortShare = 12

// window makes a pair of windows of a condition.
func (o *object) window(c *conditionSpec, at []string) (w AlertWindow, err error) {
	cond := &c.Condition
	at = under(at, "condition")
	if cond.Kind != "burnrate" && cond.Kind != "" {
		return w, o.fault(under(at, "kind"), "condition.kind %q: OpenSLO v1 has burnrate", cond.Kind)
	}
	if cond.Op == "lt" || cond.Op == "lte" {
		return w, o.fault(under(at, "op"), "op %s: an alert fires when the burn rate is above a threshold, write gt or gte", cond.Op)
	}
	if cond.Op != "gt" && cond.Op != "gte" && cond.Op != "" {
		return w, o.fault(under(at, "op"), "op %q is none of gt, gte", cond.Op)
	}
	if cond.Threshold == nil || !(*cond.Threshold > 0) {
		return w, o.fault(under(at, "threshold"), "condition.threshold must be a burn rate above 0, such as 14.4")
	}
	w.Factor = *cond.Threshold
	if w.Long, err = ParseSpan(cond.LookbackWindow); err != nil {
		return w, o.fault(under(at, "lookbackWindow"), "condition.lookbackWindow %w", err)
	}
	w.Short = max(minWindow, (w.Long / shortShare).Truncate(time.Minute))
	if w.Short == w.Long {
		return w, o.fault(under(at, "lookbackWindow"), "condition.lookbackWindow %s is too short: at least 2m", cond.LookbackWindow)
	}
	if cond.AlertAfter != "" {
		if w.For, err = ParseSpan(cond.AlertAfter); err != nil {
			return w, o.fault(under(at, "alertAfter"), "condition.alertAfter %w", err)
		}
	}
	var ok bool
	if w.Severity, ok = severities[c.Severity]; !ok {
		return w, o.fault(at[:len(at)-1], "severity %q is neither page nor ticket", c.Severity)
	}
	return w, nil
}
