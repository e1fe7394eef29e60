package clickhouse_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
)

func TestMigrate(t *testing.T) {
	ctx := t.Context()
	cfg := clickhousetest.Config(t)
	conn, err := clickhouse.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.CheckSchema(ctx); err == nil || !strings.Contains(err.Error(), "run gatewatch-ingest migrate") {
		t.Errorf("CheckSchema of no database = %v, want the remedy", err)
	}
	plan, err := conn.Plan(ctx)
	if err != nil || len(plan) < 20 {
		t.Errorf("Plan = %d statements, %v", len(plan), err)
	}
	done, err := conn.Migrate(ctx)
	if err != nil || len(done) != clickhouse.SchemaVersion() {
		t.Fatalf("Migrate = %d steps, %v", len(done), err)
	}
	if done, err := conn.Migrate(ctx); err != nil || len(done) != 0 {
		t.Errorf("second Migrate = %d steps, %v; want none", len(done), err)
	}
	if err := conn.CheckSchema(ctx); err != nil {
		t.Errorf("CheckSchema = %v", err)
	}
	if err := conn.Exec(ctx, "INSERT INTO schema_migration (version, name) VALUES (?, 'later')", uint16(clickhouse.SchemaVersion()+2)); err != nil {
		t.Fatal(err)
	}
	var se *clickhouse.SchemaError
	if err := conn.CheckSchema(ctx); !errors.As(err, &se) {
		t.Errorf("CheckSchema of a much newer schema = %v, want a SchemaError", err)
	}
}

func TestApplyRetention(t *testing.T) {
	ctx := t.Context()
	conn, _ := clickhousetest.New(t)
	for _, keep := range []time.Duration{14 * 24 * time.Hour, 14 * 24 * time.Hour, time.Hour, 0, 0} {
		if err := conn.ApplyRetention(ctx, []clickhouse.TTL{{Table: "access_log", Keep: keep}, {Table: "request_10s", Keep: keep}, {Table: "dead_letter", Keep: keep}}); err != nil {
			t.Fatalf("ApplyRetention(%s) = %v", keep, err)
		}
		var n uint64
		if err := conn.QueryRow(ctx, "SELECT countIf(engine_full LIKE '% TTL %') FROM system.tables WHERE database = ? AND name IN ('access_log','request_10s','dead_letter')", conn.Database).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if want := map[bool]uint64{true: 3, false: 0}[keep > 0]; n != want {
			t.Errorf("after ApplyRetention(%s) %d tables have a TTL, want %d", keep, n, want)
		}
	}
}
