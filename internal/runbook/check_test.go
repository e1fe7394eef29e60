package runbook

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/layer"
	"gatewatch/internal/suspect"
)

var today = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

func TestCheckShipped(t *testing.T) {
	var classes []string
	for _, c := range accesslog.ErrorClasses() {
		classes = append(classes, c.String())
	}
	var kinds []string
	for _, k := range alert.Kinds() {
		kinds = append(kinds, string(k.Kind))
	}
	values := map[string][]string{
		"kind": kinds, "error_class": classes,
		"reach": suspect.Reaches(), "layer": layer.Names(), "traffic": {"surge", "drop"},
	}
	s := shipped(t)
	if faults := s.Check(Known{Today: today, Values: values}); len(faults) > 0 {
		t.Errorf("%v", errors.Join(faults...))
	}
	// Every kind has a text of its own, and each text says what to do about it.
	for _, k := range kinds {
		// A breaker's signal is always of that class.
		if f, ok := s.Match(Signal{Kind: k, ErrorClass: map[string]string{"breaker_open": "breaker_open"}[k]}); !ok || f.Runbook.Fallback() {
			t.Errorf("kind %s is left to the fallback", k)
		}
	}
	// Every class that can burn a budget has a text of its own.
	for _, c := range classes {
		if c == "none" || c == "unknown" {
			continue
		}
		if f, ok := s.Match(Signal{Kind: "slo_burn", ErrorClass: c}); !ok || f.Runbook.Match["error_class"] == nil {
			t.Errorf("%s is left to %s", c, f.Runbook.Name)
		}
	}
}

func TestCheckFindsFaults(t *testing.T) {
	file := func(from, to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Replace(sample, from, to, 1))}
	}
	s, err := Load(fstest.MapFS{
		"class.md":   file("{kind: a}", "{error_class: upstream_timout}"),
		"board.md":   file("{kind: a}", "{kind: b}\ndashboard: gw-gone"),
		"boards.md":  file("{kind: a}", "{kind: c}\ndashboard: https://grafana.example.com/d/own"),
		"dead.md":    file("## Impact\n", "## Impact\n[a](gone.md) [b](#gone) [c](stale.md#gone) [d](x.png) [ok](stale.md#impact) [ok](https://x/y) [ok](#meaning)\n"),
		"section.md": file("{kind: a}\nreviewed: 2026-01-02\n---\n# T\n\n## Meaning\n", "{reach: one_node}\nreviewed: 2026-01-02\n---\n# T\n\n## Meaning\n<!-- match: reach=one_client -->\n"),
		"shadow.md":  file("{kind: a}", "{kind: a}\npriority: -1"),
		"stale.md":   file("{kind: a}\nreviewed: 2026-01-02", "{kind: z}\nreviewed: 2025-01-02"),
		"who.md":     file("owner: o\nmatch: {kind: a}", "owner: nobody\nmatch: {kind: w}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := errors.Join(s.Check(Known{
		Today: today, Owner: func(name string) bool { return name == "o" }, Dashboards: []string{"gw-slo", "gw-service"},
		Values: map[string][]string{"error_class": {"upstream_timeout"}},
	})...).Error()
	want := []string{
		"board.md:1: dashboard gw-gone is unknown: want a whole URL or one of gw-slo, gw-service",
		`class.md:1: never matches: error_class is never "upstream_timout"`,
		"dead.md:11: link gone.md: there is no such runbook",
		"dead.md:11: link #gone: dead has no section #gone",
		"dead.md:11: link stale.md#gone: stale has no section #gone",
		"dead.md:11: link x.png: want a runbook",
		"section.md:1: section Meaning never matches: reach is one_node for the whole runbook",
		"shadow.md:1: never chosen: dead matches the same and comes first",
		"stale.md:1: the last review is 696 days old",
		"who.md:1: owner nobody is in no catalogue",
		"no runbook has an empty match",
	}
	lines := strings.Split(got, "\n")
	for i, w := range want {
		if i >= len(lines) || !strings.HasPrefix(lines[i], w) {
			t.Fatalf("fault %d: want %s in\n%s", i, w, got)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(lines), len(want), got)
	}
}

func TestOthers(t *testing.T) {
	f, _ := shipped(t).Match(Signal{Kind: "slo_burn", ErrorClass: "upstream_timeout"})
	want := []Other{{"slo-burn", "matched by kind"}, {"fallback", "fallback for every signal"}}
	if len(f.Others) != 2 || f.Others[0] != want[0] || f.Others[1] != want[1] {
		t.Errorf("others %+v, want %+v", f.Others, want)
	}
}
