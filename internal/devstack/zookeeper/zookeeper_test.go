//go:build kafka

// The test runs Apache ZooKeeper: it needs Java and Maven, and the build tag kafka.

package zookeeper_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/zookeeper"
)

func TestMain(m *testing.M) {
	leash.Main()
	os.Exit(m.Run())
}

// TestReplicatedSchema migrates two servers that are replicas of one shard. Each
// table that holds rows must be replicated, by the same path on both. The
// embedded engine has no listener for replication, so no rows are copied here.
func TestReplicatedSchema(t *testing.T) {
	dir := t.TempDir()
	keeper, err := zookeeper.Start(t.Context(), dir, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Kill()
	host, port, _ := net.SplitHostPort(keeper.Addr)
	const replicas = 2
	servers, err := engine.StartCluster(t.Context(), engine.Config{
		Dir: dir, Log: os.Stderr,
		Settings: fmt.Sprintf("<zookeeper><node><host>%s</host><port>%s</port></node></zookeeper>", host, port),
	}, 1, replicas)
	for _, s := range servers {
		defer s.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(servers[0].Password), 0o600); err != nil {
		t.Fatal(err)
	}
	c := clickhouse.Config{
		Address: servers[0].Addr, Database: "gatewatch", Username: servers[0].Username, PasswordFile: password,
		Cluster: engine.Cluster, Shards: [][]string{{servers[0].Addr, servers[1].Addr}},
	}
	conn, err := clickhouse.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if steps, err := conn.Migrate(t.Context()); err != nil || len(steps) == 0 {
		t.Fatalf("%d steps: %v", len(steps), err)
	}
	if steps, err := conn.Migrate(t.Context()); err != nil || len(steps) != 0 {
		t.Errorf("again: %d steps: %v", len(steps), err)
	}
	for i, s := range servers {
		one := c
		one.Address, one.Database, one.Cluster, one.Shards = s.Addr, "gatewatch_shard", "", nil
		node, err := clickhouse.Open(one)
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		var plain []string
		var tables, pairs uint64
		err = node.QueryRow(t.Context(), "SELECT countIf(engine LIKE '%MergeTree'), groupArrayIf(name, engine LIKE '%MergeTree' AND engine NOT LIKE 'Replicated%') FROM system.tables WHERE database = 'gatewatch_shard'").Scan(&tables, &plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) != 1 || plain[0] != "schema_migration" || tables < 10 {
			t.Errorf("replica %d has %d tables, not replicated: %s", i, tables, strings.Join(plain, ", "))
		}
		if err := node.QueryRow(t.Context(), "SELECT countIf(total_replicas = ?) FROM system.replicas WHERE database = 'gatewatch_shard'", replicas).Scan(&pairs); err != nil {
			t.Fatal(err)
		}
		if pairs != tables-1 {
			t.Errorf("replica %d shares %d of %d tables with the other", i, pairs, tables-1)
		}
	}
}
