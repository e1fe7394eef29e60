package evaluate

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
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
		return suspect.Cell{Dimension: dimension, Value: value, Now: slo.Count{Valid: valid, Bad: bad}, Before: slo.Count{Valid: 12 * valid, Bad: 2}}
	}
	f := &finding{
		status: Status{
			SLO: s, State: alert.Firing, Severity: alert.Page, Since: since, ID: "3f9a11bb", Window: s.Windows[0],
			Long: slo.Count{Valid: 110_000, Bad: 1998}, Short: slo.Count{Valid: 9700, Bad: 1204},
			Period: slo.Count{Valid: 80_000_000, Bad: 23_200}, Usual: slo.Count{Valid: 2_900_000, Bad: 580},
		},
		evidence: Evidence{
			Now: now, Before: before, From: since, To: since.Add(5 * time.Minute), Consumers: 212, ActiveConsumers: 1800, Stated: 1,
			Cells: []suspect.Cell{
				cell("upstream", "pay-1", 3300, 10), cell("upstream", "pay-2", 3200, 1180), cell("upstream", "pay-3", 3200, 14),
				cell("route", "POST /v1/charges", 5000, 1010), cell("route", "GET /v1/charges/{id}", 4700, 194),
				cell("node", "gw-1", 4850, 600), cell("node", "gw-2", 4850, 604), cell("region", "eu", 6000, 745), cell("region", "us", 3700, 459),
			},
			Classes: []Portion{{"upstream_timeout", 0.91}, {"upstream_5xx", 0.09}}, Responders: []Portion{{"upstream", 1}},
			FirstSeen: []FirstSeen{{"version", "2.14.0", since.Add(-5 * time.Minute)}},
			Layers:    []Layer{{"service", 2100 * time.Millisecond, 200 * time.Millisecond}, {"database", 22 * time.Millisecond, 2 * time.Millisecond}, {"gateway", time.Millisecond, time.Millisecond}},
			Traces:    1120, Sampled: 0.1, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
		},
		owner:    owner.Answer{Team: owner.Team{Name: "team-payments", OnCall: "https://oncall.example.com/payments", Chat: "#payments"}, Source: "spec.owner of Component payments (teams.yaml:9)"},
		complete: since.Add(5 * time.Minute), now: since.Add(5*time.Minute + 8*time.Second),
	}
	f.judge(t)
	return f, Config{Listen: "127.0.0.1:9363", Alertmanagers: []string{"http://alertmanager:9093"}}
}

// judge draws the conclusions from the evidence, as a loop does.
func (f *finding) judge(t *testing.T) {
	t.Helper()
	f.suspects = suspect.Rank(f.evidence.Cells, f.evidence.Now, f.evidence.Before)
	f.reach = suspect.ReachOf(f.suspects, false)
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
					c.Value = hostile + strings.Repeat("ä", 5000)
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
			f.judge(t)
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

// TestExplanation: what is kept of a finding is JSON that says why.
func TestExplanation(t *testing.T) {
	f, _ := failure(t)
	var got struct {
		Reach         string
		OwnerReason   string `json:"owner_reason"`
		RunbookReason string `json:"runbook_reason"`
		Suspects      []struct{ Dimension, Value string }
		Long          struct{ Burn, Threshold float64 }
	}
	if err := json.Unmarshal([]byte(f.explanation()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Reach != "one_upstream" || !strings.HasPrefix(got.OwnerReason, "spec.owner") || !strings.Contains(got.RunbookReason, "error_class") ||
		len(got.Suspects) == 0 || got.Suspects[0].Value != "pay-2" || got.Long.Threshold != 14.4 || got.Long.Burn < 18 {
		t.Errorf("explanation %+v", got)
	}
}
