package clickhouse_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
)

// request is what the oracle remembers of one request.
type request struct {
	at                time.Time
	dims              map[string]string
	bytesIn, bytesOut int64
	us                int64 // -1: not stated
	class             string
}

// fill stores n random requests of a day and returns them.
func fill(t *testing.T, conn *clickhouse.Conn, start time.Time, n int) []request {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 11))
	b := newBlock(t, conn)
	var all []request
	classes := []accesslog.ErrorClass{0, 0, 0, 0, 0, 0, accesslog.ClientAuth, accesslog.Upstream5xx, accesslog.UpstreamTimeout}
	flush := func(first, last int64) {
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: first, Last: last}, Messages: last - first + 1, Rows: last - first + 1, EarliestEvent: start, LatestEvent: start}
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		b.Reset()
	}
	var first int64
	for i := range int64(n) {
		e := accesslog.Entry{
			Time:    start.Add(time.Duration(r.Int64N(int64(24 * time.Hour)))).Truncate(time.Microsecond),
			Service: fmt.Sprintf("s%d", r.IntN(3)), Route: fmt.Sprintf("/r/%d", r.IntN(10)), Method: []string{"GET", "POST"}[r.IntN(2)],
			Status: []int{200, 204, 401, 503}[r.IntN(4)], Node: fmt.Sprintf("gw-%d", r.IntN(3)), ClientAddr: netip.MustParseAddr(fmt.Sprintf("198.51.%d.0", r.IntN(4))),
			Outcome: accesslog.Outcome{Class: classes[r.IntN(len(classes))], Responder: accesslog.Responder(r.IntN(4))},
		}
		if k := r.IntN(20); k > 0 {
			e.Consumer = accesslog.Consumer{ID: fmt.Sprintf("c%d", k%5), Plan: "gold", KeyID: [16]byte{byte(k)}}
		}
		q := request{at: e.Time, us: -1, class: e.Outcome.Class.String()}
		if r.IntN(50) > 0 {
			q.us = int64(math.Exp(r.NormFloat64()*1.5 + 10))
			e.Latency.Total = accesslog.Some(time.Duration(q.us) * time.Microsecond)
		}
		if r.IntN(10) > 0 {
			q.bytesIn, q.bytesOut = r.Int64N(1000), r.Int64N(100_000)
			e.RequestBytes, e.ResponseBytes = accesslog.Some(q.bytesIn), accesslog.Some(q.bytesOut)
		}
		key := ""
		if e.Consumer.ID != "" {
			key = fmt.Sprintf("%x", e.Consumer.KeyID)
		}
		q.dims = map[string]string{
			"service": e.Service, "route": e.Route, "method": e.Method, "status": fmt.Sprint(e.Status), "error_class": q.class,
			"responder": e.Outcome.Responder.String(), "tenant": "shop", "environment": "prod", "node": e.Node,
			"client_ip": e.ClientAddr.String(), "consumer": e.Consumer.ID, "plan": e.Consumer.Plan, "key_id": key,
		}
		all = append(all, q)
		b.AppendEntry(ingest.Coordinates{Offset: i, KafkaTime: e.Time}, &e)
		if r.IntN(700) == 0 || i == int64(n)-1 { // blocks of all sizes
			flush(first, i)
			first = i + 1
		}
	}
	return all
}

// expect adds requests up without any help from the product.
func expect(all []request, by []string, step time.Duration, keep func(request) bool) map[string][]request {
	groups := map[string][]request{}
	for _, q := range all {
		if !keep(q) {
			continue
		}
		var parts []string
		if step > 0 {
			parts = append(parts, q.at.Truncate(step).Format(time.RFC3339))
		}
		for _, d := range by {
			parts = append(parts, q.dims[d])
		}
		k := strings.Join(parts, "|")
		groups[k] = append(groups[k], q)
	}
	return groups
}

func TestSumsEqualBruteForce(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	all := fill(t, conn, day, 20_000)
	hasKey := func(q request) bool { return q.dims["consumer"] != "" }
	everything := func(request) bool { return true }
	for _, c := range []struct {
		name string
		q    clickhouse.SumsQuery
		keep func(request) bool
	}{
		{"total", clickhouse.SumsQuery{Source: clickhouse.SourceRequest, Table: "request_10s"}, everything},
		{"service and route", clickhouse.SumsQuery{Source: clickhouse.SourceRequest, Table: "request_1m", By: []string{"service", "route"}}, everything},
		{"status at 1 h", clickhouse.SumsQuery{Source: clickhouse.SourceRequest, Table: "request_1h", By: []string{"status", "error_class", "responder"}}, everything},
		{"over time", clickhouse.SumsQuery{Source: clickhouse.SourceRequest, Table: "request_10s", Step: 30 * time.Minute}, everything},
		{
			"errors of one service",
			clickhouse.SumsQuery{
				Source: clickhouse.SourceRequest, Table: "request_1m", By: []string{"error_class"}, ErrorsOnly: true,
				Where: []clickhouse.Condition{{Dimension: "service", Value: "s1"}},
			},
			func(q request) bool { return q.dims["service"] == "s1" && q.class != "none" },
		},
		{"keys at 1 m", clickhouse.SumsQuery{Source: clickhouse.SourceKey, Table: "key_1m", By: []string{"key_id", "consumer"}}, hasKey},
		{"keys at 1 h", clickhouse.SumsQuery{Source: clickhouse.SourceKey, Table: "key_1h", By: []string{"key_id", "consumer"}}, hasKey},
		{"keys at 1 d", clickhouse.SumsQuery{Source: clickhouse.SourceKey, Table: "key_1d", By: []string{"consumer", "plan"}, Step: 24 * time.Hour}, hasKey},
		{
			"requests at 1 m and 1 h",
			clickhouse.SumsQuery{
				Source: clickhouse.SourceRequest, Table: "request_1m", Coarse: "request_1h", CoarseFrom: day.Add(2 * time.Hour), CoarseTo: day.Add(21 * time.Hour),
				By: []string{"service", "status"},
			},
			everything,
		},
		{
			"keys at 1 m and 1 h",
			clickhouse.SumsQuery{
				Source: clickhouse.SourceKey, Table: "key_1m", Coarse: "key_1h", CoarseFrom: day.Add(time.Hour), CoarseTo: day.Add(24 * time.Hour),
				By: []string{"key_id", "plan"},
			},
			hasKey,
		},
		{"raw rows", clickhouse.SumsQuery{Source: clickhouse.SourceRaw, Table: "access_log", By: []string{"node", "client_ip", "key_id"}}, everything},
		{"raw rows over time", clickhouse.SumsQuery{Source: clickhouse.SourceRaw, Table: "access_log", By: []string{"node"}, Step: time.Hour}, everything},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.From, c.q.To = day, day.Add(24*time.Hour)
			got, err := conn.Sums(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			want := expect(all, c.q.By, c.q.Step, c.keep)
			if len(got) != len(want) {
				t.Errorf("%d rows, want %d", len(got), len(want))
			}
			for _, r := range got {
				var parts []string
				if c.q.Step > 0 {
					parts = append(parts, r.Time.Format(time.RFC3339))
				}
				compare(t, c.q.Source, strings.Join(append(parts, r.Group...), "|"), want, func() (row sums) {
					row = sums{r.Requests, r.BytesIn, r.BytesOut, r.Timed, r.LatencySum, int64(r.LatencyMax), r.Classes, r.FirstSeen, r.LastSeen}
					if r.Latency.Count() != r.Timed {
						t.Errorf("%d requests in the histogram, %d timed", r.Latency.Count(), r.Timed)
					}
					return row
				}, func(q float64) float64 { us, _ := r.Latency.Quantile(q); return us })
			}
			// The largest few are the first of all.
			if c.q.Step > 0 {
				return
			}
			few := c.q
			few.Limit = 3
			first, err := conn.Sums(t.Context(), few)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(got[:min(len(got), few.Limit)], first); diff != "" {
				t.Errorf("the largest (-of all +alone):\n%s", diff)
			}
		})
	}
}

type sums struct {
	Requests, In, Out, Timed, Sum, Max int64
	Classes                            map[string]int64
	First, Last                        time.Time
}

func compare(t *testing.T, source clickhouse.Source, key string, groups map[string][]request, have func() sums, quantile func(float64) float64) {
	t.Helper()
	want := sums{Classes: map[string]int64{}}
	var times []int64
	for _, q := range groups[key] {
		want.Requests++
		want.In += q.bytesIn
		want.Out += q.bytesOut
		want.Classes[q.class]++
		if q.us >= 0 {
			times = append(times, q.us)
			want.Timed++
			want.Sum += q.us
			if source != clickhouse.SourceKey {
				want.Max = max(want.Max, q.us)
			}
		}
		if source != clickhouse.SourceRequest {
			if want.First.IsZero() || q.at.Before(want.First) {
				want.First = q.at
			}
			if q.at.After(want.Last) {
				want.Last = q.at
			}
		}
	}
	if diff := gocmp.Diff(want, have()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", key, diff)
	}
	slices.SortFunc(times, cmp.Compare)
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		if len(times) == 0 {
			continue
		}
		exact := float64(times[max(1, int(math.Ceil(q*float64(len(times)))))-1])
		if got := quantile(q); math.Abs(got/exact-1) > 0.0055 {
			t.Errorf("%s: quantile %v is %v µs, want %v", key, q, got, exact)
		}
	}
}

func TestSumsOfNothing(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	for _, s := range []struct {
		source clickhouse.Source
		table  string
	}{{clickhouse.SourceRequest, "request_10s"}, {clickhouse.SourceKey, "key_1m"}, {clickhouse.SourceRaw, "access_log"}} {
		for _, by := range [][]string{nil, s.source.Dimensions()} {
			rows, err := conn.Sums(t.Context(), clickhouse.SumsQuery{Source: s.source, Table: s.table, From: now, To: now.Add(time.Hour), By: by, Limit: 3})
			if err != nil || len(rows) != 0 {
				t.Errorf("%s by %v: %d rows, %v; want none", s.table, by, len(rows), err)
			}
		}
	}
}

func TestSumsRefuseUnknownDimensions(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	for _, q := range []clickhouse.SumsQuery{
		{Source: clickhouse.SourceRequest, Table: "request_10s", By: []string{"node"}},
		{Source: clickhouse.SourceRaw, Table: "access_log", Where: []clickhouse.Condition{{Dimension: "1=1 --", Value: ""}}},
	} {
		if _, err := conn.Sums(t.Context(), q); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}
}

func TestSumsValuesAreParameters(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	fill(t, conn, now.Add(-time.Hour), 10)
	for _, v := range []string{`' OR 1=1 --`, `\' OR 1=1`, "nothing", "@from"} {
		rows, err := conn.Sums(t.Context(), clickhouse.SumsQuery{
			Source: clickhouse.SourceRequest, Table: "request_10s", From: now.Add(-48 * time.Hour), To: now.Add(48 * time.Hour),
			Where: []clickhouse.Condition{{Dimension: "service", Value: v}, {Dimension: "error_class", Value: v}},
		})
		if err != nil || len(rows) != 0 {
			t.Errorf("service = %q: %d rows, %v", v, len(rows), err)
		}
	}
}
