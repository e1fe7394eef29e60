package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
)

func TestClip(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly 10", 10, "exactly 10"},
		{"bar ████████", 6, "bar ██\x1b[0m"},
		{"\x1b[31mred\x1b[0m and more", 5, "\x1b[31mred\x1b[0m a\x1b[0m"},
	} {
		if got := clip(c.line, c.width); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

func snapshot() devstack.Snapshot {
	snap := devstack.Snapshot{At: time.Date(2026, 3, 2, 12, 0, 5, 0, time.UTC), CompleteUntil: time.Date(2026, 3, 2, 12, 0, 3, 0, time.UTC), PerSecond: 301, Errors: 0.03}
	for _, name := range []string{"client_not_found", "client_bad_request", "upstream_timeout", "client_auth", "client_quota"} {
		snap.Classes = append(snap.Classes, devstack.Share{Name: name, Share: 0.01})
		snap.Routes = append(snap.Routes, devstack.RouteFigures{Name: "payments POST /v1/charges/{id}/capture " + name, PerSecond: 3, Errors: 0.2})
		snap.Budgets = append(snap.Budgets, devstack.Budget{SLO: name, Remaining: 0.1})
		snap.Alerts = append(snap.Alerts, clickhouse.AlertState{SLO: name, State: "firing", Severity: "page"})
	}
	snap.Routes = append(snap.Routes, snap.Routes...)
	return snap
}

// TestViewFits: the block must never be higher than a terminal of 24 lines, or
// it can't be drawn over.
func TestViewFits(t *testing.T) {
	s := &screen{out: new(bytes.Buffer), terminal: true, colours: true}
	if n := len(s.view(snapshot(), "note")); n > 23 {
		t.Errorf("the view has %d lines", n)
	}
}

// TestPlain: without a terminal each view is one line without escape codes.
func TestPlain(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, false, true)
	s.draw(s.view(snapshot(), "note"))
	text := out.String()
	if strings.Count(text, "\n") != 1 || strings.Contains(text, "\x1b") || !utf8.ValidString(text) {
		t.Errorf("not one plain line: %q", text)
	}
	for _, want := range []string{"301 requests/s", "upstream_timeout 1.00 %", "complete until 12:00:03, 2 s ago", "firing", "note"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}
