package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/devstack/proxy"
	"gatewatch/internal/loadgen"
)

// apiOffsetCommit is Kafka's key of OffsetCommit (protocol guide, "API keys").
const apiOffsetCommit = 8

// commitAnswerLost lets a commit arrive and its answer not.
func commitAnswerLost(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		skip := r.rnd.IntN(4) // both the announcing and the final commits of both partitions
		err = r.cutKafka(ctx, func(c proxy.Chunk, asked map[int]int16) bool {
			if c.Direction != proxy.ToClient || asked[c.Conn] != apiOffsetCommit {
				return false
			}
			skip--
			return skip < 0
		})
		if err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}

// kafkaCut cuts a connection at some request or answer, whatever it is.
func kafkaCut(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		skip, d := r.rnd.IntN(40), proxy.Direction(runs%2)
		err = r.cutKafka(ctx, func(c proxy.Chunk, asked map[int]int16) bool {
			// A cut between the load and Kafka says nothing of ingest.
			if c.Direction != d || asked[c.Conn] == 0 {
				return false
			}
			skip--
			return skip < 0
		})
		if err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}

// cutKafka cuts the first connection that want chooses. asked is the API key of
// each connection's last request; Produce is 0.
func (r *rig) cutKafka(ctx context.Context, want func(c proxy.Chunk, asked map[int]int16) bool) error {
	var mu sync.Mutex
	asked := map[int]int16{}
	cut := make(chan struct{})
	done := false
	r.kafka.Judge(func(c proxy.Chunk) proxy.Verdict {
		mu.Lock()
		defer mu.Unlock()
		if c.Direction == proxy.ToServer {
			asked[c.Conn] = c.API()
		}
		if done || !want(c, asked) {
			return proxy.Pass
		}
		done = true
		close(cut)
		return proxy.Cut
	})
	defer r.kafka.Judge(nil)
	select {
	case <-cut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return fmt.Errorf("no connection to cut in 20 s")
	}
}

// clockSteps lets the sender's clock jump back and forth by up to an hour.
func clockSteps(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := r.join(); err != nil {
		return 0, err
	}
	for ; runs < times && err == nil; runs++ {
		since := time.Now()
		if err = r.past(ctx, time.Minute+r.random(time.Hour), 3000); err == nil && runs > 0 {
			err = r.progress(ctx, since)
		}
	}
	return runs, err
}

// producer returns a client that writes to chosen partitions.
func (r *rig) producer(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(r.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20))...)
}

// poison sends messages that no decoder can read among the others.
func poison(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	p, err := r.producer()
	if err != nil {
		return 0, err
	}
	defer p.Close()
	for ; runs < times && err == nil; runs++ {
		var rs []*kgo.Record
		for i, text := range []string{
			"", " ", "{", `{"time":`, "\x00\xff\xfe", strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 5000),
			`{"a":"` + strings.Repeat("x", 2<<20) + `"}`, `{}`, `[1,2]`, "127.0.0.1 - - [", `{"time":"yesterday","status":"200"}`,
		} {
			rs = append(rs, &kgo.Record{Topic: loadgen.TopicNginx, Partition: int32(i % 2), Value: []byte(text)})
		}
		r.dead[loadgen.TopicNginx] += int64(len(rs))
		if err = p.ProduceSync(ctx, rs...).FirstErr(); err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}

// aborted sends good messages in transactions that are aborted.
func aborted(ctx context.Context, r *rig, times int) (runs int, err error) {
	if _, err := begin(ctx, r); err != nil {
		return 0, err
	}
	p, err := r.producer(kgo.TransactionalID("aborted"))
	if err != nil {
		return 0, err
	}
	defer p.Close()
	var lines [][]byte
	now := time.Now()
	err = loadgen.NewGenerator(r.load.Shop, r.config.seed+1).Between(now.Add(-time.Minute), now, func(time.Time) float64 { return 5 }, func(q *loadgen.Request) error {
		if !q.Envoy() {
			lines = append(lines, r.load.Shop.AppendLog(nil, q))
		}
		return nil
	})
	for ; runs < times && err == nil; runs++ {
		if err = p.BeginTransaction(); err != nil {
			break
		}
		var rs []*kgo.Record
		for i, l := range lines {
			rs = append(rs, &kgo.Record{Topic: loadgen.TopicNginx, Partition: int32(i % 2), Value: l})
		}
		if err = p.ProduceSync(ctx, rs...).FirstErr(); err != nil {
			break
		}
		if err = pause(ctx, r.random(300*time.Millisecond)); err != nil { // it is open for a while
			break
		}
		if err = p.EndTransaction(ctx, kgo.TryAbort); err == nil {
			err = r.progress(ctx, time.Now())
		}
	}
	return runs, err
}
