package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// An owned is a partition's log with a store, and an owner that runs.
type owned struct {
	t *testing.T
	m *member
	s *store
	p *Pipeline
}

// own runs a new owner of l until until says so, or for a while if it is nil.
func own(t *testing.T, l *log, s *store, name string, change func(*Config), until func(o *owned) bool) *owned {
	t.Helper()
	l.mu.Lock()
	l.generation++
	m := &member{log: l, name: name, generation: l.generation, fault: func(string) error { return nil }}
	l.mu.Unlock()
	c := testConfig()
	if change != nil {
		change(&c)
	}
	p, _ := pipeline(t, m, s, c)
	o := &owned{t: t, m: m, s: s, p: p}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	eventually(t, func() bool { return until(o) })
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Run = %v", err)
	}
	return o
}

func (o *owned) caughtUp() bool {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	return o.m.commit.Offset == o.m.end && !o.m.commit.Announced()
}

// heldWith returns a condition: the pipeline is not ready, and says so.
func heldWith(words ...string) func(o *owned) bool {
	return func(o *owned) bool {
		err := o.p.Ready()
		if err == nil {
			return false
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				o.t.Fatalf("held with %q, want %q in it", err, w)
			}
		}
		return true
	}
}

func (l *log) append(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.messages = append(l.messages, Message{Offset: l.end, Time: time.Unix(1000, 0), Value: []byte("ok")})
		l.end++
	}
}

// truncate drops what is before first, as retention does.
func (l *log) truncate(first int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = first
	for len(l.messages) > 0 && l.messages[0].Offset < first {
		l.messages = l.messages[1:]
	}
}

func newLog(n int) *log {
	l := &log{id: "a1", commit: Commit{Offset: -1}}
	l.append(n)
	return l
}

func (s *store) rows() (n int) {
	for _, b := range s.blocks {
		n += len(b)
	}
	return n
}

// A topic that is made anew has the offsets of the old one. Nothing of it is
// read until its name is changed, and then all of it, whether the group's
// offsets are still there or went with the topic.
func TestTopicMadeAnewIsHeld(t *testing.T) {
	for name, commitSurvives := range map[string]bool{"commit survives": true, "commit is gone": false} {
		t.Run(name, func(t *testing.T) {
			old, s := newLog(50), newStore()
			own(t, old, s, "t", nil, (*owned).caughtUp)
			anew := newLog(70)
			anew.id = "b2"
			if commitSurvives {
				anew.commit = old.commit
			}
			own(t, anew, s, "t", nil, heldWith("made anew", "a1", "b2", `"t#1"`))
			if n := s.rows(); n != 50 {
				t.Fatalf("%d rows are stored while the topic is held, want the old 50", n)
			}
			own(t, anew, s, "t#1", func(c *Config) { c.Start = "latest" }, (*owned).caughtUp)
			own(t, anew, s, "t#1", nil, (*owned).caughtUp)
			if n := s.rows(); n != 50+70 {
				t.Errorf("%d rows are stored, want 50 of the old and 70 of the new topic", n)
			}
		})
	}
}

// The topic is made anew under a running owner, between two answers.
func TestTopicMadeAnewWhileReading(t *testing.T) {
	l, s := newLog(50), newStore()
	own(t, l, s, "t", nil, func(o *owned) bool {
		if !o.caughtUp() {
			return false
		}
		l.mu.Lock()
		l.id = "b2"
		l.mu.Unlock()
		l.append(20) // at offset 50, where the old one would go on
		eventually(t, func() bool { return heldWith("made anew")(o) })
		return true
	})
	if n := s.rows(); n != 50 {
		t.Errorf("%d rows are stored, want those of the old topic only", n)
	}
}

// Offsets that the group has lost, or that somebody has moved back, do not double what the ledger has.
func TestLedgerGoesBeforeTheGroup(t *testing.T) {
	for name, commit := range map[string]Commit{"expired": {Offset: -1}, "moved back": {Offset: 10}} {
		t.Run(name, func(t *testing.T) {
			l, s := newLog(60), newStore()
			own(t, l, s, "t", nil, (*owned).caughtUp)
			l.commit = commit
			l.append(25)
			own(t, l, s, "t", nil, (*owned).caughtUp)
			if n := s.rows(); n != 85 {
				t.Errorf("%d rows are stored, want 85", n)
			}
			s.check(t, &log{messages: l.messages, end: l.end})
		})
	}
}

// What retention took before it was read holds the partition, or is recorded as lost.
func TestRetentionLoss(t *testing.T) {
	l, s := newLog(60), newStore()
	own(t, l, s, "t", nil, (*owned).caughtUp)
	l.append(100)
	l.truncate(90)
	own(t, l, s, "t", nil, heldWith("offsets 60-89", "30 offsets", "on_retention_loss"))
	if n := s.rows(); n != 60 {
		t.Fatalf("%d rows are stored while the partition is held, want 60", n)
	}
	own(t, l, s, "t", func(c *Config) { c.OnRetentionLoss = "continue" }, (*owned).caughtUp)
	s.checkLost(t, 60, 30, 160)
}

// An owner dies between announcing a batch and inserting it, and before the
// next one comes retention takes a part of its messages.
func TestRetentionTakesFromAnAnnouncedBatch(t *testing.T) {
	l, s := newLog(40), newStore()
	l.commit = Commit{Offset: 0, Metadata: position{topic: "t", topicID: "a1", last: 19, schema: 1}.String()}
	l.truncate(15)
	own(t, l, s, "t", nil, heldWith("offsets 0-14"))
	own(t, l, s, "t", func(c *Config) { c.OnRetentionLoss = "continue" }, (*owned).caughtUp)
	s.checkLost(t, 0, 15, 40)
	if _, ok := s.ledger["t:3:0-19"]; !ok {
		t.Error("the announced range is not in the ledger as it was announced")
	}
}

// checkLost checks that the ledger covers [0, end), n offsets from first on as lost.
func (s *store) checkLost(t *testing.T, first, n, end int64) {
	t.Helper()
	var lost, covered int64
	for _, e := range s.ledger {
		covered += e.Last - e.First + 1
		if e.Lost > 0 && e.First != first {
			t.Errorf("a loss is recorded at %d, want %d", e.First, first)
		}
		if e.Messages+e.Dead+e.Skipped+e.Lost != e.Last-e.First+1 {
			t.Errorf("ledger entry does not add up: %+v", e)
		}
		lost += e.Lost
	}
	if lost != n || covered != end || int64(s.rows()) != end-n {
		t.Errorf("lost %d, covered %d, %d rows; want %d, %d, %d", lost, covered, s.rows(), n, end, end-n)
	}
}

// A log that ends before the committed offset was cut: nothing of it is read.
func TestLogThatWasCutIsHeld(t *testing.T) {
	l, s := newLog(60), newStore()
	own(t, l, s, "t", nil, (*owned).caughtUp)
	l.mu.Lock()
	l.messages, l.end = l.messages[:30], 30
	l.mu.Unlock()
	own(t, l, s, "t", nil, heldWith("ends at 30"))
}

// Faults at every call, and retention that takes what was not read: each
// offset is in the ledger once, stored or lost.
func TestRetentionLossUnderFaults(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 9))
		l, s := newLog(100), newStore()
		for l.commit.Offset < l.end || l.commit.Announced() {
			left := 3 + r.IntN(40)
			ctx, crash := context.WithCancel(t.Context())
			fault := func(string) error {
				if left--; left <= 0 {
					crash()
					return errors.New("dead")
				}
				return nil
			}
			if r.IntN(3) == 0 {
				l.truncate(min(max(l.first, l.commit.Offset+int64(r.IntN(8))), l.end))
			}
			l.generation++
			c := testConfig()
			c.OnRetentionLoss = "continue"
			locked := lockedFault(fault)
			p, _ := pipeline(t, &member{log: l, generation: l.generation, fault: locked}, s, c)
			s.fault = locked
			if err := p.Run(ctx); err != nil {
				t.Fatal(err)
			}
			crash()
		}
		var next int64
		for next < l.end {
			found := false
			for _, e := range s.ledger {
				if e.First == next {
					next, found = e.Last+1, true
					break
				}
			}
			if !found {
				t.Fatalf("seed %d: offset %d begins no ledger entry", seed, next)
			}
		}
	}
}

// lockedFault makes fault safe for the pipeline's goroutines.
func lockedFault(fault func(string) error) func(string) error {
	turn := make(chan struct{}, 1)
	return func(call string) error {
		turn <- struct{}{}
		defer func() { <-turn }()
		return fault(call)
	}
}
