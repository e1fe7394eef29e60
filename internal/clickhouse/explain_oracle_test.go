package clickhouse_test

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
	"gatewatch/internal/rollup"
)

// A call is what the oracle knows of a request.
type call struct {
	at              time.Time
	route, node     string
	gateway         int64 // µs; -1: not stated
	total           int64
	class           accesslog.ErrorClass
	kafkaTime       time.Time
	responderIsSelf bool
}

// The derived tables equal sums in plain Go over the same requests, though
// batches come shuffled, some twice, one in a hundred requests after its window
// was computed, and the process starts anew in between.
func TestDerivedTablesEqualOracle(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	rng := rand.New(rand.NewPCG(11, 12))
	start := time.Now().UTC().Truncate(time.Hour).Add(-4 * time.Hour)
	const span = 3 * time.Hour
	var onTime, late []call
	for range 6000 {
		c := call{
			at: start.Add(time.Duration(rng.Int64N(int64(span)))).Truncate(time.Microsecond), route: fmt.Sprintf("/r/%d", rng.IntN(4)), node: fmt.Sprintf("gw-%d", rng.IntN(3)),
			gateway: rng.Int64N(9000), total: 10_000 + int64(math.Exp(rng.NormFloat64()+9)),
		}
		switch rng.IntN(20) {
		case 0:
			c.class, c.responderIsSelf = accesslog.GatewayOverload, true
		case 1:
			c.class = accesslog.UpstreamTimeout
		case 2:
			c.gateway = -1
		}
		c.kafkaTime = c.at.Add(time.Second)
		if rng.IntN(100) == 0 {
			late = append(late, c)
		} else {
			onTime = append(onTime, c)
		}
	}
	slices.SortFunc(onTime, func(a, b call) int { return a.at.Compare(b.at) })
	w := clickhouse.NewWriter(conn)
	t.Cleanup(w.Close)
	var next int64
	deliver := func(calls []call, again bool) {
		t.Helper()
		b := w.NewBlock(ingest.TopicConfig{Name: "access", Tenant: "shop", Format: "nginx_json"})
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: next}, Messages: int64(len(calls)), Rows: int64(len(calls)), EarliestEvent: calls[0].at, LatestEvent: calls[0].at, FirstKafkaTime: calls[0].kafkaTime, LastKafkaTime: calls[0].kafkaTime}
		for i, c := range calls {
			e := accesslog.Entry{Time: c.at, Service: "s", Route: c.route, Method: "GET", Status: 200, Node: c.node, Latency: accesslog.Latency{Total: accesslog.Some(time.Duration(c.total) * time.Microsecond)}}
			if c.gateway >= 0 {
				e.Latency.Gateway = accesslog.Some(time.Duration(c.gateway) * time.Microsecond)
			}
			e.Outcome = accesslog.Outcome{Class: c.class, Responder: accesslog.ResponderUpstream}
			if c.responderIsSelf {
				e.Outcome.Responder = accesslog.ResponderGateway
			}
			b.AppendEntry(ingest.Coordinates{Offset: next + int64(i), KafkaTime: c.kafkaTime}, &e)
			if c.at.Before(l.EarliestEvent) {
				l.EarliestEvent = c.at
			}
			if c.kafkaTime.Before(l.FirstKafkaTime) {
				l.FirstKafkaTime = c.kafkaTime
			}
		}
		next += int64(len(calls))
		l.Last = next - 1
		for range map[bool]int{false: 1, true: 2}[again] {
			if err := b.Insert(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
	}
	var batches [][]call
	for batch := range slices.Chunk(onTime, 150) {
		batches = append(batches, batch)
	}
	rng.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
	for i, b := range batches {
		deliver(b, i%20 == 0)
	}
	now := time.Now().UTC()
	if err := conn.InsertWatermarks(t.Context(), []rollup.Watermark{{Topic: "access", CompleteUntil: now, MeasuredAt: now}}); err != nil {
		t.Fatal(err)
	}
	step := func() { // a process of its own each time, and two at once
		t.Helper()
		for range 2 {
			p := aggregate.Windows{Store: conn, Derivations: aggregate.Derivations(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
			if err := p.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	step()
	checkDerived(t, conn, onTime)
	for i := range late {
		late[i].kafkaTime = time.Now().UTC()
	}
	deliver(late, true)
	step()
	checkDerived(t, conn, append(onTime, late...))
}

// checkDerived compares layer_1m, layer_1h and dimension_1h with calls.
func checkDerived(t *testing.T, conn *clickhouse.Conn, calls []call) {
	t.Helper()
	layers, hours, nodes := map[string][4]int64{}, map[string][4]int64{}, map[string][3]int64{}
	add := func(m map[string][4]int64, k string, c call) {
		v := m[k]
		v[0]++
		if c.gateway >= 0 {
			v[1]++
			v[2] += c.gateway
		}
		if c.class == accesslog.GatewayOverload {
			v[3]++
		}
		m[k] = v
	}
	for _, c := range calls {
		add(layers, c.at.Truncate(time.Minute).Format(time.RFC3339)+" "+c.route, c)
		add(hours, c.at.Truncate(time.Hour).Format(time.RFC3339)+" "+c.route, c)
		k := c.at.Truncate(time.Hour).Format(time.RFC3339) + " " + c.node + " " + c.class.String()
		v := nodes[k]
		nodes[k] = [3]int64{v[0] + 1, v[1] + c.total, max(v[2], c.total)}
	}
	for table, want := range map[string]map[string][4]int64{"v_layer_1m": layers, "v_layer_1h": hours} {
		got := map[string][4]int64{}
		rows, err := conn.Query(t.Context(), "SELECT formatDateTime(time, '%FT%TZ'), toString(route), requests, measured, time_us_sum, errors, arraySum(mapValues(time_hist)) FROM "+table+" WHERE layer = 'gateway'")
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var at, route string
			var v [4]int64
			var n int64
			if err := rows.Scan(&at, &route, &v[0], &v[1], &v[2], &v[3], &n); err != nil {
				t.Fatal(err)
			}
			if n != v[1] {
				t.Errorf("%s: the histogram of %s %s holds %d of %d", table, at, route, n, v[1])
			}
			got[at+" "+route] = v
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-oracle +store):\n%s", table, diff)
		}
	}
	got := map[string][3]int64{}
	rows, err := conn.Query(t.Context(), "SELECT formatDateTime(time, '%FT%TZ'), toString(value), toString(error_class), requests, latency_us_sum, toInt64(latency_us_max) FROM v_dimension_1h WHERE dimension = 'node'")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var at, node, class string
		var v [3]int64
		if err := rows.Scan(&at, &node, &class, &v[0], &v[1], &v[2]); err != nil {
			t.Fatal(err)
		}
		got[at+" "+node+" "+class] = v
	}
	if diff := gocmp.Diff(nodes, got); diff != "" {
		t.Errorf("v_dimension_1h (-oracle +store):\n%s", diff)
	}
}
