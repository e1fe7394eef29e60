package evaluate

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// A finding is all that a page tells.
type finding struct {
	status   Status
	evidence Evidence
	suspects []suspect.Suspect
	reach    suspect.Reach
	verdict  layer.Verdict
	atRisk   []ValueFacts
	owner    owner.Answer
	consumer owner.Answer // of the one consumer that fails; may be zero
	runbook  runbook.Found
	complete time.Time // data is complete until
	now      time.Time
}

// find collects what a page tells. A page goes out without what can't be read.
func (l *Loop) find(ctx context.Context, st Status, complete time.Time) finding {
	f := finding{status: st, complete: complete, now: l.deps.Now()}
	tick := l.eval.Tick()
	onset := st.Since
	if onset.IsZero() || !onset.Before(tick) {
		onset = tick.Add(-st.Window.Short)
	}
	ev, err := l.deps.Query.Evidence(ctx, st.Feed, st.Group, onset, tick)
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		l.log.Error("a page goes out without all of its evidence", "slo", st.SLO.Name, "err", err)
	}
	if ev.Now.Valid == 0 {
		ev.Now, ev.From, ev.To = st.Short, tick.Add(-st.Window.Short), tick
	}
	f.evidence = ev
	f.judge()
	f.owner = l.ownerOf(&st, f.reach)
	if who, ok := f.reach.Suspect.Value(suspect.Consumer); ok && f.reach.Name == suspect.One(suspect.Consumer) && ev.ConsumerOwners[who] != "" {
		f.consumer = l.consumerOwner(who, ev.ConsumerOwners[who])
	}
	f.runbook, _ = match(l.deps.Runbooks, st.SLO.Runbook, f.signal())
	return f
}

// judge draws the conclusions from the evidence.
func (f *finding) judge() {
	ev := &f.evidence
	f.suspects = suspect.Rank(ev.Cells, ev.Now, ev.usual())
	gateway := len(ev.Responders) > 0 && ev.Responders[0].Name == "gateway" && len(ev.Classes) > 0 && strings.HasPrefix(ev.Classes[0].Name, "gateway_")
	f.reach = suspect.ReachOf(f.suspects, gateway)
	f.verdict = layer.Verdict{}
	if len(ev.LayersNow) > 0 && len(ev.LayersBefore) > 0 {
		f.verdict = layer.Compare(ev.LayersNow, ev.LayersBefore)
	}
	f.atRisk = f.value()
}

// usual is what the failure is compared with: the hour before its onset, or the
// same time a week ago where that was better, for what creeps in has spoilt the
// hour before.
func (ev *Evidence) usual() slo.Count {
	if ev.WeekAgo.Valid >= ev.Before.Valid/20 && ev.WeekAgo.Valid > 0 && ev.WeekAgo.Ratio() < ev.Before.Ratio() {
		return ev.WeekAgo
	}
	return ev.Before
}

// sentence says in words what stands out.
func (f *finding) sentence() string {
	if f.evidence.Now.Bad == 0 || len(f.evidence.Cells) == 0 {
		return ""
	}
	what := "errors"
	if f.status.SLO.SLI.Kind == slo.Latency {
		what = "slow requests"
	}
	return suspect.Sentence(named(f.suspects), what)
}

// named returns suspects whose values can be shown.
func named(list []suspect.Suspect) []suspect.Suspect {
	out := slices.Clone(list)
	for i := range out {
		out[i].Where = slices.Clone(out[i].Where)
		for k := range out[i].Where {
			out[i].Where[k].Value = clean(out[i].Where[k].Value)
		}
	}
	return out
}

// ownerOf returns who answers for an objective, or for the one route of it that
// fails. It stays who it was while an alert fires, for it is one of its labels.
func (l *Loop) ownerOf(st *Status, reach suspect.Reach) owner.Answer {
	s := &st.SLO
	if a, ok := l.out.active[st.Series()]; ok && a.Labels["owner"] != "" {
		return owner.Answer{Team: l.deps.Owners.Team(a.Labels["owner"]), Source: "since the alert began", Then: l.config.then(a.Labels["owner"])}
	}
	q := owner.Question{Stated: s.Owner, Service: s.Service, Method: s.SLI.Method, Route: s.SLI.Route}
	if route, ok := reach.Suspect.Value(suspect.Route); ok && reach.Name == suspect.One(suspect.Route) {
		q.Method, q.Route, _ = strings.Cut(route, " ")
	}
	if s.Group == slo.ByRoute && st.Group != slo.Other {
		q.Method, q.Route, _ = strings.Cut(st.Group, " ")
	}
	return l.lookup(q)
}

// lookup asks the catalogue, and says who comes after the owner.
func (l *Loop) lookup(q owner.Question) owner.Answer {
	a := l.deps.Owners.Lookup(q, l.config.DefaultOwner)
	a.Then = l.config.then(a.Team.Name)
	return a
}

// then is who comes after an owner.
func (c Config) then(name string) string {
	if c.DefaultOwner == name {
		return ""
	}
	return c.DefaultOwner
}

// signal puts a finding into the terms by which runbooks match.
func (f *finding) signal() runbook.Signal {
	s := runbook.Signal{
		Kind: string(alert.SLOBurn), Service: f.status.SLO.Service, Route: f.status.SLO.SLI.Route, Layer: f.layer(),
		Severity: f.status.Severity.String(), Window: strings.ReplaceAll(slo.Span(f.status.Window.Long), " ", ""), Reach: f.reach.Name,
	}
	if route, ok := f.reach.Suspect.Value(suspect.Route); ok {
		_, s.Route, _ = strings.Cut(route, " ")
	}
	if f.status.SLO.Group == slo.ByRoute && f.status.Group != slo.Other {
		_, s.Route, _ = strings.Cut(f.status.Group, " ")
	}
	s.Tier = f.status.SLO.Tier
	s.Change, s.Traffic = f.changeKind(), f.traffic()
	if f.status.SLO.SLI.Kind == slo.Latency {
		s.Kind = string(alert.LatencyBurn)
		return s
	}
	if len(f.evidence.Classes) > 0 {
		s.ErrorClass = f.evidence.Classes[0].Name
	}
	if len(f.evidence.Responders) > 0 {
		s.Responder = f.evidence.Responders[0].Name
	}
	return s
}

// layer returns the layer that the slowness, or the errors, are in, if one is.
func (f *finding) layer() string {
	if f.status.SLO.SLI.Kind == slo.Latency {
		return f.verdict.Latency
	}
	return f.verdict.Errors
}

// match returns the runbook that the objective names, else the best one.
func match(set *runbook.Set, named string, sig runbook.Signal) (runbook.Found, bool) {
	if named != "" {
		if found, ok := set.Named(named, sig); ok {
			return found, true
		}
	}
	return set.Match(sig)
}

// vars are what a runbook's steps may mention.
func (f *finding) vars() map[string]string {
	v := map[string]string{
		"service": f.status.SLO.Service, "slo": f.status.SLO.Name, "since": f.status.Since.UTC().Format(time.RFC3339), "alert": f.status.ID,
	}
	for _, s := range f.suspects {
		for _, t := range s.Where {
			name, value := t.Dimension, t.Value
			switch name {
			case suspect.Route: // its value is method and template
				method, route, _ := strings.Cut(t.Value, " ")
				if v["route"] == "" {
					v["method"], v["route"] = method, route
				}
				continue
			case suspect.Method:
				if v["route"] != "" {
					continue
				}
			}
			if v[name] == "" {
				v[name] = value
			}
		}
	}
	if len(f.evidence.Classes) > 0 {
		v["error_class"] = f.evidence.Classes[0].Name
	}
	if t := f.traces(); len(t) > 0 {
		v["trace"] = t[0]
	}
	return v
}

// traces are those of bad requests of the strongest suspects, else of any.
func (f *finding) traces() []string {
	var list []string
	add := func(c suspect.Cell) {
		if c.TraceID != "" && !slices.Contains(list, c.TraceID) && len(list) < maxTraces {
			list = append(list, c.TraceID)
		}
	}
	for _, s := range f.suspects {
		add(s.Cell)
	}
	for _, c := range f.evidence.Cells {
		if len(list) == 0 {
			add(c)
		}
	}
	return list
}

const maxTraces = 3

// ReservedLabels are those that alerts have of their own.
func ReservedLabels() []string {
	list := []string{"alertname", "slo", "service", "owner", "severity", "tier", "target", "test"}
	for _, d := range slo.Dimensions() {
		list = append(list, string(d))
	}
	return append(list, signalLabels...)
}

// labels are the identity of an alert: whatever changes while it fires is an annotation.
func (l *Loop) labels(st Status, team string) map[string]string {
	severity := st.Severity.String()
	if other, ok := l.config.SeverityMap[severity]; ok {
		severity = other
	}
	labels := map[string]string{"alertname": "SLOBurn", "slo": st.SLO.Name, "service": st.SLO.Service, "owner": team, "severity": severity}
	if st.SLO.Group != slo.Whole {
		labels[string(st.SLO.Group)] = st.Group
	}
	if st.SLO.Tier != "" {
		labels["tier"] = st.SLO.Tier
	}
	if len(st.SLO.Notify) > 0 {
		labels["target"] = strings.Join(st.SLO.Notify, ",")
	}
	maps.Copy(labels, l.config.ExtraLabels)
	return labels
}

// alert makes what is posted from a finding.
func (l *Loop) alert(f *finding) (Alert, string) {
	st := f.status
	facts := f.facts(l.config)
	a := annotations(f.text(l.config), st, f.runbook, l.config.RunbookBase(), f.vars())
	a["reason"], a["reach"], a["complete_until"] = st.Reason, tidy(f.reach.String()), f.complete.UTC().Format(time.RFC3339)
	if facts.Sentence != "" {
		a["suspects"] = facts.Sentence
	}
	a["facts"] = facts.json()
	return Alert{Labels: l.labels(st, f.owner.Team.Name), Annotations: a, StartsAt: st.Since, GeneratorURL: l.config.alertURL(st.ID)}, a["facts"]
}

// notice is how long the budget lasts at the burn rate of the short window.
func (s *Status) notice() time.Duration {
	burn, left := s.SLO.Burn(s.Short), s.SLO.Remaining(s.Period)
	if burn <= 0 || left <= 0 {
		return 0
	}
	return min(s.SLO.Period, time.Duration(left*float64(s.SLO.Period)/burn))
}

// endEvidence is what is kept of an end.
func endEvidence(t *Transition) string {
	return toJSON(map[string]any{"reason": t.Status.Reason, "onset": t.Since, "total": t.Total})
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // a ratio that is no number
		return "{}"
	}
	return string(b)
}
