package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/rollup"
)

// runCommand runs the binary's main function.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), &daemon.Env{Getenv: func(string) string { return "" }, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}, args)
	return code, out.String(), errs.String()
}

// settings writes a configuration for the test's database and returns its path.
func settings(t *testing.T, c clickhouse.Config, more string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gatewatch.yaml")
	text := fmt.Sprintf(`kafka:
  brokers: [127.0.0.1:1]
  topics: [{name: access, format: nginx_json}, {name: spans, format: otlp_proto}]
clickhouse: {address: %q, database: %q, username: %q, password_file: %q}
alert: {default_owner: platform}
%s`, c.Address, c.Database, c.Username, c.PasswordFile, more)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// hour stores an hour of traffic that ended a minute ago: 3600 requests, one a
// second, of which every tenth fails, and two dead letters.
func hour(t *testing.T, conn *clickhouse.Conn) (start time.Time) {
	t.Helper()
	start = time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	b := w.NewBlock(ingest.TopicConfig{Name: "access", Format: "nginx_json"})
	for i := range int64(3600) {
		e := accesslog.Entry{
			Time: start.Add(time.Duration(i) * time.Second), Service: []string{"orders", "payments"}[i%2], Method: "GET", Route: fmt.Sprintf("/v1/things/%d", i%7),
			Status: 200, ResponseBytes: accesslog.Some[int64](1000), Node: fmt.Sprintf("gw-%d", i%3), ClientAddr: netip.MustParseAddr(fmt.Sprintf("198.51.%d.0", i%5)),
			Latency:  accesslog.Latency{Total: accesslog.Some(time.Duration(i+1) * time.Millisecond)},
			Consumer: accesslog.Consumer{ID: fmt.Sprintf("c%d", i%4), Plan: "gold", KeyID: [16]byte{byte(i%4) + 1}},
		}
		if i%10 == 0 {
			e.Status, e.Outcome = 503, accesslog.Outcome{Class: accesslog.Upstream5xx, Responder: accesslog.ResponderUpstream}
		}
		b.AppendEntry(ingest.Coordinates{Offset: i, KafkaTime: e.Time}, &e)
	}
	for i := range int64(2) {
		b.AppendDeadLetter(&ingest.DeadLetter{Coordinates: ingest.Coordinates{Offset: 3600 + i, KafkaTime: start}, Reason: accesslog.ReasonSyntax, Detail: "at byte 3", Excerpt: "{***"})
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: 0, Last: 3601}, Messages: 3600, Dead: 2, Rows: 3600, EarliestEvent: start, LatestEvent: start.Add(time.Hour), FirstKafkaTime: start, LastKafkaTime: start}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return start
}

func watermark(t *testing.T, conn *clickhouse.Conn, until time.Time) {
	t.Helper()
	ws := []rollup.Watermark{
		{Topic: "access", CompleteUntil: until, MeasuredAt: time.Now().UTC(), CaughtUp: true},
		{Topic: "spans", CompleteUntil: until.Add(-time.Hour), MeasuredAt: time.Now().UTC(), CaughtUp: true},
	}
	if err := conn.InsertWatermarks(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
}

type reportJSON struct {
	Schema        string
	Source        string
	CompleteUntil *time.Time `json:"complete_until"`
	Provisional   bool
	Total         *rowJSON
	Rows          []rowJSON
	Notes         []string
}

type rowJSON struct {
	Group        map[string]string
	Requests     int64
	RatePerS     *float64         `json:"rate_per_s"`
	ServerErrors int64            `json:"server_errors"`
	Errors       map[string]int64 `json:"errors"`
	Latency      *struct {
		N      int64
		P50    float64
		P99    float64
		Max    float64
		TooFew []string `json:"too_few"`
	} `json:"latency_ms"`
	FirstSeen *time.Time `json:"first_seen"`
}

func TestReport(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := settings(t, c, "")
	start := hour(t, conn)
	window := []string{"--config", file, "--from", start.Format(time.RFC3339), "--to", start.Add(time.Hour).Format(time.RFC3339)}
	ask := func(t *testing.T, question string, more ...string) reportJSON {
		t.Helper()
		code, out, errs := runCommand(t, slices.Concat([]string{"report", question, "-o", "json"}, window, more)...)
		if code != 0 {
			t.Fatalf("exit %d: %s%s", code, out, errs)
		}
		var r reportJSON
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		return r
	}
	if r := ask(t, "traffic"); r.CompleteUntil != nil || !r.Provisional {
		t.Errorf("nobody has measured completeness, yet until %v, provisional %t", r.CompleteUntil, r.Provisional)
	}
	watermark(t, conn, time.Now().UTC())

	t.Run("traffic", func(t *testing.T) {
		r := ask(t, "traffic")
		if r.Schema != reportSchema || r.Source != "request_10s" || r.Provisional || r.CompleteUntil == nil || len(r.Rows) != 12 {
			t.Errorf("%+v", r)
		}
		for _, row := range r.Rows {
			if row.Requests != 300 || *row.RatePerS != 1 || row.ServerErrors != 30 {
				t.Errorf("five minutes: %+v", row)
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		r := ask(t, "errors")
		if len(r.Rows) != 1 || r.Rows[0].Requests != 360 || r.Total.Requests != 3600 || r.Rows[0].Group["responder"] != "upstream" || r.Rows[0].Group["status"] != "503" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("latency", func(t *testing.T) {
		r := ask(t, "latency", "--by", "service")
		if len(r.Rows) != 2 || r.Rows[0].Latency.N != 1800 || !near(r.Rows[0].Latency.P50, 1800) || !near(r.Total.Latency.P99, 3564) || r.Total.Latency.Max != 3600 {
			t.Errorf("%+v", r)
		}
		if r := ask(t, "latency", "--by", "time,service"); len(r.Rows) != 24 || !slices.Contains(r.Rows[0].Latency.TooFew, "p99_9") {
			t.Errorf("%+v", r)
		}
	})
	t.Run("keys", func(t *testing.T) {
		r := ask(t, "keys")
		if r.Source != "key_1m" || len(r.Rows) != 4 || r.Rows[0].Requests != 900 || !r.Rows[0].FirstSeen.Before(start.Add(time.Minute)) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("routes", func(t *testing.T) {
		if r := ask(t, "routes", "--limit", "3"); len(r.Rows) != 3 || r.Total.Requests != 3600 || len(r.Notes) != 1 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("raw dimension and filter", func(t *testing.T) {
		r := ask(t, "traffic", "--by", "node", "--where", "service=payments,status=200")
		if r.Source != "access_log" || len(r.Rows) != 3 || r.Total.Requests != 1800 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("table", func(t *testing.T) {
		for _, q := range []string{"traffic", "errors", "latency", "keys", "routes", "summary"} {
			code, out, errs := runCommand(t, slices.Concat([]string{"report", q}, window)...)
			if code != 0 || !strings.Contains(out, "3,600") || !strings.Contains(out, "\ncomplete until ") {
				t.Errorf("%s: exit %d\n%s%s", q, code, out, errs)
			}
			t.Logf("\n%s", out)
		}
	})
	t.Run("csv", func(t *testing.T) {
		_, out, _ := runCommand(t, slices.Concat([]string{"report", "keys", "-o", "csv"}, window)...)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) != 5 || rows[0][0] != "key_id" || len(rows[1][0]) != 32 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("summary", func(t *testing.T) {
		code, out, errs := runCommand(t, "report", "summary", "-o", "json", "--config", file)
		var s struct {
			Total         rowJSON
			Statuses      []rowJSON
			Clients       []rowJSON
			BusiestMinute rowJSON `json:"busiest_minute"`
			Unreadable    []struct {
				Reason   string
				Messages int64
			}
		}
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
			t.Fatalf("exit %d, %v: %s", code, err, errs)
		}
		if s.Total.Requests != 3600 || len(s.Statuses) != 2 || len(s.Clients) != 5 || s.BusiestMinute.Requests != 60 ||
			s.BusiestMinute.Group["time"] != start.Format(time.RFC3339) || len(s.Unreadable) != 1 || s.Unreadable[0].Messages != 2 {
			t.Errorf("%+v", s)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		code, out, _ := runCommand(t, "report", "--config", file, "--from", "-10m")
		if code != daemon.CodeUnknown || !strings.Contains(out, "no requests") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("too old", func(t *testing.T) {
		code, _, errs := runCommand(t, "report", "--config", file, "--from", "20d", "--by", "host")
		if code != daemon.CodeUnknown || !strings.Contains(errs, "kept for 14d") {
			t.Errorf("exit %d: %s", code, errs)
		}
	})
}

func near(got, want float64) bool { return got > want*0.99 && got < want*1.01 }

func TestReportUsage(t *testing.T) {
	file := settings(t, clickhouse.Config{Address: "127.0.0.1:1", Database: "gatewatch", Username: "default"}, "")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"report", "-h"}, 0, "Dimensions: time service"},
		{[]string{"report", "weather"}, 2, "errors, first-call"},
		{[]string{"report", "--by", "colour"}, 2, "there are time, service, route"},
		{[]string{"report", "--by", "node,node"}, 2, "twice"},
		{[]string{"report", "--where", "service"}, 2, "dimension=value"},
		{[]string{"report", "--where", "colour=red"}, 2, "there are service"},
		{[]string{"report", "-o", "xml"}, 2, "want table"},
		{[]string{"report", "--from", "yesterday"}, 2, "--from"},
		{[]string{"report", "--from", "-1h", "--to", "-2h"}, 2, "not before"},
		{[]string{"report", "--limit", "-1"}, 2, "--limit"},
		{[]string{"report", "--colour"}, 2, "not defined"},
		{[]string{"report", "traffic", "errors"}, 2, "one question"},
		{[]string{"report"}, 3, "can't be reached"},
	} {
		if len(c.args) > 1 && c.args[1] != "-h" || len(c.args) == 1 {
			c.args = append([]string{c.args[0], "--config", file}, c.args[1:]...)
		}
		code, out, errs := runCommand(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: exit %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
	}
}
