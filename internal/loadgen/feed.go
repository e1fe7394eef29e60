package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"golang.org/x/sync/errgroup"
)

const (
	batchBytes   = 512 << 10 // of records, before compression
	requestsAMsg = 8         // sampled requests in one span message
	accountChunk = 2048
	liveTick     = 100 * time.Millisecond
)

// A Feed writes a shop's traffic to Kafka and into an account. Its History and
// Live are called one after the other.
type Feed struct {
	shop       *Shop
	gen        *Generator
	account    *Account
	client     *kafka.Client
	partitions int
}

// NewFeed returns a feed to the broker at addr, whose topics have that many partitions.
func NewFeed(shop *Shop, seed uint64, account *Account, addr string, partitions int) *Feed {
	return &Feed{
		shop: shop, gen: NewGenerator(shop, seed), account: account, partitions: partitions,
		client: &kafka.Client{Addr: kafka.TCP(addr), Timeout: 30 * time.Second},
	}
}

// Add lets a scenario happen. It must not be called while History or Live runs in another goroutine.
func (f *Feed) Add(s Scenario) { f.gen.Add(s) }

// History sends the requests that ended in [from, to), perSecond on average
// and shaped by day and week, with their spans from spansFrom on. Kafka stamps
// them with the time at which they are sent, as an import of old logs is. progress
// is told now and then how many requests have been made and up to when.
func (f *Feed) History(ctx context.Context, from, to, spansFrom time.Time, perSecond float64, progress func(requests int64, until time.Time)) error {
	group, ctx := errgroup.WithContext(ctx)
	w := f.newWriter(ctx, group, spansFrom.UnixMilli())
	group.Go(func() error {
		defer w.close()
		var n int64
		sent := time.Now().UnixMilli()
		rate := func(t time.Time) float64 { return perSecond * Shape(t) }
		err := f.gen.Between(from, to, rate, func(q *Request) error {
			if n++; n%20_000 == 0 {
				sent = time.Now().UnixMilli()
				if progress != nil {
					progress(n, time.UnixMilli(q.End).UTC())
				}
			}
			return w.request(q, max(q.End, sent))
		})
		if err != nil {
			return err
		}
		if progress != nil {
			progress(n, to)
		}
		return w.flush()
	})
	return group.Wait()
}

// Live sends the requests that end from then on, perSecond on average, each
// within about 100 ms of its end, until ctx is done. What ended between from
// and the call is sent at once.
func (f *Feed) Live(ctx context.Context, from time.Time, perSecond float64) error {
	// What was generated is also sent: only the loop watches the caller's context.
	group, sending := errgroup.WithContext(context.WithoutCancel(ctx))
	w := f.newWriter(sending, group, 0)
	group.Go(func() error {
		defer w.close()
		tick := time.NewTicker(liveTick)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-sending.Done():
				return sending.Err()
			case <-tick.C:
			}
			now := time.Now().Truncate(time.Millisecond)
			ms := now.UnixMilli()
			err := f.gen.Between(from, now, func(time.Time) float64 { return perSecond }, func(q *Request) error {
				return w.request(q, ms)
			})
			if err != nil {
				return err
			}
			from = now
			if err := w.flush(); err != nil {
				return err
			}
		}
	})
	return group.Wait()
}

// A writer turns requests into batches, one open batch and one sender per
// partition of each topic.
type writer struct {
	f         *Feed
	ctx       context.Context // of the senders
	spansFrom int64           // milliseconds
	lanes     map[string][]*lane
	turn      map[string]int
	line      []byte
	trace     []byte // the open span message
	traced    int
	spans     int64
	chunk     []Request // not yet in the account
}

// A lane is one partition's way to Kafka.
type lane struct {
	topic     string
	partition int
	open      *batch
	full      chan *batch
	free      chan *batch
}

func (f *Feed) newWriter(ctx context.Context, group *errgroup.Group, spansFrom int64) *writer {
	w := &writer{f: f, ctx: ctx, spansFrom: spansFrom, lanes: map[string][]*lane{}, turn: map[string]int{}}
	for _, topic := range Topics() {
		for p := range f.partitions {
			l := &lane{topic: topic, partition: p, open: new(batch), full: make(chan *batch, 1), free: make(chan *batch, 3)}
			l.free <- new(batch)
			w.lanes[topic] = append(w.lanes[topic], l)
			group.Go(func() error { return f.send(ctx, l) })
		}
	}
	return w
}

func (w *writer) close() {
	for _, lanes := range w.lanes {
		for _, l := range lanes {
			close(l.full)
		}
	}
}

// request writes one request, to be stamped ms by Kafka.
func (w *writer) request(q *Request, ms int64) error {
	w.line = w.f.shop.AppendLog(w.line[:0], q)
	topic := TopicNginx
	if q.Envoy() {
		topic = TopicEnvoy
	}
	if w.chunk = append(w.chunk, *q); len(w.chunk) == accountChunk {
		w.settle()
	}
	if err := w.record(topic, ms, w.line, 0); err != nil {
		return err
	}
	if !q.Sampled || q.End < w.spansFrom {
		return nil
	}
	w.trace = w.f.shop.AppendSpans(w.trace, q)
	w.spans += int64(SpansOf(q))
	if w.traced++; w.traced < requestsAMsg {
		return nil
	}
	return w.endTrace(ms)
}

func (w *writer) endTrace(ms int64) error {
	err := w.record(TopicSpans, ms, w.trace, w.spans)
	w.trace, w.traced, w.spans = w.trace[:0], 0, 0
	return err
}

// settle hands the collected requests to the account.
func (w *writer) settle() {
	w.f.account.Add(w.chunk)
	w.chunk = w.chunk[:0]
}

func (w *writer) record(topic string, ms int64, value []byte, spans int64) error {
	turn := w.turn[topic]
	w.turn[topic] = (turn + 1) % w.f.partitions
	l := w.lanes[topic][turn]
	l.open.add(ms, value)
	l.open.spans += spans
	if len(l.open.records) < batchBytes {
		return nil
	}
	return w.push(l)
}

func (w *writer) push(l *lane) error {
	select {
	case l.full <- l.open:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	select {
	case l.open = <-l.free:
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
	return nil
}

// flush sends all that is open.
func (w *writer) flush() error {
	w.settle()
	if w.traced > 0 {
		if err := w.endTrace(time.Now().UnixMilli()); err != nil {
			return err
		}
	}
	for _, lanes := range w.lanes {
		for _, l := range lanes {
			if l.open.n == 0 {
				continue
			}
			if err := w.push(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// send produces a lane's batches in their order until the lane is closed.
func (f *Feed) send(ctx context.Context, l *lane) error {
	var out bytes.Buffer
	zw := lz4.NewWriter(nil)
	if err := zw.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)); err != nil {
		return err
	}
	for b := range l.full {
		if err := b.encode(&out, zw); err != nil {
			return fmt.Errorf("compress a batch for %s: %w", l.topic, err)
		}
		res, err := f.client.RawProduce(ctx, &kafka.RawProduceRequest{
			Topic: l.topic, Partition: l.partition, RequiredAcks: kafka.RequireAll,
			RawRecords: protocol.RawRecordSet{Reader: bytes.NewReader(out.Bytes())},
		})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			return fmt.Errorf("produce %d messages to %s/%d: %w", b.n, l.topic, l.partition, err)
		}
		f.account.sent(l.topic, b.messages, b.spans)
		b.reset()
		l.free <- b
	}
	return nil
}
