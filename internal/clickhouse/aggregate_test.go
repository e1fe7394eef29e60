package clickhouse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/histogram"
	"gatewatch/internal/ingest"
	"gatewatch/internal/rollup"
)

func TestReaches(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	insert := func(topic string, partition int32, first, last int64) {
		t.Helper()
		b.Reset()
		b.AppendEntry(ingest.Coordinates{Offset: first, KafkaTime: now}, &accesslog.Entry{Time: now})
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: topic, Partition: partition, First: first, Last: last}, Messages: last - first + 1, Rows: 1}
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	reaches := func(since ...rollup.Reach) map[string]int64 {
		t.Helper()
		list, err := conn.Reaches(t.Context(), []string{"access", "it's"}, since)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for _, r := range list {
			got[fmt.Sprint(r.Topic, "/", r.Partition)] = r.Next
		}
		return got
	}
	if got := reaches(); len(got) != 0 {
		t.Errorf("an empty ledger has reached %v", got)
	}
	insert("access", 0, 0, 9)
	insert("access", 1, 5, 5)
	insert("it's", 0, 7, 8)
	insert("other", 0, 7, 8)
	if diff := cmp.Diff(map[string]int64{"access/0": 10, "access/1": 6, "it's/0": 9}, reaches()); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	insert("access", 0, 10, 19)
	got := reaches(rollup.Reach{Topic: "access", Next: 10}, rollup.Reach{Topic: "it's", Next: 9})
	if diff := cmp.Diff(map[string]int64{"access/0": 20, "access/1": 6}, got); diff != "" {
		t.Errorf("what is new (-want +got):\n%s", diff)
	}
}

func TestWatermarks(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	at := time.Now().UTC().Truncate(time.Millisecond) // kept for three days
	first := rollup.Watermark{Topic: "a", CompleteUntil: at, MeasuredAt: at.Add(time.Second), Lag: 7, CaughtUp: true, EventDelay: 1500 * time.Microsecond}
	second := first
	second.MeasuredAt, second.CompleteUntil, second.Lag = first.MeasuredAt.Add(time.Second), first.CompleteUntil.Add(time.Second), 0
	for _, w := range []rollup.Watermark{second, first} { // a slower instance writes last
		if err := conn.InsertWatermarks(t.Context(), []rollup.Watermark{w}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := conn.Watermarks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]rollup.Watermark{second}, got); diff != "" {
		t.Errorf("watermarks (-want +got):\n%s", diff)
	}
}

func TestEventDelays(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	at := time.Now().UTC()
	for i := range int64(1000) {
		delay := 2 * time.Second
		if i < 10 {
			delay = 30 * time.Second
		}
		b.AppendEntry(ingest.Coordinates{Offset: i, KafkaTime: at}, &accesslog.Entry{Time: at.Add(-delay)})
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: 0, Last: 999}, Messages: 1000, Rows: 1000}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	got, err := conn.EventDelays(t.Context(), at.Add(-time.Minute))
	if d := got["access"]; err != nil || d < 29*time.Second || d > 31*time.Second {
		t.Errorf("%v, %v; want 30 s for topic access", got, err)
	}
}

// The views put a latency into the bucket that package histogram does.
func TestViewsUseTheHistogramsBuckets(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	want := map[uint16]int64{}
	var n int64
	add := func(us uint64) {
		b.AppendEntry(ingest.Coordinates{Offset: n, KafkaTime: now}, &accesslog.Entry{
			Time: now, Latency: accesslog.Latency{Total: accesslog.Some(time.Duration(us) * time.Microsecond)}, Consumer: accesslog.Consumer{ID: "c"},
		})
		want[histogram.Index(us)]++
		n++
	}
	for us := range uint64(3000) {
		add(us)
	}
	for shift := range 42 {
		p := uint64(1) << shift
		add(p - 1)
		add(p)
		add(p + 1)
	}
	for i := range uint16(2600) { // both sides of every edge up to four months
		us := uint64(histogram.Upper(i))
		add(us)
		add(us + 1)
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: 0, Last: n - 1}, Messages: n, Rows: n}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d"} {
		got := scan[map[uint16]int64](t, conn, "SELECT sumMap(latency_hist) FROM "+table)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
}
