package clickhouse_test

import (
	"slices"
	"testing"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
)

func TestRecordDeclared(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	ctx := t.Context()
	first := []clickhouse.Declared{
		{Kind: "slo", Name: "payments-availability", Service: "payments", Text: "availability, target 99.9 %", Digest: "a"},
		{Kind: "slo", Name: "orders-latency", Service: "orders", Text: "latency, target 99 %", Digest: "b"},
		{Kind: "owner", Name: "orders", Service: "orders", Text: "team-shop"},
	}
	second := []clickhouse.Declared{
		{Kind: "owner", Name: "orders", Service: "orders", Text: "team-orders"},
		{Kind: "slo", Name: "orders-latency", Service: "orders", Text: "latency, target 99 %", Digest: "c"},
		{Kind: "slo", Name: "search", Service: "search", Text: "availability, target 99 %", Digest: "d"},
	}
	for _, list := range [][]clickhouse.Declared{first, first, second, second} {
		if err := conn.RecordDeclared(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(ctx, "SELECT concat(service, ' ', kind, ': ', what) FROM v_change WHERE who = 'gatewatch' AND kind != 'retention' ORDER BY what")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	want := []string{
		"orders owner: owner orders: team-orders instead of team-shop",
		"orders slo: slo orders-latency edited",
		"payments slo: slo payments-availability removed",
		"search slo: slo search added: availability, target 99 %",
	}
	if err := rows.Err(); err != nil || !slices.Equal(got, want) {
		t.Errorf("changes are %q, %v; want %q", got, err, want)
	}
}
