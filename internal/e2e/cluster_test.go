package e2e

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
)

// TestCluster runs three ClickHouse servers as three shards: a partition's rows
// go to shard partition modulo three, also after kills of ingest, and everything
// that reads sees all of them.
func TestCluster(t *testing.T) {
	const shards = 3
	s := start(t, func(c devstack.Config) devstack.Config {
		c.WithoutAlert, c.Shards, c.Partitions = true, shards, 4
		return c
	})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	load := s.NewLoad(5)
	live, endLive := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- load.Live(live, 500) }()
	for range 3 {
		waitStored(ctx, t, s)
		s.Kill("ingest")
		if err := s.Restart(ctx, "ingest"); err != nil {
			t.Fatal(err)
		}
	}
	waitStored(ctx, t, s)
	endLive()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if err := load.Settle(ctx, nil); err != nil {
		t.Fatal(err)
	}
	v, err := load.Verify(ctx, devstack.VerifyOptions{Deep: true, Recent: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil || v.Lost+v.Doubled != 0 {
		t.Errorf("lost %d, doubled %d: %v", v.Lost, v.Doubled, err)
	}
	for i := range shards {
		partitionsOf(t, s, i, shards)
	}
	// Views whose subqueries mean the rows of all shards, and a view over a rollup.
	for _, view := range []string{"v_propagation", "v_orphan_span", "v_request_1m", "v_key_1h", "v_access_log", "v_completeness"} {
		var n uint64
		if err := s.Store.QueryRow(ctx, "SELECT count() FROM (SELECT * FROM "+view+" ORDER BY ALL)").Scan(&n); err != nil || n == 0 && view != "v_orphan_span" {
			t.Errorf("%s has %d rows: %v", view, n, err)
		}
	}
	if again, err := s.Store.Migrate(ctx); err != nil || len(again) != 0 {
		t.Errorf("a second migration applies %d steps: %v", len(again), err)
	}
}

// partitionsOf fails unless shard has rows, ledger and rollups of its partitions only.
func partitionsOf(t *testing.T, s *devstack.Stack, shard, shards int) {
	t.Helper()
	server := s.Engines[shard]
	conn, err := clickhouse.Open(clickhouse.Config{Address: server.Addr, Database: "gatewatch_shard", Username: server.Username, PasswordFile: secretFile(t, server.Password)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, table := range []string{"access_log", "span", "ledger"} {
		var rows, strangers uint64
		if err := conn.QueryRow(t.Context(), "SELECT count(), countIf(kafka_partition % ? != ?) FROM "+table, shards, shard).Scan(&rows, &strangers); err != nil {
			t.Fatal(err)
		}
		if rows == 0 || strangers > 0 {
			t.Errorf("shard %d, %s: %d rows, %d of other shards' partitions", shard, table, rows, strangers)
		}
	}
	var rows, rolled int64
	if err := conn.QueryRow(t.Context(), "SELECT toInt64((SELECT count() FROM access_log)), (SELECT sum(requests) FROM request_1h)").Scan(&rows, &rolled); err != nil {
		t.Fatal(err)
	}
	if rows != rolled {
		t.Errorf("shard %d has %d requests, its rollup %d", shard, rows, rolled)
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
