package clickhouse_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
)

// A key is what it was at the time of the call, at any moment within an hour;
// what a consumer did under a former name, or before its key was rotated, stays
// its own.
func TestCallsAsOfTheirTime(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	hour := now.Truncate(time.Hour)
	at := func(minute int) time.Time { return hour.Add(time.Duration(minute) * time.Minute) }
	offset := int64(0)
	where := func() ingest.Coordinates { offset++; return ingest.Coordinates{Offset: offset - 1, KafkaTime: now} }
	one, two, three := [16]byte{1}, [16]byte{2}, [16]byte{3, 0xab}
	for _, e := range []consumer.Event{
		{Time: at(5), Action: consumer.Created, KeyID: one, Consumer: "acme", Plan: "free", Tier: "silver"},
		{Time: at(30), Action: consumer.Updated, KeyID: one, Plan: "pro"},
		{Time: at(40), Action: consumer.Created, KeyID: two, Consumer: "acme", Plan: "pro"},
		{Time: at(41), Action: consumer.Revoked, KeyID: one},
		{Time: at(50), Action: consumer.Renamed, Consumer: "acme-corp", Former: "acme"},
		{Time: at(55), Action: consumer.Updated, Consumer: "acme-corp", Tier: "gold"},
		{Time: at(56), Action: consumer.Renamed, Consumer: "roadrunner", Former: "acme-corp"},
		{Time: at(10), Action: consumer.Created, Consumer: "keyless", Plan: "basic"},
	} {
		b.AppendKeyEvent(where(), &e)
	}
	for _, c := range []struct {
		minute   int
		key      [16]byte
		consumer string
	}{
		{0, one, ""},
		{29, one, ""},
		{30, one, ""},
		{31, one, ""},
		{45, two, ""},
		{55, two, ""},
		{59, two, "whatever"},
		{20, three, ""},
		{21, three, "logged"},
		{22, [16]byte{}, "keyless"},
		{23, [16]byte{}, "acme"},
	} {
		b.AppendEntry(where(), &accesslog.Entry{Time: at(c.minute), Service: "orders", Route: "/v1/orders", Method: "GET", Status: 200, Latency: accesslog.Latency{Total: accesslog.Some(time.Duration(c.minute+1) * time.Millisecond)}, Consumer: accesslog.Consumer{ID: c.consumer, KeyID: c.key}})
	}
	if err := b.Insert(t.Context(), ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Last: offset - 1}, Messages: offset, Rows: offset}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to do
		if err := conn.SplitCalls(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM call_split"); n != 10 {
		t.Errorf("%d parts of hours and days, want 10", n)
	}
	got := scan[string](t, conn, `SELECT toString(groupArray((key, consumer, plan, tier, source, n))) FROM (
		SELECT lower(hex(substring(key_id, 1, 2))) AS key, consumer, plan, tier, source, sum(requests) AS n FROM call_1h GROUP BY ALL ORDER BY ALL)`)
	want := "[('0000','keyless','basic','','catalogue',1),('0000','roadrunner','','gold','catalogue',1)," +
		"('0100','roadrunner','free','silver','catalogue',2),('0100','roadrunner','pro','silver','catalogue',2)," +
		"('0200','roadrunner','pro','','catalogue',1),('0200','roadrunner','pro','gold','catalogue',2)," +
		"('03ab','key 03ab0000','','','first_seen',1),('03ab','logged','','','gateway',1)]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("call_1h (-want +got):\n%s", diff)
	}
	got = scan[string](t, conn, "SELECT toString(groupArray((consumer, plan, tier, source, first_call, keys))) FROM (SELECT * FROM v_consumer ORDER BY consumer)")
	want = "[('key 03ab0000','','','first_seen','2026-11-20 12:20:00.000000',0),('keyless','basic','','catalogue','2026-11-20 12:22:00.000000',0)," +
		"('logged','','','gateway','2026-11-20 12:21:00.000000',0),('roadrunner','pro','gold','catalogue','2026-11-20 12:00:00.000000',2)]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("v_consumer (-want +got):\n%s", diff)
	}
	got = scan[string](t, conn, "SELECT toString(groupArray((consumer, n))) FROM (SELECT consumer, sum(requests) AS n FROM call_route_1d GROUP BY consumer ORDER BY consumer)")
	if want = "[('key 03ab0000',1),('keyless',1),('logged',1),('roadrunner',8)]"; got != want {
		t.Errorf("call_route_1d: %s, want %s", got, want)
	}

	w := clickhouse.ProductWindow{From: hour, To: hour.Add(time.Hour), Zone: time.UTC}
	for _, by := range []string{"consumer", "key"} {
		all, err := conn.Usage(t.Context(), w, by, 0)
		if err != nil {
			t.Fatal(err)
		}
		apart, err := conn.Usage(t.Context(), w, by, 100)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, apart); diff != "" || len(all[0].Latency) == 0 {
			t.Errorf("usage by %s, histograms read apart (-whole +apart):\n%s", by, diff)
		}
	}

	for _, view := range []string{"v_call_1h", "v_call_1d", "v_call_route_1d", "v_key_span", "v_active_1d"} {
		if n := scan[uint64](t, conn, "SELECT count() FROM (SELECT * FROM "+view+" ORDER BY ALL)"); n == 0 {
			t.Errorf("%s is empty", view)
		}
	}
	erase(t, conn)
}

// What is erased is in no figure any more; raw rows still count.
func erase(t *testing.T, conn *clickhouse.Conn) {
	t.Helper()
	e, err := conn.Erasure(t.Context(), "roadrunner")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(e.Names)
	if e.Keys != 2 || !slices.Equal(e.Names, []string{"acme", "acme-corp", "roadrunner"}) {
		t.Errorf("names %v, %d keys", e.Names, e.Keys)
	}
	if err := conn.Erase(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM access_log"); n != 11 {
		t.Errorf("%d raw rows are left, want 11", n)
	}
	for _, q := range []string{
		"SELECT count() FROM call_1h WHERE consumer IN ('roadrunner', 'acme') OR key_id IN (unhex('01000000000000000000000000000000'), unhex('02000000000000000000000000000000'))",
		"SELECT count() FROM call_route_1d WHERE consumer = 'roadrunner'",
		"SELECT count() FROM v_consumer WHERE consumer LIKE '%acme%' OR consumer = 'roadrunner'",
		"SELECT count() FROM access_log WHERE key_id = unhex('01000000000000000000000000000000') OR consumer = 'acme'",
	} {
		if n := scan[uint64](t, conn, q); n != 0 {
			t.Errorf("%d rows are left of %s", n, q)
		}
	}
	if n := scan[int64](t, conn, "SELECT sum(requests) FROM call_1h"); n != 3 {
		t.Errorf("%d calls of others are left, want 3", n)
	}
}
