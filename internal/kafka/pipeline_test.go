package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// tokenStore keeps blocks by range, as ClickHouse does by token. Inserts take a
// moment, and one in ten fails before or after it has arrived.
type tokenStore struct {
	mu      sync.Mutex
	rows    map[ingest.Range][]int // numbers of the messages
	dead    map[ingest.Range]int
	ledger  map[ingest.Range]ingest.LedgerEntry
	repeats int
	faults  []error
}

func (s *tokenStore) NewBlock(ingest.TopicConfig) ingest.Block { return &tokenBlock{s: s} }

type tokenBlock struct {
	s    *tokenStore
	rows []int
	dead int
}

func (b *tokenBlock) AppendEntry(_ ingest.Coordinates, e *accesslog.Entry) {
	n, err := strconv.Atoi(e.Path)
	if err != nil {
		n = -1
	}
	b.rows = append(b.rows, n)
}
func (b *tokenBlock) AppendSpan(ingest.Coordinates, *trace.Span)         {}
func (b *tokenBlock) AppendKeyEvent(ingest.Coordinates, *consumer.Event) {}
func (b *tokenBlock) AppendChange(ingest.Coordinates, *change.Event)     {}
func (b *tokenBlock) AppendAudit(ingest.Coordinates, *audit.Event)       {}
func (b *tokenBlock) AppendDeadLetter(*ingest.DeadLetter)                { b.dead++ }
func (b *tokenBlock) Rows() int                                          { return len(b.rows) + b.dead }
func (b *tokenBlock) Bytes() int                                         { return 100 * b.Rows() }
func (b *tokenBlock) Reset()                                             { b.rows, b.dead = b.rows[:0], 0 }

func (b *tokenBlock) Insert(_ context.Context, l ingest.LedgerEntry) error {
	time.Sleep(rand.N(50 * time.Millisecond))
	fate := rand.N(20)
	if fate == 0 {
		return errors.New("refused")
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if have, ok := b.s.rows[l.Range]; ok {
		b.s.repeats++
		if !slices.Equal(have, b.rows) || b.s.dead[l.Range] != b.dead || b.s.ledger[l.Range] != l {
			b.s.faults = append(b.s.faults, fmt.Errorf("%+v was rebuilt with other content: %d rows, then %d", l.Range, len(have), len(b.rows)))
		}
	}
	b.s.rows[l.Range], b.s.dead[l.Range], b.s.ledger[l.Range] = slices.Clone(b.rows), b.dead, l
	if fate == 1 {
		return errors.New("the answer is lost")
	}
	return nil
}

func (s *tokenStore) reached(_ context.Context, topic string, partition int32) (last ingest.LedgerEntry, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ledger {
		if e.Topic == topic && e.Partition == partition && (!ok || e.Last > last.Last) {
			last, ok = e, true
		}
	}
	return last, ok, nil
}

// numbered reads a message "n text"; every 97th is not readable.
type numbered struct{}

func (numbered) Decode(v []byte, out *ingest.Records) error {
	var n int
	if _, err := fmt.Sscan(string(v), &n); err != nil || n%97 == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax}
	}
	e := out.Entries.Next()
	e.Time, e.Path = epoch, strconv.Itoa(n)
	return nil
}

// startMember runs a whole pipeline as one more member of the group.
func startMember(t *testing.T, addr string, s *tokenStore) (stop func()) {
	t.Helper()
	c := client(t, addr, nil)
	conf := ingest.DefaultConfig()
	conf.Start, conf.BatchAge, conf.AnyEventTime, conf.ShutdownTimeout = "earliest", 30*time.Millisecond, true, 2*time.Second
	p, err := ingest.New(conf, []ingest.TopicConfig{{Name: "t", Format: "numbered"}}, ingest.Deps{
		Source: c.NewGroup("gatewatch-pipeline", []string{"t"}, slog.New(slog.DiscardHandler)), Sink: s, Reached: s.reached,
		NewDecoder: func(ingest.TopicConfig) (ingest.Decoder, error) { return numbered{}, nil },
		Mask:       func(s string) string { return s }, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("a member ends with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Members join and leave while messages, aborted transactions and poison
// arrive, and the store fails now and then: each committed message counts once.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	const parts = 5
	addr := broker(t, fastGroups(), kfake.SeedTopics(parts, "t"))
	s := &tokenStore{rows: map[ingest.Range][]int{}, dead: map[ingest.Range]int{}, ledger: map[ingest.Range]ingest.LedgerEntry{}}
	sent, stopLoad := loadWithAborts(t, addr, parts)
	stopA := startMember(t, addr, s)
	time.Sleep(2 * time.Second)
	stopB := startMember(t, addr, s)
	time.Sleep(4 * time.Second)
	stopA()
	time.Sleep(time.Second)
	startMember(t, addr, s)
	time.Sleep(3 * time.Second)
	stopB()
	stopLoad()
	want := sent()
	ends, err := client(t, addr, nil).Offsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	waitCommitted(t, client(t, addr, nil), ends)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.faults {
		t.Error(err)
	}
	count := map[int]int{}
	for _, rows := range s.rows {
		for _, n := range rows {
			count[n]++
		}
	}
	for _, n := range want {
		wantCount := 1
		if n%97 == 0 {
			wantCount = 0
		}
		if count[n] != wantCount {
			t.Errorf("message %d counts %d times, want %d", n, count[n], wantCount)
		}
		delete(count, n)
	}
	for n := range count {
		t.Errorf("message %d was aborted and is stored", n)
	}
	covered := map[int32]int64{}
	for _, l := range s.ledger {
		covered[l.Partition] += l.Last - l.First + 1
		if l.Messages+l.Dead+l.Skipped != l.Last-l.First+1 {
			t.Errorf("the entry does not add up: %+v", l)
		}
	}
	for _, e := range ends {
		if covered[e.Partition] != e.End {
			t.Errorf("partition %d: the ledger covers %d of %d offsets", e.Partition, covered[e.Partition], e.End)
		}
	}
	t.Logf("%d messages, %d batches, %d of them inserted again", len(want), len(s.ledger), s.repeats)
	if s.repeats == 0 {
		t.Error("no insert was repeated: the test showed nothing")
	}
}

// loadWithAborts produces in transactions, every fourth of which is aborted.
func loadWithAborts(t *testing.T, addr string, parts int) (sent func() []int, stop func()) {
	t.Helper()
	p := producer(t, addr, kgo.TransactionalID("load"), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	var numbers []int
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 1
		for round := 0; ctx.Err() == nil; round++ {
			if err := p.BeginTransaction(); err != nil {
				t.Error(err)
				return
			}
			var rs []*kgo.Record
			for range 50 {
				rs = append(rs, &kgo.Record{Partition: int32(n % parts), Value: fmt.Appendf(nil, "%d text", n), Timestamp: epoch})
				n++
			}
			if err := p.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
				t.Error(err)
				return
			}
			commit := kgo.TransactionEndTry(round%4 != 3)
			if err := p.EndTransaction(t.Context(), commit); err != nil {
				t.Error(err)
				return
			}
			if commit {
				for i := n - 50; i < n; i++ {
					numbers = append(numbers, i)
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return func() []int { return numbers }, stop
}

func waitCommitted(t *testing.T, c *Client, ends []Offsets) {
	t.Helper()
	var ids []int32
	for _, e := range ends {
		ids = append(ids, e.Partition)
	}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		at, err := c.Committed(t.Context(), "gatewatch-pipeline", "t", ids)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(ends, func(e Offsets) bool { return at[e.Partition].Offset < e.End }) {
			return
		}
		if time.Since(begin) > 40*time.Second {
			t.Fatalf("committed %v of %v", at, ends)
		}
	}
}
