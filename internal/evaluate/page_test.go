package evaluate

import (
	"encoding/json"
	"flag"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
	"gatewatch/internal/baseline"
	"gatewatch/internal/change"
	"gatewatch/internal/histogram"
	"gatewatch/internal/layer"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// failure is an upstream of payments that times out, with all that can be known.
func failure(t *testing.T) (*finding, Config) {
	t.Helper()
	since := time.Date(2026, 3, 2, 3, 11, 0, 0, time.UTC)
	s := objective("payments-availability")
	now, before := slo.Count{Valid: 9700, Bad: 1204}, slo.Count{Valid: 120_000, Bad: 24}
	cell := func(dimension, value string, valid, bad int64) suspect.Cell {
		return suspect.Cell{Where: []suspect.Term{{Dimension: dimension, Value: value}}, Now: slo.Count{Valid: valid, Bad: bad}, Before: slo.Count{Valid: 12 * valid, Bad: valid / 500}}
	}
	traced := cell("upstream", "pay-2", 3200, 1180)
	traced.TraceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	day := since.Add(-5 * time.Minute)
	f := &finding{
		status: Status{
			SLO: s, State: alert.Firing, Severity: alert.Page, Since: since, ID: "3f9a11bb", Window: s.Windows[0],
			Long: slo.Count{Valid: 110_000, Bad: 1998}, Short: slo.Count{Valid: 9700, Bad: 1204},
			Period: slo.Count{Valid: 80_000_000, Bad: 23_200}, Usual: slo.Count{Valid: 2_900_000, Bad: 580},
		},
		evidence: Evidence{
			Now: now, Before: before, From: since, To: since.Add(5 * time.Minute), Consumers: 212, ActiveConsumers: 1800, Stated: 1,
			Cells: []suspect.Cell{
				cell("upstream", "pay-1", 3300, 10), traced, cell("upstream", "pay-3", 3200, 14),
				cell("route", "POST /v1/charges", 5000, 1010), cell("route", "GET /v1/charges/{id}", 4700, 194),
				cell("node", "gw-1", 4850, 600), cell("node", "gw-2", 4850, 604), cell("region", "eu", 6000, 745), cell("region", "us", 3700, 459),
			},
			Classes: []Portion{{"upstream_timeout", 0.91}, {"upstream_5xx", 0.09}}, Responders: []Portion{{"upstream", 1}},
			FirstSeen: []FirstSeen{{"version", "2.14.0", since.Add(-5 * time.Minute)}},
			LayersNow: layersOf(9700, 1120, 2100, 22), LayersBefore: layersOf(120_000, 12_000, 200, 2),
			WeekAgo: slo.Count{Valid: 9500, Bad: 3}, Plans: []PlanHit{{"gold", 3, 9}, {"free", 209, 791}},
			Changes:  []change.Event{{Time: day, Service: "payments", Kind: "deploy", What: "payments 2.14.0", Who: "ci"}},
			Services: []ServiceCount{{"payments", now, before}, {"orders", slo.Count{Valid: 4000, Bad: 300}, slo.Count{Valid: 48_000, Bad: 20}}, {"users", slo.Count{Valid: 4000, Bad: 2}, slo.Count{Valid: 48_000, Bad: 20}}},
			Worth:    []Worth{{Workflow: "checkout", Currency: "EUR", Each: 48.5, Steps: []Operation{{"payments", "POST", "/v1/charges"}}, Hours: hourly(since, 9700)}},
		},
		owner:    owner.Answer{Team: owner.Team{Name: "team-payments", OnCall: "https://oncall.example.com/payments", Chat: "#payments"}, Source: "spec.owner of Component payments (teams.yaml:9)"},
		complete: since.Add(5 * time.Minute), now: since.Add(5*time.Minute + 8*time.Second),
	}
	f.match(t)
	return f, Config{Listen: "127.0.0.1:9363", Alertmanagers: []string{"http://alertmanager:9093"}, Grafana: "https://grafana.example.com/"}
}

// layersOf are layers with a p95 of the service and of its database in milliseconds.
func layersOf(requests, traces, service, database int64) map[string]layer.Figures {
	figures := func(ms, measured, traces int64) layer.Figures {
		h := histogram.Histogram{}
		h[histogram.Index(uint64(1000*ms))] = measured
		return layer.Figures{Requests: requests, Measured: measured, Traces: traces, TimeUS: 1000 * ms * measured, Time: h}
	}
	return map[string]layer.Figures{
		layer.Gateway: figures(1, requests, 0), layer.Upstream: figures(service+database, requests, 0), layer.Service: figures(service, requests, traces), layer.Database: figures(database, requests, traces),
	}
}

// hourly is four weeks of a workflow that brings in nearly the same each hour.
func hourly(at time.Time, value float64) []baseline.Point {
	var list []baseline.Point
	for h := at.Truncate(time.Hour).Add(-28 * 24 * time.Hour); h.Before(at.Truncate(time.Hour)); h = h.Add(time.Hour) {
		list = append(list, baseline.Point{Time: h, Value: value * (1 + float64(h.YearDay()%7)/50)})
	}
	return list
}

// match draws the conclusions from the evidence, as a loop does.
func (f *finding) match(t *testing.T) {
	t.Helper()
	f.judge()
	books, err := runbook.Load(os.DirFS("../../runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	var ok bool
	if f.runbook, ok = match(books, f.status.SLO.Runbook, f.signal()); !ok {
		t.Fatal("no runbook")
	}
}

// TestPage compares pages with golden texts and with the contract: 110
// characters in line 1, 25 lines, 4 KB, no character that hides or forges.
func TestPage(t *testing.T) {
	const hostile = "pay\n[PAGE] forged\u202e\x1b[31m`$(reboot)`\x00 SELECT '; DROP TABLE x --"
	for _, c := range []struct {
		name   string
		change func(*finding)
	}{
		{"upstream", func(*finding) {}},
		{"everyone", func(f *finding) {
			for i := range f.evidence.Cells {
				c := &f.evidence.Cells[i]
				c.Now.Bad = int64(float64(c.Now.Valid) * f.evidence.Now.Ratio())
			}
			f.evidence.Stated, f.evidence.FirstSeen = 0, nil
		}},
		{"bare", func(f *finding) { // nothing can be read, nothing is known
			f.evidence = Evidence{Now: f.status.Short, From: f.evidence.From, To: f.evidence.To}
			f.status.Usual, f.owner.Team, f.owner.Source = slo.Count{}, owner.Team{Name: "platform"}, "default_owner"
		}},
		{"latency", func(f *finding) {
			f.status.SLO.Name = "payments-latency"
			f.status.SLO.Target, f.status.SLO.SLI.Kind, f.status.SLO.SLI.Threshold = 0.99, slo.Latency, 500*time.Millisecond
			f.status.Severity, f.status.Window = alert.Ticket, f.status.SLO.Windows[2]
		}},
		{"spent", func(f *finding) { f.status.Period.Bad = 120_000 }},
		{"hostile", func(f *finding) {
			for i := range f.evidence.Cells {
				if c := &f.evidence.Cells[i]; c.Now.Bad > 700 {
					c.Where[0].Value = hostile + strings.Repeat("ä", 5000)
				}
			}
			f.evidence.FirstSeen[0].Value = hostile
			f.status.SLO.Service = hostile + strings.Repeat("é", 500)
			f.owner.Team.Name = hostile
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, config := failure(t)
			c.change(f)
			f.match(t)
			got := f.text(config)
			checkContract(t, got)
			golden(t, c.name, got)
		})
	}
	t.Run("resolved", func(t *testing.T) {
		f, _ := failure(t)
		tr := Transition{At: f.status.Since.Add(17 * time.Minute), FromSever: alert.Page, Status: f.status, ResolvedID: f.status.ID, Since: f.status.Since, Total: slo.Count{Valid: 33_000, Bad: 4100}}
		got := resolvedText(&tr)
		checkContract(t, got)
		golden(t, "resolved", got)
	})
}

// TestDashboards: what pages link to is shipped and takes what they hand over.
func TestDashboards(t *testing.T) {
	files, err := filepath.Glob("../../dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	takes := map[string][]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			UID        string `json:"uid"`
			Templating struct {
				List []struct {
					Name string `json:"name"`
				} `json:"list"`
			} `json:"templating"`
		}
		if err := json.Unmarshal(data, &board); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		takes[board.UID] = nil
		for _, v := range board.Templating.List {
			takes[board.UID] = append(takes[board.UID], "var-"+v.Name)
		}
	}
	if diff := cmp.Diff(Dashboards(), slices.Sorted(maps.Keys(takes))); diff != "" {
		t.Errorf("dashboards (-known +shipped):\n%s", diff)
	}
	f, config := failure(t)
	var boards []string
	for _, link := range config.dashboards(&f.status, f.runbook, f.vars()) {
		u, err := url.Parse(link[strings.Index(link, "http"):])
		if err != nil {
			t.Fatal(err)
		}
		uid := path.Base(u.Path)
		boards = append(boards, uid)
		for name := range u.Query() {
			if name != "from" && name != "to" && !slices.Contains(takes[uid], name) {
				t.Errorf("%s has no variable %s", uid, name)
			}
		}
	}
	if diff := cmp.Diff(boards, []string{"gw-incident", "gw-requests"}); diff != "" {
		t.Errorf("links (-got +want):\n%s", diff)
	}
}

func checkContract(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(text, "\n")
	if n := utf8.RuneCountInString(lines[0]); n > 110 {
		t.Errorf("line 1 has %d characters: %s", n, lines[0])
	}
	if len(lines) > 25 || len(text) > 4096 {
		t.Errorf("%d lines, %d bytes", len(lines), len(text))
	}
	for i, line := range lines {
		if i > 0 && strings.HasPrefix(line, "[") {
			t.Errorf("line %d is forged: %s", i+1, line)
		}
		for _, r := range line {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
				t.Errorf("line %d holds %U", i+1, r)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "page", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got+"\n", string(want)); diff != "" {
		t.Errorf("page (-got +want; run with -update to accept):\n%s", diff)
	}
}

// TestFacts: what a page says is in its facts, by the names that docs/alerting.md has.
func TestFacts(t *testing.T) {
	f, c := failure(t)
	var got Facts
	dec := json.NewDecoder(strings.NewReader(f.facts(c).json()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Reach.Name != "one_upstream" || !strings.HasPrefix(got.Owner.Source, "spec.owner") || !strings.Contains(got.Runbook.Reason, "error_class") ||
		len(got.Suspects) == 0 || got.Suspects[0].Where["upstream"] != "pay-2" || got.Burn.Long.Threshold != 14.4 || got.Burn.Long.Burn < 18 {
		t.Errorf("facts %+v", got)
	}
	if diff := cmp.Diff(got.Reach.Services, []Hit{{"payments", 1204, 9700}, {"orders", 300, 4000}}); diff != "" {
		t.Errorf("services (-got +want):\n%s", diff)
	}
	if len(got.ValueAtRisk) != 1 || got.ValueAtRisk[0].Currency != "EUR" || got.ValueAtRisk[0].PerHour < 1900 || got.ValueAtRisk[0].PerHour > 2300 || *got.ValueAtRisk[0].Low >= *got.ValueAtRisk[0].High {
		t.Errorf("value at risk %+v", got.ValueAtRisk)
	}
	if got.Layers.Traces != 1120 || got.Changes[0].Kind != "deploy" || got.Traces[0] != "4bf92f3577b34da6a3ce929d0e0e4736" || got.Runbook.Name != "upstream-timeout" {
		t.Errorf("facts %+v", got)
	}
	// Every field of the documented example is one of Facts.
	doc, err := os.ReadFile("../../docs/alerting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(doc), "```json\n{\n  \"schema\"")
	example, _, _ = strings.Cut(example, "```")
	dec = json.NewDecoder(strings.NewReader("{\"schema\"" + example))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&Facts{}); err != nil {
		t.Errorf("docs/alerting.md: %v", err)
	}
}
