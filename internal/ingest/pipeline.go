// Package ingest moves messages from Kafka into the store exactly once. A batch
// is a contiguous range of offsets of one partition. Its range is committed as
// metadata before it is inserted, with its token, and its end is committed
// after. Whoever finds a range in the metadata rebuilds exactly that batch, and
// the store drops what it already has.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

// Deps are what a pipeline works with. All are required but DeadLetters.
type Deps struct {
	Source Source
	Sink   Sink
	// NewDecoder makes a decoder for a topic; each partition has its own.
	NewDecoder func(TopicConfig) (Decoder, error)
	// Mask removes secrets and personal data from a dead letter's excerpt.
	Mask func(string) string
	// DeadLetters appends messages to a topic; nil if none is configured.
	DeadLetters func(ctx context.Context, topic string, messages []Message) error
	// Reached returns the last entry of a partition in the ledger; ok is false if there is none.
	Reached func(ctx context.Context, topic string, partition int32) (e LedgerEntry, ok bool, err error)
	// Shards is how many shards the store has; 0 is one.
	Shards int
	// OldestEvent is how far before its Kafka time an event may be; 0 is any age.
	OldestEvent time.Duration
	// SchemaVersion goes into the intent and is told when a retry finds another one.
	SchemaVersion int
	Now           func() time.Time
	Log           *slog.Logger
	Registerer    prometheus.Registerer
}

// A Pipeline reads topics into the store.
type Pipeline struct {
	conf   Config
	deps   Deps
	topics map[string]TopicConfig
	start  startAt
	// Of max_memory each large batch of a backlog may hold one share; all others
	// share the last one, memory.
	share   int64
	shelf   *shelf
	memory  *semaphore.Weighted
	metrics *metrics

	mu       sync.Mutex
	troubles map[string]trouble // by partition and stage; under mu
}

// A trouble is why a partition does not move.
type trouble struct {
	why    string
	logged time.Time
}

// shard is where a partition's batches go.
func (d *Deps) shard(partition int32) int { return int(partition) % max(1, d.Shards) }

// New makes a pipeline; Run starts it.
func New(conf Config, topics []TopicConfig, deps Deps) (*Pipeline, error) {
	start, err := parseStart(conf.Start)
	if err != nil {
		return nil, err
	}
	share := max(int64(conf.MaxMemory)/3*2, minMemory) / memoryShares // the rest is the collector's
	p := &Pipeline{
		conf: conf, deps: deps, start: start, topics: make(map[string]TopicConfig, len(topics)),
		share: share, shelf: newShelf(), memory: semaphore.NewWeighted(share), metrics: newMetrics(deps.Registerer),
		troubles: map[string]trouble{},
	}
	for _, t := range topics {
		if _, err := deps.NewDecoder(t); err != nil {
			return nil, fmt.Errorf("topic %s: %w", t.Name, err)
		}
		p.topics[t.Name] = t
	}
	return p, nil
}

// Run reads until ctx ends, or an error that no retry mends.
func (p *Pipeline) Run(ctx context.Context) error {
	return p.deps.Source.Run(ctx, func(ctx context.Context, part Partition) error {
		topic, ok := p.topics[part.Topic()]
		if !ok {
			return fmt.Errorf("topic %s is not configured", part.Topic())
		}
		w, err := newWorker(p, topic, part)
		if err != nil {
			return err
		}
		err = w.run(ctx)
		p.clear(w.name + " ")
		if ctx.Err() != nil || errors.Is(err, ErrFenced) {
			return nil // the generation has ended
		}
		return err
	})
}

// Ready returns nil, or why some partitions do not move.
func (p *Pipeline) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.troubles) == 0 {
		return nil
	}
	reasons := make([]string, 0, len(p.troubles))
	for key, t := range p.troubles {
		reasons = append(reasons, key+": "+t.why)
	}
	sort.Strings(reasons)
	return errors.New(strings.Join(reasons, "; "))
}

// trouble records why key does not move and reports whether to log it now.
func (p *Pipeline) trouble(key string, err error) (log bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, now := p.troubles[key], p.deps.Now()
	t.why = err.Error()
	if log = now.Sub(t.logged) >= logEvery; log {
		t.logged = now
	}
	p.troubles[key] = t
	return log
}

// clear forgets the troubles whose keys begin with prefix.
func (p *Pipeline) clear(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.troubles {
		if strings.HasPrefix(key, prefix) {
			delete(p.troubles, key)
		}
	}
}

// startAt is where a group without commits begins.
type startAt struct {
	latest bool
	ago    time.Duration
	at     time.Time // zero with ago zero: the first message kept
}

func parseStart(s string) (startAt, error) {
	switch s {
	case "earliest":
		return startAt{}, nil
	case "latest":
		return startAt{latest: true}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return startAt{ago: d}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return startAt{at: t}, nil
	}
	return startAt{}, fmt.Errorf("ingest.start %q is neither earliest, latest, a duration such as 1h nor an RFC 3339 time", s)
}

// time returns the moment to start at; the zero time is the first message kept.
func (s startAt) time(now time.Time) time.Time {
	switch {
	case s.latest:
		return now.Add(time.Hour) // nothing is stamped later: the end
	case s.ago > 0:
		return now.Add(-s.ago)
	}
	return s.at
}

// Validate reports what is wrong.
func (c Config) Validate() error {
	var errs []error
	if _, err := parseStart(c.Start); err != nil {
		errs = append(errs, err)
	}
	positive := func(name string, v int64) {
		if v <= 0 {
			errs = append(errs, fmt.Errorf("ingest.%s must be greater than 0", name))
		}
	}
	positive("batch_rows", int64(c.BatchRows))
	positive("batch_bytes", int64(c.BatchBytes))
	positive("batch_age", int64(c.BatchAge))
	positive("max_message_bytes", int64(c.MaxMessageBytes))
	positive("shutdown_timeout", int64(c.ShutdownTimeout))
	if c.MaxMemory < minMemory {
		errs = append(errs, fmt.Errorf("ingest.max_memory is %d bytes: it needs at least %d", c.MaxMemory, minMemory))
	}
	switch c.ClientIP {
	case "truncated", "full", "none":
	default:
		errs = append(errs, fmt.Errorf("ingest.client_ip %q is neither truncated, full nor none", c.ClientIP))
	}
	switch c.OnRetentionLoss {
	case "stop", "continue":
	default:
		errs = append(errs, fmt.Errorf("ingest.on_retention_loss %q is neither stop nor continue", c.OnRetentionLoss))
	}
	if c.PepperFile == "" {
		errs = append(errs, errors.New("ingest.pepper_file is empty"))
	}
	return errors.Join(errs...)
}
