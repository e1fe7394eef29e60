package clickhouse_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
)

// insertRange writes a batch of one row an offset, the last dead of them as dead letters.
func insertRange(t testing.TB, b ingest.Block, partition int32, first, last, dead int64, at time.Time) {
	t.Helper()
	b.Reset()
	for o := first; o <= last-dead; o++ {
		e := sampleEntry()
		e.Time = at
		b.AppendEntry(ingest.Coordinates{Offset: o, KafkaTime: at}, e)
	}
	for o := last - dead + 1; o <= last; o++ {
		b.AppendDeadLetter(&ingest.DeadLetter{Coordinates: ingest.Coordinates{Offset: o, KafkaTime: at}, Reason: accesslog.ReasonSyntax})
	}
	n := last - first + 1 - dead
	l := ingest.LedgerEntry{
		Range: ingest.Range{Topic: "access", Partition: partition, First: first, Last: last}, Messages: n, Rows: n, Dead: dead,
		EarliestEvent: at, LatestEvent: at, FirstKafkaTime: at, LastKafkaTime: at,
	}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

func faults(t *testing.T, conn *clickhouse.Conn, partition int32) []string {
	t.Helper()
	a, err := conn.Verify(t.Context(), "access", partition, clickhouse.Between{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range a.Faults {
		out = append(out, f.String())
	}
	return out
}

func TestVerify(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	for p := range int32(7) {
		insertRange(t, b, p, 10, 19, 2, now)
		insertRange(t, b, p, 20, 29, 0, now)
	}
	exec := func(q string) {
		t.Helper()
		if err := conn.Exec(t.Context(), q+" SETTINGS mutations_sync = 2"); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	insertRange(t, b, 1, 33, 35, 0, now) // leaves a gap
	insertRange(t, b, 2, 25, 30, 0, now) // overlaps, which doubles its rows too
	exec("ALTER TABLE access_log DELETE WHERE kafka_partition = 3 AND kafka_offset IN (12, 13)")
	exec("ALTER TABLE dead_letter DELETE WHERE kafka_partition = 3 AND kafka_offset = 18")
	exec("ALTER TABLE access_log UPDATE kafka_offset = 21 WHERE kafka_partition = 4 AND kafka_offset = 22") // one lost, one doubled: the count is right
	exec("ALTER TABLE ledger UPDATE skipped = 1 WHERE kafka_partition = 5 AND first_offset = 20")
	exec("ALTER TABLE access_log UPDATE kafka_offset = 19 WHERE kafka_partition = 6 AND kafka_offset = 22")

	want := map[int32][]string{
		0: nil,
		1: {"gap: access/1 offsets 30-32 are in no range (3 offsets)"},
		2: {"overlap: access/2 offsets 25-29 are in two ranges (5 offsets)", "doubled: access/2 offsets 20-29 hold 5 rows more than once"},
		3: {"lost: access/3 offsets 10-19 should hold 8, hold 6", "dead_letters: access/3 offsets 10-19 should hold 2, hold 1"},
		4: {"doubled: access/4 offsets 20-29 hold 1 rows more than once", "lost: access/4 offsets 20-29 should hold 10, hold 9"},
		5: {"account: access/5 offsets 20-29 are 10 offsets, the range accounts for 11"},
		6: {"unaccounted: access/6 offsets 10-19 should hold 8, hold 9", "lost: access/6 offsets 20-29 should hold 10, hold 9"},
	}
	for p := range int32(7) {
		if diff := cmp.Diff(want[p], faults(t, conn, p)); diff != "" {
			t.Errorf("partition %d (-want +got):\n%s", p, diff)
		}
	}
	ends, err := conn.LedgerEnds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := ends[1]
	got.WrittenAt = time.Time{}
	if diff := cmp.Diff(clickhouse.LedgerEnd{Topic: "access", Partition: 1, Last: 35, Messages: 21, Rows: 21, Dead: 2, Recent: 23}, got); diff != "" || len(ends) != 7 {
		t.Errorf("%d ends, of partition 1 (-want +got):\n%s", len(ends), diff)
	}
}

func TestVerifyLeavesExpiredRangesOut(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b := newBlock(t, conn)
	insertRange(t, b, 0, 0, 9, 0, time.Now().Add(-10*24*time.Hour))
	insertRange(t, b, 0, 10, 19, 0, time.Now())
	if err := conn.ApplyRetention(t.Context(), []clickhouse.TTL{{Table: "access_log", Keep: 7 * 24 * time.Hour}}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec(t.Context(), "OPTIMIZE TABLE access_log FINAL"); err != nil {
		t.Fatal(err)
	}
	if n := scan[uint64](t, conn, "SELECT count() FROM access_log"); n != 10 {
		t.Fatalf("%d rows after the retention took effect, want 10", n)
	}
	a, err := conn.Verify(t.Context(), "access", 0, clickhouse.Between{})
	if err != nil {
		t.Fatal(err)
	}
	want := &clickhouse.PartitionAccount{Topic: "access", First: 0, Last: 19, Ranges: 2, Expired: 1, Messages: 20, Rows: 20}
	if diff := cmp.Diff(want, a, cmpopts.IgnoreFields(clickhouse.PartitionAccount{}, "Checked")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	requests, fault, err := conn.VerifyRollup(t.Context())
	if err != nil || fault != nil || requests != 20 {
		t.Errorf("VerifyRollup = %d, %v, %v, want 20: what is expired stays in the hourly rollup", requests, fault, err)
	}
}

func TestVerifyRollupFindsLostAndDoubled(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	insertRange(t, newBlock(t, conn), 0, 0, 9, 0, now)
	if err := conn.Exec(t.Context(), "ALTER TABLE request_1h DELETE WHERE 1 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	_, fault, err := conn.VerifyRollup(t.Context())
	if err != nil || fault == nil || fault.String() != "rollup: the ledger holds 10 requests, request_1h 0" {
		t.Errorf("VerifyRollup = %v, %v", fault, err)
	}
}

func TestDeadLetters(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	insertRange(t, newBlock(t, conn), 0, 0, 9, 3, now)
	all, err := conn.DeadLetters(t.Context(), clickhouse.DeadLetterFilter{Topic: "access", Reason: "syntax", Limit: 2})
	if err != nil || len(all) != 2 || all[0].Offset != 9 || all[1].Offset != 8 || all[0].Reason != "syntax" {
		t.Errorf("DeadLetters = %+v, %v", all, err)
	}
	for _, f := range []clickhouse.DeadLetterFilter{{Topic: "other"}, {Reason: "empty"}, {From: now.Add(time.Second)}, {To: now.Truncate(time.Millisecond)}} {
		none, err := conn.DeadLetters(t.Context(), f)
		if err != nil || len(none) != 0 {
			t.Errorf("DeadLetters(%+v) = %+v, %v", f, none, err)
		}
	}
	counts, err := conn.CountDeadLetters(t.Context(), clickhouse.DeadLetterFilter{})
	want := []clickhouse.DeadLetterCount{{Topic: "access", Reason: "syntax", Count: 3, Newest: now.Truncate(time.Millisecond)}}
	if diff := cmp.Diff(want, counts); diff != "" || err != nil {
		t.Errorf("CountDeadLetters: %v (-want +got):\n%s", err, diff)
	}
}

func TestSetting(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	for _, want := range []string{"", "one", "two"} {
		if want != "" {
			if err := conn.SetSetting(t.Context(), clickhouse.SettingPepper, want); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Millisecond) // set_at has milliseconds
		}
		if got, err := conn.Setting(t.Context(), clickhouse.SettingPepper); err != nil || got != want {
			t.Errorf("Setting = %q, %v, want %q", got, err, want)
		}
	}
}
