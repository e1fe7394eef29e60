package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
)

// A batch collects what the offsets [first, next) of a partition hold.
type batch struct {
	block       Block
	first, next int64
	shard       int
	bytes       int   // of the messages
	memory      int64 // taken from the pipeline's
	large       bool  // holds one of the pipeline's shares

	messages, dead    int64
	lost              int64 // taken by Kafka's retention
	rows              int64
	earliest, latest  time.Time
	firstTime, lastKT time.Time
	reasons           map[accesslog.Reason]int
	deadMessages      []Message // copies, if there is a dead-letter topic
}

// start empties the batch and begins at offset first.
func (b *batch) start(first int64) {
	b.block.Reset()
	clear(b.reasons)
	*b = batch{block: b.block, first: first, next: first, reasons: b.reasons}
	if b.reasons == nil {
		b.reasons = map[accesslog.Reason]int{}
	}
}

// need is the memory that b's rows are taken to need until they are stored.
func (b *batch) need() int64 { return blockCost * int64(b.block.Bytes()) }

func (b *batch) ledger(t TopicConfig, partition int32, topicID string) LedgerEntry {
	return LedgerEntry{
		Range:  Range{Topic: t.Name, Partition: partition, First: b.first, Last: b.next - 1},
		Format: t.Format, TopicID: topicID, Shard: b.shard, Messages: b.messages, Dead: b.dead, Lost: b.lost, Skipped: b.next - b.first - b.messages - b.dead - b.lost, Rows: b.rows,
		EarliestEvent: b.earliest, LatestEvent: b.latest, FirstKafkaTime: b.firstTime, LastKafkaTime: b.lastKT,
	}
}

// add decodes a message into the batch, or makes it a dead letter.
func (w *worker) add(b *batch, m *Message) {
	b.bytes += len(m.Value)
	if b.firstTime.IsZero() || m.Time.Before(b.firstTime) {
		b.firstTime = m.Time
	}
	if m.Time.After(b.lastKT) {
		b.lastKT = m.Time
	}
	if err := w.read(m); err != nil {
		w.bury(b, m, accesslog.AsParseError(err))
		return
	}
	b.messages++
	entries := w.records.Entries.All()
	for i := range entries {
		b.see(entries[i].Time)
		b.block.AppendEntry(Coordinates{m.Offset, m.Time, i}, &entries[i])
	}
	spans := w.records.Spans.All()
	for i := range spans {
		b.see(spans[i].Start)
		b.block.AppendSpan(Coordinates{m.Offset, m.Time, i}, &spans[i])
	}
	w.addEvents(b, m)
	b.rows += int64(len(entries) + len(spans) + w.records.Events())
}

// addEvents adds what is neither a request nor a span. Without a time of its own
// an event happened when its message was produced.
func (w *worker) addEvents(b *batch, m *Message) {
	see := func(t *time.Time) {
		if t.IsZero() {
			*t = m.Time
		}
		b.see(*t)
	}
	for i := range w.records.KeyEvents {
		e := &w.records.KeyEvents[i]
		see(&e.Time)
		b.block.AppendKeyEvent(Coordinates{m.Offset, m.Time, i}, e)
	}
	for i := range w.records.Changes {
		e := &w.records.Changes[i]
		see(&e.Time)
		b.block.AppendChange(Coordinates{m.Offset, m.Time, i}, e)
	}
	for i := range w.records.Audits {
		e := &w.records.Audits[i]
		see(&e.Time)
		b.block.AppendAudit(Coordinates{m.Offset, m.Time, i}, e)
	}
}

func (b *batch) see(t time.Time) {
	if b.earliest.IsZero() || t.Before(b.earliest) {
		b.earliest = t
	}
	if t.After(b.latest) {
		b.latest = t
	}
}

// read decodes a message into w.records, or says why it can't be stored.
func (w *worker) read(m *Message) error {
	w.records.Reset()
	if err := w.decode(m); err != nil {
		return err
	}
	return w.checkTimes(m)
}

// decode is Decoder.Decode with a defect in it turned into a dead letter.
func (w *worker) decode(m *Message) (err error) {
	if len(m.Value) > w.p.conf.MaxMessageBytes {
		return &accesslog.ParseError{Reason: accesslog.ReasonTooLarge, Detail: fmt.Sprintf("%d bytes, ingest.max_message_bytes is %d", len(m.Value), w.p.conf.MaxMessageBytes)}
	}
	if len(bytes.TrimSpace(m.Value)) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	defer func() {
		if r := recover(); r != nil {
			w.p.deps.Log.Error("decoder panics", "topic", w.topic.Name, "partition", w.part.ID(), "offset", m.Offset, "err", fmt.Sprint(r))
			err = &accesslog.ParseError{Reason: accesslog.ReasonPanic}
		}
	}()
	return w.decoder.Decode(m.Value, &w.records)
}

// maxAhead is how far an event may be ahead of its Kafka time.
const maxAhead = 10 * time.Minute

// checkTimes refuses a message whose events have no time or an impossible one.
func (w *worker) checkTimes(m *Message) error {
	entries := w.records.Entries.All()
	for i := range entries {
		if err := w.checkTime(m, entries[i].Time); err != nil {
			return err
		}
	}
	spans := w.records.Spans.All()
	for i := range spans {
		if err := w.checkTime(m, spans[i].Start); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) checkTime(m *Message, t time.Time) error {
	if t.IsZero() {
		return &accesslog.ParseError{Reason: accesslog.ReasonMissingTime}
	}
	if w.p.conf.AnyEventTime {
		return nil
	}
	ahead := t.Sub(m.Time)
	w.skew.see(ahead)
	switch {
	case ahead > maxAhead && w.skew.likely():
		if now := w.p.deps.Now(); now.Sub(w.skewed) >= logEvery {
			w.skewed = now
			w.p.deps.Log.Warn("events look like local time: set time_zone for this topic", "zone", w.skew.zone(), "topic", w.topic.Name, "partition", w.part.ID())
		}
	case ahead > maxAhead:
		return &accesslog.ParseError{Reason: accesslog.ReasonFuture, Detail: ahead.Round(time.Second).String() + " ahead of its Kafka time"}
	case w.p.deps.OldestEvent > 0 && -ahead > w.p.deps.OldestEvent:
		return &accesslog.ParseError{Reason: accesslog.ReasonTooOld, Detail: "before the longest retention"}
	}
	return nil
}

const excerptBytes = 256

func (w *worker) bury(b *batch, m *Message, e *accesslog.ParseError) {
	b.dead++
	b.reasons[e.Reason]++
	excerpt := ""
	if !w.topic.WithoutExcerpts {
		excerpt = w.p.deps.Mask(strings.ToValidUTF8(string(m.Value[:min(len(m.Value), excerptBytes)]), "\uFFFD"))
	}
	b.block.AppendDeadLetter(&DeadLetter{
		Coordinates: Coordinates{Offset: m.Offset, KafkaTime: m.Time}, Reason: e.Reason, Detail: e.Detail,
		Excerpt: excerpt, Size: len(m.Value),
	})
	if w.p.deps.DeadLetters != nil && w.deadLetterTopic() != "" {
		b.deadMessages = append(b.deadMessages, Message{Offset: m.Offset, Time: m.Time, Key: slices.Clone(m.Key), Value: slices.Clone(m.Value)})
	}
}
