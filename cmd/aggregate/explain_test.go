package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/config"
	"gatewatch/internal/ingest"
)

// incident stores two hours of traffic, 10 requests a second of 20 keys, that
// ended an hour ago. In the second hour key 3's requests are refused; a breaker is
// open for two minutes; gw-2 is silent for five and its clock is 5 s late.
func incident(t *testing.T, conn *clickhouse.Conn) (onset time.Time) {
	t.Helper()
	onset = time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	w := clickhouse.NewWriter(conn)
	t.Cleanup(w.Close)
	b := w.NewBlock(ingest.TopicConfig{Name: "access", Format: "nginx_json"})
	start := onset.Add(-time.Hour)
	var n int64
	for i := range int64(2 * 36_000) {
		at := start.Add(time.Duration(i) * 100 * time.Millisecond)
		node, k := i%3, i%20+1
		into := at.Sub(onset)
		if node == 2 && into >= 30*time.Minute && into < 35*time.Minute {
			continue
		}
		e := accesslog.Entry{
			Time: at, Service: "payments", Method: "POST", Route: "/v1/charges", Path: fmt.Sprintf("/v1/charges/%d", i), Status: 201, Node: fmt.Sprintf("gw-%d", node), Upstream: "pay-1",
			Latency:  accesslog.Latency{Total: accesslog.Some(12 * time.Millisecond), Upstream: accesslog.Some(10 * time.Millisecond), Gateway: accesslog.Some(2 * time.Millisecond)},
			Outcome:  accesslog.Outcome{UpstreamReached: accesslog.ReachedYes, Responder: accesslog.ResponderUpstream},
			Consumer: accesslog.Consumer{ID: fmt.Sprintf("c%d", k), Plan: "gold", KeyID: [16]byte{byte(k)}},
		}
		if into >= 0 && k == 3 {
			e.Status, e.Outcome.Class = 401, accesslog.ClientAuth
		}
		switch breaker := into - 40*time.Minute; {
		case breaker >= 0 && breaker < 10*time.Second:
			e.Status, e.Outcome.Class = 504, accesslog.UpstreamTimeout
		case breaker >= 10*time.Second && breaker < 2*time.Minute:
			e.Status, e.Latency.Upstream, e.Upstream = 503, accesslog.Opt[time.Duration]{}, ""
			e.Outcome = accesslog.Outcome{Class: accesslog.BreakerOpen, Responder: accesslog.ResponderGateway, UpstreamReached: accesslog.ReachedNo, Evidence: accesslog.EvidenceStated}
		}
		kafka := at.Add(time.Second)
		if node == 2 {
			kafka = kafka.Add(5 * time.Second)
		}
		b.AppendEntry(ingest.Coordinates{Offset: n, KafkaTime: kafka}, &e)
		n++
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Last: n - 1}, Messages: n, Rows: n, EarliestEvent: start, LatestEvent: onset.Add(time.Hour), FirstKafkaTime: start, LastKafkaTime: onset.Add(time.Hour)}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return onset
}

type sheetJSON struct {
	Schema, Question, Source, Unknown string
	CompleteUntil                     *time.Time `json:"complete_until"`
	Rows                              []map[string]any
	Notes                             []string
}

func TestExplain(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := settings(t, c, "")
	onset := incident(t, conn)
	watermark(t, conn, time.Now().UTC())
	p := aggregate.Windows{Store: conn, Derivations: aggregate.Derivations(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if err := p.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	node := func(count int64) aggregate.Counter {
		return aggregate.Counter{Time: onset.Add(time.Duration(count) * time.Minute), Node: "gw-1", Requests: 1000 + count*250} // it logs 200 a minute
	}
	if err := conn.InsertCounters(t.Context(), []aggregate.Counter{node(0), node(1), node(2), {Time: onset, Node: "gw-0", Error: "refused"}}); err != nil {
		t.Fatal(err)
	}
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/sheet.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	window := []string{"--config", file, "--from", onset.Format(time.RFC3339), "--to", onset.Add(time.Hour).Format(time.RFC3339), "--limit", "0"}
	ask := func(question string, more ...string) sheetJSON {
		t.Helper()
		code, out, errs := runCommand(t, slices.Concat([]string{"report", question, "-o", "json"}, window, more)...)
		if code != 0 {
			t.Fatalf("%s: exit %d: %s%s", question, code, out, errs)
		}
		var s sheetJSON
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%s: %v\n%s", question, err, out)
		}
		var any any
		if err := json.Unmarshal([]byte(out), &any); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(any); err != nil {
			t.Errorf("%s: %v", question, err)
		}
		return s
	}
	find := func(s sheetJSON, want map[string]any) map[string]any {
		for _, row := range s.Rows {
			if !slices.ContainsFunc(keysOf(want), func(k string) bool { return row[k] != want[k] }) {
				return row
			}
		}
		t.Errorf("%s: no row has %v in %v", s.Question, want, s.Rows)
		return map[string]any{}
	}
	clients := ask("clients")
	row := find(clients, map[string]any{"finding": "one_client", "error_class": "client_auth"})
	if !strings.HasPrefix(fmt.Sprint(row["caller"]), "c3 ") || row["failed"] != 1690.0 {
		t.Errorf("clients: %v", row)
	}
	find(clients, map[string]any{"finding": "own_failure", "operation": "POST /v1/charges", "error_class": "client_auth", "others": 0.0, "before": 0.0})
	find(clients, map[string]any{"finding": "auth_loop", "error_class": "client_auth"})
	find(clients, map[string]any{"finding": "everybody", "error_class": "breaker_open"})

	breakers := ask("breakers")
	row = find(breakers, map[string]any{"service": "payments", "evidence": "stated", "upstream": "pay-1", "shed": 1100.0})
	if len(breakers.Rows) != 1 || row["opened"] != onset.Add(40*time.Minute+10*time.Second).Format(time.RFC3339) || row["closed"] != onset.Add(42*time.Minute).Format(time.RFC3339) || !strings.Contains(fmt.Sprint(row["trigger"]), "upstream_timeout: 100 of") {
		t.Errorf("breakers: %v", breakers.Rows)
	}
	layers := ask("layers", "--by", "route")
	if row := find(layers, map[string]any{"layer": "gateway", "route": "/v1/charges"}); row["blame"] != "fails" || row["traces"] != nil {
		t.Errorf("layers: %v", row)
	}
	gaps := ask("gaps")
	row = find(gaps, map[string]any{"node": "gw-1"})
	if row["served"] != 500.0 || !strings.Contains(fmt.Sprint(row["evidence"]), "node gw-1 logs 80.0 % of what it serves") {
		t.Errorf("gaps: %v", row)
	}
	row = find(gaps, map[string]any{"node": "gw-2", "silent_minutes": 5.0})
	if !strings.Contains(fmt.Sprint(row["evidence"]), "5s off the other nodes'") {
		t.Errorf("gaps: %v", row)
	}
	if row := find(ask("propagation"), map[string]any{"service": "payments", "traced": 0.0}); row["continued"] != nil {
		t.Errorf("propagation of requests without a trace: %v", row)
	}
	if s := ask("unusual"); s.Unknown != "" || len(s.Rows) != 0 || len(s.Notes) == 0 {
		t.Errorf("unusual: %+v", s)
	}
	if row := find(ask("auth"), map[string]any{"consumer": "c3"}); row["refused"] != 1690.0 || row["succeeded"].(float64) > 100 {
		t.Errorf("auth: %v", row)
	}
	// Beyond the raw rows a dimension of its own table answers.
	code, out, errs := runCommand(t, "report", "traffic", "--by", "node", "--where", "service=payments", "--config", file, "--from", "20d", "-o", "json")
	var r reportJSON
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Source != "dimension_1h" || len(r.Rows) != 3 || r.Total.Requests != 71_000 || r.Rows[2].Requests != 23_000 {
		t.Errorf("traffic by node: exit %d, %v: %s%s", code, err, out, errs)
	}
	for _, q := range sheetQuestions {
		code, out, errs := runCommand(t, slices.Concat([]string{"report", q.name}, window)...)
		if code != 0 || !strings.Contains(out, "\ncomplete until ") {
			t.Errorf("%s: exit %d\n%s%s", q.name, code, out, errs)
		}
		t.Logf("\n%s", out)
		_, out, _ = runCommand(t, slices.Concat([]string{"report", q.name, "-o", "csv"}, window)...)
		if rows, err := csv.NewReader(strings.NewReader(out)).ReadAll(); err != nil || len(rows) == 0 {
			t.Errorf("%s as CSV: %v", q.name, err)
		}
	}
}

func keysOf(m map[string]any) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

func TestExplainUsage(t *testing.T) {
	file := settings(t, clickhouse.Config{Address: "127.0.0.1:1", Database: "gatewatch", Username: "default"}, "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"layers", "--by", "colour"}, "layers has service, route"},
		{[]string{"unusual", "--by", "service"}, "has no --by"},
		{[]string{"layers", "--where", "node=x"}, "there are service, route"},
		{[]string{"layers", "--by", "route,route"}, "twice"},
	} {
		code, out, errs := runCommand(t, append([]string{"report", "--config", file}, c.args...)...)
		if code != 2 || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: exit %d\n%s%s", c.args, code, out, errs)
		}
	}
}

func TestVerifyAndRetention(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := settings(t, c, "retention: {tenants: {acme: {access_log: 30d}}}")
	start := hour(t, conn)
	watermark(t, conn, time.Now().UTC())
	verify := []string{"verify", "--config", file, "--seed", "7", "--from", start.Format(time.RFC3339), "--to", start.Add(time.Hour).Format(time.RFC3339)}
	var v verifyResult
	code, out, errs := runCommand(t, append(verify, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Windows < 5 || v.Equal != v.Windows { // a day that goes on is not final
		t.Errorf("verify: exit %d, %v: %s%s", code, err, out, errs)
	}
	if err := conn.Exec(t.Context(), "ALTER TABLE request_1h DELETE WHERE route = '/v1/things/5' SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := runCommand(t, verify...); code != 1 || !strings.Contains(out, "request_1h "+start.Format(time.RFC3339)) {
		t.Errorf("verify of a damaged level: exit %d: %s", code, out)
	}
	// Nothing has applied the configured retention yet.
	code, _, errs = runCommand(t, "retention", "--config", file)
	if code != 1 || !strings.Contains(errs, "access_log: the server has for ever, the configuration wants multiIf(tenant = 'acme'") {
		t.Errorf("retention: exit %d: %s", code, errs)
	}
	conf := load(t, file)
	for range 2 {
		if err := conn.ApplyRetention(t.Context(), conf.Retention.TTLs()); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs = runCommand(t, "retention", "--config", file, "-o", "json", "--set", "access_log=1h")
	var r retentionResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code > 1 {
		t.Fatalf("retention: exit %d, %v: %s%s", code, err, out, errs)
	}
	i := slices.IndexFunc(r.Tables, func(x retentionTable) bool { return x.Table == "access_log" })
	if x := r.Tables[i]; len(r.Drift) != 0 || x.Rows != 3600 || x.Bytes == 0 || x.Daily == 0 || x.Frees == 0 || x.Keep != "14d, 1 exception" || len(r.Disks) == 0 || r.Disks[0].Free == 0 {
		t.Errorf("%+v", r)
	}
	for _, args := range [][]string{{"--set", "nothing=7d"}, {"--set", "access_log"}, {"--set", "access_log=1s"}} {
		if code, _, _ := runCommand(t, append([]string{"retention", "--config", file}, args...)...); code != 2 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
	// A change of retention is a change like others.
	conf.Retention.AccessLog = 7 * 24 * time.Hour
	if err := conn.ApplyRetention(t.Context(), conf.Retention.TTLs()); err != nil {
		t.Fatal(err)
	}
	list, err := conn.Changes(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "")
	if err != nil || len(list) != 1 || !strings.Contains(list[0].What, "retention of access_log") {
		t.Errorf("%+v, %v", list, err)
	}
}

func load(t *testing.T, file string) *config.Config {
	t.Helper()
	c, err := config.Load(file, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
