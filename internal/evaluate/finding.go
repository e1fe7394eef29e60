package evaluate

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// evidenceIn is the newest part of a failure that a page describes.
const evidenceIn = 5 * time.Minute

// A finding is all that a page tells.
type finding struct {
	status   Status
	evidence Evidence
	suspects []suspect.Suspect
	reach    suspect.Reach
	owner    owner.Answer
	runbook  runbook.Found
	complete time.Time // data is complete until
	now      time.Time
}

// find collects what a page tells. A page goes out without what can't be read.
func (l *Loop) find(ctx context.Context, st Status, complete time.Time) finding {
	f := finding{status: st, complete: complete, now: l.deps.Now()}
	onset := st.Since
	if newest := l.eval.Tick().Add(-evidenceIn); onset.IsZero() || onset.Before(newest) {
		onset = newest
	}
	ev, err := l.deps.Query.Evidence(ctx, st.Feed, st.Group, onset, l.eval.Tick())
	if err != nil {
		l.m.errors.WithLabelValues("query").Inc()
		l.log.Error("a page goes out without evidence", "slo", st.SLO.Name, "err", err)
		ev = Evidence{Now: st.Short, From: l.eval.Tick().Add(-st.Window.Short), To: l.eval.Tick()}
	}
	f.evidence = ev
	f.suspects = suspect.Rank(ev.Cells, ev.Now, ev.Before)
	f.reach = suspect.ReachOf(f.suspects, len(ev.Responders) > 0 && ev.Responders[0].Name == "gateway" && len(ev.Classes) > 0 && strings.HasPrefix(ev.Classes[0].Name, "gateway_"))
	sig := f.signal()
	f.owner = l.ownerOf(&st, f.reach)
	f.runbook, _ = match(l.deps.Runbooks, st.SLO.Runbook, sig)
	return f
}

// ownerOf returns who answers for an objective, or for the one route of it that
// fails. It stays who it was while an alert fires, for it is one of its labels.
func (l *Loop) ownerOf(st *Status, reach suspect.Reach) owner.Answer {
	s := &st.SLO
	if a, ok := l.out.active[st.Series()]; ok && a.Labels["owner"] != "" {
		return owner.Answer{Team: l.deps.Owners.Team(a.Labels["owner"]), Source: "since the alert began"}
	}
	q := owner.Question{Stated: s.Owner, Service: s.Service, Method: s.SLI.Method, Route: s.SLI.Route}
	if reach.Name == "one_route" {
		q.Method, q.Route, _ = strings.Cut(reach.Suspect.Value, " ")
	}
	if s.Group == slo.ByRoute && st.Group != slo.Other {
		q.Method, q.Route, _ = strings.Cut(st.Group, " ")
	}
	return l.deps.Owners.Lookup(q, l.config.DefaultOwner)
}

// signal puts a finding into the terms by which runbooks match.
func (f *finding) signal() runbook.Signal {
	s := runbook.Signal{
		Kind: string(alert.SLOBurn), Service: f.status.SLO.Service, Route: f.status.SLO.SLI.Route, Layer: f.layer(),
		Severity: f.status.Severity.String(), Window: strings.ReplaceAll(slo.Span(f.status.Window.Long), " ", ""), Reach: f.reach.Name,
	}
	if f.reach.Name == "one_route" {
		_, s.Route, _ = strings.Cut(f.reach.Suspect.Value, " ")
	}
	if f.status.SLO.Group == slo.ByRoute && f.status.Group != slo.Other {
		_, s.Route, _ = strings.Cut(f.status.Group, " ")
	}
	s.Tier = f.status.SLO.Tier
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

const (
	blameShare = 0.6                   // of the rise of all layers that makes it one layer's
	minRise    = 10 * time.Millisecond // of all layers together: less is noise
)

// layer returns the layer that most of the rise in latency is in, if one is.
func (f *finding) layer() string {
	var all, most time.Duration
	name := ""
	for _, l := range f.evidence.Layers {
		rise := max(0, l.Now-l.Before)
		if all += rise; rise > most {
			most, name = rise, l.Name
		}
	}
	if all < minRise || float64(most) < blameShare*float64(all) {
		return ""
	}
	return name
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
		value := s.Value
		if s.Dimension == "route" {
			// Its value is method and template.
			method, route, _ := strings.Cut(s.Value, " ")
			if v["route"] == "" && v["method"] == "" {
				v["method"] = method
			}
			value = route
		}
		if v[s.Dimension] == "" {
			v[s.Dimension] = value
		}
	}
	if len(f.evidence.Classes) > 0 {
		v["error_class"] = f.evidence.Classes[0].Name
	}
	return v
}

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
func (l *Loop) alert(f *finding) Alert {
	st := f.status
	a := annotations(f.text(l.config), st, f.runbook, l.config.runbookBase(), f.vars())
	a["reason"], a["reach"], a["complete_until"] = st.Reason, f.reach.String(), f.complete.UTC().Format(time.RFC3339)
	return Alert{Labels: l.labels(st, f.owner.Team.Name), Annotations: a, StartsAt: st.Since, GeneratorURL: l.config.external() + "/"}
}

// explanation is what `explain` shows and the store keeps.
func (f *finding) explanation() string {
	type window struct {
		Window    string  `json:"window"`
		Valid     int64   `json:"valid"`
		Bad       int64   `json:"bad"`
		Burn      float64 `json:"burn"`
		Threshold float64 `json:"threshold"`
	}
	st := &f.status
	return toJSON(map[string]any{
		"reason": st.Reason, "onset": st.Since, "complete_until": f.complete.UTC(),
		"long":  window{slo.Span(st.Window.Long), st.Long.Valid, st.Long.Bad, st.SLO.Burn(st.Long), st.Window.Factor},
		"short": window{slo.Span(st.Window.Short), st.Short.Valid, st.Short.Bad, st.SLO.Burn(st.Short), st.Window.Factor},
		"now":   f.evidence.Now, "before": f.evidence.Before, "usual": st.Usual, "reach": f.reach.Name, "suspects": f.suspects,
		"classes": f.evidence.Classes, "responders": f.evidence.Responders, "layers": f.evidence.Layers, "first_seen": f.evidence.FirstSeen,
		"left": st.SLO.Remaining(st.Period), "notice_s": st.notice().Seconds(),
		"owner": f.owner.Team.Name, "owner_reason": f.owner.Source, "runbook_reason": f.runbook.Reason, "runbook_others": f.runbook.Others,
	})
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
