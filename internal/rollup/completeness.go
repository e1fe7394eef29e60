package rollup

import "time"

// A PartitionEnd is what Kafka says about one partition at a moment.
type PartitionEnd struct {
	Topic     string
	Partition int32
	// Start is the first offset that Kafka keeps, End the one after the last
	// (the last stable one, where transactions are written).
	Start, End int64
	// Committed is the offset that the reading group has committed, -1 if none.
	// Everything before it is stored or was never to be read.
	Committed int64
	// AsOf is the moment just before End was asked for.
	AsOf time.Time
}

// A Reach says how far the ledger has come in a partition: Next is the first
// offset that is in no batch yet.
type Reach struct {
	Topic     string
	Partition int32
	Next      int64
}

// Missing returns the first offset that is not stored yet and how many there
// are up to the end, given the ledger's reach (0 if it has no batch). None are
// missing from a partition that the ledger has read to the end.
func (e PartitionEnd) Missing(next int64) (first, n int64) {
	first = max(next, e.Committed, e.Start)
	return first, max(0, e.End-first)
}

// A PartitionState is how far one partition is complete.
type PartitionState struct {
	// CompleteUntil is AsOf if the ledger has reached the end offset, else the
	// Kafka time of the first message that is not in the ledger.
	CompleteUntil time.Time
	// AsOf is when the end offset was asked for.
	AsOf time.Time
	// Lag is how many messages are not in the ledger.
	Lag int64
}

// freshness is how near to its end a topic must have been read to count as
// caught up: more than the age of a batch and a few inserts.
const freshness = 10 * time.Second

// Combine makes a topic's watermark from all of its partitions: it is complete
// as far as the one that is furthest behind. An idle partition is complete
// until it was asked and so holds nothing back. CaughtUp stays true once it was
// (before). It returns false without partitions.
func Combine(topic string, before bool, parts []PartitionState) (Watermark, bool) {
	w := Watermark{Topic: topic, CaughtUp: before}
	for i, p := range parts {
		if i == 0 || p.CompleteUntil.Before(w.CompleteUntil) {
			w.CompleteUntil = p.CompleteUntil
		}
		if i == 0 || p.AsOf.Before(w.MeasuredAt) {
			w.MeasuredAt = p.AsOf
		}
		w.Lag += p.Lag
	}
	if w.CompleteUntil.After(w.MeasuredAt) { // a producer's clock that is ahead
		w.CompleteUntil = w.MeasuredAt
	}
	w.CaughtUp = w.CaughtUp || w.Lag == 0 || w.MeasuredAt.Sub(w.CompleteUntil) <= freshness
	return w, len(parts) > 0
}

// Oldest returns the watermark that is furthest behind, and false if there is none.
func Oldest(ws []Watermark) (Watermark, bool) {
	if len(ws) == 0 {
		return Watermark{}, false
	}
	oldest := ws[0]
	for _, w := range ws[1:] {
		if w.CompleteUntil.Before(oldest.CompleteUntil) {
			oldest = w
		}
	}
	return oldest, true
}
