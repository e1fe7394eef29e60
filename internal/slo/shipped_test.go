package slo

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestShippedFiles(t *testing.T) {
	set, err := Load(os.DirFS("../../deploy/slo"))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Notes) > 0 {
		t.Errorf("notes: %q", set.Notes)
	}
	if len(set.SLOs) < 10 {
		t.Fatalf("%d objectives", len(set.SLOs))
	}
	for _, s := range set.SLOs {
		if s.Name == "payments-availability" && (s.Target != 0.999 || s.SLI.Kind != Availability || s.Service != "payments") {
			t.Errorf("payments: %+v", s)
		}
	}
}

// TestDocumentedFiles reads the examples of docs/alerting.md as one folder.
func TestDocumentedFiles(t *testing.T) {
	b, err := os.ReadFile("../../docs/alerting.md")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		if !strings.Contains(m[1], "kind: Owners") { // package owner's
			files = append(files, m[1])
		}
	}
	set, err := Parse("alerting.md", []byte(strings.Join(files, "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.SLOs) != 2 || len(set.Maintenances) != 1 || len(set.Adjustments) != 1 || len(set.Notes) != 0 {
		t.Errorf("%d objectives, %d maintenances, %d adjustments, notes %q", len(set.SLOs), len(set.Maintenances), len(set.Adjustments), set.Notes)
	}
}
