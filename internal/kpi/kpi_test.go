package kpi

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = `
workflows:
  - name: checkout
    window: 30m
    steps:
      - {name: cart, service: orders, method: POST, route: /v1/carts}
      - {name: pay, service: payments, method: POST, route: /v1/charges, status: 201}
    value: {amount: 12.5, currency: EUR}
plans:
  - name: free
    quotas: [{calls: 100, per: day}]
    sla: {availability: 0.99, latency: {under: 300ms, share: 0.9}}
tiers: [{name: gold, sla: {availability: 0.999, per_consumer: true}}]
deprecations: [{version: v1, service: catalog, sunset: 2027-01-31, successor: v2}]
activation: {calls: 3, days: 1, within: 7d}
cohorts: {by: month, days: [1, 30]}
`

func TestParse(t *testing.T) {
	d, err := Parse("shop.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	w := d.Workflow("checkout")
	if w == nil || w.By != UnitConsumer || w.Steps[0].Status != (StatusRange{200, 299}) || w.Steps[1].Status != (StatusRange{201, 201}) || w.Value.Amount != 12_500_000 {
		t.Errorf("workflow: %+v", w)
	}
	if q := d.Plan("free").Quotas[0]; q.Of != UnitConsumer || q.Calls != 100 {
		t.Errorf("quota: %+v", q)
	}
	if d.Deprecations[0].Sunset != (Date{2027, time.January, 31}) || time.Duration(d.Activation.Within) != 7*24*time.Hour || d.Cohorts.By != PerMonth {
		t.Errorf("%+v", d)
	}
}

// Without any file the defaults hold.
func TestDefaults(t *testing.T) {
	d, err := Load(fstest.MapFS{"README.md": {Data: []byte("no YAML")}, "empty.yaml": {}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), d, cmp.AllowUnexported(Activation{}, Cohorts{}, place{})); diff != "" || d.Activation.Calls != 10 || len(d.Cohorts.Days) != 3 {
		t.Errorf("%s%+v", diff, d)
	}
}

// Each fault names file and line, what is wrong and what there is.
func TestFaults(t *testing.T) {
	step := "  - name: w\n    window: 1h\n    steps: [{method: GET, route: /a}]\n"
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "workflow: []\n", `f.yaml:1: unknown key "workflow" in a KPI file; there are workflows, plans, tiers`},
		{"unknown key below", "workflows:\n" + step + "    colour: red\n", `f.yaml:5: unknown key "colour" in workflows; there are name, title, by`},
		{"key twice", "plans: []\nplans: []\n", "f.yaml:2: plans is given twice, first in line 1"},
		{"no mapping", "workflows: [checkout]\n", "f.yaml:1: workflows: want keys with values (name"},
		{"no list", "workflows: {name: w}\n", "f.yaml:1: "},
		{"window missing", "workflows:\n  - name: w\n    steps: [{method: GET, route: /a}]\n", "f.yaml:2: workflow w: window is missing"},
		{"window impossible", "workflows:\n  - name: w\n    window: 60d\n    steps: [{method: GET, route: /a}]\n", "f.yaml:2: workflow w: window 1440h0m0s is impossible"},
		{"window unreadable", "workflows:\n  - name: w\n    window: soon\n", `f.yaml:3: "soon": want a span`},
		{"currency missing", "workflows:\n" + step + "    value: {amount: 3}\n", "f.yaml:5: workflow w: currency is missing"},
		{"currency wrong", "workflows:\n" + step + "    value: {amount: 3, currency: euro}\n", "ISO 4217"},
		{"value twice", "workflows:\n" + step + "    value: {amount: 3, field: amount, currency: EUR}\n", "either an amount or a field"},
		{"unknown field", "workflows:\n" + step + "    value: {field: price, currency: EUR}\n", "the one field of a log that holds money is amount"},
		{"overlapping steps", "workflows:\n  - name: w\n    window: 1h\n    steps:\n      - {name: one, method: GET, route: '/a/{id}'}\n      - {name: two, method: GET, route: '/a/{x}', status: 201}\n", `f.yaml:6: step "two" overlaps step "one" at f.yaml:5`},
		{"too many steps", "workflows:\n  - name: w\n    window: 1h\n    steps: []\n", "has 0 steps; want 1 to 8"},
		{"status", "workflows:\n  - name: w\n    window: 1h\n    steps: [{method: GET, route: /a, status: ok}]\n", `f.yaml:4: status "ok": want 201, 2xx or 200-204`},
		{"twice", "workflows:\n" + step + step, `f.yaml:5: workflow "w" is also defined at f.yaml:2`},
		{"session gap", "workflows:\n" + step + "    session_gap: 5m\n", "goes with by: session"},
		{"quota", "plans: [{name: p, quotas: [{calls: 0, per: year}]}]\n", `per "year": there are minute, hour, day and month`},
		{"sla", "tiers: [{name: p, sla: {availability: 99.9}}]\n", "want a share below 1"},
		{"tier without", "tiers: [{name: p}]\n", "sla is missing"},
		{"sunset missing", "deprecations: [{version: v1}]\n", "f.yaml:1: deprecation: sunset is missing"},
		{"sunset wrong", "deprecations: [{version: v1, sunset: tomorrow}]\n", "want a day such as"},
		{"version and route", "deprecations: [{version: v1, route: /a, sunset: 2027-01-01}]\n", "either a version or a route"},
		{"activation", "activation: {calls: 3}\n", "f.yaml:1: activation: want calls and days"},
		{"cohorts", "cohorts: {days: [7, 1]}\n", "rising numbers"},
		{"not YAML", "workflows: [\n", "f.yaml:"},
		{"second document", "plans: []\n---\nplans: []\n", "second YAML document"},
	} {
		_, err := Parse("f.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant %q", c.name, err, c.want)
		}
	}
}

func TestLoadSeveralFiles(t *testing.T) {
	_, err := Load(fstest.MapFS{"a.yaml": {Data: []byte("activation: {calls: 1, days: 1, within: 1d}")}, "sub/b.yml": {Data: []byte("activation: {calls: 1, days: 1, within: 1d}\n")}})
	if err == nil || !strings.Contains(err.Error(), "activation is also defined at a.yaml:1") {
		t.Error(err)
	}
}

// The shipped definitions are good.
func TestShipped(t *testing.T) {
	d, err := Load(os.DirFS("../../deploy/kpi"))
	if err != nil || len(d.Workflows) == 0 || len(d.Plans) == 0 || len(d.Deprecations) == 0 || len(d.Tiers) == 0 {
		t.Errorf("%v: %+v", err, d)
	}
}

func TestUnknownRoutes(t *testing.T) {
	d, err := Parse("shop.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	known := []Route{{"orders", "POST", "/v1/cart"}, {"orders", "GET", "/v1/orders"}, {"payments", "POST", "/v1/charges"}}
	text := func(errs []error) (s string) {
		for _, e := range errs {
			s += e.Error() + "\n"
		}
		return s
	}
	want := "shop.yaml:6: step cart: no such route orders POST /v1/carts; there are POST /v1/cart, GET /v1/orders\n"
	if got := text(d.UnknownRoutes(known, false)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := text(d.UnknownRoutes(known[:2], true)); !strings.Contains(got, "no such service payments; there are orders") {
		t.Error(got)
	}
	if got := d.UnknownRoutes(nil, false); got != nil {
		t.Error(got)
	}
}

func TestMoney(t *testing.T) {
	for text, want := range map[string]Money{"12.5": 12_500_000, "0.000001": 1, "7": 7_000_000, "-1.25": -1_250_000} {
		got, err := ParseMoney(text)
		if err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1.2345678", "1,5", "x", "1.-5"} {
		if m, err := ParseMoney(text); err == nil {
			t.Errorf("%q: %d", text, m)
		}
	}
	for m, want := range map[Money]string{12_500_000: "12.50", 1: "0.000001", -1_250_000: "-1.25"} {
		if m.String() != want {
			t.Errorf("%d: %s, want %s", int64(m), m, want)
		}
	}
}

func TestPeriodWindow(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 29, 12, 34, 56, 0, berlin) // a Sunday of 23 hours
	for p, want := range map[Period]string{
		PerMinute: "2026-03-29T12:34 1m0s", PerHour: "2026-03-29T12:00 1h0m0s", PerDay: "2026-03-29T00:00 23h0m0s",
		PerWeek: "2026-03-23T00:00 167h0m0s", PerMonth: "2026-03-01T00:00 743h0m0s",
	} {
		from, to := p.Window(at)
		if got := from.Format("2006-01-02T15:04 ") + to.Sub(from).String(); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	if n := (Date{2026, 4, 2}).DaysTo(at); n != 4 {
		t.Errorf("%d days", n)
	}
}
