package evaluate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/devstack/debian"
	"gatewatch/internal/slo"
)

// promWindow writes a window as Prometheus' range does, which holds both of its
// ends: a second less holds as many minutes as the window has.
func promWindow(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())-1) }

// promRules writes an objective's windows as alerting rules.
func promRules(s slo.SLO) string {
	var b strings.Builder
	b.WriteString("groups:\n- name: slo\n  interval: 1m\n  rules:\n")
	for _, severity := range []alert.Severity{alert.Page, alert.Ticket} {
		var pairs []string
		for _, w := range s.Windows {
			if w.Severity != severity {
				continue
			}
			var both []string
			for _, d := range []time.Duration{w.Long, w.Short} {
				both = append(both, fmt.Sprintf("sum_over_time(bad[%s]) / sum_over_time(valid[%[1]s]) > %g * %g", promWindow(d), w.Factor, s.Budget()))
			}
			pairs = append(pairs, "("+strings.Join(both, " and ")+")")
		}
		fmt.Fprintf(&b, "  - alert: %s\n    expr: %s\n", severity, strings.Join(pairs, " or "))
	}
	return b.String()
}

// promTest writes what promtool is to find: at each minute from first on, whether
// each severity's rule fires. Prometheus fires a ticket beside a page, so a ticket
// is asked for only where no page is.
func promTest(points []Point, first int, want []alert.Severity) string {
	var valid, bad []string
	for _, p := range points {
		valid = append(valid, fmt.Sprint(p.Valid))
		bad = append(bad, fmt.Sprint(p.Bad))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  - {series: valid, values: '%s'}\n  - {series: bad, values: '%s'}\n  alert_rule_test:\n",
		strings.Join(valid, " "), strings.Join(bad, " "))
	ask := func(minute int, severity alert.Severity, fires bool) {
		alerts := "[]"
		if fires {
			alerts = "[{}]"
		}
		fmt.Fprintf(&b, "  - {eval_time: %dm, alertname: %s, exp_alerts: %s}\n", minute, severity, alerts)
	}
	for i, severity := range want {
		ask(first+i, alert.Page, severity == alert.Page)
		if severity != alert.Page {
			ask(first+i, alert.Ticket, severity == alert.Ticket)
		}
	}
	return b.String()
}

// TestPromtool: the same windows as rules of Prometheus, run by the real promtool,
// come to the same decision in every minute of hours with failures of all kinds.
func TestPromtool(t *testing.T) {
	root, err := debian.InstallPrometheus(t.Context(), os.Stderr)
	if err != nil {
		t.Skipf("Prometheus can't be fetched: %v", err)
	}
	r := rand.New(rand.NewPCG(11, 12))
	const history, length = 12 * 60, 16 * 60 // minutes
	share := make([]float64, history+length)
	for i := range share {
		share[i] = 0.0003
	}
	for at := history; at < len(share); at += 60 + r.IntN(120) {
		burn := []float64{0.9, 1.2, 2.5, 3.5, 5, 7, 12, 15, 40, 300}[r.IntN(10)]
		for k := at; k < min(len(share), at+5+r.IntN(150)); k++ {
			share[k] = burn * 0.001
		}
	}
	points := make([]Point, len(share))
	carry := 0.0
	for i := range points {
		valid := int64(600 + r.IntN(400))
		carry += share[i] * float64(valid)
		bad := int64(carry)
		carry -= float64(bad)
		points[i] = Point{Time: start.Add(time.Duration(i) * time.Minute), Count: slo.Count{Valid: valid, Bad: bad}}
	}
	table, err := newTable("x", points)
	if err != nil {
		t.Fatal(err)
	}
	s := objective("a")
	s.MinBad = 0
	// The sample of a minute has its beginning for a time: rules see it at once, the
	// evaluator when the minute is over.
	var want []alert.Severity
	seen := map[alert.Severity]int{}
	_, err = Backtest(t.Context(), table, Test{
		Set: set(s), From: start.Add(history * time.Minute), To: start.Add((history + length) * time.Minute), Reach: table.Reach(), Every: time.Minute,
		Watch: func(e *Evaluator) {
			e.Each(func(st *Status) {
				want = append(want, st.Severity)
				seen[st.Severity]++
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, severity := range []alert.Severity{alert.None, alert.Ticket, alert.Page} {
		if seen[severity] < 50 {
			t.Fatalf("only %d minutes of %s: the test says little", seen[severity], severity)
		}
	}
	promtool := func(want []alert.Severity) (string, error) {
		dir := t.TempDir()
		for name, text := range map[string]string{"rules.yaml": promRules(s), "test.yaml": promTest(points, history-1, want)} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		name, args := debian.Command(root, "usr/bin/promtool", "test", "rules", "test.yaml")
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := promtool(want); err != nil {
		t.Errorf("promtool decides otherwise (%v):\n%.3000s", err, out)
	}
	wrong := append([]alert.Severity{}, want[:200]...)
	wrong[100] = (wrong[100] + 1) % 3
	if _, err := promtool(wrong); err == nil {
		t.Error("promtool agrees with a wrong decision")
	}
}
