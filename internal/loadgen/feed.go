package loadgen

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	requestsAMsg = 8 // sampled requests in one span message
	accountChunk = 2048
	liveTick     = 100 * time.Millisecond
	// bufferedBytes are what a feed has under way at most.
	bufferedBytes = 8 << 20
	// produceTimeout is how long a broker may be away.
	produceTimeout = time.Minute
)

// A Feed writes a shop's traffic to Kafka and into an account, each message
// exactly once, whatever brokers do meanwhile. Its History and Live are called one
// after the other.
type Feed struct {
	shop       *Shop
	gen        *Generator
	account    *Account
	addr       string
	partitions int
}

// NewFeed returns a feed to the broker at addr, whose topics have that many partitions.
func NewFeed(shop *Shop, seed uint64, account *Account, addr string, partitions int) *Feed {
	return &Feed{shop: shop, gen: NewGenerator(shop, seed), account: account, addr: addr, partitions: partitions}
}

// Add lets a scenario happen. It must not be called while History or Live runs in another goroutine.
func (f *Feed) Add(s Scenario) { f.gen.Add(s) }

// Busiest returns the n keys with most requests, by their index in Shop.Keys.
func (f *Feed) Busiest(n int) []int { return slices.Clone(f.gen.order[:n]) }

// History sends the requests that ended in [from, to), perSecond on average
// and shaped by day and week, with their spans from spansFrom on. Kafka stamps
// them with the time at which they are sent, as an import of old logs is. progress
// is told now and then how many requests have been made and up to when.
func (f *Feed) History(ctx context.Context, from, to, spansFrom time.Time, perSecond float64, progress func(requests int64, until time.Time)) error {
	f.gen.newcomers(from, to)
	w, err := f.newWriter(ctx, spansFrom.UnixMilli())
	if err != nil {
		return err
	}
	defer w.client.Close()
	var n int64
	sent := time.Now().UnixMilli()
	rate := func(t time.Time) float64 { return perSecond * Shape(t) }
	err = f.gen.Between(from, to, rate, func(q *Request) error {
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
	return w.finish()
}

// Live sends the requests that end from then on, perSecond on average, each
// within about 100 ms of its end, until ctx is done. What ended between from
// and the call is sent at once, and what was made is sent also after ctx is done.
func (f *Feed) Live(ctx context.Context, from time.Time, perSecond float64) error {
	w, err := f.newWriter(context.WithoutCancel(ctx), 0)
	if err != nil {
		return err
	}
	defer w.client.Close()
	tick := time.NewTicker(liveTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w.finish()
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
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
		if err := w.endMessages(); err != nil {
			return err
		}
	}
}

// A writer turns requests into messages.
type writer struct {
	f         *Feed
	client    *kgo.Client
	ctx       context.Context // ends with the first message that can't be sent
	fail      context.CancelCauseFunc
	spansFrom int64 // milliseconds
	turn      map[string]int32
	line      []byte
	trace     []byte // the open span message
	traced    int
	spans     int64
	chunk     []Request // not yet in the account
}

func (f *Feed) newWriter(ctx context.Context, spansFrom int64) (*writer, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(f.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.MaxBufferedBytes(bufferedBytes), kgo.RecordDeliveryTimeout(produceTimeout),
	)
	if err != nil {
		return nil, fmt.Errorf("produce to %s: %w", f.addr, err)
	}
	w := &writer{f: f, client: client, spansFrom: spansFrom, turn: map[string]int32{}}
	w.ctx, w.fail = context.WithCancelCause(ctx)
	return w, nil
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

// record sends one message, the partitions in turn.
func (w *writer) record(topic string, ms int64, value []byte, spans int64) error {
	p := w.turn[topic]
	w.turn[topic] = (p + 1) % int32(w.f.partitions)
	r := &kgo.Record{Topic: topic, Partition: p, Timestamp: time.UnixMilli(ms), Value: bytes.Clone(value)}
	w.client.Produce(w.ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			w.fail(fmt.Errorf("produce to %s/%d: %w", r.Topic, r.Partition, err))
			return
		}
		w.f.account.sent(r.Topic, 1, spans)
	})
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// endMessages sends what is open.
func (w *writer) endMessages() error {
	w.settle()
	if w.traced == 0 {
		return nil
	}
	return w.endTrace(time.Now().UnixMilli())
}

// finish sends what is open and waits until Kafka has everything.
func (w *writer) finish() error {
	if err := w.endMessages(); err != nil {
		return err
	}
	if err := w.client.Flush(w.ctx); err != nil || w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}
