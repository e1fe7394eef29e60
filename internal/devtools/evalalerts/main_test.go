package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/replay"
	"gatewatch/internal/loadgen/scenario"
)

func TestMain(m *testing.M) {
	leash.Main()
	os.Exit(m.Run())
}

// TestFew sends a handful of scenarios through the whole path.
func TestFew(t *testing.T) {
	dir := t.TempDir()
	root, err := devstack.Root(".")
	if err != nil {
		t.Fatal(err)
	}
	if err := devstack.Build(t.Context(), root, dir, "ingest", "alert"); err != nil {
		t.Fatal(err)
	}
	w := scenario.Short(scenario.Options{
		Seed: 3, Scenarios: 4, Kinds: []string{"one_upstream", "lost_route", "gateway_silent", "one_bad_client"},
		Before: 70 * time.Minute, Spread: time.Minute, After: 20 * time.Minute,
	})
	e := &evaluation{root: root, dir: dir, pages: json.NewEncoder(new(bytes.Buffer))}
	if err := e.world(t.Context(), "short", w); err != nil {
		t.Fatal(err)
	}
	var all tally
	for i := range e.verdicts {
		all.add(&e.verdicts[i])
	}
	if all.scenarios != 4 || all.got != 3 || all.missed != 0 || all.wrong != 0 || all.more != 0 || all.owner != 3 || all.first != 3 || all.radius != 3 || all.runbook != 3 || all.tickets != 1 {
		var text bytes.Buffer
		if err := e.print(&text); err != nil {
			t.Fatal(err)
		}
		t.Errorf("not all is right:\n%s", &text)
	}
}

// TestJudge: what is missed, wrong, told twice or told of nothing counts as that.
func TestJudge(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	labels := []scenario.Label{
		{Name: "s001", Kind: "outage", From: at, To: at.Add(time.Hour), Pages: []scenario.Page{{
			Service: "s001-a", Owner: "team", Suspects: []string{"upstream=u1"}, Reach: []string{"one_upstream=u1"}, Runbooks: []string{"upstream-errors"},
		}}},
		{Name: "s002", Kind: "outage", From: at, To: at.Add(time.Hour), Pages: []scenario.Page{{Service: "s002-a", Owner: "team"}}},
		{Name: "s003", Kind: "quiet_night", From: at, To: at.Add(time.Hour)},
	}
	note := func(after time.Duration, service, severity, facts string) replay.Notification {
		return replay.Notification{At: at.Add(after), Alerts: []replay.NotifiedAlert{{
			Status: "firing", Labels: map[string]string{"service": service, "severity": severity, "owner": "team"}, Fingerprint: service + severity, StartsAt: at.Add(after),
			Annotations: map[string]string{"runbook": "upstream-errors § Mitigation", "facts": facts},
		}}}
	}
	got := judge(labels, []replay.Notification{
		note(time.Minute, "s001-a", "page", `{"suspects":[{"where":{"route":"GET /"}},{"where":{"upstream":"u1"}}],"reach":{"name":"one_upstream","where":{"upstream":"u1"}}}`),
		note(10*time.Minute, "s001-a", "page", `{}`), note(time.Minute, "s003-a", "page", `{}`), note(-time.Hour, "s002-a", "page", `{}`), note(-time.Hour, "s002-a", "ticket", `{}`),
	})
	p := got[0].pages[0]
	if !p.owner || p.first || !p.top3 || !p.radius || !p.runbook || p.more != 1 {
		t.Errorf("a page that came: %+v", p)
	}
	if got[1].pages[0].got != nil || len(got[2].wrong) != 1 {
		t.Errorf("missed %+v, false %+v", got[1].pages[0], got[2].wrong)
	}
	if last := got[3]; last.label.Kind != "clean" || len(last.wrong) != 1 {
		t.Errorf("a page before any incident: %+v", last)
	}
}
