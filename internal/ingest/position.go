package ingest

import (
	"cmp"
	"context"
	"fmt"
)

// A heldError is why a partition must not be read until somebody decides. The
// others go on.
type heldError struct{ why string }

func (e *heldError) Error() string { return e.why }

// hold keeps the partition, unread, until ctx ends, and says why.
func (w *worker) hold(ctx context.Context, why error) error {
	held := w.p.metrics.held.WithLabelValues(w.topic.Name)
	held.Inc()
	defer held.Dec()
	w.p.trouble(w.name+" held", why)
	w.p.deps.Log.Error("partition is held", "topic", w.topic.Name, "partition", w.part.ID(), "err", why)
	<-ctx.Done()
	return nil
}

// noID stands for the id of a topic whose brokers have none.
const noID = "-"

// position finds out where to go on, and which batch a former owner has
// announced there (last is -1 if none). The group's offset counts only if it is
// of this life of the topic, and the ledger if it is ahead of the group: what is
// in the ledger is stored.
func (w *worker) position(ctx context.Context) (next int64, p position, err error) {
	var at Commit
	var reached LedgerEntry
	var inLedger bool
	err = w.retry(ctx, "position", func() (err error) {
		if w.topicID, err = w.part.TopicID(ctx); err != nil {
			return err
		}
		if at, err = w.part.Committed(ctx); err != nil {
			return err
		}
		reached, inLedger, err = w.p.deps.Reached(ctx, w.topic.Name, w.part.ID())
		return err
	})
	if err != nil {
		return 0, p, err
	}
	p, ours, err := parsePosition(at.Metadata)
	switch {
	case err != nil:
		return 0, p, fmt.Errorf("%s: %w", w.name, err)
	case !ours:
		p.last = -1
	case p.topic != w.topic.Name: // of another life of the topic
		at.Offset, p.last = -1, -1
	case !w.same(p.topicID):
		return 0, p, w.recreated(p.topicID)
	}
	if inLedger && !w.same(cmp.Or(reached.TopicID, noID)) {
		return 0, p, w.recreated(reached.TopicID)
	}
	next = at.Offset
	switch {
	case p.last >= 0:
		return next, p, nil
	case inLedger && reached.Last >= next:
		next = reached.Last + 1
		w.p.deps.Log.Warn("going on behind the ledger: what is before is stored", "topic", w.topic.Name, "partition", w.part.ID(), "committed", at.Offset, "offset", next)
	case next >= 0 && ours:
		return next, p, nil
	}
	return w.settleAt(ctx, next, p)
}

// settleAt finds the first offset if next is negative, and commits it at once:
// completeness counts from there, also while nothing arrives.
func (w *worker) settleAt(ctx context.Context, next int64, p position) (int64, position, error) {
	err := w.retry(ctx, "position", func() (err error) {
		if next < 0 {
			start := w.p.start
			if w.topic.remade() {
				start = startAt{} // all of a new life is new
			}
			if next, err = w.part.Start(ctx, start.time(w.p.deps.Now())); err != nil {
				next = -1
				return err
			}
		}
		return w.commit(ctx, next, -1)
	})
	return next, p, err
}

// same reports whether id, from a commit or the ledger, is the topic's of now.
func (w *worker) same(id string) bool { return id == noID || w.topicID == "" || id == w.topicID }

func (w *worker) recreated(old string) error {
	return &heldError{fmt.Sprintf("topic %s was deleted and made anew (its id was %s and is %s), so its offsets begin again and nothing of it is read: to read the new one, set its name in kafka.topics to %q",
		w.topic.Name, old, cmp.Or(w.topicID, noID), w.topic.nextLife())}
}

// commit commits an offset and, with last, announces the batch that begins there.
func (w *worker) commit(ctx context.Context, offset, last int64) error {
	p := position{topic: w.topic.Name, topicID: cmp.Or(w.topicID, noID), last: last, shard: w.shard, schema: w.p.deps.SchemaVersion}
	return w.part.Commit(ctx, Commit{Offset: offset, Metadata: p.String()})
}

// announce commits b's range before it is inserted. The topic's id is asked for
// after the messages came and before anything is done with them: if it is still
// the same, they are of this topic.
func (w *worker) announce(ctx context.Context, b *batch) error {
	var id string
	err := w.retry(ctx, "commit", func() (err error) {
		if id, err = w.part.TopicID(ctx); err != nil || !w.same(cmp.Or(id, noID)) {
			return err
		}
		return w.commit(ctx, b.first, b.next-1)
	})
	if err == nil && !w.same(cmp.Or(id, noID)) {
		old := w.topicID
		w.topicID = id
		return w.recreated(old)
	}
	return err
}

// lose puts into b what Kafka no longer has from b.next on, up to last if that
// is not negative, or holds the partition if that is the policy.
func (w *worker) lose(ctx context.Context, b *batch, last int64) error {
	var first, end int64
	if err := w.retry(ctx, "fetch", func() (err error) {
		first, end, err = w.part.Kept(ctx)
		return err
	}); err != nil {
		return err
	}
	if b.next > end {
		return &heldError{fmt.Sprintf("%s: the next offset is %d, but Kafka's log ends at %d: it was cut or made anew; when the topic was made anew, set its name in kafka.topics to %q",
			w.name, b.next, end, w.topic.nextLife())}
	}
	if b.next >= first {
		return nil // it is there by now
	}
	to := first - 1
	if last >= 0 {
		to = min(to, last)
	}
	n := to - b.next + 1
	if w.p.conf.OnRetentionLoss != "continue" {
		return &heldError{fmt.Sprintf("%s: Kafka's retention has taken offsets %d-%d before they were read (%d offsets); to record them as lost and go on, set ingest.on_retention_loss to continue", w.name, b.next, first-1, first-b.next)}
	}
	w.p.deps.Log.Error("messages are lost: Kafka's retention took them before they were read", "topic", w.topic.Name, "partition", w.part.ID(), "offset", b.next, "last", to, "lost", n)
	b.lost += n
	b.next = to + 1
	return nil
}
