package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// identitySQL is what tells a row of each table from all others, as text. The
// fingerprint of a range is the sum of its rows' hashes, modulo 2^64.
var identitySQL = []struct{ table, identity string }{
	{"access_log", "' ', request_id, ' ', lower(hex(trace_id)), lower(hex(span_id))"},
	{"span", "' ', lower(hex(trace_id)), lower(hex(span_id))"},
	{"key_event", "' ', lower(hex(key_id))"},
	{"change_event", "' change ', kind"},
	{"audit_event", "' audit ', action"},
	{"dead_letter", "' dead ', reason"},
}

// A fingerprint computes what Fingerprints reads from the store, from the rows themselves.
type fingerprint struct {
	rows int
	sum  uint64
	buf  []byte
	end  func(l ingest.LedgerEntry, fingerprint uint64)
}

var _ ingest.Block = (*fingerprint)(nil)

// A FingerprintSink makes blocks that store nothing: End is told each batch's
// account and fingerprint.
type FingerprintSink struct {
	End func(l ingest.LedgerEntry, fingerprint uint64)
}

// NewBlock implements ingest.Sink.
func (s FingerprintSink) NewBlock(ingest.TopicConfig) ingest.Block { return &fingerprint{end: s.End} }

func (f *fingerprint) begin(c ingest.Coordinates) {
	f.buf = strconv.AppendInt(f.buf[:0], c.Offset, 10)
	f.buf = append(f.buf, ':')
	f.buf = strconv.AppendInt(f.buf, int64(clamp16(c.Record)), 10)
}

func (f *fingerprint) add() {
	f.rows++
	f.sum += xxhash.Sum64(f.buf)
}

// AppendEntry implements ingest.Block.
func (f *fingerprint) AppendEntry(c ingest.Coordinates, e *accesslog.Entry) {
	f.begin(c)
	f.buf = append(append(append(f.buf, ' '), ownRequestID(e)...), ' ')
	f.buf = hex.AppendEncode(f.buf, e.TraceID[:])
	f.buf = hex.AppendEncode(f.buf, e.SpanID[:])
	f.add()
}

// AppendSpan implements ingest.Block.
func (f *fingerprint) AppendSpan(c ingest.Coordinates, s *trace.Span) {
	f.begin(c)
	f.buf = hex.AppendEncode(append(f.buf, ' '), s.TraceID[:])
	f.buf = hex.AppendEncode(f.buf, s.SpanID[:])
	f.add()
}

// AppendKeyEvent implements ingest.Block.
func (f *fingerprint) AppendKeyEvent(c ingest.Coordinates, e *consumer.Event) {
	f.begin(c)
	f.buf = hex.AppendEncode(append(f.buf, ' '), e.KeyID[:])
	f.add()
}

// AppendChange implements ingest.Block.
func (f *fingerprint) AppendChange(c ingest.Coordinates, e *change.Event) {
	f.begin(c)
	f.buf = append(append(f.buf, " change "...), e.Kind...)
	f.add()
}

// AppendAudit implements ingest.Block.
func (f *fingerprint) AppendAudit(c ingest.Coordinates, e *audit.Event) {
	f.begin(c)
	f.buf = append(append(f.buf, " audit "...), e.Action...)
	f.add()
}

// AppendDeadLetter implements ingest.Block.
func (f *fingerprint) AppendDeadLetter(d *ingest.DeadLetter) {
	f.begin(d.Coordinates)
	f.buf = append(append(f.buf, " dead "...), d.Reason...)
	f.add()
}

// Rows implements ingest.Block.
func (f *fingerprint) Rows() int { return f.rows }

// Bytes implements ingest.Block: nothing is held.
func (f *fingerprint) Bytes() int { return 0 }

// Insert implements ingest.Block.
func (f *fingerprint) Insert(_ context.Context, l ingest.LedgerEntry) error {
	f.end(l, f.sum)
	return nil
}

// Reset implements ingest.Block.
func (f *fingerprint) Reset() { f.rows, f.sum = 0, 0 }

// Fingerprints reads the fingerprints of ranges of one partition, which are in
// order and don't overlap, keyed by the ranges' first offsets. Of a range
// without rows there is none.
func (c *Conn) Fingerprints(ctx context.Context, ranges []ingest.LedgerEntry) (map[int64]uint64, error) {
	out := make(map[int64]uint64, len(ranges))
	for len(ranges) > 0 {
		n := chunk(ranges)
		if err := c.fingerprints(ctx, ranges[:n], out); err != nil {
			return nil, err
		}
		ranges = ranges[n:]
	}
	return out, nil
}

func (c *Conn) fingerprints(ctx context.Context, ranges []ingest.LedgerEntry, out map[int64]uint64) error {
	firsts, first, last := firstOffsets(ranges)
	parts := make([]string, 0, len(identitySQL))
	var args []any
	for _, t := range identitySQL {
		parts = append(parts, "SELECT kafka_offset, xxHash64(concat(toString(kafka_offset), ':', toString(record), "+t.identity+")) AS hash FROM "+t.table+
			" WHERE topic = ? AND kafka_partition = ? AND kafka_offset BETWEEN ? AND ?")
		args = append(args, first.Topic, first.Partition, first.First, last.Last)
	}
	rows, err := c.Query(ctx, "SELECT roundDown(kafka_offset, ?) AS first, sum(hash) FROM ("+strings.Join(parts, " UNION ALL ")+") GROUP BY first",
		append([]any{firsts}, args...)...)
	if err != nil {
		return fmt.Errorf("hash the rows of %s/%d: %w", first.Topic, first.Partition, err)
	}
	defer rows.Close()
	for rows.Next() {
		var key int64
		var sum uint64
		if err := rows.Scan(&key, &sum); err != nil {
			return fmt.Errorf("hash the rows of %s/%d: %w", first.Topic, first.Partition, err)
		}
		out[key] = sum
	}
	return rows.Err()
}
