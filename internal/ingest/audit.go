package ingest

import (
	"context"
	"fmt"
)

// An Auditor decodes messages of one partition again, batch by batch as a
// pipeline did, into a sink that compares.
type Auditor struct {
	w *worker
	b *batch
}

// NewAuditor makes an auditor. Of deps it needs NewDecoder, Sink, Mask,
// OldestEvent, Now and Log.
func NewAuditor(conf Config, topic TopicConfig, partition int32, deps Deps) (*Auditor, error) {
	d, err := deps.NewDecoder(topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic.Name, err)
	}
	w := &worker{p: &Pipeline{conf: conf, deps: deps}, topic: topic, part: replayed{name: topic.Name, id: partition}, decoder: d}
	return &Auditor{w: w, b: &batch{block: deps.Sink.NewBlock(topic)}}, nil
}

// Begin begins a batch at an offset.
func (a *Auditor) Begin(first int64) {
	a.w.begin(a.b, first)
}

// Add decodes a message into the batch.
func (a *Auditor) Add(m *Message) { a.w.add(a.b, m) }

// End gives the batch, which ends at offset last, to the sink.
func (a *Auditor) End(ctx context.Context, last int64) error {
	a.b.next = last + 1
	return a.b.block.Insert(ctx, a.b.ledger(a.w.topic, a.w.part.ID(), ""))
}
