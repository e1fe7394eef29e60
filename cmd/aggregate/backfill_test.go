package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
)

// fingerprint is what a level holds, independent of how it is cut into parts.
func fingerprint(t *testing.T, conn *clickhouse.Conn) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, level := range []string{"request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d"} {
		columns := "service, route, method, status, error_class, responder"
		most := "max(latency_us_max)"
		if strings.HasPrefix(level, "key") {
			columns, most = "key_id, consumer, plan, service, error_class", "(min(first_seen), max(last_seen))"
		}
		var text string
		err := conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT toString((count(), sum(n), sum(cityHash64(g)))) FROM (
			SELECT sum(requests) AS n, (time, %[2]s, n, sum(bytes_in), sum(bytes_out), sum(timed), sum(latency_us_sum), %[3]s, toString(sumMap(latency_hist))) AS g
			FROM %[1]s GROUP BY time, %[2]s HAVING n != 0)`, level, columns, most)).Scan(&text)
		if err != nil {
			t.Fatal(err)
		}
		out[level] = text
	}
	return out
}

type backfillJSON struct {
	Corrected, Ranges int
	Lacked            int64 `json:"lacked_requests"`
	Extra             int64 `json:"extra_requests"`
	Unsettled         []string
}

func TestBackfillRepairsExactly(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := settings(t, c, "")
	start := hour(t, conn)
	code, _, errs := runCommand(t, "backfill", "--config", file)
	if code != 4 || !strings.Contains(errs, "completeness") {
		t.Errorf("without completeness: exit %d: %s", code, errs)
	}
	watermark(t, conn, time.Now().UTC())
	run := func(wantCode int, more ...string) backfillJSON {
		t.Helper()
		code, out, errs := runCommand(t, append([]string{"backfill", "--config", file, "-o", "json", "--from", start.Format(time.RFC3339), "--to", start.Add(time.Hour).Format(time.RFC3339)}, more...)...)
		var r backfillJSON
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != wantCode {
			t.Fatalf("exit %d, want %d: %v\n%s%s", code, wantCode, err, out, errs)
		}
		return r
	}
	good := fingerprint(t, conn)
	if r := run(0); r.Corrected != 0 || r.Ranges != 6 {
		t.Fatalf("nothing is wrong: %+v", r)
	}
	damage := func() {
		t.Helper()
		for _, q := range []string{
			"ALTER TABLE request_10s DELETE WHERE service = 'orders' AND time % 60 = 10 SETTINGS mutations_sync = 2",
			"INSERT INTO request_1m SELECT * FROM request_1m WHERE route = '/v1/things/3'",
			"ALTER TABLE request_1h DELETE WHERE route = '/v1/things/5' SETTINGS mutations_sync = 2",
			"ALTER TABLE key_1m DELETE WHERE consumer = 'c1' SETTINGS mutations_sync = 2",
			"INSERT INTO key_1d SELECT * FROM key_1d WHERE consumer = 'c2'",
		} {
			if err := conn.Exec(t.Context(), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		for level, is := range fingerprint(t, conn) {
			if (is == good[level]) != (level == "key_1h") {
				t.Fatalf("%s is %s after the damage, was %s", level, is, good[level])
			}
		}
	}
	repaired := func(what string) {
		t.Helper()
		for level, is := range fingerprint(t, conn) {
			if is != good[level] {
				t.Errorf("%s: %s is %s, want %s", what, level, is, good[level])
			}
		}
		if r := run(0); r.Corrected != 0 {
			t.Errorf("%s: a second run corrects %d ranges", what, r.Corrected)
		}
	}
	damage()
	if r := run(1, "--dry-run"); r.Corrected == 0 || r.Lacked == 0 || r.Extra == 0 {
		t.Errorf("dry run: %+v", r)
	}
	run(0)
	repaired("after damage")
	damage() // the same again: its corrections look like those that were made already
	run(0)
	repaired("after the same damage")
	damage()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			code, out, errs := runCommand(t, "backfill", "--config", file, "--from", start.Format(time.RFC3339), "--to", start.Add(time.Hour).Format(time.RFC3339))
			if code != 0 {
				t.Errorf("one of two at once: exit %d\n%s%s", code, out, errs)
			}
		})
	}
	wg.Wait()
	repaired("two at once")
}

// Rows whose batch is not in the ledger yet will be written again by whoever
// repeats the batch; until then nothing can be said about their windows.
func TestBackfillLeavesBatchesInFlightAlone(t *testing.T) {
	conn, c := clickhousetest.New(t)
	file := settings(t, c, "")
	start := hour(t, conn)
	watermark(t, conn, time.Now().UTC())
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	b := w.NewBlock(ingest.TopicConfig{Name: "access"})
	for i := range int64(5) {
		b.AppendEntry(ingest.Coordinates{Offset: 3602 + i}, &accesslog.Entry{Time: start.Add(time.Minute), Service: "orders"})
	}
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: 3602, Last: 3606}, Messages: 5, Rows: 5}
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	// As after a crash: the rows are there, the rollup lacks some, the ledger has no entry.
	for _, q := range []string{
		"ALTER TABLE ledger DELETE WHERE first_offset = 3602 SETTINGS mutations_sync = 2",
		"ALTER TABLE request_10s DELETE WHERE route = '' SETTINGS mutations_sync = 2",
	} {
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	before := fingerprint(t, conn)
	code, out, _ := runCommand(t, "backfill", "--config", file, "--from", start.Format(time.RFC3339), "--to", start.Add(time.Hour).Format(time.RFC3339))
	if code != 1 || !strings.Contains(out, "still changing: request_10s") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for level, is := range fingerprint(t, conn) {
		if is != before[level] {
			t.Errorf("%s was changed", level)
		}
	}
}
