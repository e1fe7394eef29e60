package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/slo"
)

// write puts files into a folder and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// counts is two days of minutes of which twelve fail by a fifth.
func counts() string {
	var b strings.Builder
	b.WriteString("time,good,total\n")
	begin := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for i := range 2 * 1440 {
		good := 500
		if i >= 1440 && i < 1452 {
			good = 400
		}
		fmt.Fprintf(&b, "%s,%d,500\n", begin.Add(time.Duration(i)*time.Minute).Format(time.RFC3339), good)
	}
	return b.String()
}

// TestBacktestInput tries an objective on a file, with nothing installed: no
// configuration, no store.
func TestBacktestInput(t *testing.T) {
	dir := write(t, map[string]string{
		"counts.csv": counts(), "strict.yaml": "service: payments\nobjective: 99.9 %\nname: p\n", "lax.yaml": "service: payments\nobjective: 95 %\nname: p\n",
		"both.yaml": "service: payments\nobjective: 99.9 %, 99 % under 300ms\n", "bad.csv": "time,good,total\n2026-03-02T00:00:00Z,7,5\n",
	})
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"--slo", in("strict.yaml"), "--input", in("counts.csv")}, 0, []string{"2026-03-03T00:05:00Z  page", "1 page and 1 ticket of 1 objective", "MEDIAN DELAY"}},
		{[]string{"--slo", in("strict.yaml"), "--input", in("counts.csv"), "--max-pages", "0"}, 1, []string{"too many pages: 1"}},
		{[]string{"--slo", in("lax.yaml"), "--input", in("counts.csv"), "--max-pages", "0"}, 0, []string{"0 pages"}},
		{[]string{"--slo", in("strict.yaml"), "--input", in("counts.csv"), "--against", in("lax.yaml")}, 0, []string{"2 alerts would be added (+) and 0 alerts fall away", "+ 2026-03-03T00:05:00Z"}},
		{[]string{"--slo", in("lax.yaml"), "--input", in("counts.csv"), "--against", in("strict.yaml")}, 0, []string{"0 alerts would be added (+) and 2 alerts fall away", "- 2026-03-03T00:05:00Z page p"}},
		{[]string{"--slo", in("both.yaml"), "--input", in("counts.csv")}, 0, []string{"payments-latency (counted at 298.53ms)"}},
		{[]string{"--slo", in("strict.yaml"), "--input", in("bad.csv")}, 2, []string{"bad.csv:2: good or bad is more than total 5"}},
		{[]string{"--slo", in("strict.yaml"), "--input", in("nowhere.csv")}, 2, []string{"nowhere.csv"}},
		{[]string{"--input", in("counts.csv")}, 2, []string{"--input needs --slo FILE"}},
		{[]string{"--slo", in("strict.yaml"), "--input", in("counts.csv"), "--against", "current"}, 2, []string{"--against current needs a configuration"}},
	} {
		code, out, errs := command(t, append([]string{"backtest"}, c.args...)...)
		if code != c.code {
			t.Errorf("%v: exit %d, want %d: %s%s", c.args, code, c.code, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%v lacks %q:\n%s%s", c.args, want, out, errs)
			}
		}
	}
	svg := in("burn.svg")
	code, out, errs := command(t, "backtest", "--slo", in("strict.yaml"), "--input", in("counts.csv"), "--svg", svg, "-o", "jsonl")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for line := range strings.Lines(out) {
		var n noticeJSON
		if err := json.Unmarshal([]byte(line), &n); err != nil || n.SLO != "p" {
			t.Errorf("line %q: %v", line, err)
		}
	}
	b, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	var any struct{}
	if err := xml.Unmarshal(b, &any); err != nil || !strings.Contains(string(b), "<polyline") || !strings.Contains(string(b), "page: burn") {
		t.Errorf("the chart is no SVG with pages: %v", err)
	}
}

func TestSLOExpand(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": "service: payments\nobjective: 99.9 %, 90 % under 300ms\n", "bad.yaml": "service: payments\nobjective: 99.9\n"})
	code, out, errs := command(t, "slo", "expand", filepath.Join(dir, "a.yaml"))
	if code != 0 || !strings.Contains(errs, "never fires") {
		t.Fatalf("exit %d: %s", code, errs)
	}
	if set, err := slo.Parse("x.yaml", []byte(out)); err != nil || len(set.SLOs) != 2 {
		t.Errorf("%v:\n%s", err, out)
	}
	if code, _, errs = command(t, "slo", "expand", filepath.Join(dir, "bad.yaml")); code != 2 || !strings.Contains(errs, "bad.yaml:2: short form: objective \"99.9\": write 99.9 % if you mean per cent") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if code, _, _ = command(t, "slo"); code != 2 {
		t.Errorf("without a file: exit %d", code)
	}
}

func TestImportCommand(t *testing.T) {
	code, out, errs := command(t, "import", "../../internal/slo/testdata/sloth.yaml", "../../internal/slo/testdata/pyrra.yaml")
	if code != 0 || !strings.Contains(errs, "sloth.yaml:39: cpu: can't be converted") || !strings.Contains(errs, "4 objectives converted") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if set, err := slo.Parse("x.yaml", []byte(out)); err != nil || len(set.SLOs) != 4 {
		t.Errorf("%v:\n%s", err, out)
	}
	dir := write(t, map[string]string{"rule.yaml": "groups: []\n"})
	if code, _, errs = command(t, "import", filepath.Join(dir, "rule.yaml")); code != 2 || !strings.Contains(errs, "want prometheus/v1") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestHistory fills three weeks of a service with an outage, and asks for budgets,
// suggestions, incidents, notes and what alerts were worth.
func TestHistory(t *testing.T) {
	conn, c := clickhousetest.New(t)
	now := time.Now().UTC().Truncate(time.Minute)
	outage := now.Add(-26 * time.Hour)
	for _, q := range []string{
		fmt.Sprintf(`INSERT INTO request_1m (time, service, route, method, error_class, responder, requests, timed, latency_hist)
			SELECT toDateTime(%d, 'UTC') - 60 * (number + 1) AS t, 'payments', '/', 'GET', 'none', 'unknown', 1000, 1000, map(toUInt16(900), toInt64(1000)) FROM numbers(%d)`, now.Unix(), 21*1440),
		fmt.Sprintf(`INSERT INTO request_1m (time, service, route, method, error_class, responder, requests)
			SELECT toDateTime(%d, 'UTC') + 60 * number, 'payments', '/', 'GET', 'upstream_5xx', 'upstream', 300 FROM numbers(20)`, outage.Unix()),
		`INSERT INTO request_1h (time, service, route, method, error_class, responder, requests, timed, latency_hist)
			SELECT toStartOfHour(time) AS h, service, route, method, error_class, responder, sum(requests), sum(timed), sumMap(latency_hist) FROM request_1m
			GROUP BY h, service, route, method, error_class, responder`,
		"INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up) SELECT 'logs', now64(3), now64(3), 0, true",
		fmt.Sprintf(`INSERT INTO alert_event (at, alert_id, slo, kind, service, owner, severity, from_state, to_state, annotations, evidence, sent_at) VALUES
			(%[1]d, 'beef0001', 'payments-availability', 'slo_burn', 'payments', 'team-a', 'page', 'inactive', 'firing', {'since':'%[2]s','page':'[PAGE] payments','runbook':'slo-burn'}, '{"reason":"burn 20x","notice_s":7200}', %[1]d),
			(%[3]d, 'beef0001', 'payments-availability', 'slo_burn', 'payments', 'team-a', 'page', 'firing', 'resolved', {'since':'%[2]s','page':'[RESOLVED] payments'}, '{"reason":"calm"}', %[3]d)`,
			outage.Add(3*time.Minute).UnixMilli(), outage.Format(time.RFC3339), outage.Add(28*time.Minute).UnixMilli()),
		fmt.Sprintf("INSERT INTO alert_delivery (at, alert_id, state, inhibited_by, receivers) VALUES (%d, 'beef0001', 'suppressed', ['x'], ['pages'])", outage.Add(4*time.Minute).UnixMilli()),
	} {
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	file := installation(t, objective, "  default_owner: platform\n", c)
	expect := func(code int, args []string, want ...string) string {
		t.Helper()
		got, out, errs := command(t, append(args, "--config", file)...)
		if got != code {
			t.Fatalf("%v: exit %d, want %d: %s%s", args, got, code, out, errs)
		}
		for _, w := range want {
			if !strings.Contains(out+errs, w) {
				t.Errorf("%v lacks %q:\n%s%s", args, w, out, errs)
			}
		}
		return out
	}
	// 6,000 of 30.24 million failed, 30,246 may: a fifth is spent.
	expect(0, []string{"budget"}, "payments-availability  99.9 %", "████████░░ 80 %", "counted since", "no requests in 1 h")
	var doc struct {
		Budgets []struct {
			Left    float64
			Down    []float64 `json:"left_by_day"`
			Bad     int64
			Allowed float64 `json:"allowed_bad"`
		}
	}
	if err := json.Unmarshal([]byte(expect(0, []string{"budget", "-o", "json"})), &doc); err != nil || len(doc.Budgets) != 1 || doc.Budgets[0].Bad != 6000 || len(doc.Budgets[0].Down) < 29 {
		t.Errorf("budget: %v %+v", err, doc)
	}
	text := expect(0, []string{"suggest", "--from", "14d"}, "payments-availability", "would have raised", "payments-latency")
	if set, err := slo.Parse("x.yaml", []byte(text)); err != nil || len(set.SLOs) != 2 || set.SLOs[0].Target != 0.999 && set.SLOs[0].Target != 0.9995 {
		t.Errorf("suggested %v:\n%s", err, text)
	}
	expect(0, []string{"incidents"}, "beef0001", "payments-availability", "yes")
	if code, _, errs := command(t, "incidents", "note", "beef", "--useful", "yes", "--text", "rolled back | twice", "--author", "ann", "--config", file); code != 0 {
		t.Fatalf("note: exit %d: %s", code, errs)
	}
	if code, _, _ := command(t, "incidents", "note", "beef", "--config", file); code != 2 {
		t.Errorf("an empty note: exit %d", code)
	}
	if code, _, _ := command(t, "incidents", "note", "cafe", "--text", "x", "--config", file); code != 4 {
		t.Errorf("a note on nothing: exit %d", code)
	}
	code, out, errs := command(t, "incidents", "--config", file, "beef")
	for _, want := range []string{"# Incident beef0001: payments-availability", "| onset of the failure |", "**page** raised: burn 20x", "an Alertmanager took it", "suppressed, inhibited by x, for pages", "note (useful: yes) by ann: rolled back \\| twice", "[RESOLVED] payments"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("timeline lacks %q (exit %d):\n%s%s", want, code, out, errs)
		}
	}
	var worth struct{ SLOs []quality }
	code, out, errs = command(t, "incidents", "quality", "--from", "3d", "-o", "json", "--config", file)
	if err := json.Unmarshal([]byte(out), &worth); err != nil || code != 0 || len(worth.SLOs) != 1 {
		t.Fatalf("quality: exit %d, %v: %s%s", code, err, out, errs)
	}
	if q := worth.SLOs[0]; q.Pages != 1 || q.ActedOn != 1 || q.Missed != 0 || q.NoticeM != 120 {
		t.Errorf("quality %+v", q)
	}
	// What nobody has seen is told, with what may have been meant.
	unseen := installation(t, "service: paymnts\nobjective: 99 %\n---\nservice: payments\nobjective: 99 %\nroute: /v1\n", "  default_owner: platform\n", c)
	_, out, _ = command(t, "check", "--connect", "--config", unseen)
	for _, want := range []string{`warn  payments.yaml:1: SLO paymnts-availability: no request to service "paymnts" in 7 days; the nearest is "payments"`, `no request to route "/v1" in 7 days`} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q:\n%s", want, out)
		}
	}
	// A runbook for what is neither declared nor seen can never match.
	own := installation(t, "service: payments\nobjective: 99 %\n", "  default_owner: team-pets\n  runbooks: {dir: runbooks}\n", c)
	if err := os.Mkdir(filepath.Join(filepath.Dir(own), "runbooks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"all.md": book, "legacy.md": strings.Replace(book, "match: {}", "match: {service: legacy}", 1)} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(own), "runbooks", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, _ = command(t, "check", "--connect", "--config", own); code != 2 || !strings.Contains(out, `FAIL  runbook legacy.md:1: never matches: service is never "legacy"`) {
		t.Errorf("a runbook that never matches: exit %d\n%s", code, out)
	}
	// Before the first count nothing is judged.
	code, out, errs = command(t, "backtest", "--from", "60d", "--to", "40d", "--config", file)
	if code != 4 || !strings.Contains(out+errs, "judged from") && !strings.Contains(out+errs, "not judged") {
		t.Errorf("before the first count: exit %d: %s%s", code, out, errs)
	}
}

// TestTestPage: who gets a page of a service, by what Alertmanager says.
func TestTestPage(t *testing.T) {
	nowhere := clickhouse.DefaultConfig()
	nowhere.Address = "127.0.0.1:1"
	for _, c := range []struct {
		receivers string
		code      int
		want      string
	}{
		{`[{"name":"pager"}]`, 0, "receiver  pager\n"},
		{`[{"name":"default"}]`, 1, `only the default receiver "default" gets it`},
		{`[{"name":"default"},{"name":"pager"}]`, 0, "receiver  default  (the default of the routes)"},
	} {
		var posted string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				b := make([]byte, 1<<16)
				n, _ := r.Body.Read(b)
				posted = string(b[:n])
			case r.URL.Path == "/am/api/v2/status":
				fmt.Fprint(w, `{"config":{"original":"route: {receiver: default}\n"},"versionInfo":{},"cluster":{"status":"ready"}}`)
			default:
				fmt.Fprintf(w, `[{"labels":{},"annotations":{},"receivers":%s,"status":{"state":"active"}}]`, c.receivers)
			}
		}))
		file := installation(t, objective, "  default_owner: platform\n  severity_map: {page: critical}\n  alertmanagers: ["+server.URL+"/am]\n", nowhere)
		code, out, errs := command(t, "test", "--service", "payments", "--config", file)
		server.Close()
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d, want %d with %q: %s%s", c.receivers, code, c.code, c.want, out, errs)
		}
		for _, want := range []string{`"test":"true"`, `"severity":"critical"`, "[TEST] payments"} {
			if !strings.Contains(posted, want) {
				t.Errorf("posted without %s: %s", want, posted)
			}
		}
	}
	file := installation(t, objective, "  default_owner: platform\n  alertmanagers: [http://127.0.0.1:1]\n", nowhere)
	if code, _, _ := command(t, "test", "--service", "payments", "--config", file); code != 3 {
		t.Errorf("no Alertmanager: exit %d, want 3", code)
	}
	if code, _, _ := command(t, "test", "--config", file); code != 2 {
		t.Errorf("without a service: exit %d, want 2", code)
	}
}
