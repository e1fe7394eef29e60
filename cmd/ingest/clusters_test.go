package main

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
)

// Two clusters of Kafka have a topic of the same name, with the same offsets.
// Both are read into one database, and neither takes the other's rows for its own.
func TestTwoKafkaClusters(t *testing.T) {
	const each, bad = 40, 2
	conn, store := clickhousetest.New(t)
	for i, name := range []string{"t#eu", "t#us"} {
		k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"),
			kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		addr := k.ListenAddrs()[0]
		config := writeConfig(t, fmt.Sprintf(`
kafka:
  brokers: [%s]
  topics: [{name: %q, format: nginx_json}]
clickhouse: {address: %q, database: %s, username: %q, password_file: %q}
ingest: {listen: "127.0.0.1:0", start: earliest, pepper_file: %q}
`, addr, name, store.Address, store.Database, store.Username, store.PasswordFile, filepath.Join(filepath.Dir(store.PasswordFile), "pepper")))
		write(t, addr, each, bad)
		ingestUntil(t, conn, config, int64(i+1)*(each+bad))
		out, code, err := runCommand(t, func(env *daemon.Env, args []string) error { return runVerify(t.Context(), env, args) }, "--config", config, "--deep")
		if code != 0 {
			t.Errorf("verify of %s: exit %d, %v\n%s", name, code, err, out)
		}
	}
	var rows, topics uint64
	if err := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(topic) FROM access_log").Scan(&rows, &topics); err != nil {
		t.Fatal(err)
	}
	if rows != 2*each || topics != 2 {
		t.Errorf("%d rows of %d topics, want %d of 2", rows, topics, 2*each)
	}
}
