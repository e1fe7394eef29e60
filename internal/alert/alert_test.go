package alert

import (
	"testing"
	"time"
)

// TestID: whoever computes it, and whenever, gets the same id; another incident
// has another one. The first value is stored in databases: it must not change.
func TestID(t *testing.T) {
	since := time.Date(2026, 3, 2, 3, 11, 0, 0, time.UTC)
	id := ID("payments", since)
	if want := "1ef04723"; id != want {
		t.Errorf("ID = %s, want %s", id, want)
	}
	if id != ID("payments", since.In(time.FixedZone("", 7200))) {
		t.Error("the id depends on the time zone")
	}
	if id == ID("payments", since.Add(10*time.Second)) || id == ID("orders", since) {
		t.Error("two incidents have one id")
	}
}

func TestParseSeverity(t *testing.T) {
	for _, s := range []Severity{None, Ticket, Page} {
		if got, err := ParseSeverity(s.String()); got != s || err != nil {
			t.Errorf("ParseSeverity(%s) = %s, %v", s, got, err)
		}
	}
	if _, err := ParseSeverity("warning"); err == nil {
		t.Error("warning is a severity")
	}
	if Page <= Ticket || Ticket <= None {
		t.Error("severities are not in the order of urgency")
	}
}
