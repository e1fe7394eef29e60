package slo

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
)

func parse(t *testing.T, text string) *Set {
	t.Helper()
	set, err := Parse("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const source1 = `{metricSource: {type: gatewatch, spec: {kind: availability}}}`

// slo1 is a document with one objective and these lines below spec.
func slo1(name, spec string) string {
	return "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: " + name + "}\nspec:\n  service: payments\n" + spec + "\n---\n"
}

const (
	indicator1 = "  indicator: {spec: {ratioMetric: {counter: true, total: " + source1 + "}}}\n"
	rolling1   = "  timeWindow: [{duration: 30d, isRolling: true}]\n"
	target1    = "  objectives: [{target: 0.999}]\n"
)

// TestExpand: whatever form an objective came in, what is written out means the same.
func TestExpand(t *testing.T) {
	for name, text := range map[string]string{
		"short":        "service: payments\nobjective: 99.9 %, 99 % under 300ms",
		"short, route": "service: payments\nobjective: 99.5 % under 250ms\nroute: /v1/charges/{id}\nmethod: POST\nwindow: 4w\nowner: team-a\ngroup: route\nmode: preview\nkeep_firing: 5m",
		"calendar":     slo1("a", indicator1+"  timeWindow: [{duration: 1M, calendar: {startTime: 2026-01-01 00:00:00, timeZone: Europe/Berlin}}]\n"+target1),
		"timeslices":   slo1("a", indicator1+rolling1+"  budgetingMethod: Timeslices\n  objectives: [{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 5m}]"),
		"ratio slices": slo1("a", indicator1+rolling1+"  budgetingMethod: RatioTimeslices\n  objectives: [{target: 0.99, timeSliceWindow: 1m}]"),
		"composite": slo1("a", rolling1+"  objectives:\n    - {displayName: one, target: 0.99, compositeWeight: 2, indicator: {spec: {ratioMetric: {counter: true, total: "+source1+
			"}}}}\n    - {displayName: two, target: 0.9, indicator: {spec: {ratioMetric: {counter: true, total: {metricSource: {type: gatewatch, spec: {kind: latency, threshold: 1s, excluded: []}}}}}}}"),
		"policy": slo1("a", indicator1+rolling1+target1+`  alertPolicies:
    - kind: AlertPolicy
      metadata: {name: p}
      spec:
        conditions: [{kind: AlertCondition, metadata: {name: c}, spec: {severity: page, condition: {kind: burnrate, op: gte, threshold: 10, lookbackWindow: 1h, alertAfter: 2m}}}]
        notificationTargets: [{kind: AlertNotificationTarget, metadata: {name: phone}, spec: {target: pager}}]`),
	} {
		t.Run(name, func(t *testing.T) {
			set := parse(t, text)
			b, err := Expand(set.SLOs)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse("b.yaml", b)
			if err != nil {
				t.Fatalf("%v:\n%s", err, b)
			}
			opts := cmp.Options{cmpopts.IgnoreFields(SLO{}, "File", "Line", "Display"), cmpopts.EquateApprox(1e-12, 0), cmp.Comparer(func(a, b Part) bool {
				return a.Weight == b.Weight && a.Target == b.Target && cmp.Equal(a.SLI, b.SLI) && a.Service == b.Service
			})}
			if diff := cmp.Diff(again.SLOs, set.SLOs, opts); diff != "" {
				t.Errorf("expanded (-expanded +original):\n%s\n%s", diff, b)
			}
		})
	}
}

func TestShortForm(t *testing.T) {
	set := parse(t, "service: payments\nobjective: 99.9 %, 99 % under 300ms\n---\n# nothing\n---\nservice: payments\nobjective: 99% available\nroute: /v1/charges\nmethod: POST")
	var got []string
	for _, s := range set.SLOs {
		got = append(got, s.Name+" "+s.Percent()+" "+s.SLI.Threshold.String())
	}
	if diff := cmp.Diff(got, []string{"payments-availability 99.9 % 0s", "payments-latency 99 % 300ms", "payments-post-v1-charges-availability 99 % 0s"}); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	for text, want := range map[string]string{
		"service: a\nobjective: 99.9":               "a.yaml:2: short form: objective \"99.9\": write 99.9 % if you mean per cent",
		"service: a\nobjective: 100 %":              "leaves no budget",
		"service: a\nobjective: 0 %":                "must be above 0 %",
		"service: a\nobjective: 99 % under soon":    `"soon" is no duration`,
		"service: a\nobjective: good":               "is not like 99.9 %",
		"objective: 99 %":                           "a.yaml:1: short form: service is missing",
		"service: a\nobjective: 99 %\nwindow: 5y":   "a.yaml:3:",
		"service: a\nobjective: 99 %\nrout: /a":     "a.yaml:3: field rout not found",
		"service: a\nobjective: 99 %\ngroup: pupil": "none of route, consumer, plan, region",
	} {
		if _, err := Parse("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	set := parse(t, slo1("a", indicator1+rolling1+target1+"  alertPolicies: [fast, {alertPolicyRef: slow}]")+`
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast}
spec:
  alertWhenNoData: true
  conditions: [{conditionRef: burn}]
  notificationTargets: [{targetRef: phone}]
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: slow}
spec:
  alertWhenBreaching: true
  conditions: [{kind: AlertCondition, metadata: {name: x}, spec: {severity: low, condition: {kind: burnrate, op: gt, threshold: 2, lookbackWindow: 1d}}}]
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: burn}
spec: {severity: critical, condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: 1h, alertAfter: 5m}}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: phone}
spec: {target: pagerduty}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec: {type: prometheus, connectionDetails: {url: http://x}}
`)
	want := []AlertWindow{
		{Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Severity: alert.Page, For: 5 * time.Minute},
		{Long: 24 * time.Hour, Short: 2 * time.Hour, Factor: 2, Severity: alert.Ticket},
	}
	if diff := cmp.Diff(set.SLOs[0].Windows, want); diff != "" {
		t.Errorf("windows (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(set.SLOs[0].Notify, []string{"phone"}); diff != "" {
		t.Error(diff)
	}
	notes := strings.Join(set.Notes, "\n")
	if !strings.Contains(notes, "alertWhenNoData has no effect") || !strings.Contains(notes, "DataSource prom: has no effect") {
		t.Errorf("notes: %s", notes)
	}
}

func TestComposite(t *testing.T) {
	inner := slo1("inner", rolling1+"  objectives: [{target: 0.9, indicatorRef: up, compositeWeight: 3}, {target: 0.9, indicatorRef: fast}]")
	slis := "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: up}\nspec: {ratioMetric: {counter: true, total: " + source1 + "}}\n---\n" +
		"apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: fast}\nspec: {ratioMetric: {counter: true, total: {metricSource: {type: gatewatch, spec: {kind: latency, threshold: 1s}}}}}\n---\n"
	set := parse(t, inner+slis+slo1("outer", rolling1+"  objectives: [{target: 0.99, indicatorRef: inner, compositeWeight: 2}, {target: 0.96, indicatorRef: up}]"))
	outer := set.SLOs[1]
	if outer.Name != "outer" || outer.Target < 0.98-1e-9 || outer.Target > 0.98+1e-9 || len(outer.Parts) != 3 {
		t.Fatalf("%+v", outer)
	}
	// All of `up` and a tenth of `fast` fail: the inner ratio is (3·1 + 1·0.1)/4 = 0.775, the outer (2·0.775 + 1·1)/3 = 0.85.
	got := outer.Combine([]Count{{100, 100}, {1000, 100}, {100, 100}})
	if want := (Count{1200, 1020}); got != want {
		t.Errorf("Combine = %+v, want %+v", got, want)
	}
	if got := outer.Combine([]Count{{}, {1000, 100}, {}}); got != (Count{1000, 100}) {
		t.Errorf("parts without traffic have a say: %+v", got)
	}
	for text, want := range map[string]string{
		slo1("a", rolling1+"  objectives: [{target: 0.9, indicatorRef: b}]") + slo1("b", rolling1+"  objectives: [{target: 0.9, indicatorRef: a}]"): "a.yaml:15: SLO b: a composite can't be made of itself: a → b → a",
		slo1("a", rolling1+"  objectives: [{target: 0.9, indicatorRef: a}]"):                                                                        "made of itself: a → a",
		slo1("a", rolling1+"  objectives: [{target: 0.9, indicatorRef: nowhere}]"):                                                                  "a.yaml:7: SLO a: there is no SLI and no SLO nowhere",
		slis + slo1("a", rolling1+"  objectives: [{target: 0.9, indicatorRef: up, compositeWeight: 0}]"):                                            "compositeWeight 0 is no number above 0",
		slis + slo1("a", rolling1+"  objectives: [{target: 0.9, indicatorRef: up}, {target: 0.9}]"):                                                 "the objective has no indicator, but others",
		slis + slo1("a", indicator1+rolling1+"  objectives: [{target: 0.9, indicatorRef: up}]"):                                                     "exclude each other",
	} {
		if _, err := Parse("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func TestCalendar(t *testing.T) {
	set := parse(t, slo1("a", indicator1+"  timeWindow: [{duration: 1M, calendar: {startTime: 2020-01-15 06:00:00, timeZone: America/New_York}}]\n"+target1))
	from, to := set.SLOs[0].PeriodAt(time.Date(2026, 3, 15, 9, 59, 0, 0, time.UTC)) // one minute before the border: 06:00 EDT is 10:00 UTC
	if want := time.Date(2026, 2, 15, 11, 0, 0, 0, time.UTC); !from.Equal(want) {
		t.Errorf("from %s, want %s", from.UTC(), want)
	}
	if want := time.Date(2026, 3, 15, 10, 0, 0, 0, time.UTC); !to.Equal(want) {
		t.Errorf("to %s, want %s", to.UTC(), want)
	}
	for _, c := range []Calendar{{1, 'd', time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, {2, 'w', time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}, {1, 'Q', time.Date(1999, 2, 28, 0, 0, 0, 0, time.UTC)}} {
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2028; at = at.Add(17 * time.Hour) {
			from, to := c.At(at)
			if at.Before(from) || !at.Before(to) || to.Sub(from) > c.longest() {
				t.Fatalf("%c: %s is not in [%s, %s)", c.Unit, at, from, to)
			}
		}
	}
}

// TestFaults: what people get wrong, and where they are told.
func TestFaults(t *testing.T) {
	maintenance := "apiVersion: gatewatch/v1\nkind: Maintenance\nmetadata: {name: m}\nspec: {slos: [a], from: 2026-03-01T01:00:00Z, to: 2026-03-01T02:00:00Z, reason: upgrade}\n"
	objective := slo1("a", indicator1+rolling1+target1)
	for text, want := range map[string]string{
		slo1("a", indicator1+rolling1+"  objectives: [{target: 0.9, timeSliceWindow: 1m}]"):                                                      "go with budgetingMethod Timeslices",
		slo1("a", indicator1+rolling1+"  budgetingMethod: Timeslices\n  objectives: [{target: 0.9, timeSliceTarget: 0.9}]"):                      "timeSliceWindow is missing",
		slo1("a", indicator1+rolling1+"  budgetingMethod: Timeslices\n  objectives: [{target: 0.9, timeSliceTarget: 95, timeSliceWindow: 1m}]"):  "a.yaml:9: SLO a: timeSliceTarget 95 must be a ratio",
		slo1("a", indicator1+rolling1+"  budgetingMethod: Timeslices\n  objectives: [{target: 0.9, timeSliceTarget: 0.9, timeSliceWindow: 7m}]"): "whole minutes that divide an hour",
		slo1("a", indicator1+rolling1+"  budgetingMethod: Sometimes\n"+target1):                                                                  `a.yaml:8: SLO a: budgetingMethod "Sometimes"`,
		slo1("a", indicator1+"  timeWindow: [{duration: 1M}]\n"+target1):                                                                         "write isRolling: true, or a calendar",
		slo1("a", indicator1+"  timeWindow: [{duration: 30d, isRolling: true}, {duration: 7d, isRolling: true}]\n"+target1):                      "exactly one timeWindow",
		slo1("a", indicator1+"  timeWindow: [{duration: 1M, calendar: {startTime: yesterday, timeZone: UTC}}]\n"+target1):                        "startTime \"yesterday\"",
		slo1("a", indicator1+"  timeWindow: [{duration: 1M, calendar: {startTime: 2026-01-01, timeZone: Mars}}]\n"+target1):                      "timeZone \"Mars\"",
		slo1("a", indicator1+rolling1+target1+"  alertPolicies: [nowhere]"):                                                                      "there is no AlertPolicy nowhere",
		slo1("a", "  indicator: {spec: {ratioMetric: {counter: true, rawType: success, raw: "+source1+"}}}\n"+rolling1+target1):                  "ratioMetric.raw is not read",
		slo1("a", "  indicator: {spec: {ratioMetric: {total: {metricSource: {type: gatewatch, spec: {knd: x}}}}}}\n"+rolling1+target1):           `a.yaml:6: SLO a: metricSource.spec has no "knd"`,
		objective + objective: "a.yaml:13: SLO a is already in a.yaml:3",
		objective + strings.Replace(maintenance, "slos: [a]", "slos: [b]", 1):                                                                 "there is no SLO b",
		objective + strings.Replace(maintenance, "slos: [a]", "services: [orders]", 1):                                                        "no SLO is for a service orders",
		objective + strings.Replace(maintenance, "02:00:00Z", "00:30:00Z", 1):                                                                 "to is not after from",
		objective + strings.Replace(maintenance, "01:00:00Z", "01:00:07Z", 1):                                                                 "must be a multiple of 1m",
		objective + strings.Replace(maintenance, ", reason: upgrade", "", 1):                                                                  "reason is missing",
		objective + maintenance + "---\n" + strings.NewReplacer("name: m", "name: n", "reason", "budget: count, reason").Replace(maintenance): "overlaps Maintenance m at a.yaml:13",
		objective + strings.Replace(strings.Replace(maintenance, "Maintenance", "BudgetAdjustment", 1), "reason", "giveBack: 2, reason", 1):   "giveBack 2 must be a share",
	} {
		if _, err := Parse("a.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q, of\n%s", err, want, text)
		}
	}
}

func TestNotes(t *testing.T) {
	set := parse(t, "service: a\nobjective: 90 % under 1s")
	if notes := strings.Join(set.Notes, "\n"); !strings.Contains(notes, "a.yaml:1: SLO a-latency: its page at burn rate 14.4 over 1 h never fires") {
		t.Errorf("notes: %s", notes)
	}
}

func TestMaintenance(t *testing.T) {
	m := Maintenance{Scope: Scope{SLOs: []string{"pay-*"}, From: time.Date(2026, 3, 1, 1, 0, 0, 0, time.UTC), To: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}, Weekly: true, Until: time.Date(2026, 3, 10, 0, 0, 0, 0, time.UTC)}
	for at, want := range map[string]bool{
		"2026-03-01T00:59:59Z": false, "2026-03-01T01:00:00Z": true, "2026-03-01T02:00:00Z": false,
		"2026-03-08T01:30:00Z": true, "2026-03-15T01:30:00Z": false,
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := m.At(when); ok != want {
			t.Errorf("%s: %t, want %t", at, ok, want)
		}
	}
	if !m.Holds(SLO{Name: "pay-latency"}) || m.Holds(SLO{Name: "orders"}) {
		t.Error("Holds")
	}
}

func TestSlices(t *testing.T) {
	s := SLO{Method: Timeslices, SliceTarget: 0.95}
	for c, want := range map[Count]Count{{}: {}, {100, 5}: {1, 0}, {100, 6}: {1, 1}} {
		if got := s.SliceCount(c); got != want {
			t.Errorf("%+v: %+v, want %+v", c, got, want)
		}
	}
	s.Method = RatioTimeslices
	if got := s.SliceCount(Count{200, 3}); got != (Count{10_000, 150}) {
		t.Errorf("%+v", got)
	}
}

func TestImport(t *testing.T) {
	for _, c := range []struct {
		file  string
		want  []string
		notes []string
	}{
		{"sloth.yaml", []string{
			"myservice-requests-availability myservice availability 99.9 % windows 4",
			"myservice-with-quota shop availability 99 % windows 2 POST /checkout",
		}, []string{"sloth.yaml:39: cpu: can't be converted", "sloth.yaml:45: myservice-ratio: can't be converted: query", `matcher env="prod"`}},
		{"pyrra.yaml", []string{
			"prometheus-http-errors prometheus availability 99 % windows 4 by route",
			"prometheus-http-latency prometheus latency 99.5 % windows 4 /api/v1/query under 200ms",
		}, []string{"pyrra.yaml:39: up: can't be converted: only ratio"}},
	} {
		b, err := os.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		list, notes, err := Import(c.file, b)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range list {
			text := s.Name + " " + s.Service + " " + s.SLI.Kind.String() + " " + s.Percent() + " windows " + string(rune('0'+len(s.Windows)))
			if s.SLI.Route != "" {
				text += " " + strings.TrimSpace(s.SLI.Method+" "+s.SLI.Route)
			}
			if s.Group != Whole {
				text += " by " + string(s.Group)
			}
			if s.SLI.Kind == Latency {
				text += " under " + s.SLI.Threshold.String()
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s\n%s", c.file, diff, strings.Join(notes, "\n"))
		}
		for _, n := range c.notes {
			if !strings.Contains(strings.Join(notes, "\n"), n) {
				t.Errorf("%s: notes lack %q:\n%s", c.file, n, strings.Join(notes, "\n"))
			}
		}
		if b, err = Expand(list); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("x.yaml", b)
		if err != nil || len(again.SLOs) != len(list) {
			t.Errorf("%s: what was converted can't be read: %v\n%s", c.file, err, b)
		}
	}
	quota := []accesslog.ErrorClass{accesslog.ClientQuota}
	b, err := os.ReadFile("testdata/sloth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := Import("sloth.yaml", b)
	if err != nil || len(list) < 2 {
		t.Fatal(err)
	}
	if bad := list[1].SLI.BadClasses(); bad[len(bad)-1] != quota[0] || len(list[1].SLI.ExcludedClasses()) != 0 {
		t.Errorf("429 is not bad: %v, excluded %v", bad, list[1].SLI.ExcludedClasses())
	}
	if _, _, err := Import("x.yaml", []byte("kind: Rule")); err == nil {
		t.Error("any file can be imported")
	}
}
