package slo

import (
	"os"
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
