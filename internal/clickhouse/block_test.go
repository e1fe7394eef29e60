package clickhouse_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

var now = time.Date(2026, 11, 20, 12, 34, 56, 789_123_000, time.UTC)

func sampleEntry() *accesslog.Entry {
	return &accesslog.Entry{
		Time: now, Method: "POST", Path: "/v1/orders/7", Query: "a=***", Host: "api.example.com", Protocol: "HTTP/2",
		UserAgent: "curl/8.5", Referer: "https://example.com/", ClientAddr: netip.MustParseAddr("198.51.100.0"),
		Status: 503, RequestBytes: accesslog.Some[int64](120), ResponseBytes: accesslog.Some[int64](0),
		Latency: accesslog.Latency{Total: accesslog.Some(1234567 * time.Microsecond), Upstream: accesslog.Some(1200 * time.Millisecond)},
		Service: "orders", Route: "/v1/orders/{id}", Upstream: "10.0.0.7:8080", Node: "gw-1", Region: "eu-1", APIVersion: "v1",
		Consumer:       accesslog.Consumer{ID: "acme", Plan: "gold", KeyID: [16]byte{1, 2, 3}},
		UpstreamStatus: 503, Tries: 3, Flags: "UC", RequestID: "req-1", TraceID: [16]byte{9}, SpanID: [8]byte{8},
		Outcome: accesslog.Outcome{Responder: accesslog.ResponderUpstream, Class: accesslog.UpstreamReset, UpstreamReached: accesslog.ReachedYes, Evidence: accesslog.EvidenceStated},
	}
}

func newBlock(t testing.TB, conn *clickhouse.Conn) ingest.Block {
	w := clickhouse.NewWriter(conn)
	t.Cleanup(w.Close)
	return w.NewBlock(ingest.TopicConfig{Name: "access", Format: "nginx_json", Tenant: "shop", Environment: "prod"})
}

func scan[T any](t testing.TB, conn *clickhouse.Conn, query string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func TestBlockStoresEntry(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	c := ingest.Coordinates{Offset: 42, KafkaTime: now.Add(time.Second), Record: 2}
	b.AppendEntry(c, sampleEntry())
	b.AppendEntry(c, &accesslog.Entry{Time: now})
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Partition: 3, First: 42, Last: 42}, Format: "nginx_json", Messages: 1, Rows: 2, EarliestEvent: now, LatestEvent: now, FirstKafkaTime: now, LastKafkaTime: now}
	if b.Rows() != 2 || b.Bytes() < 100 {
		t.Errorf("Rows %d, Bytes %d", b.Rows(), b.Bytes())
	}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	const all = `ts, kafka_time, topic, kafka_partition, kafka_offset, record, tenant, environment, service, route, method, host, path, query, protocol,
		status, error_class, responder, upstream_reached, error_evidence, flags, tries, latency_us, upstream_latency_us, gateway_latency_us, bytes_in, bytes_out,
		upstream, upstream_status, node, region, api_version, consumer, plan, hex(key_id), toString(client_ip), user_agent, referer, request_id, hex(trace_id), hex(span_id)`
	got := scan[string](t, conn, "SELECT toString(tuple("+all+")) FROM access_log WHERE status = 503")
	want := "('2026-11-20 12:34:56.789123','2026-11-20 12:34:57.789','access',3,42,2,'shop','prod','orders','/v1/orders/{id}','POST','api.example.com','/v1/orders/7','a=***','HTTP/2'," +
		"503,'upstream_reset','upstream','yes','stated','UC',3,1234567,1200000,NULL,120,0," +
		"'10.0.0.7:8080',503,'gw-1','eu-1','v1','acme','gold','01020300000000000000000000000000','::ffff:198.51.100.0','curl/8.5','https://example.com/','req-1','09000000000000000000000000000000','0800000000000000')"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
	got = scan[string](t, conn, "SELECT toString(tuple("+all+")) FROM access_log WHERE status = 0")
	want = "('2026-11-20 12:34:56.789123','2026-11-20 12:34:57.789','access',3,42,2,'shop','prod','','','','','','',''," +
		"0,'none','unknown','unknown','none','',0,NULL,NULL,NULL,NULL,NULL,'',0,'','','','','','00000000000000000000000000000000','::','','','','00000000000000000000000000000000','0000000000000000')"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("empty row (-want +got):\n%s", diff)
	}
	got = scan[string](t, conn, "SELECT toString(tuple(topic, kafka_partition, first_offset, last_offset, messages, rows, dead, skipped, earliest_event, format, token)) FROM ledger")
	want = "('access',3,42,42,1,2,0,0,'2026-11-20 12:34:56.789123','nginx_json','access:3:42-42')"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got):\n%s", diff)
	}
}

func TestBlockStoresSpansAndDeadLetters(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	for i := range int64(2) {
		b.AppendSpan(ingest.Coordinates{Offset: i, KafkaTime: now}, &trace.Span{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, ParentID: trace.SpanID{3}, Name: "GET /x", Kind: trace.KindClient, Service: "orders",
			Node: "pod-1", Start: now, Duration: 1500 * time.Microsecond, Status: trace.StatusError, Message: "boom", HTTPMethod: "GET", HTTPRoute: "/x",
			HTTPStatus: 500, DBSystem: "postgresql", DBQuery: "SELECT ?", Peer: "db", Weight: 10,
			Attrs: []trace.Attr{{Key: "k", Value: fmt.Sprint(i)}, {Key: "l", Value: "w"}}[:1+i],
		})
	}
	b.AppendDeadLetter(&ingest.DeadLetter{Coordinates: ingest.Coordinates{Offset: 2, KafkaTime: now}, Reason: accesslog.ReasonSyntax, Detail: "at byte 3", Excerpt: "{***", Size: 77})
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Partition: 0, First: 0, Last: 2}, Messages: 2, Rows: 2, Dead: 1}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	got := scan[string](t, conn, `SELECT toString(groupArray(tuple(ts, kafka_offset, tenant, hex(trace_id), hex(span_id), hex(parent_span_id), service, name, kind, duration_us, status,
		status_message, http_method, http_route, http_status, db_system, db_query, peer, node, weight, attributes))) FROM (SELECT * FROM span ORDER BY kafka_offset)`)
	row := func(i int, attrs string) string {
		return fmt.Sprintf("('2026-11-20 12:34:56.789123',%d,'shop','01000000000000000000000000000000','0200000000000000','0300000000000000','orders','GET /x','client',1500,'error','boom','GET','/x',500,'postgresql','SELECT ?','db','pod-1',10,%s)", i, attrs)
	}
	want := "[" + row(0, "{'k':'0'}") + "," + row(1, "{'k':'1','l':'w'}") + "]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	got = scan[string](t, conn, "SELECT toString(tuple(topic, kafka_partition, kafka_offset, reason, detail, excerpt, size, format)) FROM dead_letter")
	if diff := cmp.Diff("('access',0,2,'syntax','at byte 3','{***',77,'nginx_json')", got); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
}

// TestBlockDictionaryWidths crosses the widths of dictionary keys, within a
// block and from block to block.
func TestBlockDictionaryWidths(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	var first int64
	for _, n := range []int64{256, 257, 3, 70_000, 300} {
		b.Reset()
		for i := range 2 * n {
			b.AppendEntry(ingest.Coordinates{Offset: first + i, KafkaTime: now}, &accesslog.Entry{Time: now, UserAgent: fmt.Sprintf("agent-%d", (first+i)%n)})
		}
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: first, Last: first + 2*n - 1}, Messages: 2 * n, Rows: 2 * n}
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatalf("%d strings: %v", n, err)
		}
		wrong := scan[uint64](t, conn, "SELECT countIf(user_agent != concat('agent-', toString(kafka_offset % ?))) + abs(count() - ?) FROM access_log WHERE kafka_offset >= ?", n, 2*n, first)
		if wrong != 0 {
			t.Errorf("%d strings: %d rows are wrong", n, wrong)
		}
		first += 2 * n
	}
}

func TestAppendEntryDoesNotAllocate(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	es := benchEntries(2000)
	fill := func() {
		b.Reset()
		for i, e := range es {
			b.AppendEntry(ingest.Coordinates{Offset: int64(i), KafkaTime: now}, e)
		}
	}
	if n := testing.AllocsPerRun(50, fill); n > 0 {
		t.Errorf("%v allocations for %d rows of strings that were seen before, want none", n, len(es))
	}
}
