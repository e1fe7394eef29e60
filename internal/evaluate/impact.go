package evaluate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/baseline"
	"gatewatch/internal/change"
	"gatewatch/internal/kpi"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

const (
	minBadHit  = 3    // bad requests
	hitChance  = 1e-3 // of so many at twice what is usual
	maxHits    = 10   // of one dimension
	shrinkHit  = 50   // requests by which a value's past is drawn to that of all
	surge      = 2.0  // times the requests of the hour before
	minSurge   = 100  // requests
	minMinutes = 10   // of the hour before that a comparison needs
	dropped    = 0.5  // part of the requests of the hour before
	confidence = 1.6449
)

// hit tells whether a value has more bad requests than usual.
func hit(now, before slo.Count, usual float64) bool {
	own := (float64(before.Bad) + shrinkHit*usual) / (float64(before.Valid) + shrinkHit)
	return now.Bad >= minBadHit && slo.AtLeast(now.Bad, now.Valid, max(2*own, 1e-4)) < hitChance
}

// hits are the values of a dimension that the failure reaches, worst first.
func (f *finding) hits(dimension string) []Hit {
	var list []Hit
	usual := f.evidence.usual().Ratio()
	for _, c := range f.evidence.Cells {
		if len(c.Where) == 1 && c.Where[0].Dimension == dimension && c.Where[0].Value != "" && hit(c.Now, c.Before, usual) {
			list = append(list, Hit{clean(c.Where[0].Value), c.Now.Bad, c.Now.Valid})
		}
	}
	return worst(list)
}

// services are those that fail at the same time; the objective's own comes first.
func (f *finding) services() []Hit {
	own := Hit{clean(f.status.SLO.Service), f.evidence.Now.Bad, f.evidence.Now.Valid}
	var list []Hit
	for _, s := range f.evidence.Services {
		if s.Name != f.status.SLO.Service && hit(s.Now, s.Before, s.Before.Ratio()) {
			list = append(list, Hit{clean(s.Name), s.Now.Bad, s.Now.Valid})
		}
	}
	return append([]Hit{own}, worst(list)...)
}

func worst(list []Hit) []Hit {
	slices.SortFunc(list, func(a, b Hit) int { return cmp.Or(-cmp.Compare(a.Bad, b.Bad), strings.Compare(a.Name, b.Name)) })
	return list[:min(maxHits, len(list))]
}

// traffic says how many requests there are against the hour before, and against a
// week ago where that is known: surge, drop or nothing.
func (f *finding) traffic() string {
	times, ok := f.times()
	switch week := f.evidence.WeekAgo.Valid; {
	case !ok:
		return ""
	case f.evidence.Now.Valid >= minSurge && times >= surge && float64(f.evidence.Now.Valid) >= surge*float64(week):
		return "surge"
	case float64(f.evidence.Now.Valid) >= dropped*minSurge && times <= dropped:
		return "drop"
	}
	return ""
}

// times is how many times as many requests a minute there are as in the hour
// before, in its minutes that had any; false where these are too few to tell.
func (f *finding) times() (float64, bool) {
	ev := &f.evidence
	minutes := ev.To.Sub(ev.From).Minutes()
	if minutes <= 0 || ev.BeforeMinutes < minMinutes || ev.Before.Valid == 0 {
		return 0, false
	}
	return float64(ev.Now.Valid) / minutes / (float64(ev.Before.Valid) / float64(ev.BeforeMinutes)), true
}

// changes are what was changed near the onset, and versions that came: what is
// nearest to it first.
func (f *finding) changes() []ChangeFacts {
	var list []ChangeFacts
	add := func(at time.Time, kind, what, who, url string) {
		before := f.status.Since.Sub(at)
		if before > change.Before || before < -after {
			return
		}
		list = append(list, ChangeFacts{at.UTC(), clean(kind), clean(what), clean(who), clean(url), before.Seconds()})
	}
	for _, c := range f.evidence.Changes {
		add(c.Time, c.Kind, c.What, c.Who, c.URL)
	}
	for _, c := range f.evidence.FirstSeen {
		add(c.At, firstSeen, c.Dimension+" "+c.Value, "", "")
	}
	slices.SortStableFunc(list, func(a, b ChangeFacts) int { return cmp.Compare(math.Abs(a.BeforeS), math.Abs(b.BeforeS)) })
	return list
}

// after is how long after an onset a change may come: onsets are known to a window.
const after = time.Minute

// The kinds of change that have a meaning of their own.
const (
	firstSeen = "first_seen"
	deploy    = "deploy"
)

// changeKind is the kind of the change that may have caused the failure: a
// release where a version has come, else what came last.
func (f *finding) changeKind() string {
	list := f.changes()
	for _, c := range list {
		if c.Kind == firstSeen || c.Kind == deploy {
			return deploy
		}
	}
	if len(list) > 0 {
		return list[0].Kind
	}
	return ""
}

// value is what is at risk an hour, by currency: what workflows usually bring in
// at this hour of the week, by the share of calls of their worst step that fail.
func (f *finding) value() []ValueFacts {
	if f.status.SLO.SLI.Kind == slo.Latency {
		return nil // late is not lost
	}
	var list []ValueFacts
	for _, w := range f.evidence.Worth {
		failing := f.failingStep(w.Steps)
		usual, low, high, ok := w.usual(f.status.Since)
		if failing <= 0 || !ok {
			continue
		}
		i := slices.IndexFunc(list, func(v ValueFacts) bool { return v.Currency == w.Currency })
		if i < 0 {
			i = len(list)
			list = append(list, ValueFacts{Currency: w.Currency, Low: new(float64), High: new(float64)})
		}
		v := &list[i]
		v.PerHour += failing * usual
		v.Workflows = append(v.Workflows, w.Workflow)
		if math.IsNaN(low) || v.Low == nil {
			v.Low, v.High = nil, nil
		} else {
			*v.Low, *v.High = *v.Low+failing*low, *v.High+failing*high
		}
	}
	slices.SortStableFunc(list, func(a, b ValueFacts) int { return -cmp.Compare(a.PerHour, b.PerHour) })
	return list
}

// failingStep returns the share of the calls of a workflow's worst step that
// fail beyond what is usual.
func (f *finding) failingStep(steps []Operation) (share float64) {
	usual := f.evidence.usual().Ratio()
	for _, c := range f.evidence.Cells {
		if len(c.Where) != 1 || c.Where[0].Dimension != suspect.Route || !hit(c.Now, c.Before, usual) {
			continue
		}
		method, route, _ := strings.Cut(c.Where[0].Value, " ")
		step := Operation{Method: method, Template: kpi.Template(route)}
		own := step
		own.Service = f.status.SLO.Service
		if slices.Contains(steps, step) || slices.Contains(steps, own) {
			share = max(share, c.Now.Ratio()-usual)
		}
	}
	return share
}

// usual returns what a workflow brings in at an hour; low and high are no
// numbers before there are two weeks of history: then it is the mean of a day.
func (w *Worth) usual(at time.Time) (value, low, high float64, ok bool) {
	noise := func(median float64) float64 { return w.Each * baseline.Counts(median/max(w.Each, 1e-9)) }
	if e, ok := baseline.New(w.Hours, noise).Expected(at); ok {
		low, high = e.Interval(confidence)
		return e.Median, low, high, e.Median > 0
	}
	day := w.Hours[max(0, len(w.Hours)-24):]
	for _, p := range day {
		value += p.Value / float64(len(day))
	}
	return value, math.NaN(), math.NaN(), value > 0
}
