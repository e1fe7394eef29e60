package clickhouse_test

import (
	"fmt"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/ingest"
)

// benchEntries are requests with the variety of a busy gateway.
func benchEntries(n int) []*accesslog.Entry {
	g := newTraffic(1, 1)
	es := make([]*accesslog.Entry, n)
	for i := range es {
		es[i] = g.entry()
		es[i].Time = now.Add(time.Duration(i) * time.Millisecond)
		es[i].UserAgent = fmt.Sprintf("agent-%d", g.r.IntN(300))
		es[i].Path = fmt.Sprintf("%s/%d", es[i].Route, g.r.IntN(100_000))
	}
	return es
}

// BenchmarkAppendEntry is what a row costs before it is sent. Once the columns
// have grown it allocates nothing.
func BenchmarkAppendEntry(b *testing.B) {
	conn, _ := clickhousetest.New(b)
	block := newBlock(b, conn)
	es := benchEntries(10_000)
	fill := func() {
		block.Reset()
		for i, e := range es {
			block.AppendEntry(ingest.Coordinates{Offset: int64(i), KafkaTime: e.Time}, e)
		}
	}
	fill()
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if i%len(es) == 0 {
			block.Reset()
		}
		block.AppendEntry(ingest.Coordinates{Offset: int64(i), KafkaTime: now}, es[i%len(es)])
	}
}

// BenchmarkInsert is what a block of 50,000 rows takes until it is acknowledged,
// rollups included.
func BenchmarkInsert(b *testing.B) {
	conn, _ := clickhousetest.New(b)
	block := newBlock(b, conn)
	const rows = 50_000
	for i, e := range benchEntries(rows) {
		block.AppendEntry(ingest.Coordinates{Offset: int64(i), KafkaTime: e.Time}, e)
	}
	b.ResetTimer()
	first := int64(0)
	for b.Loop() {
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: first, Last: first + rows - 1}, Messages: rows, Rows: rows}
		if err := block.Insert(b.Context(), l); err != nil {
			b.Fatal(err)
		}
		first += rows
	}
	b.ReportMetric(float64(first)/b.Elapsed().Seconds(), "rows/s")
}
