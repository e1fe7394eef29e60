package runbook

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gatewatch/runbooks"
)

func shipped(t *testing.T) *Set {
	t.Helper()
	s, err := Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMatchShipped(t *testing.T) {
	s := shipped(t)
	for _, c := range []struct {
		sig                   Signal
		book, section, reason string
	}{
		{
			Signal{Kind: "slo_burn", ErrorClass: "upstream_timeout", Responder: "gateway", Service: "payments", Reach: "one_upstream"},
			"upstream-timeout", "One upstream", "matched by kind + error_class; section by reach",
		},
		{Signal{Kind: "slo_burn", ErrorClass: "upstream_timeout", Reach: "everyone"}, "upstream-timeout", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "slo_burn", ErrorClass: "upstream_dns", Reach: "one_region"}, "one-region", "Mitigation", "matched by kind + reach"},
		{Signal{Kind: "slo_burn", ErrorClass: "upstream_5xx", Reach: "one_node", Change: "deploy"}, "one-node", "Mitigation", "matched by kind + reach"},
		{Signal{Kind: "slo_burn", ErrorClass: "upstream_5xx", Reach: "one_version", Change: "deploy"}, "bad-release", "One version", "matched by kind + reach + change; section by reach"},
		{Signal{Kind: "latency_burn", Reach: "everyone", Change: "deploy"}, "bad-release", "Mitigation", "matched by kind + reach + change"},
		{Signal{Kind: "slo_burn", ErrorClass: "gateway_overload", Reach: "everyone", Traffic: "surge"}, "retry-storm", "Mitigation", "matched by kind + reach + traffic"},
		{Signal{Kind: "slo_burn", ErrorClass: "upstream_timeout", Reach: "one_upstream", Traffic: "surge"}, "upstream-timeout", "One upstream", "matched by kind + error_class; section by reach"},
		{Signal{Kind: "client_errors", ErrorClass: "client_auth", Reach: "everyone"}, "auth-everyone", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "client_errors", ErrorClass: "client_quota"}, "quota-everyone", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "client_errors", ErrorClass: "client_bad_request"}, "client-errors-everyone", "Mitigation", "matched by kind"},
		{Signal{Kind: "slo_burn", ErrorClass: "gateway_no_route"}, "lost-route", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "consumer_failing", ErrorClass: "client_forbidden", Reach: "one_client"}, "consumer-auth", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "consumer_failing", ErrorClass: "upstream_5xx", Reach: "one_client"}, "one-consumer", "Mitigation", "matched by kind"},
		{Signal{Kind: "traffic_lost", Reach: "one_node"}, "traffic-lost", "One node", "matched by kind; section by reach"},
		{Signal{Kind: "slo_burn", ErrorClass: "breaker_open"}, "breaker-open", "Mitigation", "matched by kind + error_class"},
		{Signal{Kind: "latency_burn", Layer: "database"}, "latency-burn", "Slow database", "matched by kind; section by layer"},
		{Signal{Kind: "slo_burn", ErrorClass: "unknown"}, "slo-burn", "Mitigation", "matched by kind"},
		{Signal{Kind: "latency_burn", Reach: "one_upstream"}, "latency-burn", "One upstream", "matched by kind; section by reach"},
		{Signal{Kind: "data_incomplete"}, "data-incomplete", "Mitigation", "matched by kind"},
		{Signal{Kind: "never heard of"}, "fallback", "Mitigation", "fallback for every signal"},
	} {
		f, ok := s.Match(c.sig)
		if !ok || f.Runbook.Name != c.book || f.Section.Title != c.section || f.Reason != c.reason {
			t.Errorf("%+v:\ngot %s § %s (%s)\nwant %s § %s (%s)", c.sig, f.Runbook.Name, f.Section.Title, f.Reason, c.book, c.section, c.reason)
		}
	}
}

// Whatever is known, a page can show steps that fit on its lines.
func TestShippedSteps(t *testing.T) {
	vars := map[string]string{
		"service": "payments", "route": "/v1/charges", "method": "POST", "upstream": "pay-2:8080", "node": "gw-1",
		"region": "eu", "consumer": "c-1", "error_class": "upstream_timeout", "since": "03:11 UTC", "version": "v1", "topic": "gateway-nginx", "plan": "gold", "key": "1a2b3c4d", "objective": "payments-availability",
	}
	for _, r := range shipped(t).Runbooks() {
		for i := range r.Sections {
			f := Found{Runbook: r, Section: &r.Sections[i], steps: r.Sections[i].Steps}
			steps := f.Steps(vars)
			if len(steps) != min(maxSteps, len(r.Sections[i].Steps)) {
				t.Errorf("%s § %s: a step names an unknown variable: %q", r.Name, f.Section.Title, r.Sections[i].Steps)
			}
			for _, s := range steps {
				if len(s) > 150 || strings.Contains(s, "\n") {
					t.Errorf("%s § %s: too long for a page: %q", r.Name, f.Section.Title, s)
				}
			}
		}
		if f := (Found{Runbook: r, steps: r.found(&Signal{}, "").steps}); len(f.Steps(map[string]string{"service": "payments"})) == 0 {
			t.Errorf("%s: no step left where little is known", r.Name)
		}
	}
}

const sample = "---\ntitle: T\nowner: o\nmatch: {kind: a}\nreviewed: 2026-01-02\n---\n# T\n\n## Meaning\n## Impact\n## Diagnosis\n## Mitigation\n1. do {x}\n   at once\n2. wait {{not}\n\n3. not a step\n"

func TestSpecificity(t *testing.T) {
	replace := func(name, match string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Replace(sample, "{kind: a}", match, 1))}
	}
	s, err := Load(fstest.MapFS{
		"README.md": {Data: []byte("no runbook")},
		"one.md":    replace("one", "{kind: [a, b]}"),
		"two.md":    replace("two", "{kind: a, service: s}"),
		"high.md":   replace("high", "{kind: a}\npriority: 2"),
		"also.md":   replace("also", "{kind: b}"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sig  Signal
		want string
	}{
		{Signal{Kind: "a", Service: "s"}, "two"},
		{Signal{Kind: "a"}, "high"},
		{Signal{Kind: "b"}, "also"}, // equal: by name
	} {
		if f, ok := s.Match(c.sig); !ok || f.Runbook.Name != c.want {
			t.Errorf("%+v: %v, want %s", c.sig, f.Runbook, c.want)
		}
	}
	if f, ok := s.Match(Signal{Kind: "c"}); ok {
		t.Errorf("kind c: matched %s", f.Runbook.Name)
	}
	f, ok := s.Named("one", Signal{})
	if !ok || f.Reason != "named by the SLO" || f.URL("http://h/runbooks/") != "http://h/runbooks/one#mitigation" {
		t.Errorf("Named: %+v %v %s", f, ok, f.URL("http://h/runbooks/"))
	}
	if d := cmp.Diff([]string{"do it at once", "wait {not}"}, f.Steps(map[string]string{"x": "it"})); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"wait {not}"}, f.Steps(nil)); d != "" {
		t.Errorf("steps without x (-want +got):\n%s", d)
	}
}

func TestLoadFaults(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"---\ntitle", "title", "x.md:1: a runbook begins with a head"},
		{"kind: a", "knd: a", `x.md:4: match: unknown field "knd"; known: kind, service`},
		{"owner: o\n", "", "title and owner are needed"},
		{"owner: o\n", "owner: o\nonwer: p\n", "onwer"},
		{"2026-01-02", "soon", `reviewed "soon"`},
		{"## Impact\n", "", `section "## Impact" is missing`},
		{"1. do {x}\n   at once\n2. wait {{not}\n\n3. not a step\n", "", "needs a numbered list"},
		{"## Impact\n", "## Impact\n<!-- match: reech=x -->\n", "x.md:11: match comment"},
		{"owner: o\n", "owner: o\nseverity: critical\n", `severity "critical"`},
	} {
		_, err := Load(fstest.MapFS{"x.md": {Data: []byte(strings.Replace(sample, c.from, c.to, 1))}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q → %q: error %v, want %q", c.from, c.to, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("---\n---\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse("x.md", data)
		if err == nil && len(r.Sections) < len(required) {
			t.Fatalf("%d sections", len(r.Sections))
		}
		if err != nil {
			return
		}
		set := &Set{books: []*Runbook{r}, text: map[string][]byte{"x": data}}
		set.Filled("x", map[string]string{"service": "a'b"})
		set.Check(Known{})
	})
}
