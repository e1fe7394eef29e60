package engine

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// SelfTest proves what the rest of gatewatch stands on: a block that is sent
// twice with one token counts once, in its table and in a view's. It returns
// the server's version.
func (s *Server) SelfTest(ctx context.Context) (version string, err error) {
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr: []string{s.Addr},
		Auth: clickhouse.Auth{Username: s.Username, Password: s.Password},
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.QueryRow(ctx, "SELECT version()").Scan(&version); err != nil {
		return "", fmt.Errorf("ask the engine's version: %w", err)
	}
	for _, q := range []string{
		"DROP DATABASE IF EXISTS gatewatch_selftest SYNC",
		"CREATE DATABASE gatewatch_selftest",
		"CREATE TABLE gatewatch_selftest.base (x UInt64) ENGINE = MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 100",
		"CREATE TABLE gatewatch_selftest.sum (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100",
		"CREATE MATERIALIZED VIEW gatewatch_selftest.view TO gatewatch_selftest.sum AS SELECT count() AS n FROM gatewatch_selftest.base",
		"INSERT INTO gatewatch_selftest.base SETTINGS insert_deduplication_token = 't', deduplicate_blocks_in_dependent_materialized_views = 1 VALUES (1), (2)",
		"INSERT INTO gatewatch_selftest.base SETTINGS insert_deduplication_token = 't', deduplicate_blocks_in_dependent_materialized_views = 1 VALUES (1), (2)",
	} {
		if err := conn.Exec(ctx, q); err != nil {
			return "", fmt.Errorf("engine self-test: %w", err)
		}
	}
	var base, sum uint64
	if err := conn.QueryRow(ctx, "SELECT (SELECT count() FROM gatewatch_selftest.base), (SELECT sum(n) FROM gatewatch_selftest.sum)").Scan(&base, &sum); err != nil {
		return "", fmt.Errorf("engine self-test: %w", err)
	}
	if base != 2 || sum != 2 {
		return "", fmt.Errorf("engine self-test: a repeated block of 2 rows counts %d in its table and %d in its view", base, sum)
	}
	return version, conn.Exec(ctx, "DROP DATABASE gatewatch_selftest SYNC")
}
