package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	// fetchBytes and backlogBytes are the size of one Fetch, at the end of a
	// partition and in a backlog.
	fetchBytes   = 1 << 20
	backlogBytes = 2 << 20
	// fetchCost is how much memory a byte of a Fetch is taken to need: the
	// answer, its decompressed messages and the columns that they become.
	fetchCost = 4
	// blockCost is the same for a byte in a block: columns have room to grow, and
	// an insert makes another copy.
	blockCost = 2

	// A partition that far from its end, and as many times the age of a batch, has
	// a backlog. Its batches are large, which costs the store much less than many
	// small ones: they may grow backlogAge times older, and a few at a time share
	// most of the memory. What is a moment late stays in small ones, or a busy
	// topic would wait for large ones again and again.
	backlogMessages = 10_000
	backlogLate     = 5
	backlogAge      = 10
	largeBatches    = 3
	memoryShares    = largeBatches + 1 // the last is for the batches without a backlog
	minMemory       = memoryShares * fetchCost * backlogBytes

	// keptBytes is the largest block that a partition keeps for itself.
	keptBytes = 16 << 20

	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// logEvery limits how often one trouble is logged.
	logEvery = time.Minute
)

// A worker reads one partition for one generation.
type worker struct {
	p       *Pipeline
	topic   TopicConfig
	part    Partition
	name    string // topic/partition
	decoder Decoder
	records Records
	skew    zoneSkew
	free    []*batch   // two: one is filled while the other is inserted
	flying  chan error // the result of the batch that is being stored; nil: none
	backlog bool       // when the last answer came
	newest  time.Time  // Kafka's time of the last message that came
	skewed  time.Time  // when the time zone was last complained about
	topicID string     // Kafka's, when the partition was taken over
	shard   int        // where the partition's batches go
}

func newWorker(p *Pipeline, topic TopicConfig, part Partition) (*worker, error) {
	d, err := p.deps.NewDecoder(topic)
	if err != nil {
		return nil, err
	}
	w := &worker{p: p, topic: topic, part: part, decoder: d, name: fmt.Sprintf("%s/%d", topic.Name, part.ID()), shard: p.deps.shard(part.ID())}
	for range 2 {
		w.free = append(w.free, &batch{block: p.deps.Sink.NewBlock(topic)})
	}
	return w, nil
}

// run reads from where the group stands until ctx ends.
func (w *worker) run(ctx context.Context) error {
	defer w.p.metrics.lag.DeleteLabelValues(w.topic.Name, strconv.Itoa(int(w.part.ID())))
	next, announced, err := w.position(ctx)
	if err == nil && announced.last >= next {
		next, err = w.rebuild(ctx, next, announced)
	}
	if err == nil {
		err = w.follow(ctx, next)
	}
	landed := w.land()
	if _, isHeld := errors.AsType[*heldError](err); isHeld && landed == nil {
		return w.hold(ctx, err)
	}
	return errors.Join(err, landed)
}

// begin empties b. The judgement of a time zone begins anew with it, so that
// whoever rebuilds the batch judges its messages alike.
func (w *worker) begin(b *batch, first int64) {
	if b.block == nil || b.block.Bytes() > keptBytes {
		b.block = w.p.deps.Sink.NewBlock(w.topic)
	}
	b.start(first)
	b.shard = w.shard
	w.skew = zoneSkew{}
}

// rebuild makes again exactly the batch that a former owner announced.
func (w *worker) rebuild(ctx context.Context, first int64, in position) (next int64, err error) {
	if in.schema != w.p.deps.SchemaVersion {
		w.p.deps.Log.Info("finishing a batch of another schema version", "topic", w.topic.Name, "partition", w.part.ID(), "offset", first, "schema", in.schema)
	}
	b := w.free[0]
	w.begin(b, first)
	b.shard = in.shard // where a part of it may be already, also when the store has grown since
	for b.next <= in.last {
		err := w.fetch(ctx, b, in.last)
		if errors.Is(err, ErrOffsetOutOfRange) {
			err = w.lose(ctx, b, in.last)
		}
		if err != nil {
			return 0, err
		}
	}
	b.next = in.last + 1 // what Kafka skipped at the end belongs to the range
	w.p.deps.Log.Info("batch rebuilt", "topic", w.topic.Name, "partition", w.part.ID(), "offset", first, "last", in.last, "rows", b.block.Rows())
	if err := w.store(ctx, b); err != nil {
		return 0, err
	}
	return in.last + 1, nil
}

// follow fills one batch while the one before is inserted.
func (w *worker) follow(ctx context.Context, next int64) error {
	for ctx.Err() == nil {
		b := w.free[0]
		w.begin(b, next)
		err := w.fill(ctx, b)
		switch {
		case errors.Is(err, ErrOffsetOutOfRange):
			err = w.lose(ctx, b, -1)
		case err == nil && b.next == b.first:
			continue
		}
		if err == nil {
			err = w.land()
		}
		if err == nil {
			err = w.announce(ctx, b) // only after the batch before is committed whole
		}
		if err != nil {
			w.release(b)
			return err
		}
		next = b.next
		w.launch(ctx, b)
	}
	return nil
}

// launch stores b beside what follows.
func (w *worker) launch(ctx context.Context, b *batch) {
	w.free = w.free[1:]
	done := make(chan error, 1)
	w.flying = done
	go func() { done <- w.store(ctx, b) }()
	w.free = append(w.free, b) // not used before land
}

// land waits for the batch that is being stored, if any.
func (w *worker) land() error {
	if w.flying == nil {
		return nil
	}
	err := <-w.flying
	w.flying = nil
	return err
}

// landed takes the result of the batch that is being stored, if there is one already.
func (w *worker) landed() error {
	select {
	case err := <-w.flying:
		w.flying = nil
		return err
	default:
		return nil
	}
}

// fill fetches into b until it is full or old, or memory is short.
func (w *worker) fill(ctx context.Context, b *batch) error {
	if w.backlog && w.enlarge(ctx, b) {
		if grown := w.p.shelf.block(w.topic.Name); grown != nil {
			b.block = grown
		}
	}
	var begun time.Time // when the batch got its first messages
	for ctx.Err() == nil {
		if err := w.landed(); err != nil {
			w.release(b)
			return err
		}
		if !w.room(ctx, b) {
			return nil // full, or ctx has ended
		}
		err := w.fetch(ctx, b, -1)
		switch {
		case errors.Is(err, ErrOffsetOutOfRange) && b.next > b.first:
			return nil // what there is comes first
		case errors.Is(err, ErrOffsetOutOfRange):
			return err
		case err != nil:
			w.release(b)
			return err
		}
		w.settle(ctx, b)
		if b.next == b.first {
			continue
		}
		now := w.p.deps.Now()
		if begun.IsZero() {
			begun = now
		}
		age := w.p.conf.BatchAge
		if w.backlog {
			age *= backlogAge
		}
		if b.block.Rows() >= w.p.conf.BatchRows || b.bytes >= w.p.conf.BatchBytes || now.Sub(begun) >= age {
			return nil
		}
	}
	// A batch that nobody announced is simply read again by the next owner.
	w.release(b)
	w.begin(b, b.first)
	return nil
}

// room takes the memory for one more answer. It reports false when there is
// none and b should be stored instead, or when ctx has ended.
func (w *worker) room(ctx context.Context, b *batch) bool {
	if b.large {
		return b.need()+fetchCost*backlogBytes <= w.p.share
	}
	short := fetchCost*fetchBytes - (b.memory - b.need())
	if short > 0 && !w.p.memory.TryAcquire(short) {
		if b.next > b.first || w.p.memory.Acquire(ctx, short) != nil {
			return false
		}
	}
	b.memory += max(0, short)
	return true
}

// enlarge makes b a large batch when it is its turn. It reports false if ctx
// has ended. Who waits holds nothing, so that others can end.
func (w *worker) enlarge(ctx context.Context, b *batch) bool {
	if !b.large {
		w.release(b)
		b.large = w.p.shelf.take(ctx)
	}
	return b.large
}

// settle accounts for an answer that has come: what it did not need goes back.
func (w *worker) settle(ctx context.Context, b *batch) {
	if w.backlog {
		w.enlarge(ctx, b)
	}
	if b.large {
		return
	}
	switch more := b.need() - b.memory; {
	case more < 0:
		w.p.memory.Release(-more)
		b.memory += more
	case w.p.memory.TryAcquire(more):
		b.memory += more
	}
}

func (w *worker) release(b *batch) {
	if b.large {
		w.p.shelf.put(w.topic.Name, b.block)
		b.block = nil
	}
	w.p.memory.Release(b.memory)
	b.large, b.memory = false, 0
}

// fetch asks Kafka once and adds the messages up to last (-1: all) to b.
func (w *worker) fetch(ctx context.Context, b *batch, last int64) error {
	var f Fetched
	size := fetchBytes
	if b.large {
		size = backlogBytes
	}
	t := time.Now()
	err := w.retry(ctx, "fetch", func() (err error) {
		f, err = w.part.Fetch(ctx, b.next, size)
		return err
	})
	if err != nil {
		return err
	}
	w.p.metrics.seconds.WithLabelValues("fetch").Add(time.Since(t).Seconds())
	t = time.Now()
	for i := range f.Messages {
		if last >= 0 && f.Messages[i].Offset > last {
			f.Next = last + 1
			break
		}
		w.add(b, &f.Messages[i])
	}
	w.p.metrics.seconds.WithLabelValues("decode").Add(time.Since(t).Seconds())
	b.next = max(b.next, f.Next)
	w.p.metrics.lag.WithLabelValues(w.topic.Name, strconv.Itoa(int(w.part.ID()))).Set(float64(max(0, f.End-b.next)))
	if n := len(f.Messages); n > 0 {
		w.newest = f.Messages[n-1].Time
	}
	w.backlog = f.End-b.next >= backlogMessages && w.p.deps.Now().Sub(w.newest) > backlogLate*w.p.conf.BatchAge
	return nil
}

// deadLetterTopic returns the topic for messages that can't be read; empty if there is none.
func (w *worker) deadLetterTopic() string {
	return cmp.Or(w.topic.DeadLetterTopic, w.p.conf.DeadLetterTopic)
}

// store inserts b and commits its end. When ctx ends it is given some time to
// finish: what is not finished is finished by the next owner.
func (w *worker) store(ctx context.Context, b *batch) error {
	defer w.release(b)
	ctx, cancel := extend(ctx, w.p.conf.ShutdownTimeout/2)
	defer cancel()
	if len(b.deadMessages) > 0 {
		if err := w.retry(ctx, "dead_letter_topic", func() error {
			return w.p.deps.DeadLetters(ctx, w.deadLetterTopic(), b.deadMessages)
		}); err != nil {
			return err
		}
	}
	t := time.Now()
	l := b.ledger(w.topic, w.part.ID(), w.topicID)
	if err := w.retry(ctx, "insert", func() error { return b.block.Insert(ctx, l) }); err != nil {
		return err
	}
	w.p.metrics.seconds.WithLabelValues("insert").Add(time.Since(t).Seconds())
	t = time.Now()
	if err := w.retry(ctx, "commit", func() error { return w.commit(ctx, b.next, -1) }); err != nil {
		return err
	}
	w.p.metrics.seconds.WithLabelValues("commit").Add(time.Since(t).Seconds())
	w.count(b, l)
	return nil
}

func (w *worker) count(b *batch, l LedgerEntry) {
	m := w.p.metrics
	m.batches.WithLabelValues(w.topic.Name).Inc()
	m.messages.WithLabelValues(w.topic.Name).Add(float64(l.Messages + l.Dead))
	m.rows.WithLabelValues(w.topic.Name).Add(float64(l.Rows))
	m.bytes.WithLabelValues(w.topic.Name).Add(float64(b.bytes))
	for reason, n := range b.reasons {
		m.deadLetters.WithLabelValues(w.topic.Name, string(reason)).Add(float64(n))
	}
	if !l.FirstKafkaTime.IsZero() {
		m.freshness.Observe(w.p.deps.Now().Sub(l.FirstKafkaTime).Seconds())
	}
}

// retry calls f until it succeeds, ctx ends, or the error is one that no retry
// mends. Meanwhile the pipeline is not ready, and says so once a minute.
func (w *worker) retry(ctx context.Context, stage string, f func() error) error {
	key := w.name + " " + stage
	for wait := firstBackoff; ; wait = min(2*wait, maxBackoff) {
		err := f()
		if err == nil {
			if wait > firstBackoff {
				w.p.clear(key)
			}
			return nil
		}
		_, isPermanent := errors.AsType[*PermanentError](err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrFenced), errors.Is(err, ErrOffsetOutOfRange):
			return err
		case isPermanent:
			return fmt.Errorf("%s: %s: %w", w.name, stage, err)
		}
		w.p.metrics.retries.WithLabelValues(stage).Inc()
		if w.p.trouble(key, err) {
			w.p.deps.Log.Warn("trying again", "stage", stage, "topic", w.topic.Name, "partition", w.part.ID(), "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// extend returns a context that ends grace after ctx does.
func extend(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(out, func() { t.Stop() })
	})
	return out, func() { stop(); cancel() }
}
