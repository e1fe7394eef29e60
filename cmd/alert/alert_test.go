package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
)

const objective = `apiVersion: openslo/v1
kind: SLO
metadata:
  name: payments-availability
  annotations: {gatewatch/owner: team-payments}
spec:
  service: payments
  indicator: {spec: {ratioMetric: {total: {metricSource: {type: gatewatch, spec: {kind: availability}}}}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives: [{target: 0.999}]
`

// installation writes a configuration with one objective and returns its file.
func installation(t *testing.T, slos, alert string, c clickhouse.Config) string {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`kafka:
  brokers: [127.0.0.1:1]
  topics: [{name: logs, format: nginx_json}]
clickhouse: {address: %q, database: %q, username: %q, password_file: %q}
alert:
  slos: slo
%s`, c.Address, c.Database, c.Username, c.PasswordFile, alert)
	if err := os.Mkdir(filepath.Join(dir, "slo"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"gatewatch.yaml": text, "slo/payments.yaml": slos} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatewatch.yaml")
}

// command runs gatewatch-alert.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), &daemon.Env{Getenv: func(string) string { return "" }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}, args)
	return code, out.String(), errs.String()
}

func TestCheck(t *testing.T) {
	nowhere := clickhouse.DefaultConfig()
	nowhere.Address = "127.0.0.1:1"
	for _, c := range []struct {
		name, slos, alert string
		code              int
		want              string // in stdout or stderr
	}{
		{"good", objective, "  default_owner: platform\n", 0, "team-payments"},
		{"no owner", strings.Replace(objective, "gatewatch/owner: team-payments", "", 1), "", 2, "default_owner"},
		{"no owner names the objective", strings.Replace(objective, "gatewatch/owner: team-payments", "", 1), "", 2, "payments.yaml:4: SLO payments-availability has no owner"},
		{"no such runbook", strings.Replace(objective, "gatewatch/owner: team-payments", "gatewatch/runbook: uptime", 1), "  default_owner: platform\n", 2, "payments.yaml:4: SLO payments-availability names runbook uptime"},
		{"per cent for a ratio", strings.Replace(objective, "0.999", "99.9", 1), "  default_owner: platform\n", 2, "payments.yaml:10: SLO payments-availability: target 99.9 must be a ratio between 0 and 1: write target: 0.999 or targetPercent: 99.9"},
		{"unknown key in the objective", strings.Replace(objective, "service:", "servce:", 1), "  default_owner: platform\n", 2, "payments.yaml:7:"},
		{"unknown key in the file", objective, "  default_owner: platform\n  graze: 2s\n", 2, "gatewatch.yaml:8:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := command(t, "check", "--config", installation(t, c.slos, c.alert, nowhere))
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("exit %d, want %d with %q:\n%s%s", code, c.code, c.want, out, errs)
			}
		})
	}
	code, _, errs := command(t, "check", "--config", "../../deploy/config/gatewatch.yaml")
	if code != 0 {
		t.Errorf("the shipped file: exit %d: %s", code, errs)
	}
	code, out, _ := command(t, "check", "--connect", "--config", installation(t, objective, "  default_owner: platform\n  alertmanagers: [http://127.0.0.1:1]\n", nowhere))
	if code != 3 || !strings.Contains(out, "FAIL") {
		t.Errorf("nothing listens: exit %d: %s", code, out)
	}
}

// posted is what a fake Alertmanager was sent.
type posted struct {
	mu     sync.Mutex
	alerts []map[string]any
}

func (p *posted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		fmt.Fprintln(w, "{}") // of its status
		return
	}
	var list []map[string]any
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alerts = append(p.alerts, list...)
}

func (p *posted) first() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.alerts) == 0 {
		return nil
	}
	return p.alerts[0]
}

// outage stores an hour of payments, of which the last ten minutes fail, and
// that this is complete.
func outage(t *testing.T, conn *clickhouse.Conn) {
	t.Helper()
	for _, q := range []string{
		`INSERT INTO access_log (ts, kafka_time, service, route, method, status, error_class, responder, error_evidence, latency_us, upstream, node, consumer)
		SELECT now64(6) - toIntervalMillisecond(100 * number + 1) AS t, t, 'payments', '/v1/charges', 'POST', 504,
			if(number < 6000 AND number % 2 = 0, 'upstream_timeout', 'none'), 'upstream', 'stated', 10000, if(number % 2 = 0, 'pay-2', 'pay-1'), 'gw-1', concat('shop-', toString(number % 9))
		FROM numbers(36000)`,
		`INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up) SELECT 'logs', now64(3), now64(3), 0, true`,
	} {
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	clickhousetest.Rollup(t, conn)
}

// TestPagePath runs the command against the real store and an Alertmanager's
// API: the page comes, its runbook is served, explain shows exactly what was
// sent, and a backtest says that it would have come.
func TestPagePath(t *testing.T) {
	conn, c := clickhousetest.New(t)
	outage(t, conn)
	peers := &posted{}
	server := httptest.NewServer(peers)
	defer server.Close()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	file := installation(t, objective, fmt.Sprintf("  default_owner: platform\n  listen: %s\n  alertmanagers: [%s]\n  extra_labels: {site: eu}\n  severity_map: {page: critical}\n", listen, server.URL), c)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		done <- run(ctx, &daemon.Env{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: t.Output()}, []string{"run", "--config", file})
	}()
	defer func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("run: exit %d", code)
		}
	}()
	var alert map[string]any
	for deadline := time.Now().Add(30 * time.Second); alert == nil; time.Sleep(20 * time.Millisecond) {
		if alert = peers.first(); alert == nil && time.Now().After(deadline) {
			t.Fatal("no alert within 30 s")
		}
	}
	wantLabels := map[string]any{"alertname": "SLOBurn", "slo": "payments-availability", "service": "payments", "owner": "team-payments", "severity": "critical", "site": "eu"}
	if diff := cmp.Diff(alert["labels"], any(wantLabels)); diff != "" {
		t.Errorf("labels (-got +want):\n%s", diff)
	}
	annotations, _ := alert["annotations"].(map[string]any)
	page, _ := annotations["page"].(string)
	for _, want := range []string{"[PAGE] payments availability 99.9 %: 50", "one upstream, pay-2", "upstream_timeout 100 % (stated by the gateway)", "DO NOW", "team-payments (stated by the SLO)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	url, _ := annotations["runbook_url"].(string)
	if code, text := get(t, url); code != http.StatusOK || !strings.Contains(text, "times out") {
		t.Errorf("runbook %s: status %d: %s", url, code, text)
	}
	id, _ := annotations["alert_id"].(string)
	explained(t, file, id, annotations)
	links := regexp.MustCompile(`https?://\S+`).FindAllString(page, -1)
	if len(links) < 3 {
		t.Errorf("links %q", links)
	}
	for _, link := range links {
		if code, text := get(t, link); code != http.StatusOK {
			t.Errorf("link %s: status %d: %s", link, code, text)
		}
	}
	var facts evaluate.Facts
	if text, _ := annotations["facts"].(string); json.Unmarshal([]byte(text), &facts) != nil || facts.Reach.Name != "one_upstream" || facts.Suspects[0].Where["upstream"] != "pay-2" || facts.Runbook.Name != "upstream-timeout" {
		t.Errorf("facts %+v", facts)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if code, text := get(t, "http://"+listen+path); code != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, code, text)
		}
	}
	backtested(t, file)
}

// explained compares explain with what was sent.
func explained(t *testing.T, file, id string, sent map[string]any) {
	t.Helper()
	var got struct {
		Changes []struct {
			Annotations map[string]any `json:"annotations"`
			SentAt      string         `json:"sent_at"`
		} `json:"changes"`
	}
	var code int
	var out, errs string
	for range 100 { // the record follows the post
		if code, out, errs = command(t, "explain", "--config", file, "-o", "json", id[:4]); code == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if code != 0 {
		t.Fatalf("explain: exit %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Changes) != 1 || got.Changes[0].SentAt == "" {
		t.Fatalf("explain: %s", out)
	}
	if diff := cmp.Diff(got.Changes[0].Annotations, sent); diff != "" {
		t.Errorf("explain against what was sent (-explain +sent):\n%s", diff)
	}
	if code, out, errs = command(t, "explain", "--config", file, id); code != 0 {
		t.Fatalf("explain: exit %d: %s", code, errs)
	}
	for _, want := range []string{"Raised   burn", "Owner    team-payments: stated by the SLO", "Runbook  upstream-timeout § One upstream: matched by", "Then     ", "[PAGE] payments"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain lacks %q:\n%s", want, out)
		}
	}
	if code, out, _ = command(t, "incidents", "--config", file); code != 0 || !strings.Contains(out, id) || !strings.Contains(out, "ongoing") {
		t.Errorf("incidents: exit %d: %s", code, out)
	}
	if code, _, _ = command(t, "explain", "--config", file, "no-such"); code != 4 {
		t.Errorf("explain of an unknown alert: exit %d, want 4", code)
	}
}

func backtested(t *testing.T, file string) {
	t.Helper()
	code, out, errs := command(t, "backtest", "--config", file, "--slo", filepath.Join(filepath.Dir(file), "slo", "payments.yaml"), "--from", "-1h", "-o", "json")
	var got struct {
		Pages   int `json:"pages"`
		Notices []struct {
			Severity, SLO string
			DelayS        float64 `json:"delay_s"`
		} `json:"notices"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("backtest: exit %d, %v: %s%s", code, err, out, errs)
	}
	// The history is an hour old, so even three days know nothing but it: a ticket
	// comes first, and becomes a page soon.
	if got.Pages != 1 || len(got.Notices) != 2 || got.Notices[1].Severity != "page" || got.Notices[1].DelayS > 120 {
		t.Errorf("backtest: %s", out)
	}
	if code, out, _ = command(t, "backtest", "--config", file, "--from", "-1h"); code != 0 || !strings.Contains(out, "1 page and 1 ticket of 1 objective from") {
		t.Errorf("backtest: exit %d: %s", code, out)
	}
	if code, _, _ = command(t, "backtest", "--config", file, "--slo", "nowhere.yaml"); code != 2 {
		t.Errorf("backtest of a missing file: exit %d, want 2", code)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
