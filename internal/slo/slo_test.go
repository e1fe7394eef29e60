package slo

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/alert"
)

// TestDefaultWindows compares with the table of the SRE Workbook.
func TestDefaultWindows(t *testing.T) {
	f, err := os.Open(filepath.Join(accesslogtest.CorpusDir(t), "slo_alert_windows_sre_workbook.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ours := map[AlertWindow]bool{}
	for _, w := range DefaultWindows() {
		ours[w] = true
	}
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var row struct {
			Severity, Long, Short string
			BurnRate              float64 `json:"burn_rate"`
			Consumed              float64 `json:"budget_consumed"`
			PeriodDays            float64 `json:"period_days"`
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		severity, err := alert.ParseSeverity(row.Severity)
		if err != nil {
			t.Fatal(err)
		}
		w := AlertWindow{Long: duration(t, row.Long), Short: duration(t, row.Short), Factor: row.BurnRate, Severity: severity}
		if !ours[w] {
			t.Errorf("the defaults lack %+v", w)
		}
		// Burning at the factor over the long window spends the share that the book states.
		if spent := w.Factor * w.Long.Hours() / (row.PeriodDays * 24); math.Abs(spent-row.Consumed) > 1e-9 {
			t.Errorf("%+v spends %.3f of the budget, the book says %.3f", w, spent, row.Consumed)
		}
	}
	if n != 3 {
		t.Errorf("read %d rows, want 3", n)
	}
}

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	if days, ok := strings.CutSuffix(s, "d"); ok {
		return 24 * duration(t, days+"h")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAtLeast compares with sums of binomial probabilities.
func TestAtLeast(t *testing.T) {
	for _, n := range []int64{1, 5, 40, 1000} {
		for _, p := range []float64{0.001, 0.0144, 0.3, 0.9} {
			for _, k := range []int64{1, 2, 3, n / 2, n} {
				if k < 1 {
					continue
				}
				var want float64
				for i := k; i <= n; i++ {
					ln, _ := math.Lgamma(float64(n + 1))
					li, _ := math.Lgamma(float64(i + 1))
					lr, _ := math.Lgamma(float64(n - i + 1))
					want += math.Exp(ln - li - lr + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
				}
				if got := AtLeast(k, n, p); math.Abs(got-want) > 1e-9 {
					t.Errorf("AtLeast(%d, %d, %g) = %g, want %g", k, n, p, got, want)
				}
			}
		}
	}
	if got := AtLeast(2_000_000, 100_000_000, 0.0144); got != 0 {
		t.Errorf("far above the mean: %g, want 0", got)
	}
}

func TestDecide(t *testing.T) {
	s := SLO{Target: 0.999, MinBad: 3}
	w := AlertWindow{Long: time.Hour, Short: 5 * time.Minute, Factor: 14.4, Severity: alert.Page} // limit 1.44 %
	for _, c := range []struct {
		name        string
		long, short Count
		fires       bool
		reason      string
	}{
		{"both burn", Count{10_000, 300}, Count{800, 100}, true, "burn 30.0x over 1 h and 125.0x over 5 m, above 14.4x"},
		{"long is below", Count{10_000, 100}, Count{800, 100}, false, "burn 10.0x over 1 h is not above 14.4x"},
		{"over: short is below", Count{10_000, 300}, Count{800, 2}, false, "burn 2.5x over 5 m is not above 14.4x"},
		{"two failures", Count{20, 2}, Count{10, 2}, false, "too few requests: 2 bad, at least 3 needed"},
		{"may be chance", Count{150, 3}, Count{100, 3}, false, "too few requests: 3 bad of 150 may be chance"},
		{"few but sure", Count{30, 5}, Count{10, 5}, true, "burn 166.7x over 1 h and 500.0x over 5 m, above 14.4x"},
		{"nothing", Count{}, Count{}, false, "burn 0.0x over 1 h is not above 14.4x"},
	} {
		if diff := cmp.Diff(s.Decide(w, c.long, c.short), Decision{c.fires, c.reason}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", c.name, diff)
		}
	}
}

func TestNearlySpent(t *testing.T) {
	s := SLO{Target: 0.999, MinBad: 3}
	for _, c := range []struct {
		name   string
		period Count
		want   bool
	}{
		{"nothing", Count{}, false},
		{"one bad request of a young objective", Count{272, 1}, false},
		{"may be chance", Count{2600, 3}, false},
		{"a month", Count{1_000_000, 960}, true},
		{"a month with enough left", Count{1_000_000, 890}, false},
		{"spent at once", Count{300, 40}, true},
	} {
		if got := s.NearlySpent(c.period); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

const good = `apiVersion: openslo/v1
kind: SLO
metadata:
  name: a
  annotations: {gatewatch/owner: team-a}
spec:
  service: payments
  indicator: {spec: {ratioMetric: {counter: true, total: {metricSource: {type: gatewatch, spec: {kind: latency, threshold: 300ms, route: /v1/charges}}}}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  objectives: [{target: 0.99}]
`

func TestParse(t *testing.T) {
	set, err := Parse("a.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := []SLO{{
		Name: "a", Display: "a", Service: "payments", SLI: SLI{Kind: Latency, Threshold: 300 * time.Millisecond, Route: "/v1/charges"},
		Target: 0.99, Period: 28 * 24 * time.Hour, Windows: DefaultWindows(), MinBad: 3, Owner: "team-a", File: "a.yaml", Line: 4,
	}}
	if diff := cmp.Diff(set.SLOs, want); diff != "" {
		t.Errorf("Parse (-got +want):\n%s", diff)
	}
}

func TestParseFaults(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"target: 0.99", "target: 99.9", "a.yaml:10: SLO a: target 99.9 must be a ratio between 0 and 1: write target: 0.999 or targetPercent: 99.9"},
		{"target: 0.99", "target: 0", "a.yaml:10: SLO a: target 0 must be a ratio"},
		{"target: 0.99", "target: 1", "a.yaml:10: SLO a: target 1 must be a ratio"},
		{"target: 0.99", "targetPercent: 100", "a.yaml:10: SLO a: target 1 must be a ratio"},
		{"target: 0.99", "target: 100", "a.yaml:10: SLO a: target 100 must be a ratio"},
		{"target: 0.99", "target: .nan", "a.yaml:10: SLO a: target NaN must be a ratio"},
		{"target: 0.99", "value: 3", "a.yaml:10: SLO a: target is missing"},
		{"target: 0.99", "target: x", "a.yaml:10: cannot unmarshal"},
		{"target: 0.99", "targetPercent: 99.9, target: 0.9", "exclude each other"},
		{"kind: latency", "kind: speed", `a.yaml:8: SLO a: metricSource.spec.kind "speed" is neither`},
		{"type: gatewatch", "type: prometheus", `metricSource.type "prometheus"`},
		{"service: payments", "servce: payments", "a.yaml:7: field servce not found"},
		{"duration: 4w", "duration: 4y", `a.yaml:9: SLO a: timeWindow.duration "4y" is not like 30d`},
		{"duration: 4w", "duration: -4w", "is not like 30d"},
		{"gatewatch/owner", "gatewatch/onwer", "a.yaml:5: SLO a: annotation gatewatch/onwer: unknown"},
		{"gatewatch/owner: team-a", "gatewatch/windows: 6 1h page", `"6 1h page" is not like 14.4 1h 5m page`},
		{"gatewatch/owner: team-a", "gatewatch/windows: 6 5m 1h page", "the short one below the long one"},
		{"gatewatch/owner: team-a", "gatewatch/windows: '6 1h 5m page, 3 1h 5m ticket'", "are there twice"},
		{"  name: a\n", "  name: ''\n", "metadata.name is missing"},
		{"kind: SLO", "kind: Rule", `kind "Rule": openslo/v1 has the kinds SLO, SLI`},
		{"threshold: 300ms", "threshold: 300", "is no duration"},
		{"threshold: 300ms", "threshold: 300ms, excluded: [client_quta]", `there is no error class "client_quta"`},
		{"  indicator: {spec:", "  indicatorRef: b\n  #", "a.yaml:8: SLO a: there is no SLI b"},
	} {
		_, err := Parse("a.yaml", []byte(strings.Replace(good, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a.yaml:") {
			t.Errorf("%s: error %v, want one with %q", c.new, err, c.want)
		}
	}
	if _, err := Load(os.DirFS("../../deploy/slo")); err != nil {
		t.Errorf("the shipped objectives: %v", err)
	}
}

// TestParseDocuments reads what others write into one file: a service, an
// indicator of its own, and an objective with two targets that refers to it.
func TestParseDocuments(t *testing.T) {
	set, err := Parse("a.yaml", []byte(`apiVersion: openslo/v1
kind: Service
metadata: {name: payments}
spec: {description: takes money}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: charges
  annotations:
    gatewatch/windows: 10 30m 5m page, 2 1d 2h ticket
    gatewatch/min-bad: "0"
spec:
  service: payments
  indicatorRef: charge-time
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives:
    - {displayName: Fast, target: 0.9, op: lte, value: 0.25}
    - {targetPercent: 99.5, op: lte, value: 2}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: charge-time}
spec:
  thresholdMetric:
    metricSource: {type: gatewatch, spec: {kind: latency, environment: live, excluded: [client_quota, client_cancelled]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	sli := SLI{Kind: Latency, Threshold: 250 * time.Millisecond, Environment: "live", Excluded: []accesslog.ErrorClass{accesslog.ClientQuota, accesslog.ClientCancelled}}
	slow := sli
	slow.Threshold = 2 * time.Second
	windows := []AlertWindow{{Long: 30 * time.Minute, Short: 5 * time.Minute, Factor: 10, Severity: alert.Page}, {Long: 24 * time.Hour, Short: 2 * time.Hour, Factor: 2, Severity: alert.Ticket}}
	want := []SLO{
		{Name: "charges-fast", Display: "charges Fast", Service: "payments", SLI: sli, Target: 0.9, Period: 30 * 24 * time.Hour, Windows: windows, File: "a.yaml", Line: 9},
		{Name: "charges-2", Display: "charges", Service: "payments", SLI: slow, Target: 0.995, Period: 30 * 24 * time.Hour, Windows: windows, File: "a.yaml", Line: 9},
	}
	if diff := cmp.Diff(set.SLOs, want); diff != "" {
		t.Errorf("Parse (-got +want):\n%s", diff)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := Parse("a.yaml", b)
		for _, s := range set.SLOs {
			if s.Validate() != nil {
				t.Errorf("Parse gave an invalid objective %+v (error %v)", s, err)
			}
		}
	})
}
