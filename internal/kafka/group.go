package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/internal/ingest"
)

// fetchWait is how long the broker holds a Fetch while there is nothing.
const fetchWait = 200 * time.Millisecond

// A Group is membership of a Kafka group; it implements ingest.Source.
type Group struct {
	c      *Client
	id     string
	topics map[string]string // name in Kafka → name
	log    *slog.Logger
}

// NewGroup makes a member of group id that reads topics; Run joins it.
func (c *Client) NewGroup(id string, topics []string, log *slog.Logger) *Group {
	g := &Group{c: c, id: id, topics: map[string]string{}, log: log}
	for _, t := range topics {
		g.topics[Wire(t)] = t
	}
	return g
}

// Run joins the group and calls own for every partition of every generation
// until ctx ends or own fails.
func (g *Group) Run(ctx context.Context, own func(context.Context, ingest.Partition) error) error {
	session := g.c.conf.SessionTimeout
	cg, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: g.id, Brokers: g.c.conf.Brokers, Dialer: g.c.dialer, Topics: slices.Sorted(maps.Keys(g.topics)),
		// The session also bounds how long partitions rest after a broker's outage,
		// because kafka-go forgets its member id then.
		SessionTimeout: session, RebalanceTimeout: 2 * session, HeartbeatInterval: session / 6,
		JoinGroupBackoff: time.Second, WatchPartitionChanges: true, PartitionWatchInterval: session,
		GroupBalancers: []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}},
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", g.id, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last string
	for {
		gen, err := cg.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			// Also the first use of a fresh or restarted broker: try again.
			if err.Error() != last {
				last = err.Error()
				g.log.Warn("group is not ready", "group", g.id, "err", g.c.explain("join group", err))
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		last = ""
		g.start(gen, own, cancel)
	}
	// Close waits until every own has returned, and then leaves the group.
	if err := cg.Close(); err != nil {
		g.log.Warn("group was not left cleanly", "group", g.id, "err", err)
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func (g *Group) start(gen *kafka.Generation, own func(context.Context, ingest.Partition) error, stop context.CancelCauseFunc) {
	n := 0
	for topic, assigned := range gen.Assignments {
		for _, a := range assigned {
			n++
			p := &partition{g: g, gen: gen, topic: g.topics[topic], id: int32(a.ID), fetcher: newFetcher(g.c, topic, int32(a.ID))}
			gen.Start(func(ctx context.Context) {
				if err := own(ctx, p); err != nil {
					stop(err)
				}
				<-ctx.Done() // a return would end the generation
			})
		}
	}
	g.log.Info("generation started", "group", g.id, "generation", gen.ID, "partitions", n)
}

// A partition is one that this member owns for a generation.
type partition struct {
	g       *Group
	gen     *kafka.Generation
	topic   string
	id      int32
	fetcher *fetcher
	mu      sync.Mutex // serialises commits
}

func (p *partition) Topic() string { return p.topic }
func (p *partition) ID() int32     { return p.id }

func (p *partition) Committed(ctx context.Context) (ingest.Commit, error) {
	m, err := p.g.c.Committed(ctx, p.gen.GroupID, p.topic, []int32{p.id})
	if err != nil {
		return ingest.Commit{}, err
	}
	c, ok := m[p.id]
	if !ok {
		return ingest.Commit{}, fmt.Errorf("read the committed offset of %s/%d: no answer", p.topic, p.id)
	}
	return c, nil
}

func (p *partition) Start(ctx context.Context, t time.Time) (int64, error) {
	return p.g.c.offsetAt(ctx, p.topic, p.id, t)
}

func (p *partition) TopicID(ctx context.Context) (string, error) { return p.g.c.TopicID(ctx, p.topic) }

func (p *partition) Kept(ctx context.Context) (first, end int64, err error) {
	all, err := p.g.c.Offsets(ctx, p.topic)
	for _, o := range all {
		if o.Partition == p.id {
			return o.First, o.End, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("list offsets of %s/%d: no answer", p.topic, p.id)
	}
	return 0, 0, err
}

func (p *partition) Fetch(ctx context.Context, offset int64, maxBytes int) (ingest.Fetched, error) {
	return p.fetcher.fetch(ctx, offset, maxBytes, fetchWait)
}

// Commit goes through OffsetCommit with the generation: Generation.CommitOffsets
// would erase metadata, and a commit without a generation is not fenced.
func (p *partition) Commit(ctx context.Context, c ingest.Commit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	res, err := p.g.c.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: p.gen.GroupID, GenerationID: int(p.gen.ID), MemberID: p.gen.MemberID,
		Topics: map[string][]kafka.OffsetCommit{Wire(p.topic): {{Partition: int(p.id), Offset: c.Offset, Metadata: c.Metadata}}},
	})
	if err != nil {
		return p.g.c.explain(fmt.Sprintf("commit offset %d of %s/%d", c.Offset, p.topic, p.id), err)
	}
	for _, r := range res.Topics[Wire(p.topic)] {
		if r.Error != nil {
			if errors.Is(r.Error, kafka.IllegalGeneration) || errors.Is(r.Error, kafka.UnknownMemberId) {
				return fmt.Errorf("%w: %w", ingest.ErrFenced, r.Error)
			}
			return p.g.c.explain(fmt.Sprintf("commit offset %d of %s/%d", c.Offset, p.topic, p.id), r.Error)
		}
		return nil //nolint:staticcheck // one partition was asked for
	}
	return fmt.Errorf("commit offset %d of %s/%d: no answer", c.Offset, p.topic, p.id)
}
