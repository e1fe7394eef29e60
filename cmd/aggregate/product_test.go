package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/consumer"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
)

// kpiFile is what the product tests declare.
const kpiFile = `workflows:
  - name: buy
    window: 1h
    steps: [{name: cart, method: POST, route: /v1/carts}, {name: pay, method: POST, route: /v1/charges}]
    value: {amount: 10, currency: EUR}
plans: [{name: free, quotas: [{calls: 20, per: day}, {calls: 5, per: minute}]}]
tiers: [{name: gold, sla: {availability: 0.99}}]
deprecations: [{version: v1, sunset: 2099-01-31, successor: v2}]
activation: {calls: 2, days: 1, within: 1d}
`

// productSettings writes KPI files and a catalogue beside the configuration.
func productSettings(t *testing.T, c clickhouse.Config) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"kpi/shop.yaml":        kpiFile,
		"catalog/openapi.yaml": "openapi: 3.1.0\nx-service: shop\nx-owner: team-shop\ninfo: {title: Shop, version: '1'}\npaths:\n  /v1/carts: {post: {}}\n  /v1/refunds: {post: {}}\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := settings(t, c, fmt.Sprintf("aggregate: {kpi: %q}\n", filepath.Join(dir, "kpi")))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{default_owner: platform}"), fmt.Appendf(nil, "{default_owner: platform, catalog: %q}", filepath.Join(dir, "catalog")), 1)
	text = bytes.Replace(text, []byte("clickhouse: {"), fmt.Appendf(nil, "clickhouse: {http_address: %q, ", c.HTTPAddress), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// buyers stores an hour of the day before yesterday: acme buys twice, and once
// fails to pay, stuck is refused.
func buyers(t *testing.T, conn *clickhouse.Conn) (start time.Time) {
	t.Helper()
	start = time.Now().UTC().Truncate(24 * time.Hour).Add(-36 * time.Hour)
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	b := w.NewBlock(ingest.TopicConfig{Name: "access", Format: "nginx_json"})
	n := int64(0)
	at := func(minute int) (ingest.Coordinates, time.Time) {
		n++
		moment := start.Add(time.Duration(minute) * time.Minute)
		return ingest.Coordinates{Offset: n - 1, KafkaTime: moment}, moment
	}
	for i, name := range []string{"acme", "stuck"} {
		c, moment := at(0)
		b.AppendKeyEvent(c, &consumer.Event{Time: moment, Action: consumer.Created, KeyID: [16]byte{byte(i + 1)}, Consumer: name, Plan: "free", Tier: "gold", Owner: name + "@example.com"})
	}
	call := func(minute int, key byte, route string, status int, class accesslog.ErrorClass) {
		c, moment := at(minute)
		e := accesslog.Entry{Time: moment, Service: "shop", Method: "POST", Route: route, APIVersion: "v1", Status: status, Latency: accesslog.Latency{Total: accesslog.Some(20 * time.Millisecond)}, Consumer: accesslog.Consumer{KeyID: [16]byte{key}}}
		e.Outcome.Class = class
		b.AppendEntry(c, &e)
	}
	for minute := 1; minute <= 3; minute++ {
		call(minute, 1, "/v1/carts", 201, accesslog.ErrorNone)
	}
	call(4, 1, "/v1/charges", 201, accesslog.ErrorNone)
	call(5, 1, "/v1/charges", 201, accesslog.ErrorNone)
	call(6, 1, "/v1/charges", 502, accesslog.Upstream5xx)
	for range 4 {
		call(7, 2, "/v1/carts", 401, accesslog.ClientAuth)
	}
	call(8, 2, "/v1/charges", 404, accesslog.ClientNotFound)
	if err := b.Insert(t.Context(), ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Last: n - 1}, Messages: n, Rows: n}); err != nil {
		t.Fatal(err)
	}
	return start
}

// productRows asks for a report's table in JSON.
func productRows(t *testing.T, file, question, table string, args ...string) []map[string]any {
	t.Helper()
	code, out, errs := runCommand(t, append([]string{"report", question, "--config", file, "--from", "3d", "-o", "json"}, args...)...)
	if code != 0 {
		t.Fatalf("%s: exit %d: %s%s", question, code, out, errs)
	}
	var answer struct {
		Schema   string
		TimeZone string `json:"time_zone"`
		Tables   []struct {
			Name string
			Rows []map[string]any
		}
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Schema != productSchema || answer.TimeZone != "UTC" {
		t.Fatalf("%s: %v\n%s", question, err, out)
	}
	for _, tb := range answer.Tables {
		if tb.Name == table {
			return tb.Rows
		}
	}
	t.Fatalf("%s has no table %s:\n%s", question, table, out)
	return nil
}

func TestProductReports(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := productSettings(t, c)
	// Calls that were there before the workflow was declared are collected.
	buyers(t, conn)
	if code, out, errs := runCommand(t, "kpi", "--config", file); code != 0 || !strings.Contains(out, "1 workflow published") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	for _, q := range []struct {
		question, table string
		row             int
		want            map[string]any
	}{
		{"usage", "usage", 0, map[string]any{"name": "acme", "calls": 6.0, "top_error": "upstream_5xx"}},
		{"signups", "consumers", 0, map[string]any{"consumer": "stuck", "first_success": nil, "contact": "stuck@example.com"}},
		{"signups", "consumers", 1, map[string]any{"consumer": "acme", "seconds_to_success": 60.0, "activated": true}},
		{"first-call", "distribution", 0, map[string]any{"within": "1 minute", "consumers": 1.0}},
		{"blockers", "blockers", 0, map[string]any{"error_class": "client_auth", "operation": "POST /v1/carts", "consumers": 1.0, "owner": "team-shop"}},
		{"retention", "repeat", 0, map[string]any{"active": 1.0, "repeated": 0.0}},
		{"funnel", "funnel", 1, map[string]any{"step": "pay", "reached": 2.0, "dropped_before": 1.0, "top_drop_reason": "upstream_5xx 1"}},
		{"value", "value", 0, map[string]any{"completed": 2.0, "amount": 20.0, "currency": "EUR", "baseline": "no baseline yet"}},
		{"quota", "quota", 0, map[string]any{"unit": "stuck", "per": "minute", "used": 4.0, "share": 0.8}},
		{"deprecated", "notify", 0, map[string]any{"consumer": "acme", "calls": 6.0, "contact": "acme@example.com"}},
		{"sla", "sla", 0, map[string]any{"for": "tier gold", "requests": 11.0, "missed": true, "requests_beyond": 1.0}},
		{"inventory", "services", 0, map[string]any{"documented_used": 1.0, "documented_unused": 1.0, "undocumented": 1.0, "owner_coverage": 1.0}},
		{"fixes", "fixes", 0, map[string]any{"error_class": "upstream_5xx", "operation": "POST /v1/charges", "value_lost": "6.67 EUR", "owner": "team-shop"}},
		{"digest", "movements", 0, map[string]any{"service": "shop", "what": "new"}},
	} {
		rows := productRows(t, file, q.question, q.table)
		if len(rows) <= q.row {
			t.Errorf("%s: %d rows", q.question, len(rows))
			continue
		}
		for name, want := range q.want {
			if got := rows[q.row][name]; got != want {
				t.Errorf("%s: %s is %v, want %v in %v", q.question, name, got, want, rows[q.row])
			}
		}
	}
	t.Run("forms", func(t *testing.T) { productForms(t, file) })
	t.Run("digest", func(t *testing.T) { digestDelivery(t, file) })
	t.Run("check", func(t *testing.T) {
		_, out, _ := runCommand(t, "check", "--config", file)
		if !strings.Contains(out, "1 workflow, 1 plan, 1 tier, 1 deprecation") || !strings.Contains(out, "no such route POST /v1/charges; there are") {
			t.Error(out)
		}
		if _, out, _ := runCommand(t, "check", "--connect", "--config", file); !strings.Contains(out, "routes of KPI files: all among the 2") {
			t.Error(out)
		}
	})
}

func productForms(t *testing.T, file string) {
	for _, q := range productQuestions {
		code, out, errs := runCommand(t, "report", q.name, "--config", file, "--from", "3d")
		if code != 0 || !strings.Contains(out, "UTC") {
			t.Errorf("%s: exit %d\n%s%s", q.name, code, out, errs)
		}
		t.Logf("\n%s", out)
	}
	_, out, _ := runCommand(t, "report", "signups", "--config", file, "--from", "3d", "-o", "csv", "--table", "consumers")
	if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(rows) != 3 || !slices.Contains(rows[0], "seconds_to_success") {
		t.Errorf("%v\n%s", err, out)
	}
	code, out, errs := runCommand(t, "report", "usage", "--config", file, "--from", "3d", "-o", "parquet")
	if code != 0 || !strings.HasPrefix(out, "PAR1") || !strings.HasSuffix(out, "PAR1") {
		t.Errorf("exit %d: %q %s", code, out[:min(len(out), 200)], errs)
	}
	for args, want := range map[string]string{
		"usage --by colour":          "usage goes by one of",
		"signups --table colour":     "this report has cohorts, consumers",
		"usage --from 200d":          "kept by the hour for 90d only",
		"traffic -o parquet":         "want table, json, csv",
		"signups -o xml":             "want table, json, csv, parquet",
		"digest --out /nowhere/file": "--out",
	} {
		more := append(strings.Fields(args), "--config", file)
		if strings.Contains(args, "--table") {
			more = append(more, "-o", "csv")
		}
		if code, out, errs := runCommand(t, append([]string{"report"}, more...)...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d\n%s%s", args, code, out, errs)
		}
	}
}

func digestDelivery(t *testing.T, file string) {
	var posted map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &posted); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	if code, _, errs := runCommand(t, "report", "digest", "--config", file, "--out", server.URL+"/hook"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if text, _ := posted["text"].(string); !strings.HasPrefix(text, "# The week of") || posted["question"] != "digest" {
		t.Errorf("posted %v", posted)
	}
	if code, _, errs := runCommand(t, "report", "digest", "--config", file, "--out", server.URL+"/refused"); code != daemon.CodeUnreachable || !strings.Contains(errs, "403") {
		t.Errorf("exit %d: %s", code, errs)
	}
	out := filepath.Join(t.TempDir(), "digest.md")
	if code, _, errs := runCommand(t, "report", "digest", "--config", file, "--out", out); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if b, err := os.ReadFile(out); err != nil || !bytes.HasPrefix(b, []byte("# The week of")) {
		t.Errorf("%v: %s", err, b)
	}
}

// Faults of KPI files stop every command with file and line.
func TestKPIFaults(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("workflow: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := settings(t, clickhouse.Config{Address: "127.0.0.1:1", Database: "gatewatch", Username: "default"}, fmt.Sprintf("aggregate: {kpi: %q}\n", dir))
	for _, command := range [][]string{{"check"}, {"kpi"}, {"report", "signups"}} {
		code, _, errs := runCommand(t, append(command, "--config", file)...)
		if code != daemon.CodeUsage || !strings.Contains(errs, `bad.yaml:1: unknown key "workflow"`) {
			t.Errorf("%v: exit %d: %s", command, code, errs)
		}
	}
}
