package clickhouse_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// A key is what its events say last; what an event leaves out stays as it was.
func TestKeyEvents(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	id := [16]byte{1, 2}
	for i, e := range []consumer.Event{
		{Time: now, Action: consumer.Created, KeyID: id, Consumer: "acme", Plan: "bronze", Tier: "2", Owner: "sales"},
		{Time: now.Add(time.Hour), Action: consumer.Updated, KeyID: id, Plan: "gold"},
		{Time: now.Add(2 * time.Hour), Action: consumer.Revoked, KeyID: id},
		{Time: now, Action: consumer.Created, KeyID: [16]byte{3}, Consumer: "other"},
	} {
		b.AppendKeyEvent(ingest.Coordinates{Offset: int64(i), KafkaTime: now}, &e)
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "keys", Last: 3}, Messages: 4, Rows: 4}
	if b.Rows() != 4 {
		t.Errorf("%d rows, want 4", b.Rows())
	}
	for range 2 { // the same range twice counts once
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	got := scan[string](t, conn, `SELECT toString(groupArray(tuple(tenant, key_id, consumer, plan, tier, owner, created_at, changed_at, revoked_at)))
		FROM (SELECT * FROM v_key ORDER BY key_id)`)
	want := "[('shop','01020000000000000000000000000000','acme','gold','2','sales','2026-11-20 12:34:56.789','2026-11-20 14:34:56.789','2026-11-20 14:34:56.789')," +
		"('shop','03000000000000000000000000000000','other','','','','2026-11-20 12:34:56.789','2026-11-20 12:34:56.789',NULL)]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("v_key (-want +got):\n%s", diff)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM v_key_event"); n != 4 {
		t.Errorf("%d events, want 4", n)
	}
}

// A file that is imported twice changes nothing.
func TestInsertKeyEvents(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	w := clickhouse.NewWriter(conn)
	t.Cleanup(w.Close)
	events := []consumer.Event{{Action: consumer.Created, KeyID: [16]byte{1}, Consumer: "a"}, {Action: consumer.Created, KeyID: [16]byte{2}, Consumer: "b"}}
	for i := range 2 {
		if err := w.InsertKeyEvents(t.Context(), ingest.TopicConfig{Name: "import keys.csv"}, events, now.Add(time.Duration(i)*time.Hour), "import:abc"); err != nil {
			t.Fatal(err)
		}
	}
	if got := scan[string](t, conn, "SELECT toString(groupArray((consumer, changed_at))) FROM (SELECT * FROM v_key ORDER BY consumer)"); got != "[('a','2026-11-20 12:34:56.789'),('b','2026-11-20 12:34:56.789')]" {
		t.Error(got)
	}
}

// Coverage counts requests whose trace goes on in a span; an orphan's parent is nowhere.
func TestPropagation(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	entry := func(i int64, id trace.TraceID, span trace.SpanID) {
		b.AppendEntry(ingest.Coordinates{Offset: i, KafkaTime: now}, &accesslog.Entry{Time: now, Service: "orders", Route: "/v1/orders", Status: 200, TraceID: id, SpanID: span})
	}
	entry(0, trace.TraceID{1}, trace.SpanID{1}) // goes on
	entry(1, trace.TraceID{2}, trace.SpanID{2}) // does not
	entry(2, trace.TraceID{}, trace.SpanID{})   // carries no trace
	for i, s := range []trace.Span{
		{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{10}, ParentID: trace.SpanID{1}},  // of the request
		{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{11}, ParentID: trace.SpanID{10}}, // of that span
		{TraceID: trace.TraceID{3}, SpanID: trace.SpanID{12}, ParentID: trace.SpanID{9}},  // of nothing
		{TraceID: trace.TraceID{4}, SpanID: trace.SpanID{13}},                             // a root
	} {
		s.Start, s.Service, s.HTTPRoute, s.Weight = now, "orders", "/v1/orders", 1
		b.AppendSpan(ingest.Coordinates{Offset: int64(3 + i), KafkaTime: now}, &s)
	}
	if err := b.Insert(t.Context(), ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Last: 6}, Messages: 7, Rows: 7}); err != nil {
		t.Fatal(err)
	}
	if got := scan[string](t, conn, "SELECT toString(tuple(service, route, requests, traced, continued)) FROM v_propagation"); got != "('orders','/v1/orders',3,2,1)" {
		t.Errorf("v_propagation: %s", got)
	}
	if got := scan[string](t, conn, "SELECT toString(tuple(service, route, spans, orphans)) FROM v_orphan_span"); got != "('orders','/v1/orders',4,1)" {
		t.Errorf("v_orphan_span: %s", got)
	}
}
