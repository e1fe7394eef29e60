package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// A Signal is something beyond objectives that somebody should know: what it
// is, about whom, and by which facts.
type Signal struct {
	Kind    alert.Kind
	Service string
	// Labels tell it apart from others of its kind and service: consumer, node, topic …
	Labels     map[string]string
	Severity   alert.Severity
	Since      time.Time // onset
	Headline   string    // behind the service, on line 1 of the page
	Lines      []Line    // of the page
	Evidence   map[string]any
	ErrorClass string // for runbooks
	Reach      *ReachFacts
	// Owner is who answers for the consumer concerned, where it is theirs to mend.
	Owner string
}

// A Line is one line of a page: its name, and what it says.
type Line struct{ Name, Text string }

// Kind returns what a status is about.
func (s *Status) Kind() alert.Kind {
	switch {
	case s.Signal != nil:
		return s.Signal.Kind
	case s.SLO.Name == blindSLO:
		return alert.DataIncomplete
	case s.SLO.SLI.Kind == slo.Latency:
		return alert.LatencyBurn
	}
	return alert.SLOBurn
}

// name is what stands in place of an objective's name.
func (s *Signal) name() string { return strings.ReplaceAll(string(s.Kind), "_", "-") }

// subject tells signals of one kind apart.
func (s *Signal) subject() string {
	parts := []string{s.Service}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, k+"="+s.Labels[k])
	}
	return strings.Join(parts, " ")
}

// A Detector finds signals of one kind. It is a pure function of what was read.
type Detector struct {
	Kind alert.Kind
	// Calm is how long it must not be found until it ends.
	Calm time.Duration
	Find func(SignalsConfig, *Readings) []Signal
}

// Detectors is the registry of what is looked for beyond objectives. Data that
// is incomplete and alerts that can't be delivered are found by the Loop itself.
func Detectors() []Detector {
	return []Detector{
		{alert.ClientErrors, 5 * time.Minute, findClientErrors},
		{alert.TrafficLost, 3 * time.Minute, findTrafficLost},
		{alert.Breaker, 5 * time.Minute, findBreakers},
		{alert.ConsumerFailing, 15 * time.Minute, findConsumersFailing},
		{alert.UnusualTraffic, 15 * time.Minute, findUnusualTraffic},
		{alert.TrafficDip, 15 * time.Minute, findTrafficDips},
		{alert.UnusualUse, 2 * time.Hour, findUnusualUse},
		{alert.QuotaForecast, 2 * time.Hour, findQuotas},
		{alert.Sunset, 26 * time.Hour, findSunsets},
		{alert.LoggingGap, 10 * time.Minute, findLoggingGaps},
		{alert.StaleData, 5 * time.Minute, findStale},
		{alert.DeadLetters, 10 * time.Minute, findDeadLetters},
		{alert.RetentionAtRisk, 10 * time.Minute, findRetention},
		{alert.DiskFilling, 2 * time.Hour, findDisks},
		{alert.BudgetLow, time.Hour, findBudgets},
	}
}

// Signals is the state of all signals. It is pure, as an Evaluator is.
type Signals struct {
	config    SignalsConfig
	detectors []Detector
	active    map[string]*activeSignal
}

type activeSignal struct {
	Signal
	id   string
	last time.Time // when it was last found
}

// NewSignals returns the signals that are not switched off.
func NewSignals(c SignalsConfig) *Signals {
	s := &Signals{config: c, active: map[string]*activeSignal{}}
	for _, d := range Detectors() {
		if !slices.Contains(c.Off, string(d.Kind)) {
			s.detectors = append(s.detectors, d)
		}
	}
	return s
}

// Judge decides at a tick on what was read up to it.
func (s *Signals) Judge(at time.Time, r *Readings) []Transition {
	var list []Transition
	for _, d := range s.detectors {
		if !r.has(d.Kind) {
			continue
		}
		found := d.Find(s.config, r)
		slices.SortFunc(found, func(a, b Signal) int { return cmp.Compare(a.subject(), b.subject()) })
		for _, f := range found[:min(len(found), maxSignals)] {
			name := seriesName(f.name(), f.subject())
			if a, ok := s.active[name]; ok {
				a.last = at
				continue
			}
			a := &activeSignal{Signal: f, id: alert.ID(name, f.Since), last: at}
			s.active[name] = a
			t := Transition{At: at, From: alert.Inactive}
			t.Status = a.status(alert.Firing)
			list = append(list, t)
		}
		list = append(list, s.end(at, d)...)
	}
	return list
}

// maxSignals is how many alerts of one kind there are at once; more of them have
// one cause.
const maxSignals = 20

// end ends those of a kind that have not been found for long enough.
func (s *Signals) end(at time.Time, d Detector) []Transition {
	var list []Transition
	for _, name := range slices.Sorted(maps.Keys(s.active)) {
		a := s.active[name]
		if a.Kind != d.Kind || at.Sub(a.last) < d.Calm {
			continue
		}
		t := Transition{At: at, From: alert.Firing, FromSever: a.Severity, ResolvedID: a.id, Since: a.Since}
		t.Status = a.status(alert.Resolved)
		t.Status.Severity, t.Status.ID = alert.None, ""
		t.Status.Reason = fmt.Sprintf("not found for %s", slo.Span(d.Calm))
		list = append(list, t)
		delete(s.active, name)
	}
	return list
}

func (a *activeSignal) status(state alert.State) Status {
	sig := a.Signal
	return Status{
		SLO: slo.SLO{Name: a.name(), Service: a.Service}, Group: a.subject(), State: state, Severity: a.Severity,
		Since: a.Since, ID: a.id, Reason: a.Headline, Signal: &sig,
	}
}

// Restore takes over a signal that was recorded as firing; false if it is none.
func (s *Signals) Restore(r Restored) bool {
	for _, d := range s.detectors {
		sig := Signal{Kind: d.Kind, Service: r.Labels["service"], Severity: r.Severity, Since: r.Since, Headline: "found before the restart"}
		if sig.name() != r.SLO {
			continue
		}
		sig.Labels = map[string]string{}
		for _, k := range signalLabels {
			if v := r.Labels[k]; v != "" {
				sig.Labels[k] = v
			}
		}
		s.active[seriesName(r.SLO, r.Group)] = &activeSignal{Signal: sig, id: r.ID, last: r.raised()}
		return true
	}
	return false
}

// signalLabels are the labels that signals are told apart by.
var signalLabels = []string{"consumer", "node", "topic", "route", "version", "error_class", "plan", "objective", "upstream"}

// signal reads and judges the signals of a minute.
func (l *Loop) signal(ctx context.Context, tick time.Time) []Transition {
	r, err := l.deps.Query.Signals(ctx, tick)
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		l.log.Error("signals are not judged in this minute", "time", tick, "err", err)
		return nil
	}
	r.Budgets, r.Kinds = l.budgets(), append(r.Kinds, alert.BudgetLow)
	return l.signals.Judge(tick, &r)
}

// drill looks into a class of errors that rose, as into an objective that burns:
// as if those errors were what counts as bad. It is nil for other signals.
func (l *Loop) drill(ctx context.Context, t *Transition, complete time.Time) *finding {
	sig := t.Status.Signal
	class, ok := accesslog.ParseErrorClass(sig.ErrorClass)
	if sig.Kind != alert.ClientErrors || !ok {
		return nil
	}
	st := t.Status
	st.SLO.SLI = slo.SLI{Kind: slo.Availability, Bad: []accesslog.ErrorClass{class}, Excluded: []accesslog.ErrorClass{}}
	f := &finding{status: st, complete: complete, now: l.deps.Now()}
	var err error
	if f.evidence, err = l.deps.Query.Evidence(ctx, st.SLO.Feeds()[0], "", sig.Since, t.At); err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		l.log.Error("a page goes out without all of its evidence", "slo", st.SLO.Name, "err", err)
	}
	if f.evidence.Now.Bad == 0 {
		return nil
	}
	f.judge()
	return f
}

// signalOwner returns whose a signal is: the consumer's, where it is one
// client's own doing and somebody answers for it, else the service's or that of
// the one route that fails.
func (l *Loop) signalOwner(sig *Signal, f *finding) owner.Answer {
	operation := sig.Labels["route"]
	if f != nil && f.reach.Name == suspect.One(suspect.Route) {
		operation, _ = f.reach.Suspect.Value(suspect.Route)
	}
	method, route, _ := strings.Cut(operation, " ")
	of := l.lookup(owner.Question{Service: sig.Service, Method: method, Route: route})
	if sig.Owner == "" {
		return of
	}
	a := l.consumerOwner(sig.Labels["consumer"], sig.Owner)
	a.Then = of.Team.Name
	return a
}

// consumerOwner is the answer that a consumer belongs to a team.
func (l *Loop) consumerOwner(consumer, team string) owner.Answer {
	return owner.Answer{Team: l.deps.Owners.Team(team), Source: "owner of consumer " + consumer}
}

// runbookSignal puts a signal into the terms by which runbooks match.
func (s *Signal) runbookSignal() runbook.Signal {
	_, route, _ := strings.Cut(s.Labels["route"], " ")
	sig := runbook.Signal{Kind: string(s.Kind), Service: s.Service, Route: route, ErrorClass: s.ErrorClass, Severity: s.Severity.String()}
	if s.Reach != nil {
		sig.Reach = s.Reach.Name
	}
	return sig
}

// vars are what a runbook's steps may mention.
func (s *Signal) vars(id string) map[string]string {
	v := map[string]string{"service": s.Service, "slo": s.name(), "since": s.Since.UTC().Format(time.RFC3339), "alert": id}
	maps.Copy(v, s.Labels)
	if method, route, ok := strings.Cut(s.Labels["route"], " "); ok {
		v["method"], v["route"] = method, route
	}
	if s.ErrorClass != "" {
		v["error_class"] = s.ErrorClass
	}
	return v
}

// signalAlert makes the alert of a signal; f is what was found when it was
// looked into, or nil.
func (l *Loop) signalAlert(t *Transition, complete time.Time, f *finding) (Alert, string, string) {
	st := &t.Status
	sig := st.Signal
	answer := l.signalOwner(sig, f)
	facts := Facts{
		Alert: st.ID, Kind: string(sig.Kind), Severity: sig.Severity.String(), Service: sig.Service, SLO: sig.name(), Group: st.Group, Reason: tidy(sig.Headline), Onset: sig.Since.UTC(),
		CompleteUntil: known(complete), Reach: sig.Reach, Details: sig.Evidence, Suspects: sig.suspects(),
	}
	if sig.ErrorClass != "" {
		facts.Classes = []Portion{{sig.ErrorClass, 1}}
	}
	terms, vars := sig.runbookSignal(), sig.vars(st.ID)
	if f != nil {
		terms.Reach, terms.Change, terms.Traffic = f.reach.Name, f.changeKind(), f.traffic()
		for name, value := range f.vars() {
			vars[name] = cmp.Or(vars[name], value)
		}
		whole := f.facts(l.config)
		facts.Suspects, facts.Reach, facts.Changes, facts.Traces, facts.Sentence = whole.Suspects, whole.Reach, whole.Changes, whole.Traces, whole.Sentence
		facts.From, facts.To, facts.Requests, facts.Stated, facts.Responders = whole.From, whole.To, whole.Requests, whole.Stated, whole.Responders
	}
	found, _ := l.deps.Runbooks.Match(terms)
	facts.Owner, facts.Runbook = ownerFacts(answer), runbookFacts(found, l.config, vars)
	text := l.signalText(st, complete, f, found, vars, answer)
	labels := l.labels(*st, answer.Team.Name)
	if info, ok := sig.Kind.Info(); ok {
		labels["alertname"] = info.Name
	}
	maps.Copy(labels, sig.Labels)
	a := annotations(text, *st, found, l.config.RunbookBase(), vars)
	a["reason"], a["facts"] = tidy(sig.Headline), facts.json()
	if facts.Reach != nil {
		a["reach"] = facts.Reach.Name
	}
	if !complete.IsZero() {
		a["complete_until"] = complete.UTC().Format(time.RFC3339)
	}
	return Alert{Labels: labels, Annotations: a, StartsAt: sig.Since, GeneratorURL: l.config.alertURL(st.ID)}, answer.Team.Name, a["facts"]
}

// suspects of a signal that is about one thing are that thing.
func (s *Signal) suspects() []SuspectFacts {
	if s.Reach == nil || len(s.Reach.Where) == 0 {
		return nil
	}
	return []SuspectFacts{{Where: s.Reach.Where, Share: s.Reach.Share}}
}

// slow are the kinds that have no onset which says anything.
var slow = []alert.Kind{alert.QuotaForecast, alert.Sunset, alert.DiskFilling, alert.BudgetLow, alert.RetentionAtRisk}

// signalText writes the page of a signal.
func (l *Loop) signalText(st *Status, complete time.Time, f *finding, found runbook.Found, vars map[string]string, answer owner.Answer) string {
	sig := st.Signal
	var p page
	head := "[" + strings.ToUpper(sig.Severity.String()) + "] "
	rest := ": " + sig.Headline
	if !slices.Contains(slow, sig.Kind) {
		rest += fmt.Sprintf(", since %s UTC", sig.Since.UTC().Format("15:04"))
	}
	p.lines = append(p.lines, shorten(tidy(head+cmp.Or(sig.Service, "gatewatch")+rest), maxFirstLine))
	for _, line := range sig.Lines {
		if line.Name == "Reach" && f != nil && f.reach.Name != suspect.Everyone {
			line.Text = f.reach.String()
		}
		p.add(line.Name, "%s", tidy(line.Text))
	}
	var traces []string
	if f != nil {
		f.failing(&p)
		f.changed(&p)
		f.suspected(&p)
		traces = f.traces()
	}
	p.steps(found, vars)
	p.runbook(found, l.config.RunbookBase(), vars)
	p.add("Owner", "%s", ownerLine(answer))
	if !complete.IsZero() {
		p.add("Data", "complete until %s, %s before sending", complete.UTC().Format(time.TimeOnly), age(max(0, l.deps.Now().Sub(complete))))
	}
	p.add("Links", "%s", strings.Join(l.config.links(st, found, vars, traces), " · "))
	return p.text()
}

// endText is what people are told of an end.
func (l *Loop) endText(t *Transition) string {
	if t.Status.Signal == nil {
		return resolvedText(t)
	}
	sig := t.Status.Signal
	var p page
	p.lines = append(p.lines, shorten(tidy(fmt.Sprintf("[RESOLVED] %s: %s after %s: %s", cmp.Or(sig.Service, "gatewatch"), t.FromSever, age(t.At.Sub(t.Since)), sig.Headline)), maxFirstLine))
	p.add("Links", "`gatewatch-alert explain %s`", t.ResolvedID)
	return p.text()
}
