package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/failure"
	"gatewatch/internal/ingest"
	"gatewatch/internal/layer"
	"gatewatch/internal/rollup"
	"gatewatch/internal/trace"
)

// A scene is traffic of one service that a test describes.
type scene struct {
	t      *testing.T
	conn   *clickhouse.Conn
	b      ingest.Block
	offset int64
	rng    *rand.Rand
}

func newScene(t *testing.T, conn *clickhouse.Conn) *scene {
	w := clickhouse.NewWriter(conn)
	t.Cleanup(w.Close)
	return &scene{t: t, conn: conn, b: w.NewBlock(ingest.TopicConfig{Name: "access", Tenant: "shop", Format: "nginx_json"}), rng: rand.New(rand.NewPCG(5, 6))}
}

// request adds a request that took total, of which the upstream took upstream.
func (s *scene) request(at time.Time, total, upstream time.Duration, change func(*accesslog.Entry)) *accesslog.Entry {
	k := s.rng.IntN(40) + 1
	e := accesslog.Entry{
		Time: at, Service: "orders", Method: "GET", Route: "/v1/orders/{id}", Path: fmt.Sprintf("/v1/orders/%d", s.rng.IntN(1_000_000)), Status: 200,
		Node: fmt.Sprintf("gw-%d", s.rng.IntN(3)), Region: "eu", APIVersion: "v1", Upstream: fmt.Sprintf("ord-%d", s.rng.IntN(3)),
		Latency:  accesslog.Latency{Total: accesslog.Some(total), Upstream: accesslog.Some(upstream), Gateway: accesslog.Some(total - upstream)},
		Outcome:  accesslog.Outcome{UpstreamReached: accesslog.ReachedYes, Responder: accesslog.ResponderUpstream},
		Consumer: accesslog.Consumer{ID: fmt.Sprintf("c%d", k), Plan: "gold", KeyID: [16]byte{byte(k)}},
	}
	for i := range e.TraceID {
		e.TraceID[i] = byte(s.rng.Uint32())
	}
	if change != nil {
		change(&e)
	}
	s.b.AppendEntry(ingest.Coordinates{Offset: s.offset, KafkaTime: e.Time.Add(time.Second)}, &e)
	s.offset++
	return &e
}

// spans adds the service's and its database's span of a request.
func (s *scene) spans(e *accesslog.Entry, database time.Duration, failed bool) {
	up := e.Latency.Upstream.V
	start := e.Time.Add(-up)
	status := trace.Status(0)
	if failed {
		status = 2
	}
	id := func(n byte) (x [8]byte) { copy(x[:], e.TraceID[:7]); x[7] = n; return x }
	for _, sp := range []trace.Span{
		{Service: "orders", Name: "GET", Kind: trace.KindServer, Start: start, Duration: up, SpanID: id(1), HTTPRoute: e.Route, HTTPMethod: "GET", Status: status, HTTPStatus: e.Status},
		{Service: "orders", Name: "SELECT", Kind: trace.KindClient, Start: start.Add(time.Millisecond), Duration: database, SpanID: id(2), ParentID: id(1), DBSystem: "postgresql", DBQuery: "SELECT * FROM orders WHERE id = ?", Status: status},
	} {
		sp.TraceID, sp.Weight = e.TraceID, 10
		s.b.AppendSpan(ingest.Coordinates{Offset: s.offset, KafkaTime: e.Time}, &sp)
	}
	s.offset++
}

func (s *scene) flush(from, to time.Time) {
	s.t.Helper()
	l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: 0, Last: s.offset - 1}, Messages: s.offset, Rows: int64(s.b.Rows()), EarliestEvent: from, LatestEvent: to, FirstKafkaTime: from, LastKafkaTime: to}
	if err := s.b.Insert(s.t.Context(), l); err != nil {
		s.t.Fatal(err)
	}
	s.b.Reset()
}

func TestLayersAndDimensions(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	s := newScene(t, conn)
	start := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	onset := start.Add(time.Hour)
	for i := range 7200 {
		at := start.Add(time.Duration(i) * time.Second)
		database := 20 * time.Millisecond
		if !at.Before(onset) {
			database = 220 * time.Millisecond
		}
		up := database + 10*time.Millisecond
		e := s.request(at, up+2*time.Millisecond, up, nil)
		if i%10 == 0 {
			s.spans(e, database, false)
		}
	}
	s.flush(start, start.Add(2*time.Hour))
	ctx := t.Context()
	for _, d := range []string{"layer_1m", "layer_1h", "dimension_1h", "unusual_1h"} {
		for range 2 { // again changes nothing
			if err := conn.Derive(ctx, d, start, start.Add(2*time.Hour)); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
		}
	}
	for _, table := range []string{"layer_1m", "layer_1h"} {
		now, err := conn.Layers(ctx, onset, onset.Add(time.Hour), table, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		before, err := conn.Layers(ctx, start, onset, table, nil, true)
		if err != nil {
			t.Fatal(err)
		}
		p := failure.Place{Service: "orders", Operation: "/v1/orders/{id}"}
		v := layer.Compare(now[p], before[p])
		db := now[p][layer.Database]
		if v.Latency != layer.Database || v.Errors != "" || db.Requests != 3590 || db.Traces != 359 || // the first span began before
			now[p][layer.Gateway].Measured != 3600 {
			t.Errorf("%s: %s %s (%s), database %+v", table, v.Latency, v.Errors, v.Why, db)
		}
		if us, _ := now[p][layer.Service].P95(); us < 9900 || us > 10100 {
			t.Errorf("%s: the service's own time is %.0f µs at p95, want 10 ms", table, us)
		}
		if us, _ := db.P95(); us < 218_000 || us > 222_000 {
			t.Errorf("%s: database %.0f µs at p95, want 220 ms", table, us)
		}
	}
	list, err := conn.Statements(ctx, onset, onset.Add(time.Hour), []string{"orders"}, 5)
	if err != nil || len(list) != 1 || list[0].Calls != 3590 || list[0].Text != "SELECT * FROM orders WHERE id = ?" {
		t.Errorf("statements %+v, %v", list, err)
	}
	d, err := conn.Difference(ctx, rollup.Level{Name: "dimension_1h", Grain: rollup.Grain1h}, start, start.Add(2*time.Hour))
	if err != nil || len(d.Rows) != 0 {
		t.Errorf("dimension_1h differs from the raw rows: %v, %+v", err, d.Rows)
	}
	if _, until, err := conn.Unusual(ctx, start, onset); err != nil || !until.IsZero() {
		t.Errorf("Unusual: %v, %v", until, err)
	}
}
