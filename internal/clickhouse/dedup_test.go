package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/histogram"
	"gatewatch/internal/ingest"
)

// traffic is random requests and what every level must say about them.
type traffic struct {
	r     *rand.Rand
	days  int
	sum   totals
	fresh totals                         // of requests at most 4 days before their Kafka time
	half  totals                         // at most 15 days
	hists map[string]histogram.Histogram // by route
}

// totals are what each level adds up to.
type totals struct{ Requests, BytesIn, BytesOut, Timed, LatencySum int64 }

func (s *totals) add(e *accesslog.Entry) {
	s.Requests++
	s.BytesIn += e.RequestBytes.V
	s.BytesOut += e.ResponseBytes.V
	if e.Latency.Total.OK {
		s.Timed++
		s.LatencySum += e.Latency.Total.V.Microseconds()
	}
}

func newTraffic(seed uint64, days int) *traffic {
	return &traffic{r: rand.New(rand.NewPCG(seed, 0)), days: days, hists: map[string]histogram.Histogram{}}
}

func (g *traffic) entry() *accesslog.Entry {
	e := sampleEntry()
	e.Time = now.Add(-time.Duration(g.r.Int64N(int64(g.days) * 24 * int64(time.Hour))))
	e.Route = fmt.Sprintf("/v1/r%d", g.r.IntN(60))
	e.Consumer = accesslog.Consumer{ID: fmt.Sprintf("consumer-%d", g.r.IntN(800)), Plan: "free"}
	e.RequestBytes = accesslog.Some(g.r.Int64N(1000))
	e.ResponseBytes = accesslog.Some(g.r.Int64N(100_000))
	e.Outcome.Class = accesslog.ErrorClass(g.r.IntN(len(accesslog.ErrorClasses())))
	us := g.r.Int64N(1 << g.r.IntN(40))
	e.Latency = accesslog.Latency{Total: accesslog.Some(time.Duration(us) * time.Microsecond)}
	if g.r.IntN(10) == 0 {
		e.Latency = accesslog.Latency{}
	}
	g.sum.add(e)
	if age := now.Sub(e.Time); age <= 4*24*time.Hour {
		g.fresh.add(e)
	}
	if age := now.Sub(e.Time); age <= 15*24*time.Hour {
		g.half.add(e)
	}
	if !e.Latency.Total.OK {
		return e
	}
	if g.hists[e.Route] == nil {
		g.hists[e.Route] = histogram.Histogram{}
	}
	g.hists[e.Route].Observe(uint64(us))
	return e
}

// fill puts the rows of offsets first to last into b.
func (g *traffic) fill(b ingest.Block, first, last int64) ingest.LedgerEntry {
	b.Reset()
	for o := first; o <= last; o++ {
		b.AppendEntry(ingest.Coordinates{Offset: o, KafkaTime: now}, g.entry())
	}
	n := last - first + 1
	return ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: first, Last: last}, Messages: n, Rows: n, EarliestEvent: now.AddDate(0, 0, -g.days), LatestEvent: now}
}

var levels = []string{"request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d"}

// check compares the base table, the named levels and the ledger with what was
// sent. Late requests skip request_10s and key_1m.
func (g *traffic) check(t *testing.T, conn *clickhouse.Conn, levels ...string) {
	t.Helper()
	query := func(sql string) (got totals) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), sql).Scan(&got.Requests, &got.BytesIn, &got.BytesOut, &got.Timed, &got.LatencySum); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := query("SELECT toInt64(count()), toInt64(sum(bytes_in)), toInt64(sum(bytes_out)), toInt64(count(latency_us)), toInt64(sum(latency_us)) FROM access_log")
	if diff := cmp.Diff(g.sum, got); diff != "" {
		t.Errorf("access_log (-want +got):\n%s", diff)
	}
	for _, l := range levels {
		want := g.sum
		switch l {
		case "request_10s":
			want = g.fresh
		case "key_1m":
			want = g.half
		}
		got := query("SELECT sum(requests), sum(bytes_in), sum(bytes_out), sum(timed), sum(latency_us_sum) FROM v_" + l)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l, diff)
		}
		if n := scan[int64](t, conn, "SELECT toInt64(sum(arraySum(mapValues(latency_hist)))) FROM v_"+l); n != want.Timed {
			t.Errorf("%s: histograms hold %d, want %d", l, n, want.Timed)
		}
	}
	if n := scan[int64](t, conn, "SELECT toInt64(sum(rows)) FROM ledger"); n != g.sum.Requests {
		t.Errorf("the ledger holds %d rows, want %d", n, g.sum.Requests)
	}
}

func TestInsertAgainCountsOnce(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b, g := newBlock(t, conn), newTraffic(1, 35)
	for i := range int64(3) {
		l := g.fill(b, i*5000, i*5000+4999)
		for range 3 {
			if err := b.Insert(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
	}
	g.check(t, conn, levels...)
	if n := scan[uint64](t, conn, "SELECT count() FROM ledger"); n != 3 {
		t.Errorf("%d ledger rows, want 3", n)
	}
	if got := faults(t, conn, 0); got != nil {
		t.Errorf("faults: %q", got)
	}
}

// TestInsertAgainCompletes makes the first try fail between the tables.
func TestInsertAgainCompletes(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b, g := newBlock(t, conn), newTraffic(2, 3)
	l := g.fill(b, 0, 999)
	exec := func(q string) {
		t.Helper()
		if err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	exec("RENAME TABLE key_1h TO hidden, ledger TO hidden_ledger")
	var permanent *ingest.PermanentError
	if err := b.Insert(t.Context(), l); !errors.As(err, &permanent) {
		t.Errorf("a missing table: %v, want a permanent error", err)
	}
	exec("RENAME TABLE hidden TO key_1h, hidden_ledger TO ledger")
	if err := b.Insert(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	g.check(t, conn, levels...)
}

func TestHistogramInSQLIsGos(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	b, g := newBlock(t, conn), newTraffic(3, 1)
	if err := b.Insert(t.Context(), g.fill(b, 0, 49_999)); err != nil {
		t.Fatal(err)
	}
	for _, view := range []string{"v_request_10s", "v_request_1h"} {
		for route, want := range g.hists {
			got := histogram.Histogram(scan[map[uint16]int64](t, conn, "SELECT sumMap(latency_hist) FROM "+view+" WHERE route = ?", route))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s of %s (-Go +SQL):\n%s", view, route, diff)
			}
		}
	}
	all := histogram.Histogram{}
	for _, h := range g.hists {
		all.Merge(h)
	}
	got := histogram.Histogram(scan[map[uint16]int64](t, conn, "SELECT sumMap(latency_hist) FROM v_key_1d"))
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("v_key_1d (-Go +SQL):\n%s", diff)
	}
}

// TestOldRowsReachCoarserLevels inserts 35 days in one block while the finest
// level keeps 3, and lets the server remove what has expired at every level.
func TestOldRowsReachCoarserLevels(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	const day = 24 * time.Hour
	err := conn.ApplyRetention(t.Context(), []clickhouse.TTL{
		{Table: "access_log", Keep: 3650 * day},
		{Table: "request_10s", Keep: 3 * day},
		{Table: "request_1m", Keep: 20 * day},
		{Table: "request_1h", Keep: 730 * day},
		{Table: "key_1m", Keep: 14 * day},
		{Table: "key_1h", Keep: 90 * day},
		{Table: "key_1d", Keep: 1095 * day},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, g := newBlock(t, conn), newTraffic(4, 35)
	for i := range int64(2) {
		if err := b.Insert(t.Context(), g.fill(b, i*10_000, i*10_000+9999)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range levels {
		if err := conn.Exec(t.Context(), "OPTIMIZE TABLE "+l+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	g.check(t, conn, "request_1h", "key_1h", "key_1d")
	for _, l := range []string{"request_10s", "request_1m", "key_1m"} {
		if n := scan[int64](t, conn, "SELECT sum(requests) FROM "+l); n >= g.sum.Requests {
			t.Errorf("%s still holds all %d requests: its retention has no effect, so this test shows nothing", l, n)
		}
	}
}

// TestEngineKilledInInsert kills the server at random moments of an insert,
// starts it again and repeats the insert. It has a server of its own.
func TestEngineKilledInInsert(t *testing.T) {
	dir := t.TempDir()
	start := func() *engine.Server {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(dir, "engine")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := start()
	defer func() { _ = s.Stop(20 * time.Second) }()
	conn := connect(t, s, dir)
	if _, err := conn.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, g := newBlock(t, conn), newTraffic(5, 10)
	const rows = 10_000
	began := time.Now()
	if err := b.Insert(t.Context(), g.fill(b, 0, rows-1)); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	failed := 0
	for i := range int64(5) {
		l := g.fill(b, (i+1)*rows, (i+2)*rows-1)
		done := make(chan error, 1)
		go func() { done <- b.Insert(t.Context(), l) }()
		time.Sleep(time.Duration(g.r.Int64N(int64(took))))
		s.Kill()
		err := <-done
		s = start()
		for err != nil {
			failed++
			if errors.As(err, new(*ingest.PermanentError)) {
				t.Fatalf("a killed server is a permanent error: %v", err)
			}
			err = b.Insert(t.Context(), l)
		}
	}
	g.check(t, conn, levels...)
	if got := faults(t, conn, 0); got != nil {
		t.Errorf("faults: %q", got)
	}
	t.Logf("an insert takes %s; %d of 5 were cut off", took, failed)
	if failed == 0 {
		t.Error("no insert was cut off: this test showed nothing")
	}
}

func connect(t *testing.T, s *engine.Server, dir string) *clickhouse.Conn {
	t.Helper()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(s.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := clickhouse.Open(clickhouse.Config{Address: s.Addr, Database: "gatewatch_kill", Username: s.Username, PasswordFile: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestClearErrors(t *testing.T) {
	conn, cfg := clickhousetest.New(t)
	explain := func(c clickhouse.Config) string {
		t.Helper()
		conn, err := clickhouse.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err = conn.CheckSchema(t.Context()); err == nil {
			return ""
		}
		return clickhouse.Explain(c, err).Error()
	}
	wrong := cfg
	wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := cfg
	missing.Database = "gatewatch_not_there"
	away := cfg
	away.Address = "127.0.0.1:1"
	for _, c := range []struct {
		name string
		conf clickhouse.Config
		want string
	}{
		{"right", cfg, ""},
		{"wrong password", wrong, "check clickhouse.username and clickhouse.password_file"},
		{"missing database", missing, "run gatewatch-ingest migrate"},
		{"nobody there", away, "can't be reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := explain(c.conf)
			if !strings.Contains(got, c.want) || (got == "") != (c.want == "") || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one line with %q", got, c.want)
			}
		})
	}
	t.Run("old schema", func(t *testing.T) {
		if err := conn.Exec(t.Context(), "ALTER TABLE schema_migration DELETE WHERE version > 1 SETTINGS mutations_sync = 2"); err != nil {
			t.Fatal(err)
		}
		if got := explain(cfg); !strings.Contains(got, "run gatewatch-ingest migrate") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("insert with a wrong password", func(t *testing.T) {
		conn, err := clickhouse.Open(wrong)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b := newBlock(t, conn)
		b.AppendEntry(ingest.Coordinates{}, sampleEntry())
		if err := b.Insert(t.Context(), ingest.LedgerEntry{Range: ingest.Range{Topic: "access"}, Rows: 1}); !errors.As(err, new(*ingest.PermanentError)) {
			t.Errorf("got %v, want a permanent error", err)
		}
	})
}
