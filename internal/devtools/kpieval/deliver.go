package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/loadgen"
)

const (
	partitions = 3
	blockRows  = 20_000
	// shuffled is how many blocks are stored in any order.
	shuffled = 4
)

// A batch is a block of a partition with its range.
type batch struct {
	topic        ingest.TopicConfig
	partition    int32
	first, count int64
	fill         func(b ingest.Block)
}

// deliver stores the traffic as ingest does, block by block: most calls within
// seconds, some hours or days late; blocks out of order, some twice. Half-way
// and at the end the runs of workflows are brought up to date.
func (e *evaluation) deliver(ctx context.Context) error {
	if _, err := e.aggregate(ctx, "kpi"); err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(e.seed, 77))
	batches := slices.Concat(e.callBatches(r), e.eventBatches())
	for i := 0; i < len(batches); i += shuffled {
		part := batches[i:min(len(batches), i+shuffled)]
		r.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
	}
	// Events of keys come in the middle of the calls: for some they are late.
	half := len(batches) / 2
	events := slices.IndexFunc(batches, func(b batch) bool { return b.topic.Name == "keys" })
	batches[half/2], batches[events] = batches[events], batches[half/2]
	w := clickhouse.NewWriter(e.conn)
	defer w.Close()
	began := time.Now()
	for i, b := range batches {
		for range 1 + i%5/4 { // every fifth is stored twice: the retry of a batch
			if err := store(ctx, w, b); err != nil {
				return err
			}
		}
		if i == half {
			if _, err := e.aggregate(ctx, "kpi"); err != nil {
				return err
			}
		}
	}
	fmt.Printf("stored in %.1f s, %d blocks\n", time.Since(began).Seconds(), len(batches))
	began = time.Now()
	for range 2 {
		if _, err := e.aggregate(ctx, "kpi"); err != nil {
			return err
		}
	}
	fmt.Printf("runs of workflows up to date after %.1f s\n", time.Since(began).Seconds())
	return nil
}

func store(ctx context.Context, w *clickhouse.Writer, b batch) error {
	block := w.NewBlock(b.topic)
	b.fill(block)
	return block.Insert(ctx, ingest.LedgerEntry{
		Range: ingest.Range{Topic: b.topic.Name, Partition: b.partition, First: b.first, Last: b.first + b.count - 1}, Messages: b.count, Rows: b.count,
	})
}

// delivery is when a call reaches Kafka.
func delivery(r *rand.Rand, at int64) int64 {
	switch p := r.IntN(100); {
	case p < 94:
		return at + r.Int64N(10_000_000)
	case p < 99:
		return at + r.Int64N(6*3_600_000_000)
	}
	return at + r.Int64N(4*86_400_000_000)
}

func (e *evaluation) callBatches(r *rand.Rand) []batch {
	type sent struct {
		*loadgen.ProductCall
		kafka int64
	}
	list := make([]sent, len(e.traffic.Calls))
	for i := range list {
		c := &e.traffic.Calls[i]
		list[i] = sent{c, delivery(r, c.At)}
	}
	slices.SortFunc(list, func(a, b sent) int { return cmp.Compare(a.kafka, b.kafka) })
	topic := ingest.TopicConfig{Name: "access", Format: "nginx_json"}
	var batches []batch
	var next [partitions]int64
	for i := 0; i < len(list); i += blockRows {
		part := list[i:min(len(list), i+blockRows)]
		p := int32(len(batches) % partitions)
		first := next[p]
		next[p] += int64(len(part))
		batches = append(batches, batch{topic, p, first, int64(len(part)), func(b ingest.Block) {
			for j, s := range part {
				en := accesslog.Entry{
					Time: time.UnixMicro(s.At).UTC(), Service: s.Service, Method: s.Method, Route: s.Route, APIVersion: s.Version, Status: s.Status,
					Latency: accesslog.Latency{Total: accesslog.Some(time.Duration(s.LatencyUS) * time.Microsecond)}, Consumer: accesslog.Consumer{ID: s.Named, KeyID: e.traffic.Keys[s.Key]},
				}
				en.Outcome.Class, _ = accesslog.ParseErrorClass(s.Class)
				if s.Amount >= 0 {
					en.Amount = accesslog.Some(s.Amount)
				}
				b.AppendEntry(ingest.Coordinates{Offset: first + int64(j), KafkaTime: time.UnixMicro(s.kafka).UTC()}, &en)
			}
		}})
	}
	return batches
}

func (e *evaluation) eventBatches() []batch {
	list := e.traffic.Events
	topic := ingest.TopicConfig{Name: "keys", Format: "key_events"}
	var batches []batch
	const size = 500
	for i := 0; i < len(list); i += size {
		part := list[i:min(len(list), i+size)]
		first := int64(i)
		batches = append(batches, batch{topic, 0, first, int64(len(part)), func(b ingest.Block) {
			for j, s := range part {
				ev := consumer.Event{Time: time.UnixMicro(s.At).UTC(), Consumer: s.Consumer, Former: s.Former, Plan: s.Plan, Tier: s.Tier, Owner: s.Contact}
				ev.Action, _ = consumer.ParseAction(s.Kind)
				if s.Key >= 0 {
					ev.KeyID = e.traffic.Keys[s.Key]
				}
				b.AppendKeyEvent(ingest.Coordinates{Offset: first + int64(j), KafkaTime: ev.Time}, &ev)
			}
		}})
	}
	return batches
}
