package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// backlogPartition holds equal messages, of which a Fetch gives as many as fit.
type backlogPartition struct {
	id, end int64
	value   []byte
	time    time.Time // Kafka's

	mu        sync.Mutex
	committed int64
	done      func()
}

func (p *backlogPartition) Topic() string { return "t" }
func (p *backlogPartition) ID() int32     { return int32(p.id) }

func (p *backlogPartition) TopicID(context.Context) (string, error) { return "", nil }

func (p *backlogPartition) Kept(context.Context) (first, end int64, err error) { return 0, p.end, nil }

func (p *backlogPartition) Committed(context.Context) (Commit, error) { return Commit{Offset: 0}, nil }

func (p *backlogPartition) Start(context.Context, time.Time) (int64, error) { return 0, nil }

func (p *backlogPartition) Fetch(ctx context.Context, offset int64, maxBytes int) (Fetched, error) {
	n := min(p.end-offset, int64(maxBytes/len(p.value)))
	if n == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	f := Fetched{Next: offset + n, End: p.end}
	for i := range n {
		f.Messages = append(f.Messages, Message{Offset: offset + i, Time: p.time, Value: p.value})
	}
	return f, ctx.Err()
}

func (p *backlogPartition) Commit(_ context.Context, c Commit) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = c.Offset
	if c.Offset == p.end {
		p.done()
	}
	return nil
}

// many gives out several partitions at once.
type many []*backlogPartition

func (ps many) Run(ctx context.Context, own func(context.Context, Partition) error) error {
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(func() { _ = own(ctx, p) })
	}
	wg.Wait()
	return nil
}

// padded decodes any message into one entry.
type padded struct{}

func (padded) Decode(_ []byte, out *Records) error {
	out.Entries.Next().Time = time.Unix(1000, 0)
	return nil
}

func newPipeline(t testing.TB, c Config, source Source, s *store) *Pipeline {
	t.Helper()
	p, err := New(c, []TopicConfig{{Name: "t", Format: "padded"}}, Deps{
		Source: source, Sink: s, Reached: s.reached, NewDecoder: func(TopicConfig) (Decoder, error) { return padded{}, nil },
		Mask: func(s string) string { return s }, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func runBacklog(t testing.TB, c Config, partitions, messages int) *store {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var left sync.WaitGroup
	var ps many
	for i := range partitions {
		left.Add(1)
		ps = append(ps, &backlogPartition{id: int64(i), end: int64(messages), value: fmt.Appendf(nil, "%700d", i), time: time.Unix(1000, 0), done: sync.OnceFunc(left.Done)})
	}
	s := newStore()
	p := newPipeline(t, c, ps, s)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	go func() { left.Wait(); cancel() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(p.shelf.blocks) > 0 || !p.shelf.turns.TryAcquire(largeBatches) {
		t.Error("the shelf still holds blocks or turns")
	}
	if len(s.ledger) == 0 || ctx.Err() == context.DeadlineExceeded {
		t.Fatal("not done in a minute")
	}
	return s
}

// Twelve partitions with a backlog are read in large batches, although the
// memory would not do for one in each of them.
func TestBacklogIsReadInLargeBatches(t *testing.T) {
	const partitions, messages, rows = 12, 60_000, 20_000
	c := testConfig()
	c.BatchRows, c.BatchAge = rows, time.Second
	s := runBacklog(t, c, partitions, messages)
	var sum int64
	for _, l := range s.ledger {
		sum += l.Rows
	}
	if sum != partitions*messages {
		t.Errorf("%d rows are stored, want %d", sum, partitions*messages)
	}
	if n := len(s.ledger); n > 2*partitions*messages/rows {
		t.Errorf("%d batches for %d rows, want large ones", n, sum)
	}
}

// A busy partition that is a moment behind is not read as a backlog: its rows
// would wait for large batches.
func TestBacklogIsLate(t *testing.T) {
	c := testConfig()
	c.BatchAge = time.Second
	for _, tt := range []struct {
		late     time.Duration
		messages int64
		want     bool
	}{{time.Second, 100_000, false}, {time.Minute, 100_000, true}, {time.Minute, 100, false}} {
		part := &backlogPartition{end: tt.messages, value: make([]byte, 700), time: time.Now().Add(-tt.late)}
		p := newPipeline(t, c, many{part}, newStore())
		w, err := newWorker(p, p.topics["t"], part)
		if err != nil {
			t.Fatal(err)
		}
		b := w.free[0]
		w.begin(b, 0)
		if err := w.fetch(t.Context(), b, -1); err != nil {
			t.Fatal(err)
		}
		if w.backlog != tt.want {
			t.Errorf("%d messages of %s ago: backlog %v", tt.messages, tt.late, w.backlog)
		}
	}
}

// BenchmarkPipeline measures what the pipeline itself costs a message.
func BenchmarkPipeline(b *testing.B) {
	c := testConfig()
	c.BatchRows, c.BatchAge = 200_000, time.Second
	b.ReportAllocs()
	runBacklog(b, c, 4, b.N/4+1)
}
