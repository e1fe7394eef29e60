package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// Each error that is planted is found and named; before, nothing is.
func TestVerifyDeepFindsPlantedErrors(t *testing.T) {
	const good, bad, keys = 300, 10, 5
	conn, store := clickhousetest.New(t)
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t", "keys"),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	addr := k.ListenAddrs()[0]
	config := writeConfig(t, fmt.Sprintf(`
kafka:
  brokers: [%s]
  topics: [{name: t, format: nginx_json}, {name: keys, format: key_events}]
clickhouse: {address: %q, database: %s, username: %q, password_file: %q}
ingest: {listen: "127.0.0.1:0", start: earliest, pepper_file: %q}
`, addr, store.Address, store.Database, store.Username, store.PasswordFile, filepath.Join(filepath.Dir(store.PasswordFile), "pepper")))
	writeKeys(t, addr, keys)
	for range 3 { // three ranges of topic t, since ingest starts anew for each
		write(t, addr, good/3, bad)
		n := ledgerMessages(t, conn)
		ingestUntil(t, conn, config, max(n, keys)+good/3+bad)
	}
	var ranges []ingest.Range
	err = conn.Ledger(t.Context(), "t", 0, func(e ingest.LedgerEntry) error { ranges = append(ranges, e.Range); return nil })
	if err != nil || len(ranges) < 3 {
		t.Fatalf("%d ranges, %v; want at least 3", len(ranges), err)
	}

	verify := func(want int) verifyReport {
		t.Helper()
		out, code, err := runCommand(t, func(env *daemon.Env, args []string) error { return runVerify(t.Context(), env, args) }, "--config", config, "--deep", "-o", "json")
		var r verifyReport
		if code != want || json.Unmarshal([]byte(out), &r) != nil {
			t.Fatalf("exit %d, %v, want %d:\n%s", code, err, want, out)
		}
		return r
	}
	r := verify(0)
	var again int64
	for _, p := range r.Partitions {
		again += *p.Read
	}
	if !r.OK || r.Rows != good+keys || again < 4 || *r.Requests != good {
		t.Fatalf("before: %+v", r)
	}

	exec := func(q string, args ...any) {
		t.Helper()
		if err := conn.Exec(t.Context(), q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	first, second := ranges[0], ranges[1]
	for _, c := range []struct {
		name  string
		plant func()
		want  []clickhouse.FaultKind
	}{
		{"a row is another one", func() {
			exec("ALTER TABLE access_log UPDATE request_id = 'forged' WHERE topic = 't' AND kafka_offset = ? SETTINGS mutations_sync = 2", first.First)
		}, []clickhouse.FaultKind{clickhouse.FaultContent}},
		{"a row is deleted", func() {
			exec("ALTER TABLE access_log DELETE WHERE topic = 't' AND kafka_offset = ? SETTINGS mutations_sync = 2", first.First)
		}, []clickhouse.FaultKind{clickhouse.FaultLost}},
		{"a batch is inserted twice", func() {
			exec("INSERT INTO access_log SELECT * FROM access_log WHERE topic = 't' AND kafka_offset BETWEEN ? AND ? SETTINGS insert_deduplication_token = 'another'", second.First, second.Last)
		}, []clickhouse.FaultKind{clickhouse.FaultDoubled}},
		{"a rollup counts a batch twice", func() {
			exec("INSERT INTO request_1h SELECT * FROM request_1h LIMIT 1 SETTINGS insert_deduplication_token = 'another'")
		}, []clickhouse.FaultKind{clickhouse.FaultRollup}},
		{"a key event is deleted", func() {
			exec("ALTER TABLE key_event DELETE WHERE kafka_offset = 0 SETTINGS mutations_sync = 2")
		}, []clickhouse.FaultKind{clickhouse.FaultLost}},
		{"a range is not in the ledger", func() {
			exec("ALTER TABLE ledger DELETE WHERE topic = 't' AND first_offset = ? SETTINGS mutations_sync = 2", second.First)
		}, []clickhouse.FaultKind{clickhouse.FaultGap}},
	} {
		before := kinds(r)
		c.plant()
		r = verify(1)
		for _, kind := range c.want {
			if kinds(r)[kind] <= before[kind] {
				t.Errorf("%s: verify --deep finds no new %s among %v", c.name, kind, kinds(r))
			}
		}
	}

	// What was planted in the past is not seen from now on; a topic by itself is checked alone.
	for want, args := range map[int][]string{1: {"--topic", "keys"}, 4: {"--from", "2100-01-01T00:00:00Z"}} {
		if out, code, err := runCommand(t, func(env *daemon.Env, args []string) error { return runVerify(t.Context(), env, args) }, append([]string{"--config", config}, args...)...); code != want || strings.Contains(out, "access") {
			t.Errorf("%v: exit %d, %v, want %d:\n%s", args, code, err, want, out)
		}
	}
}

func kinds(r verifyReport) map[clickhouse.FaultKind]int {
	m := map[clickhouse.FaultKind]int{}
	for f := range slices.Values(r.Faults) {
		m[f.Kind]++
	}
	return m
}

func ledgerMessages(t *testing.T, conn *clickhouse.Conn) (n int64) {
	t.Helper()
	if conn.CheckSchema(t.Context()) != nil {
		return 0
	}
	ends, err := conn.LedgerEnds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ends {
		n += e.Messages + e.Dead
	}
	return n
}

// writeKeys sends events about n keys.
func writeKeys(t *testing.T, addr string, n int) {
	t.Helper()
	conf := kafka.DefaultConfig()
	conf.Brokers = []string{addr}
	c, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var messages []ingest.Message
	for i := range n {
		messages = append(messages, ingest.Message{Value: fmt.Appendf(nil, `{"event":"created","key":"key-%d","consumer":"c%d"}`, i, i)})
	}
	if err := c.Write(t.Context(), "keys", messages); err != nil {
		t.Fatal(err)
	}
}
