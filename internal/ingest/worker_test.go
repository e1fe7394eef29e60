package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/audit"
	"gatewatch/internal/change"
	"gatewatch/internal/consumer"
	"gatewatch/internal/trace"
)

// log is one Kafka partition in memory, with its group's commit. Offsets that
// are not in messages are control records.
type log struct {
	mu         sync.Mutex
	id         string // of the topic
	messages   []Message
	first, end int64
	commit     Commit
	generation int
	commits    int
}

// member is the log as the owner of one generation sees it.
type member struct {
	*log
	generation int
	name       string                  // of the topic; t if empty
	fault      func(call string) error // before the call, or after it when errLost
}

var errLost = errors.New("the answer is lost")

func (m *member) Topic() string { return cmp.Or(m.name, "t") }
func (m *member) ID() int32     { return 3 }

func (m *member) TopicID(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id, m.fault("topic id")
}

func (m *member) Kept(context.Context) (first, end int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first, m.end, m.fault("kept")
}

func (m *member) Committed(context.Context) (Commit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit, m.fault("committed")
}

func (m *member) Start(context.Context, time.Time) (int64, error) { return 0, nil }

func (m *member) Fetch(ctx context.Context, offset int64, _ int) (Fetched, error) {
	if err := m.fault("fetch"); err != nil {
		return Fetched{}, err
	}
	time.Sleep(time.Millisecond) // before the lock: a fake clock stands while one is held
	m.mu.Lock()
	defer m.mu.Unlock()
	if offset < m.first || offset > m.end {
		return Fetched{}, fmt.Errorf("fetch: %w", ErrOffsetOutOfRange)
	}
	f := Fetched{Next: offset, End: m.end}
	for _, x := range m.messages {
		if x.Offset >= offset && len(f.Messages) < 7 {
			f.Messages = append(f.Messages, x)
			f.Next = x.Offset + 1
		}
	}
	if len(f.Messages) < 7 {
		f.Next = m.end
	}
	return f, ctx.Err()
}

func (m *member) Commit(_ context.Context, c Commit) error {
	err := m.fault("commit")
	if err != nil && !errors.Is(err, errLost) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.log.generation != m.generation {
		return ErrFenced
	}
	m.commit = c
	m.commits++
	return err
}

// store keeps blocks by token, as ClickHouse does.
type store struct {
	mu     sync.Mutex
	blocks map[string][]int64 // token → offsets of its rows
	dead   map[string][]int64
	ledger map[string]LedgerEntry
	fault  func(call string) error
}

func (s *store) NewBlock(TopicConfig) Block { return &block{s: s} }

type block struct {
	s          *store
	rows, dead []int64
}

func (b *block) AppendEntry(c Coordinates, _ *accesslog.Entry) { b.rows = append(b.rows, c.Offset) }
func (b *block) AppendSpan(Coordinates, *trace.Span)           {}
func (b *block) AppendKeyEvent(Coordinates, *consumer.Event)   {}
func (b *block) AppendChange(Coordinates, *change.Event)       {}
func (b *block) AppendAudit(Coordinates, *audit.Event)         {}
func (b *block) AppendDeadLetter(d *DeadLetter)                { b.dead = append(b.dead, d.Offset) }
func (b *block) Rows() int                                     { return len(b.rows) + len(b.dead) }
func (b *block) Bytes() int                                    { return 1000 * b.Rows() }
func (b *block) Reset()                                        { b.rows, b.dead = nil, nil }

func (b *block) Insert(_ context.Context, l LedgerEntry) error {
	token := fmt.Sprintf("%s:%d:%d-%d", l.Topic, l.Partition, l.First, l.Last)
	for _, part := range []func(){
		func() { b.s.blocks[token] = b.rows },
		func() { b.s.dead[token] = b.dead },
		func() { b.s.ledger[token] = l },
	} {
		err := b.s.fault("insert")
		if err != nil && !errors.Is(err, errLost) {
			return err
		}
		b.s.mu.Lock()
		part()
		b.s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) reached(_ context.Context, topic string, partition int32) (last LedgerEntry, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.ledger {
		if e.Topic == topic && e.Partition == partition && (!ok || e.Last > last.Last) {
			last, ok = e, true
		}
	}
	return last, ok, s.fault("reached")
}

// numbers decodes "ok" into one entry a message; all else is a dead letter.
type numbers struct{}

func (numbers) Decode(v []byte, out *Records) error {
	switch string(v) {
	case "ok":
		out.Entries.Next().Time = time.Unix(1000, 0)
	case "panic":
		panic("defect")
	case "untimed":
		out.Entries.Next()
	default:
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax}
	}
	return nil
}

// source gives its one partition to one generation after another.
type source struct{ member *member }

func (s source) Run(ctx context.Context, own func(context.Context, Partition) error) error {
	return own(ctx, s.member)
}

func newStore() *store {
	return &store{blocks: map[string][]int64{}, dead: map[string][]int64{}, ledger: map[string]LedgerEntry{}, fault: func(string) error { return nil }}
}

func testConfig() Config {
	c := DefaultConfig()
	c.Start, c.BatchRows, c.BatchAge, c.ShutdownTimeout = "earliest", 20, 3*time.Millisecond, 10*time.Millisecond
	return c
}

func pipeline(t *testing.T, m *member, s *store, c Config) (*Pipeline, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	p, err := New(c, []TopicConfig{{Name: m.Topic(), Format: "numbers"}}, Deps{
		Source: source{m}, Sink: s, Reached: s.reached, NewDecoder: func(TopicConfig) (Decoder, error) { return numbers{}, nil },
		Mask: func(s string) string { return strings.ToUpper(s) }, SchemaVersion: 1, Now: time.Now,
		Log: slog.New(slog.DiscardHandler), Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, reg
}

// messages makes n messages among control records, some of them unreadable.
func messages(r *rand.Rand, n int) *log {
	l := &log{commit: Commit{Offset: -1}}
	for range n {
		for r.IntN(10) == 0 {
			l.end++
		}
		v := "ok"
		if r.IntN(15) == 0 {
			v = []string{"bad", "panic", " ", "untimed"}[r.IntN(4)]
		}
		l.messages = append(l.messages, Message{Offset: l.end, Time: time.Unix(1000, 0), Value: []byte(v)})
		l.end++
	}
	return l
}

// Owners that crash at any call, calls that fail and answers that are lost: in
// the end every message counts once and the ledger has neither gap nor overlap.
func TestExactlyOnceUnderFaults(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { exactlyOnce(t, seed) })
		})
	}
}

func exactlyOnce(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	var rmu sync.Mutex
	l, s := messages(r, 300), newStore()
	for l.commit.Offset < l.end || l.commit.Announced() {
		ctx, crash := context.WithTimeout(t.Context(), 10*time.Second)
		left := 3 + r.IntN(40) // calls until this owner dies
		fault := func(string) error {
			rmu.Lock()
			defer rmu.Unlock()
			if left--; left == 0 {
				crash()
			}
			switch {
			case left <= 0:
				return errors.New("dead")
			case r.IntN(12) == 0:
				return errLost
			case r.IntN(12) == 0:
				return errors.New("refused")
			}
			return nil
		}
		l.mu.Lock()
		l.generation++
		m := &member{log: l, generation: l.generation, fault: fault}
		l.mu.Unlock()
		s.fault = fault
		p, _ := pipeline(t, m, s, testConfig())
		if err := p.Run(ctx); err != nil {
			t.Fatal(err)
		}
		crash()
	}
	s.check(t, l)
}

// check compares the store with the log.
func (s *store) check(t *testing.T, l *log) {
	t.Helper()
	count := map[int64]int{}
	for _, b := range s.blocks {
		for _, o := range b {
			count[o]++
		}
	}
	for _, m := range l.messages {
		want := 0
		if string(m.Value) == "ok" {
			want = 1
		}
		if count[m.Offset] != want {
			t.Errorf("offset %d (%q) counts %d times, want %d", m.Offset, m.Value, count[m.Offset], want)
		}
	}
	covered := make([]int, l.end)
	for _, e := range s.ledger {
		if e.Messages+e.Dead+e.Skipped+e.Lost != e.Last-e.First+1 || e.Rows != e.Messages {
			t.Errorf("ledger entry does not add up: %+v", e)
		}
		for o := e.First; o <= e.Last; o++ {
			covered[o]++
		}
	}
	for o, n := range covered {
		if n != 1 {
			t.Errorf("offset %d is in %d ledger entries, want 1", o, n)
		}
	}
}

// A zombie that inserts after its partition has moved on does no harm, and its commit is refused.
func TestZombieIsFenced(t *testing.T) {
	l := messages(rand.New(rand.NewPCG(1, 2)), 50)
	l.generation = 1
	s := newStore()
	m := &member{log: l, generation: 1, fault: func(call string) error {
		if call == "commit" {
			l.mu.Lock()
			l.generation = 2
			l.mu.Unlock()
		}
		return nil
	}}
	p, _ := pipeline(t, m, s, testConfig())
	if err := p.Run(t.Context()); err != nil {
		t.Fatalf("a fenced owner ends with %v, want nil", err)
	}
	if l.commits != 0 || len(s.blocks) != 0 {
		t.Errorf("a fenced owner made %d commits and %d blocks", l.commits, len(s.blocks))
	}
}

func TestPermanentErrorStops(t *testing.T) {
	l := messages(rand.New(rand.NewPCG(1, 2)), 5)
	s := newStore()
	s.fault = func(call string) error {
		if call != "insert" {
			return nil
		}
		return &PermanentError{errors.New("no such column")}
	}
	p, _ := pipeline(t, &member{log: l, fault: func(string) error { return nil }}, s, testConfig())
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "t/3: insert: no such column") {
		t.Errorf("Run = %v, want the permanent error with its partition", err)
	}
}

// While the store is down the pipeline says why, and moves on when it is back.
func TestNotReadyWhileTheStoreIsDown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, s := messages(rand.New(rand.NewPCG(3, 3)), 40), newStore()
	var mu sync.Mutex
	down := true
	s.fault = func(call string) error {
		mu.Lock()
		defer mu.Unlock()
		if down && call == "insert" {
			return errors.New("connection refused")
		}
		return nil
	}
	p, reg := pipeline(t, &member{log: l, fault: func(string) error { return nil }}, s, testConfig())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	eventually(t, func() bool {
		err := p.Ready()
		return err != nil && strings.Contains(err.Error(), "t/3 insert: connection refused")
	})
	mu.Lock()
	down = false
	mu.Unlock()
	eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.commit.Offset == l.end })
	eventually(t, func() bool { return p.Ready() == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.check(t, l)
	if n, err := testutil.GatherAndCount(reg, "gatewatch_ingest_retries_total"); err != nil || n == 0 {
		t.Errorf("retries are not counted: %d, %v", n, err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("did not come true in 10 s")
}

func TestPosition(t *testing.T) {
	want := position{topic: "orders#1", topicID: "4c5e", last: 17, shard: 2, schema: 9}
	got, ok, err := parsePosition(want.String())
	if err != nil || !ok || got != want {
		t.Errorf("parsePosition(%q) = %v, %v, %v", want, got, ok, err)
	}
	if long := (position{topic: strings.Repeat("t", 249) + "#999", topicID: strings.Repeat("f", 32), last: 1 << 62, shard: 1 << 30, schema: 1 << 30}); len(long.String()) >= 4096 {
		t.Errorf("%d bytes of metadata: Kafka takes 4096", len(long.String()))
	}
	if _, ok, err := parsePosition("somebody else's"); ok || err != nil {
		t.Errorf("foreign metadata: %v, %v; want it ignored", ok, err)
	}
	if _, _, err := parsePosition("gatewatch/2 range=1"); err == nil {
		t.Error("metadata of a later version is ignored, want an error")
	}
}

func TestZoneSkew(t *testing.T) {
	var z zoneSkew
	for range 50 {
		z.see(2*time.Hour - 3*time.Second)
	}
	if !z.likely() || z.zone() != "UTC+2" {
		t.Errorf("events 2 h ahead: likely %v, %s", z.likely(), z.zone())
	}
	z = zoneSkew{}
	for i := range 50 {
		z.see(time.Duration(i%2) * time.Hour)
	}
	if z.likely() {
		t.Error("half of the events ahead count as a time zone")
	}
}

func TestStart(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"earliest": {}, "1h": now.Add(-time.Hour), "latest": now.Add(time.Hour),
		"2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		s, err := parseStart(in)
		if err != nil || !s.time(now).Equal(want) {
			t.Errorf("start %q = %v, %v; want %v", in, s.time(now), err, want)
		}
	}
	if _, err := parseStart("soon"); err == nil {
		t.Error("start \"soon\" is accepted")
	}
}
