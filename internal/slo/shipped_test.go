package slo

import (
	"os"
	"testing"
)

func TestShippedFiles(t *testing.T) {
	list, err := Load(os.DirFS("../../deploy/slo"))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("%d objectives", len(list))
	}
	for _, s := range list {
		if s.Name == "payments-availability" && (s.Target != 0.999 || s.SLI.Kind != Availability || s.Service != "payments") {
			t.Errorf("payments: %+v", s)
		}
	}
}
