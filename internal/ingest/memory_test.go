package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// However a generation ends, the memory of its batches goes back: the next one would starve.
func TestMemoryIsGivenBack(t *testing.T) {
	for call, fault := range map[string]func() error{
		"commit": func() error { return ErrFenced },
		"insert": func() error { return &PermanentError{errors.New("no such column")} },
		"fetch":  func() error { return errors.New("refused") },
		"none":   func() error { return nil },
	} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			l, s := messages(rand.New(rand.NewPCG(4, 4)), 200), newStore()
			l.commit.Offset = 0
			left := 2
			m := &member{log: l, fault: func(c string) error {
				if c != call {
					return nil
				}
				if left--; left >= 0 {
					return nil
				}
				return fault()
			}}
			s.fault = func(c string) error {
				if c == call {
					return fault()
				}
				return nil
			}
			p, _ := pipeline(t, m, s, testConfig())
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_ = p.Run(ctx)
			if !p.memory.TryAcquire(p.share) || !p.shelf.turns.TryAcquire(largeBatches) {
				t.Error("some memory is still held")
			}
			if n := testutil.CollectAndCount(p.metrics.lag); n != 0 {
				t.Errorf("the lag of %d partitions is shown that nobody reads", n)
			}
		})
	}
}

// Who rebuilds a batch judges each message as the first attempt did, whatever came before it.
func TestTimeZoneIsJudgedBatchByBatch(t *testing.T) {
	w := &worker{}
	b := &batch{block: (&store{}).NewBlock(TopicConfig{})}
	w.begin(b, 0)
	for range 50 {
		w.skew.see(2 * time.Hour)
	}
	w.begin(b, 50)
	w.skew.see(3 * time.Second)
	if w.skew.likely() {
		t.Error("the batch before decides about this one")
	}
}
