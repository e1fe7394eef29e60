package alertmanager

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/internal/devstack"
)

// amtool runs the real amtool and returns what it prints.
func amtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bin, err := devstack.BuildAmtool(t.Context(), "../..", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput()
	return string(out), err
}

const shipped = "../../deploy/alertmanager/"

// TestShippedConfig: amtool accepts the shipped files, and alerts go where they say.
func TestShippedConfig(t *testing.T) {
	if out, err := amtool(t, "check-config", shipped+"alertmanager.yml"); err != nil || !strings.Contains(out, "1 templates") {
		t.Fatalf("%v: %s", err, out)
	}
	for labels, want := range map[string]string{
		"alertname=SLOBurn severity=page service=payments owner=team-payments": "pages",
		"alertname=SLOBurn severity=critical service=payments":                 "pages",
		"alertname=SLOBurn severity=ticket service=payments":                   "tickets",
		"alertname=GatewatchAlive severity=none":                               "alive",
	} {
		out, err := amtool(t, append([]string{"config", "routes", "test", "--config.file", shipped + "alertmanager.yml"}, strings.Fields(labels)...)...)
		if err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%s goes to %q (%v), want %s", labels, strings.TrimSpace(out), err, want)
		}
	}
}

// TestTemplates: every template renders the whole page, of one alert and of two.
func TestTemplates(t *testing.T) {
	page := "[PAGE] payments availability 99.9 %: 12.4 % failing\nImpact   \"all\" <of> it\nDO NOW   1 `gatewatch-aggregate report errors`"
	one := map[string]any{
		"status": "firing", "labels": map[string]string{"alertname": "SLOBurn", "slo": "p", "service": "payments", "severity": "page"},
		"annotations": map[string]string{"page": page, "summary": "[PAGE] payments availability", "runbook_url": "https://wiki/runbooks/slo-burn"},
	}
	ended := map[string]any{"status": "resolved", "labels": map[string]string{"alertname": "SLOBurn", "slo": "q", "severity": "ticket"}, "annotations": map[string]string{"page": "[RESOLVED] q"}}
	for _, c := range []struct {
		template string
		alerts   []map[string]any
		want     []string
	}{
		{"gatewatch.text", []map[string]any{one}, []string{page}},
		{"gatewatch.text", []map[string]any{one, ended}, []string{page + "\n\n[RESOLVED] q"}},
		{"gatewatch.slack", []map[string]any{one}, []string{"```\n" + page + "\n```"}},
		{"gatewatch.html", []map[string]any{one}, []string{"[PAGE] payments", "https://wiki/runbooks/slo-burn"}},
		{"gatewatch.subject", []map[string]any{one}, []string{"[PAGE] payments availability"}},
		{"gatewatch.subject", []map[string]any{ended}, []string{"[RESOLVED] q"}},
		{"gatewatch.severity", []map[string]any{one}, []string{"critical"}},
		{"gatewatch.severity", []map[string]any{ended}, []string{"warning"}},
		{"gatewatch.runbook", []map[string]any{one}, []string{"https://wiki/runbooks/slo-burn"}},
	} {
		data := filepath.Join(t.TempDir(), "data.json")
		b, err := json.Marshal(map[string]any{"receiver": "pages", "status": "firing", "alerts": c.alerts, "groupLabels": map[string]string{}, "commonLabels": map[string]string{}, "commonAnnotations": map[string]string{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(data, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := amtool(t, "template", "render", "--template.glob", shipped+"gatewatch.tmpl", "--template.text", `{{ template "`+c.template+`" . }}`, "--template.data", data)
		if err != nil {
			t.Fatalf("%s: %v: %s", c.template, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", c.template, want, out)
			}
		}
	}
}
