package replay

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/evaluate"
)

// A Notification is what a webhook receiver of Alertmanager gets, version 4 of
// its data, and when it gets it by the data's clock.
type Notification struct {
	At                time.Time         `json:"at"`
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"` // firing or resolved
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []NotifiedAlert   `json:"alerts"`
}

// A NotifiedAlert is one alert of a notification.
type NotifiedAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

const (
	firing   = "firing"
	resolved = "resolved"
)

// A receiver does what Alertmanager does between a post and its webhooks: route,
// group and inhibit by its configuration, at the data's clock, which the real one
// can't be given. It does not repeat what still fires, and knows no silences.
type receiver struct {
	root    route
	inhibit []inhibition
	alerts  map[string]*standing // by fingerprint
	groups  map[string]*group
}

// A standing alert is one that fires, or has ended and its groups don't know yet.
type standing struct {
	NotifiedAlert
	route *route
	group string
}

// A group is what is notified of together.
type group struct {
	route    *route
	labels   map[string]string
	next     time.Time
	notified map[string]bool // fingerprints that the receiver knows to fire
}

// A route is a node of Alertmanager's routing tree, with what it inherits.
type route struct {
	Receiver string   `yaml:"receiver"`
	GroupBy  []string `yaml:"group_by"`
	Wait     string   `yaml:"group_wait"`
	Interval string   `yaml:"group_interval"`
	Matchers []string `yaml:"matchers"`
	Routes   []*route `yaml:"routes"`

	matchers       []matcher
	wait, interval time.Duration
}

type inhibition struct {
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	Equal  []string `yaml:"equal"`

	source, target []matcher
}

// A matcher is one of Alertmanager's.
type matcher struct {
	label, value string
	pattern      *regexp.Regexp // nil: value is compared
	not          bool
}

var matcherForm = regexp.MustCompile(`^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"?(.*?)"?\s*$`)

func parseMatchers(texts []string) ([]matcher, error) {
	var list []matcher
	for _, text := range texts {
		m := matcherForm.FindStringSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("matcher %q is none of Alertmanager's", text)
		}
		x := matcher{label: m[1], value: m[3], not: m[2][0] == '!'}
		if strings.HasSuffix(m[2], "~") {
			re, err := regexp.Compile("^(?:" + m[3] + ")$")
			if err != nil {
				return nil, fmt.Errorf("matcher %q: %w", text, err)
			}
			x.pattern = re
		}
		list = append(list, x)
	}
	return list, nil
}

func match(list []matcher, labels map[string]string) bool {
	for _, m := range list {
		same := labels[m.label] == m.value
		if m.pattern != nil {
			same = m.pattern.MatchString(labels[m.label])
		}
		if same == m.not {
			return false
		}
	}
	return true
}

// newReceiver reads Alertmanager's configuration.
func newReceiver(file string) (*receiver, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var conf struct {
		Route   route         `yaml:"route"`
		Inhibit []*inhibition `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(b, &conf); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	r := &receiver{root: conf.Route, alerts: map[string]*standing{}, groups: map[string]*group{}}
	defaults := route{wait: 30 * time.Second, interval: 5 * time.Minute}
	if err := r.root.inherit(&defaults); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, i := range conf.Inhibit {
		if i.source, err = parseMatchers(i.Source); err == nil {
			i.target, err = parseMatchers(i.Target)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		r.inhibit = append(r.inhibit, *i)
	}
	return r, nil
}

func (t *route) inherit(from *route) (err error) {
	if t.Receiver == "" {
		t.Receiver = from.Receiver
	}
	if t.GroupBy == nil {
		t.GroupBy = from.GroupBy
	}
	t.wait, t.interval = from.wait, from.interval
	if t.Wait != "" {
		if t.wait, err = time.ParseDuration(t.Wait); err != nil {
			return err
		}
	}
	if t.Interval != "" {
		if t.interval, err = time.ParseDuration(t.Interval); err != nil {
			return err
		}
	}
	if t.matchers, err = parseMatchers(t.Matchers); err != nil {
		return err
	}
	for _, child := range t.Routes {
		if err := child.inherit(t); err != nil {
			return err
		}
	}
	return nil
}

// of returns the node that labels lead to.
func (t *route) of(labels map[string]string) *route {
	for _, child := range t.Routes {
		if match(child.matchers, labels) {
			return child.of(labels)
		}
	}
	return t
}

func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(h, "%s\xff%s\xff", k, labels[k])
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// Send implements evaluate.Sender.
func (r *receiver) Send(_ context.Context, alerts []evaluate.Alert) error {
	for _, a := range alerts {
		id := fingerprint(a.Labels)
		s, ok := r.alerts[id]
		if !ok {
			if !a.EndsAt.IsZero() {
				continue // nobody has heard of it
			}
			s = &standing{route: r.root.of(a.Labels)}
			s.group = r.groupOf(s.route, a.Labels)
			r.alerts[id] = s
		}
		s.NotifiedAlert = NotifiedAlert{
			Status: firing, Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt, EndsAt: a.EndsAt, GeneratorURL: a.GeneratorURL, Fingerprint: id,
		}
		if !a.EndsAt.IsZero() {
			s.Status = resolved
		}
	}
	return nil
}

// groupOf returns the key of the group of labels, which is made if it is new.
func (r *receiver) groupOf(t *route, labels map[string]string) string {
	by := map[string]string{}
	for _, k := range t.GroupBy {
		if v, ok := labels[k]; ok {
			by[k] = v
		}
	}
	key := fmt.Sprintf("{}/{%s}:%v", strings.Join(t.Matchers, ","), by)
	if r.groups[key] == nil {
		r.groups[key] = &group{route: t, labels: by, notified: map[string]bool{}}
	}
	return key
}

// inhibited tells whether another alert that fires mutes s.
func (r *receiver) inhibited(s *standing) bool {
	for _, rule := range r.inhibit {
		if !match(rule.target, s.Labels) {
			continue
		}
		for _, other := range r.alerts {
			if other == s || other.Status != firing || !match(rule.source, other.Labels) || match(rule.source, s.Labels) && match(rule.target, other.Labels) {
				continue
			}
			if !slices.ContainsFunc(rule.Equal, func(k string) bool { return other.Labels[k] != s.Labels[k] }) {
				return true
			}
		}
	}
	return false
}

// flush returns what goes out at now.
func (r *receiver) flush(now time.Time) []Notification {
	var list []Notification
	members := map[string][]*standing{}
	for _, id := range slices.Sorted(maps.Keys(r.alerts)) {
		s := r.alerts[id]
		members[s.group] = append(members[s.group], s)
	}
	for _, key := range slices.Sorted(maps.Keys(r.groups)) {
		g := r.groups[key]
		if g.next.IsZero() {
			g.next = now.Add(g.route.wait)
		}
		if now.Before(g.next) {
			continue
		}
		g.next = now.Add(g.route.interval)
		if n, ok := r.notify(g, key, members[key]); ok {
			n.At = now
			list = append(list, n)
		}
		if len(members[key]) == 0 {
			delete(r.groups, key)
		}
	}
	return list
}

// notify makes a group's notification, if it has something to tell.
func (r *receiver) notify(g *group, key string, members []*standing) (Notification, bool) {
	n := Notification{Version: "4", GroupKey: key, Status: resolved, Receiver: g.route.Receiver, GroupLabels: g.labels}
	news := false
	for _, s := range members {
		switch known := g.notified[s.Fingerprint]; {
		case s.Status == resolved:
			delete(r.alerts, s.Fingerprint)
			if delete(g.notified, s.Fingerprint); !known {
				continue // it began and ended, or was muted
			}
			news = true
		case r.inhibited(s):
			continue
		default:
			news = news || !known
			g.notified[s.Fingerprint], n.Status = true, firing
		}
		n.Alerts = append(n.Alerts, s.NotifiedAlert)
	}
	if !news {
		return n, false
	}
	n.CommonLabels, n.CommonAnnotations = maps.Clone(n.Alerts[0].Labels), maps.Clone(n.Alerts[0].Annotations)
	for _, a := range n.Alerts[1:] {
		maps.DeleteFunc(n.CommonLabels, func(k, v string) bool { return a.Labels[k] != v })
		maps.DeleteFunc(n.CommonAnnotations, func(k, v string) bool { return a.Annotations[k] != v })
	}
	return n, true
}
