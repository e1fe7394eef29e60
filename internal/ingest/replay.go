package ingest

import (
	"context"
	"errors"
	"fmt"
)

// ReplaySuffix ends the name under which rows and ledger entries of replayed
// dead letters stand: their offsets are accounted for already under the topic's
// own. No Kafka topic can have such a name.
const ReplaySuffix = "#replay"

// A Replayer decodes dead letters of one topic again, as a pipeline does, and
// stores those that can be read by now.
type Replayer struct{ w *worker }

// NewReplayer makes a replayer. Of deps it needs NewDecoder, Sink, Mask,
// OldestEvent, Now and Log.
func NewReplayer(conf Config, topic TopicConfig, deps Deps) (*Replayer, error) {
	d, err := deps.NewDecoder(topic)
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic.Name, err)
	}
	topic.Name += ReplaySuffix
	return &Replayer{&worker{p: &Pipeline{conf: conf, deps: deps}, topic: topic, part: replayed{name: topic.Name}, decoder: d}}, nil
}

// replayed stands for the partition, of which a replay needs the name only.
type replayed struct {
	Partition
	name string
	id   int32
}

func (r replayed) Topic() string { return r.name }
func (r replayed) ID() int32     { return r.id }

// Check returns why m still can't be stored, or nil.
func (r *Replayer) Check(m *Message) error {
	r.w.skew = zoneSkew{}
	return r.w.read(m)
}

// Store writes messages of contiguous offsets as one batch, whose token is
// theirs: the same messages again add nothing. It returns the rows written.
func (r *Replayer) Store(ctx context.Context, partition int32, messages []Message) (rows int64, err error) {
	if len(messages) == 0 {
		return 0, errors.New("no messages to replay")
	}
	r.w.part = replayed{name: r.w.topic.Name, id: partition}
	b := &batch{block: r.w.p.deps.Sink.NewBlock(r.w.topic)}
	r.w.begin(b, messages[0].Offset)
	for i := range messages {
		r.w.skew = zoneSkew{}
		r.w.add(b, &messages[i])
		b.next = messages[i].Offset + 1
	}
	if err := b.block.Insert(ctx, b.ledger(r.w.topic, partition, "")); err != nil {
		return 0, err
	}
	return b.rows, nil
}
