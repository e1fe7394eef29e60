package main

import (
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A ruleFile is a file of Prometheus' alert rules.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

// rules returns the expressions of deploy/prometheus by the alerts' names.
func rules(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(root + "/deploy/prometheus/gatewatch.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %s lacks severity, summary or description", r.Alert)
			}
			found[r.Alert] = r.Expr
		}
	}
	if len(found) < 8 {
		t.Errorf("only %d rules", len(found))
	}
	return found
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
