package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// A block implements ingest.Block: the rows of one batch, column by column as
// the wire has them.
type block struct {
	writer *Writer
	topic  ingest.TopicConfig

	// Made when the first row of their kind comes.
	access  *accessRows
	rollups *rollups // of access
	spans   *spanRows
	keys    *keyRows
	change  *changeRows
	audit   *auditRows
	dead    *deadRows
	made    []part // of these
}

var (
	_ ingest.Sink  = (*Writer)(nil)
	_ ingest.Block = (*block)(nil)
)

// AppendEntry implements ingest.Block.
func (b *block) AppendEntry(c ingest.Coordinates, e *accesslog.Entry) {
	if b.access == nil {
		b.access, b.rollups = newAccessRows(), newRollups()
		b.made = append(b.made, part{&b.access.table, &b.access.origin})
	}
	b.access.append(&b.topic, c, e)
	b.rollups.append(b.access, c, e)
}

// AppendSpan implements ingest.Block.
func (b *block) AppendSpan(c ingest.Coordinates, s *trace.Span) {
	if b.spans == nil {
		b.spans = newSpanRows()
		b.made = append(b.made, part{&b.spans.table, &b.spans.origin})
	}
	b.spans.append(&b.topic, c, s)
}

// AppendKeyEvent implements ingest.Block.
func (b *block) AppendKeyEvent(c ingest.Coordinates, e *consumer.Event) {
	if b.keys == nil {
		b.keys = newKeyRows()
		b.made = append(b.made, part{&b.keys.table, &b.keys.origin})
	}
	b.keys.append(&b.topic, c, e)
}

// AppendChange implements ingest.Block.
func (b *block) AppendChange(c ingest.Coordinates, e *change.Event) {
	if b.change == nil {
		b.change = newChangeRows()
		b.made = append(b.made, part{&b.change.table, &b.change.origin})
	}
	b.change.append(&b.topic, c, e)
}

// AppendAudit implements ingest.Block.
func (b *block) AppendAudit(c ingest.Coordinates, e *audit.Event) {
	if b.audit == nil {
		b.audit = newAuditRows()
		b.made = append(b.made, part{&b.audit.table, &b.audit.origin})
	}
	b.audit.append(&b.topic, c, e)
}

// AppendDeadLetter implements ingest.Block.
func (b *block) AppendDeadLetter(d *ingest.DeadLetter) {
	if b.dead == nil {
		b.dead = newDeadRows()
		b.made = append(b.made, part{&b.dead.table, &b.dead.origin})
	}
	b.dead.append(&b.topic, d)
}

// part is the rows for one table.
type part struct {
	*table
	*origin
}

// parts returns the tables that have rows.
func (b *block) parts() []part {
	ps := make([]part, 0, len(b.made))
	for _, p := range b.made {
		if p.rows() > 0 {
			ps = append(ps, p)
		}
	}
	return ps
}

// Rows implements ingest.Block.
func (b *block) Rows() int {
	n := 0
	for _, p := range b.made {
		n += p.rows()
	}
	return n
}

// Bytes implements ingest.Block.
func (b *block) Bytes() int {
	n := 0
	if b.rollups != nil {
		n += b.rollups.bytes()
	}
	for _, p := range b.made {
		n += p.bytes()
	}
	return n
}

// Reset implements ingest.Block.
func (b *block) Reset() {
	if b.rollups != nil {
		b.rollups.reset()
	}
	for _, p := range b.made {
		p.reset()
	}
}

// Token is what a range's blocks are deduplicated by, in each table.
func Token(r ingest.Range) string {
	return fmt.Sprintf("%s:%d:%d-%d", r.Topic, r.Partition, r.First, r.Last)
}

// Insert implements ingest.Block. The ledger row comes last: it says that
// everything before it is stored.
func (b *block) Insert(ctx context.Context, l ingest.LedgerEntry) error {
	token := Token(l.Range)
	for _, p := range b.parts() {
		p.setPartition(l.Partition)
		if err := b.writer.insert(ctx, l.Shard, p.name, p.input, token); err != nil {
			return err
		}
	}
	if b.access != nil {
		for _, r := range b.rollups.make(&b.topic, b.access) {
			if err := b.writer.insert(ctx, l.Shard, r.name, r.input, token); err != nil {
				return err
			}
		}
	}
	return b.writer.insert(ctx, l.Shard, "ledger", ledgerInput(l, token), token)
}

// InsertKeyEvents writes events that come from a file. The same events with the
// same token count once. What they know of Kafka is the topic, which names the file.
func (w *Writer) InsertKeyEvents(ctx context.Context, topic ingest.TopicConfig, events []consumer.Event, at time.Time, token string) error {
	r := newKeyRows()
	for i := range events {
		e := events[i]
		if e.Time.IsZero() {
			e.Time = at
		}
		r.append(&topic, ingest.Coordinates{KafkaTime: at, Offset: int64(i)}, &e)
	}
	r.setPartition(0)
	return w.insert(ctx, 0, r.name, r.input, token)
}

// InsertChanges writes changes that come from a file, as InsertKeyEvents does events.
func (w *Writer) InsertChanges(ctx context.Context, topic ingest.TopicConfig, events []change.Event, at time.Time, token string) error {
	r := newChangeRows()
	for i := range events {
		r.append(&topic, ingest.Coordinates{KafkaTime: at, Offset: int64(i)}, &events[i])
	}
	r.setPartition(0)
	return w.insert(ctx, 0, r.name, r.input, token)
}

// ledgerInput is a block of the one row that accounts for a range.
func ledgerInput(l ingest.LedgerEntry, token string) proto.Input {
	t := &table{}
	text := func(name, v string) { add(t, name, newDictionary()).append(v) }
	number := func(name string, v int64) { add(t, name, new(proto.ColInt64)).Append(v) }
	text("topic", l.Topic)
	add(t, "kafka_partition", new(proto.ColInt32)).Append(l.Partition)
	number("first_offset", l.First)
	number("last_offset", l.Last)
	number("messages", l.Messages)
	number("rows", l.Rows)
	number("dead", l.Dead)
	number("skipped", l.Skipped)
	number("lost", l.Lost)
	add(t, "earliest_event", newInstant(proto.PrecisionMicro)).append(l.EarliestEvent)
	add(t, "latest_event", newInstant(proto.PrecisionMicro)).append(l.LatestEvent)
	add(t, "first_kafka_time", newInstant(proto.PrecisionMilli)).append(l.FirstKafkaTime)
	add(t, "last_kafka_time", newInstant(proto.PrecisionMilli)).append(l.LastKafkaTime)
	text("format", l.Format)
	text("topic_id", l.TopicID)
	t.uint16("shard").Append(uint16(l.Shard))
	t.uint16("schema_version").Append(uint16(SchemaVersion()))
	t.text("token").Append(token)
	return t.input
}
