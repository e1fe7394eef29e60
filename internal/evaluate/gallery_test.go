package evaluate

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/change"
	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// burning are failures of payments that differ in where they are, and what else is known.
func burning(since time.Time) []struct {
	name string
	with func(*finding)
} {
	even := func(f *finding) {
		for i := range f.evidence.Cells {
			c := &f.evidence.Cells[i]
			c.Now.Bad = int64(float64(c.Now.Valid) * f.evidence.Now.Ratio())
		}
		f.evidence.FirstSeen, f.evidence.Changes, f.evidence.LayersNow = nil, nil, nil
	}
	cell := func(valid, bad int64, terms ...string) suspect.Cell {
		c := suspect.Cell{Now: slo.Count{Valid: valid, Bad: bad}, Before: slo.Count{Valid: 12 * valid, Bad: valid / 500}}
		for _, t := range terms {
			d, v, _ := strings.Cut(t, "=")
			c.Where = append(c.Where, suspect.Term{Dimension: d, Value: v})
		}
		return c
	}
	only := func(class, responder string, cells ...suspect.Cell) func(*finding) {
		return func(f *finding) {
			even(f)
			f.evidence.Cells = append(f.evidence.Cells, cells...)
			f.evidence.Classes, f.evidence.Responders = []Portion{{class, 1}}, []Portion{{responder, 1}}
		}
	}
	return []struct {
		name string
		with func(*finding)
	}{
		{"outage of all hosts", only("upstream_5xx", "upstream")},
		{"no healthy host", only("gateway_no_upstream", "gateway")},
		{"breaker", only("breaker_open", "gateway")},
		{"one route on one upstream", only("upstream_timeout", "upstream", cell(3000, 1190, "upstream=pay-9"), cell(3000, 1190, "route=POST /v1/refunds"), cell(1300, 1180, "upstream=pay-9", "route=POST /v1/refunds"))},
		{"one gateway node", only("upstream_connect", "upstream", cell(2400, 1190, "node=gw-7"))},
		{"one region", only("upstream_dns", "upstream", cell(3000, 1190, "region=ap"))},
		{"one client", func(f *finding) {
			only("upstream_5xx", "upstream", cell(1200, 1190, "consumer=shop-17"), cell(1200, 1190, "key=1a2b3c4d"))(f)
			f.evidence.Consumers = 1
			f.consumer = owner.Answer{Team: owner.Team{Name: "partners", Email: "partners@example.com"}, Source: "owner of consumer shop-17"}
		}},
		{"a release on its hosts", func(f *finding) {
			only("upstream_5xx", "upstream", cell(3000, 1190, "upstream=pay-9"), suspect.Cell{Where: []suspect.Term{{Dimension: "version", Value: "2.15.0"}}, Now: slo.Count{Valid: 3000, Bad: 1190}, New: true})(f)
			f.evidence.FirstSeen = []FirstSeen{{"version", "2.15.0", since.Add(-3 * time.Minute)}}
		}},
		{"a flag for all", func(f *finding) {
			only("gateway_internal", "gateway")(f)
			f.evidence.Changes = []change.Event{{Time: since.Add(-90 * time.Second), Kind: "gateway_config", What: "rate limits of the public gateway", Who: "ann"}}
		}},
		{"a retry storm", func(f *finding) {
			only("gateway_overload", "gateway")(f)
			f.evidence.Before, f.evidence.BeforeMinutes, f.evidence.WeekAgo = slo.Count{Valid: 40_000, Bad: 8}, 60, slo.Count{Valid: 3000}
		}},
		{"a slow database", func(f *finding) {
			only("none", "upstream")(f)
			f.status.SLO.Name, f.status.SLO.Target, f.status.SLO.SLI.Kind, f.status.SLO.SLI.Threshold = "payments-latency", 0.99, slo.Latency, 500*time.Millisecond
			f.evidence.LayersNow, f.evidence.LayersBefore = layersOf(9700, 1120, 210, 1900), layersOf(120_000, 12_000, 200, 20)
		}},
		{"every week at this hour", func(f *finding) {
			only("upstream_5xx", "upstream")(f)
			f.evidence.WeekAgo = slo.Count{Valid: 9500, Bad: 1100}
		}},
	}
}

// found are signals, by what was read for them.
func found(at time.Time) []Signal {
	month := at.Add(-3 * time.Minute)
	r := &Readings{
		At: at,
		Errors: []ClassShare{
			{Service: "payments", Class: "client_auth", Requests: 9700, Errors: 7200, Active: 80, Hit: 74, UsualRequests: 1e6, UsualErrors: 900, Since: month},
			{Service: "catalog", Class: "client_not_found", Requests: 9700, Errors: 3000, Active: 80, Hit: 30, UsualRequests: 1e6, UsualErrors: 9000, Since: month},
		},
		Traffic: []Traffic{
			{Service: "orders", Minutes: minutes(75, 300, 2, 0, 1)},
			{Service: "users", Minutes: minutes(75, 300, 200, 200, 200)},
			{Service: "users", Node: "gw-2", Minutes: minutes(75, 100, 0, 0, 0)},
			{Service: "shipping", Minutes: minutes(75, 100, slices.Repeat([]int64{40}, 15)...), History: usualHours(at, 6000)},
		},
		Breakers:   []BreakerUse{{Service: "payments", Route: "POST /v1/charges", Requests: 300, Refused: 280, Since: month}},
		Users:      []ConsumerUse{{Service: "payments", Consumer: "shop-17", Plan: "gold", Requests: 500, Failed: 480, OthersRequests: 9000, OthersFails: 12, Class: "client_auth", Since: month}},
		Periods:    []ConsumerPeriod{{Consumer: "shop-17", Plan: "gold", Quota: 200_000, Used: 190_000, LastDay: 9000}},
		Deprecated: []DeprecatedUse{{VersionUse{Service: "catalog", Route: "GET /v1/products/{id}", Keys: 41, Requests: 120_000}, at.AddDate(0, 0, 12)}},
		Silent:     []SilentService{{Service: "search", Spans: 4100, Last: at.Add(-14 * time.Minute)}},
		Topics: []TopicState{
			{Topic: "gateway-nginx", CaughtUp: true, CompleteUntil: at.Add(-4 * time.Hour), Lag: 71_000_000, AtRisk: true, Retention: 6 * time.Hour},
			{Topic: "gateway-envoy", CaughtUp: true, CompleteUntil: at, Messages: 10_000, Dead: 700, Reason: "not JSON"},
		},
		Disks:   []DiskState{{Host: "ch-1", Disk: "default", First: at.Add(-24 * time.Hour), Last: at, FreeFirst: 60e9, Free: 50e9, Total: 500e9}},
		Budgets: []BudgetState{{SLO: "payments-availability", Service: "payments", Left: 0.06, Low: true, Period: slo.Count{Valid: 80e6, Bad: 75_000}, PeriodName: "30 d", Allowed: 0.001}},
		Owners:  map[string]string{"shop-17": "partners"},
	}
	var list []Signal
	for _, d := range Detectors() {
		list = append(list, d.Find(SignalsConfig{}, r)...)
	}
	return list
}

// TestGallery writes the pages of many different incidents one below the other, to be
// read by people when a wording changes. None breaks the contract, and none
// has an empty field or a value that nobody gave.
func TestGallery(t *testing.T) {
	var b strings.Builder
	add := func(name, page string) {
		checkContract(t, page)
		for line := range strings.Lines(page) {
			for _, bad := range []string{"%!", "{", "<nil>", "NaN", "+Inf", " ,", "()", "0001-01-01"} {
				if strings.Contains(line, bad) && !strings.Contains(line, "{id}") && !strings.Contains(line, "SELECT") {
					t.Errorf("%s: %q in %s", name, bad, line)
				}
			}
		}
		fmt.Fprintf(&b, "=== %s\n%s\n\n", name, page)
	}
	f, config := failure(t)
	since := f.status.Since
	for _, c := range burning(since) {
		f, _ := failure(t)
		c.with(f)
		f.match(t)
		add(c.name, f.text(config))
	}
	w := newWorld(t, start, func(time.Time) slo.Count { return slo.Count{Valid: 100} })
	catalog, err := owner.Load(os.DirFS("../../deploy/catalog"))
	if err != nil {
		t.Fatal(err)
	}
	w.loop.deps.Owners = catalog
	at := time.Date(2026, 4, 13, 10, 5, 0, 0, time.UTC)
	w.now = at.Add(8 * time.Second)
	lost := suspect.Cell{Where: []suspect.Term{{Dimension: "route", Value: "GET /v1/search"}}, Now: slo.Count{Valid: 3100, Bad: 2990}, Before: slo.Count{Valid: 36_000, Bad: 40}, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}
	route := func() Evidence {
		return Evidence{Now: slo.Count{Valid: 9700, Bad: 3000}, Before: slo.Count{Valid: 110_000, Bad: 200}, From: at.Add(-3 * time.Minute), To: at, Cells: []suspect.Cell{lost}, Classes: []Portion{{"client_not_found", 1}}, Responders: []Portion{{"gateway", 1}}, Stated: 1}
	}
	for _, sig := range found(at) {
		w.store.looked = nil
		if sig.ErrorClass == "client_not_found" {
			w.store.looked = route
		}
		tr := Transition{At: at, Status: (&activeSignal{Signal: sig, id: alert.ID(string(sig.Kind), sig.Since)}).status(alert.Firing)}
		a, team, facts := w.loop.compose(t.Context(), &tr, at)
		add(string(sig.Kind)+" "+sig.subject(), a.Annotations["page"])
		over := tr
		over.At, over.FromSever, over.ResolvedID, over.Since = at.Add(17*time.Minute), sig.Severity, tr.Status.ID, at
		add(string(sig.Kind)+", over", w.loop.endText(&over))
		var x Facts
		if err := json.Unmarshal([]byte(facts), &x); err != nil || x.Owner.Name != team || a.Labels["owner"] != team || x.Runbook == nil || x.Kind != string(sig.Kind) || a.Annotations["facts"] != facts {
			t.Errorf("%s: facts %s (%v)", sig.Kind, facts, err)
		}
		if sig.Owner != "" && (team != "partners" || x.Owner.Then == "") {
			t.Errorf("%s: goes to %s, then %q", sig.Kind, team, x.Owner.Then)
		}
		if sig.Service == "catalog" && sig.Kind == alert.ClientErrors && (team != "team-search" || x.Reach.Name != "one_route" || x.Runbook.Name != "lost-route" || len(x.Suspects) != 1) {
			t.Errorf("a lost route: %s, %+v, %s", team, x.Reach, x.Runbook.Name)
		}
	}
	golden(t, "gallery", strings.TrimRight(b.String(), "\n"))
	if n := strings.Count(b.String(), "=== "); n < 20 {
		t.Errorf("only %d incidents", n)
	}
}

// TestLayersOfGallery: the slow database of the gallery is one.
func TestLayersOfGallery(t *testing.T) {
	if v := layer.Compare(layersOf(9700, 1120, 210, 1900), layersOf(120_000, 12_000, 200, 20)); v.Latency != layer.Database {
		t.Errorf("verdict %q: %s", v.Latency, v.Why)
	}
}
