package main

import (
	"encoding/json"
	"strings"
	"testing"

	"gatewatch/internal/evaluate"
)

// TestExplainInvented: a described signal gets the runbook that a real one would.
func TestExplainInvented(t *testing.T) {
	file := folder(t, "gatewatch.yaml", "  runbooks: {dir: runbooks}\n", "")
	code, out, errs := command(t, "explain", "--config", file, "--kind", "slo_burn", "--service", "pets", "--error-class", "upstream_timeout", "--reach", "one_upstream", "--set", "upstream=pet's 2")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{
		"Runbook  upstream-timeout § One upstream: matched by kind + error_class; section by reach", "Then     slo-burn: matched by kind", "         fallback: fallback for every signal",
		"Take pet's 2 out of rotation", "Owner    team-pets: spec.owner of Component pets",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, _ = command(t, "explain", "--config", file, "--kind", "traffic_lost", "-o", "json")
	var got struct{ Runbook evaluate.RunbookFacts }
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Runbook.Name != "traffic-lost" || len(got.Runbook.Others) == 0 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	// A kind brings what all its signals have.
	if code, out, errs := command(t, "explain", "--config", file, "--kind", "breaker_open"); code != 0 || !strings.Contains(out, "breaker-open § ") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	for _, args := range [][]string{{"--kind", "slow_burn"}, {"--kind", "slo_burn", "3f9a"}, {"--kind", "slo_burn", "--set", "host=a"}, {"--error-class", "timeout"}} {
		if code, _, errs := command(t, append([]string{"explain", "--config", file}, args...)...); code != 2 {
			t.Errorf("%q: exit %d, want 2: %s", args, code, errs)
		}
	}
}

// TestRunbookCoverage: the shipped texts cover all; one text for everything covers nothing.
func TestRunbookCoverage(t *testing.T) {
	code, out, errs := command(t, "runbooks", "--config", folder(t, "gatewatch.yaml", "  runbooks: {dir: runbooks}\n", ""))
	if code != 0 || !strings.Contains(out, "100.0 %: ") || !strings.Contains(out, "slo_burn upstream_timeout") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	code, out, errs = command(t, "runbooks", "--config", folder(t, "catalog/pets.yaml", component, component+group))
	if code != 1 || !strings.Contains(out, "0.0 %: 0 of ") || !strings.Contains(out, "all (for everything)") {
		t.Errorf("exit %d, want 1: %s\n%s", code, errs, out)
	}
	code, out, _ = command(t, "runbooks", "-o", "json", "--config", folder(t, "gatewatch.yaml", "  runbooks: {dir: runbooks}\n", ""))
	var got struct {
		Schema           string
		Signals, Covered int
		Rows             []map[string]string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Schema != "gatewatch/runbooks/v1" || got.Signals != got.Covered || len(got.Rows) < 20 {
		t.Errorf("exit %d, %v: %+v", code, err, got)
	}
	empty := folder(t, "slo/pets.yaml", pets, "", "catalog/pets.yaml", component, "", "gatewatch.yaml", "  runbooks: {dir: runbooks}\n", "")
	if code, _, errs := command(t, "runbooks", "--config", empty); code != 4 {
		t.Errorf("nothing declared: exit %d, want 4: %s", code, errs)
	}
}

const (
	group = "---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: team-pets}\nspec: {profile: {email: pets@example.com}}\n"
	own   = "---\napiVersion: gatewatch/v1\nkind: Owners\nteams:\n  - {name: team-vets, chat: \"#vets\", hours: Mon-Fri 9-17}\nservices:\n  - service: pets\n    routes: [{route: POST /v1/visits, owner: team-vets}]\n"
)

// TestOwners: coverage needs owners with a contact; who is named and not described is a fault.
func TestOwners(t *testing.T) {
	code, out, errs := command(t, "owners", "--config", folder(t, "catalog/pets.yaml", component, component+group+own))
	if code != 0 || !strings.Contains(out, "100.0 %: 2 of 2") || !strings.Contains(out, "POST /v1/visits  team-vets") || !strings.Contains(out, "Mon-Fri 9-17") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	if code, out, _ = command(t, "owners", "--config", folder(t)); code != 1 || !strings.Contains(out, "0.0 %: 0 of 1") {
		t.Errorf("an owner whom nobody can reach: exit %d\n%s", code, out)
	}
	if code, out, _ = command(t, "owners", "--config", folder(t, "catalog/pets.yaml", component, "")); code != 1 || !strings.Contains(out, "default_owner") {
		t.Errorf("the default owner: exit %d\n%s", code, out)
	}
	file := folder(t, "catalog/pets.yaml", component, component+strings.ReplaceAll(group, "team-pets", "team-dogs"))
	if code, _, errs = command(t, "check", "--config", file); code != 2 || !strings.Contains(errs, "spec.owner of Component pets (pets.yaml:4): owner team-pets is no group") {
		t.Errorf("unknown owner: exit %d: %s", code, errs)
	}
}
