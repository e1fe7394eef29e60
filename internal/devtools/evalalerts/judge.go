package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/devstack/replay"
	"gatewatch/internal/loadgen/scenario"
)

// A verdict is what was right about a scenario.
type verdict struct {
	label *scenario.Label
	pages []pageVerdict
	wrong []told // pages that should not have been
	// ticket tells that a ticket that was asked for came.
	ticket bool
}

// A pageVerdict is what was right about a page that should have come.
type pageVerdict struct {
	want *scenario.Page
	got  *told // nil: missed
	more int   // further pages of the same incident
	// What was right:
	owner, first, top3, radius, runbook bool
	why                                 []string // each miss
}

// told is an alert that a receiver was told of for the first time.
type told struct {
	at       time.Time
	severity string
	replay.NotifiedAlert
	facts facts
}

// facts are what is judged of an alert's annotation of that name.
type facts struct {
	Kind     string `json:"kind"`
	Suspects []struct {
		Where map[string]string `json:"where"`
		Share float64           `json:"share"`
	} `json:"suspects"`
	Reach struct {
		Name    string            `json:"name"`
		Where   map[string]string `json:"where"`
		Routes  []named           `json:"routes"`
		Regions []named           `json:"regions"`
	} `json:"reach"`
	Classes []named `json:"classes"`
	Layers  struct {
		Verdict string `json:"verdict"`
	} `json:"layers"`
}

type named struct {
	Name  string  `json:"name"`
	Bad   float64 `json:"bad"`
	Share float64 `json:"share"`
}

// where writes a place as "dimension=value", several with commas.
func where(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return strings.Join(parts, ",")
}

// firsts returns the alerts that began, in the order in which receivers were told.
func firsts(list []replay.Notification) (out []told) {
	seen := map[string]bool{}
	for _, n := range list {
		for _, a := range n.Alerts {
			key := a.Fingerprint + a.StartsAt.String()
			if a.Status != "firing" || seen[key] {
				continue
			}
			seen[key] = true
			t := told{at: n.At, severity: a.Labels["severity"], NotifiedAlert: a}
			if text := a.Annotations["facts"]; text != "" {
				_ = json.Unmarshal([]byte(text), &t.facts) // what can't be read is judged as absent
			}
			out = append(out, t)
		}
	}
	return out
}

// within is how long after an incident what is told still belongs to it.
const within = 30 * time.Minute

// judge holds what was told against the labels.
func judge(labels []scenario.Label, list []replay.Notification) (out []verdict) {
	all := firsts(list)
	taken := map[int]bool{}
	for i := range labels {
		l := &labels[i]
		v := verdict{label: l}
		if l.Kind == "clean" {
			continue
		}
		for k := range l.Pages {
			v.pages = append(v.pages, pageVerdict{want: &l.Pages[k]})
		}
		for k := range all {
			t := &all[k]
			if !of(t, l) || t.at.Before(l.From) || t.at.After(l.To.Add(within)) {
				continue
			}
			taken[k] = true
			if t.severity != "page" {
				v.ticket = v.ticket || t.facts.Kind == l.Ticket || t.Annotations["kind"] == l.Ticket
				continue
			}
			p := slices.IndexFunc(v.pages, func(p pageVerdict) bool { return p.want.Service == t.Labels["service"] })
			switch {
			case p < 0:
				v.wrong = append(v.wrong, *t)
			case v.pages[p].got == nil:
				v.pages[p].got = t
			default:
				v.pages[p].more++
				v.pages[p].why = append(v.pages[p].why, fmt.Sprintf("paged again at %s: %s", t.at.UTC().Format(time.TimeOnly), t.Annotations["summary"]))
			}
		}
		for k := range v.pages {
			v.pages[k].judge()
		}
		out = append(out, v)
	}
	clean := verdict{label: &scenario.Label{Kind: "clean", Note: "no incident at that time"}}
	for k := range all {
		if !taken[k] && all[k].severity == "page" {
			clean.wrong = append(clean.wrong, all[k])
		}
	}
	return append(out, clean)
}

// of tells whether an alert is about a scenario's shop.
func of(t *told, l *scenario.Label) bool {
	for _, value := range t.Labels {
		if strings.HasPrefix(value, l.Name+"-") {
			return true
		}
	}
	return false
}

func (p *pageVerdict) miss(format string, args ...any) {
	p.why = append(p.why, fmt.Sprintf(format, args...))
}

func (p *pageVerdict) judge() {
	t, want := p.got, p.want
	if t == nil {
		p.miss("missed")
		return
	}
	if p.owner = t.Labels["owner"] == want.Owner; !p.owner {
		p.miss("owner %s, not %s", t.Labels["owner"], want.Owner)
	}
	p.suspects()
	p.blastRadius()
	name, _, _ := strings.Cut(t.Annotations["runbook"], " §")
	if p.runbook = slices.Contains(want.Runbooks, name); !p.runbook {
		p.miss("runbook %s (%s), not %s", name, t.Annotations["runbook_reason"], strings.Join(want.Runbooks, " or "))
	}
}

func (p *pageVerdict) suspects() {
	f := &p.got.facts
	var got []string
	for _, s := range f.Suspects {
		got = append(got, where(s.Where))
	}
	right := func(name string) bool { return slices.Contains(p.want.Suspects, name) }
	known := right("error_class="+p.got.Labels["error_class"]) || len(f.Classes) > 0 && right("error_class="+f.Classes[0].Name) || right("layer="+f.Layers.Verdict)
	switch {
	case len(p.want.Suspects) == 0:
		p.first, p.top3 = len(got) == 0, len(got) == 0
	default:
		p.first = known || len(got) > 0 && right(got[0])
		p.top3 = p.first || slices.ContainsFunc(got[:min(3, len(got))], right)
	}
	if !p.first {
		p.miss("suspects %s, not %s", cmp.Or(strings.Join(got, "; "), "none"), cmp.Or(strings.Join(p.want.Suspects, " or "), "none"))
	}
}

func (p *pageVerdict) blastRadius() {
	r := &p.got.facts.Reach
	name := r.Name
	if name != "everyone" && name != "gateway" {
		for _, v := range r.Where {
			name += "=" + v
		}
	}
	if p.radius = slices.Contains(p.want.Reach, name); !p.radius {
		p.miss("reach %s, not %s", cmp.Or(name, "none"), strings.Join(p.want.Reach, " or "))
		return
	}
	for _, x := range []struct {
		what string
		got  []named
		want []string
	}{{"routes", r.Routes, p.want.Routes}, {"regions", r.Regions, p.want.Regions}} {
		var got []string
		for _, g := range x.got {
			got = append(got, g.Name)
		}
		if len(x.want) > 0 && len(got) > 0 && !slices.Equal(got[:min(len(got), len(x.want))], x.want) {
			p.radius = false
			p.miss("%s %s, not %s", x.what, strings.Join(got, " "), strings.Join(x.want, " "))
		}
	}
}
