package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/devstack"
)

const (
	// longest and most bound a part.
	longest = 6 * time.Hour
	most    = 1_000_000 // messages
	// late is how long a message may be on its way and still be among those that
	// its tick waits for.
	late = 10 * time.Second
	// bufferedBytes are what is under way to Kafka at most.
	bufferedBytes = 16 << 20
)

// A part is a stretch of time whose messages are stored at once. Where a message
// arrived late, one part ends and the next begins, so that nothing is seen
// before it has arrived.
type part struct {
	begin, end time.Time // of arrivals
	oldest     time.Time // event
	messages   int64
	last       bool
}

// A reader reads a source with one message of foresight.
type reader struct {
	source Source
	next   Message
	full   bool // next is there
	ended  bool
}

// peek returns the next message; ok is false at the end.
func (r *reader) peek() (m Message, ok bool, err error) {
	if !r.full && !r.ended {
		r.next, err = r.source.Next()
		if errors.Is(err, io.EOF) {
			r.ended, err = true, nil
		} else if err == nil {
			r.full = true
		}
		if r.next.Event.IsZero() {
			r.next.Event = r.next.Arrived
		}
	}
	return r.next, r.full, err
}

// A feed sends messages to Kafka and waits until they are stored.
type feed struct {
	stack  *devstack.Stack
	client *kgo.Client
	fault  context.Context // ends with the first message that can't be sent
	fail   context.CancelCauseFunc
	sent   int64
	end    time.Time // of the part before
}

func newFeed(stack *devstack.Stack) (*feed, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(stack.Broker.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()), kgo.MaxBufferedBytes(bufferedBytes))
	if err != nil {
		return nil, fmt.Errorf("produce to %s: %w", stack.Broker.Addr, err)
	}
	f := &feed{stack: stack, client: client}
	f.fault, f.fail = context.WithCancelCause(context.Background())
	return f, nil
}

func (f *feed) close() {
	f.fail(nil)
	f.client.Close()
}

// load stores the next part.
func (f *feed) load(ctx context.Context, in *reader) (part, error) {
	p := part{begin: f.end}
	for {
		m, ok, err := in.peek()
		if err != nil {
			return p, err
		}
		if !ok {
			p.last = true
			break
		}
		if p.begin.IsZero() {
			p.begin = m.Arrived.Truncate(step)
		}
		if p.ends(m) {
			p.end = m.Arrived.Truncate(step)
			break
		}
		f.produce(ctx, m)
		in.full = false
		p.messages++
		if p.end = m.Arrived.Truncate(step).Add(step); p.oldest.IsZero() || m.Event.Before(p.oldest) {
			p.oldest = m.Event
		}
	}
	if p.begin.IsZero() {
		return part{}, nil
	}
	if p.end.Before(p.begin) {
		p.end = p.begin
	}
	f.end = p.end
	return p, f.settle(ctx)
}

// ends tells whether m is of the next part.
func (p *part) ends(m Message) bool {
	slot := m.Arrived.Truncate(step)
	if !slot.After(p.begin) {
		return false
	}
	return m.Arrived.Sub(m.Event) > late || p.messages >= most || m.Arrived.Sub(p.begin) >= longest
}

func (f *feed) produce(ctx context.Context, m Message) {
	f.sent++
	r := &kgo.Record{Topic: m.Topic, Timestamp: m.Arrived, Value: bytes.Clone(m.Value)}
	f.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			f.fail(fmt.Errorf("produce to %s: %w", r.Topic, err))
		}
	})
}

// settle waits until the ledger has everything that was sent.
func (f *feed) settle(ctx context.Context) error {
	if err := f.client.Flush(ctx); err != nil {
		return err
	}
	if f.fault.Err() != nil { // after a flush all that failed is known
		return context.Cause(f.fault)
	}
	return f.stack.WaitStored(ctx, f.sent, func(int64) {})
}
