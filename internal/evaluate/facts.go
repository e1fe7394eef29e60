package evaluate

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// FactsSchema names the shape of Facts; docs/alerting.md describes it.
const FactsSchema = "gatewatch/page/v1"

// Facts are all that a page says, for machines: the annotation `facts` and the
// evidence that is kept of an alert.
type Facts struct {
	Schema        string         `json:"schema"`
	Alert         string         `json:"alert"`
	Kind          string         `json:"kind"`
	Severity      string         `json:"severity"`
	Service       string         `json:"service,omitempty"`
	SLO           string         `json:"slo"`
	Group         string         `json:"group,omitempty"`
	Reason        string         `json:"reason,omitempty"`
	Onset         time.Time      `json:"onset"`
	From          *time.Time     `json:"from,omitempty"`
	To            *time.Time     `json:"to,omitempty"`
	CompleteUntil *time.Time     `json:"complete_until,omitempty"`
	Requests      *RequestFacts  `json:"requests,omitempty"`
	Suspects      []SuspectFacts `json:"suspects"`
	Sentence      string         `json:"sentence,omitempty"`
	Reach         *ReachFacts    `json:"reach,omitempty"`
	Classes       []Portion      `json:"classes,omitempty"`
	Responders    []Portion      `json:"responders,omitempty"`
	Stated        float64        `json:"stated,omitempty"`
	Changes       []ChangeFacts  `json:"changes,omitempty"`
	Layers        *LayerFacts    `json:"layers,omitempty"`
	Traces        []string       `json:"traces,omitempty"`
	ValueAtRisk   []ValueFacts   `json:"value_at_risk,omitempty"`
	Owner         OwnerFacts     `json:"owner"`
	Runbook       *RunbookFacts  `json:"runbook,omitempty"`
	Burn          *BurnFacts     `json:"burn,omitempty"`
	Details       map[string]any `json:"details,omitempty"`
}

// RequestFacts count the requests of the newest part of a failure.
type RequestFacts struct {
	Valid        int64    `json:"valid"`
	Bad          int64    `json:"bad"`
	Ratio        float64  `json:"ratio"`
	UsualRatio   *float64 `json:"usual_ratio,omitempty"`
	WeekAgoRatio *float64 `json:"week_ago_ratio,omitempty"`
}

// SuspectFacts is one suspect; Where has one dimension or two.
type SuspectFacts struct {
	Where map[string]string `json:"where"`
	Share float64           `json:"share"`
	Lift  float64           `json:"lift"`
	Bad   int64             `json:"bad"`
	Valid int64             `json:"valid"`
}

// ReachFacts say how far a failure goes.
type ReachFacts struct {
	Name      string            `json:"name"`
	Where     map[string]string `json:"where,omitempty"`
	Share     float64           `json:"share,omitempty"`
	Services  []Hit             `json:"services,omitempty"`
	Routes    []Hit             `json:"routes,omitempty"`
	Consumers *ConsumerFacts    `json:"consumers,omitempty"`
	Regions   []Hit             `json:"regions,omitempty"`
	Nodes     []Hit             `json:"nodes,omitempty"`
}

// A Hit is something that has more bad requests than usual.
type Hit struct {
	Name  string `json:"name"`
	Bad   int64  `json:"bad"`
	Valid int64  `json:"valid"`
}

// ConsumerFacts count the consumers with a bad request.
type ConsumerFacts struct {
	Affected int64       `json:"affected"`
	Active   int64       `json:"active"`
	ByPlan   []PlanFacts `json:"by_plan,omitempty"`
}

// PlanFacts are those of a plan.
type PlanFacts struct {
	Name     string `json:"name"`
	Affected int64  `json:"affected"`
	Active   int64  `json:"active"`
}

// ChangeFacts is a change near the onset; BeforeS is negative if it came after.
type ChangeFacts struct {
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	What    string    `json:"what"`
	Who     string    `json:"who,omitempty"`
	URL     string    `json:"url,omitempty"`
	BeforeS float64   `json:"before_s"`
}

// LayerFacts say in which layer time or errors were added.
type LayerFacts struct {
	Verdict string      `json:"verdict,omitempty"`
	Why     string      `json:"why"`
	Traces  int64       `json:"traces"`
	Sampled float64     `json:"sampled"`
	Layers  []LayerTime `json:"layers"`
}

// LayerTime is the 95th percentile of a layer's time.
type LayerTime struct {
	Name     string  `json:"name"`
	NowMS    float64 `json:"now_ms"`
	BeforeMS float64 `json:"before_ms"`
}

// ValueFacts is what failing steps of workflows would bring in.
type ValueFacts struct {
	PerHour   float64  `json:"per_hour"`
	Low       *float64 `json:"low,omitempty"`
	High      *float64 `json:"high,omitempty"`
	Currency  string   `json:"currency"`
	Workflows []string `json:"workflows"`
}

// OwnerFacts say whose it is.
type OwnerFacts struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	OnCall string `json:"on_call,omitempty"`
	Chat   string `json:"chat,omitempty"`
	Email  string `json:"email,omitempty"`
	Hours  string `json:"hours,omitempty"`
	Then   string `json:"then,omitempty"`
}

// RunbookFacts say what to do, and why this text was chosen.
type RunbookFacts struct {
	Name    string          `json:"name"`
	Section string          `json:"section"`
	Reason  string          `json:"reason"`
	URL     string          `json:"url"`
	Steps   []string        `json:"steps"`
	Others  []runbook.Other `json:"others,omitempty"`
}

// BurnFacts is what made the objective fire.
type BurnFacts struct {
	Long    WindowFacts `json:"long"`
	Short   WindowFacts `json:"short"`
	Left    float64     `json:"left"`     // of the budget
	NoticeS float64     `json:"notice_s"` // how long it lasts at the burn of the short window
}

// WindowFacts are the counts of one window.
type WindowFacts struct {
	Window    string  `json:"window"`
	Valid     int64   `json:"valid"`
	Bad       int64   `json:"bad"`
	Burn      float64 `json:"burn"`
	Threshold float64 `json:"threshold"`
}

// json writes facts; a ratio that is no number leaves an empty object.
func (f *Facts) json() string {
	f.Schema = FactsSchema
	if f.Suspects == nil {
		f.Suspects = []SuspectFacts{}
	}
	b, err := json.Marshal(f)
	if err != nil {
		return "{}"
	}
	return string(b)
}

// facts draws up what a finding knows.
func (f *finding) facts(c Config) *Facts {
	st, ev := &f.status, &f.evidence
	x := &Facts{
		Alert: st.ID, Kind: string(st.Kind()), Severity: st.Severity.String(), Service: st.SLO.Service, SLO: st.SLO.Name, Group: st.Group, Reason: st.Reason,
		Onset: st.Since.UTC(), From: known(ev.From), To: known(ev.To), CompleteUntil: known(f.complete),
		Requests: &RequestFacts{Valid: ev.Now.Valid, Bad: ev.Now.Bad, Ratio: ev.Now.Ratio(), UsualRatio: ratioOf(st.Usual), WeekAgoRatio: ratioOf(ev.WeekAgo)},
		Sentence: f.sentence(), Classes: ev.Classes, Responders: ev.Responders, Stated: ev.Stated, Changes: f.changes(), Layers: f.layerFacts(),
		Traces: f.traces(), ValueAtRisk: f.atRisk, Owner: ownerFacts(f.owner), Runbook: runbookFacts(f.runbook, c, f.vars()),
		Burn: &BurnFacts{f.window(st.Window.Long, st.Long), f.window(st.Window.Short, st.Short), st.SLO.Remaining(st.Period), st.notice().Seconds()},
		Reach: &ReachFacts{
			Name: f.reach.Name, Where: whereOf(f.reach.Suspect.Where), Share: round(f.reach.Suspect.Share),
			Services: f.services(), Routes: f.hits(suspect.Route), Regions: f.hits(suspect.Region), Nodes: f.hits(suspect.Node),
		},
	}
	for _, s := range f.suspects[:min(maxSuspects, len(f.suspects))] {
		x.Suspects = append(x.Suspects, SuspectFacts{whereOf(s.Where), round(s.Share), round(s.Lift), s.Now.Bad, s.Now.Valid})
	}
	if ev.ActiveConsumers > 0 {
		x.Reach.Consumers = &ConsumerFacts{Affected: ev.Consumers, Active: ev.ActiveConsumers}
		for _, p := range ev.Plans {
			x.Reach.Consumers.ByPlan = append(x.Reach.Consumers.ByPlan, PlanFacts{clean(p.Name), p.Affected, p.Active})
		}
	}
	return x
}

// maxSuspects is how many facts hold.
const maxSuspects = 10

func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func ratioOf(c slo.Count) *float64 {
	if c.Valid == 0 {
		return nil
	}
	r := c.Ratio()
	return &r
}

// round keeps four digits behind the point.
func round(x float64) float64 { return math.Round(1e4*x) / 1e4 }

func whereOf(terms []suspect.Term) map[string]string {
	if len(terms) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, t := range terms {
		m[t.Dimension] = clean(t.Value)
	}
	return m
}

func (f *finding) window(long time.Duration, n slo.Count) WindowFacts {
	st := &f.status
	return WindowFacts{slo.Span(long), n.Valid, n.Bad, round(st.SLO.Burn(n)), st.Window.Factor}
}

func ownerFacts(a owner.Answer) OwnerFacts {
	t := a.Team
	return OwnerFacts{Name: tidy(t.Name), Source: tidy(a.Source), OnCall: t.OnCall, Chat: t.Chat, Email: t.Email, Hours: t.Hours, Then: a.Then}
}

func runbookFacts(found runbook.Found, c Config, vars map[string]string) *RunbookFacts {
	if found.Runbook == nil {
		return nil
	}
	return &RunbookFacts{found.Runbook.Name, found.Section.Title, found.Reason, link(found, c.RunbookBase(), vars), found.Steps(vars), found.Others}
}

// told is the order in which a page tells of layers.
var told = []string{layer.Upstream, layer.Service, layer.Database, layer.External, layer.Gateway}

// layerFacts are those of layers that have a time on both sides.
func (f *finding) layerFacts() *LayerFacts {
	if len(f.verdict.Changes) == 0 {
		return nil
	}
	x := &LayerFacts{Verdict: f.layer(), Why: f.verdict.Why, Layers: []LayerTime{}}
	inside := slices.Clone(f.verdict.Changes)
	slices.SortStableFunc(inside, func(a, b layer.Change) int {
		return cmp.Compare(slices.Index(told, a.Layer), slices.Index(told, b.Layer))
	})
	for _, c := range inside {
		now, ok := c.Now.P95()
		before, ok2 := c.Before.P95()
		if ok && ok2 {
			x.Layers = append(x.Layers, LayerTime{c.Layer, round(now / 1000), round(before / 1000)})
		}
		if c.Layer == layer.Service {
			x.Traces = c.Now.Traces
		}
	}
	if f.evidence.Now.Valid > 0 {
		x.Sampled = round(min(1, float64(x.Traces)/float64(f.evidence.Now.Valid)))
	}
	return x
}
