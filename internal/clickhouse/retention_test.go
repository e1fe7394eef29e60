package clickhouse_test

import (
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
)

// Rows go when their tenant's time is up, though they share parts with others';
// without exceptions whole parts go. What the server has is what was wanted.
func TestRetentionByTenantAndClass(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	const day = 24 * time.Hour
	ttls := func(tenants ...clickhouse.Exception) []clickhouse.TTL {
		return []clickhouse.TTL{
			{Table: "access_log", Keep: 2 * day, Tenants: tenants},
			{Table: "audit_event", Keep: 90 * day, Classes: []clickhouse.Exception{{Value: "authentication", Keep: 365 * day}, {Value: "configuration", Keep: 0}}},
		}
	}
	if drift, err := conn.RetentionDrift(t.Context(), ttls()); err != nil || len(drift) != 2 {
		t.Errorf("before: %v, %v", drift, err)
	}
	exceptions := []clickhouse.Exception{{Value: "it's", Keep: 30 * day}, {Value: "ever", Keep: 0}}
	if err := conn.ApplyRetention(t.Context(), ttls(exceptions...)); err != nil {
		t.Fatal(err)
	}
	if drift, err := conn.RetentionDrift(t.Context(), ttls(exceptions...)); err != nil || len(drift) != 0 {
		t.Errorf("after: %v, %v", drift, err)
	}
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	old := time.Now().UTC().Add(-10 * day)
	for i, tenant := range []string{"", "it's", "ever"} {
		b := w.NewBlock(ingest.TopicConfig{Name: "t", Tenant: tenant})
		e := accesslog.Entry{Time: old, Service: "s"}
		b.AppendEntry(ingest.Coordinates{Offset: int64(i), KafkaTime: old}, &e)
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "t", First: int64(i), Last: int64(i)}, Messages: 1, Rows: 1, EarliestEvent: old, LatestEvent: old}
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Exec(t.Context(), "OPTIMIZE TABLE access_log FINAL"); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := conn.QueryRow(t.Context(), "SELECT arraySort(groupArray(toString(tenant))) FROM access_log").Scan(&left); err != nil || len(left) != 2 || left[0] != "ever" || left[1] != "it's" {
		t.Errorf("left are %q, %v", left, err)
	}
	setting := func() (on bool) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT engine_full LIKE '%ttl_only_drop_parts = 1%' FROM system.tables WHERE database = currentDatabase() AND name = 'access_log'").Scan(&on); err != nil {
			t.Fatal(err)
		}
		return on
	}
	if setting() {
		t.Error("parts of several tenants must not wait for the last of their rows")
	}
	if err := conn.ApplyRetention(t.Context(), ttls()); err != nil || !setting() {
		t.Errorf("without exceptions whole parts should go: %v", err)
	}
}
