package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/devstack"
)

// TestIngestKilled kills ingest with -9 at random moments under load, at least
// five times and until a batch was caught between its announcement and its
// commit. In the end nothing is lost and nothing counts twice.
func TestIngestKilled(t *testing.T) {
	s := start(t, func(c devstack.Config) devstack.Config {
		c.WithoutAlert = true
		return c
	})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	load := s.NewLoad(11)
	live, endLive := context.WithCancel(ctx)
	defer endLive()
	sent := make(chan error, 1)
	go func() { sent <- load.Live(live, 1000) }()

	rebuilt := func() int {
		log, err := os.ReadFile(filepath.Join(filepath.Dir(s.Settings), "ingest.log"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(log), "batch rebuilt")
	}
	kills := 0
	for ; kills < 5 || rebuilt() == 0 && kills < 12; kills++ {
		// The dead member's partitions move when its session times out; then there
		// is a backlog, and one batch follows the other.
		waitStored(ctx, t, s)
		time.Sleep(rand.N(time.Second))
		s.Kill("ingest")
		if err := s.Restart(ctx, "ingest"); err != nil {
			t.Fatal(err)
		}
	}
	endLive()
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := load.Settle(ctx, nil); err != nil {
		t.Fatal(err)
	}
	n := rebuilt()
	t.Logf("killed %d times, %d batches were rebuilt, %d requests sent", kills, n, load.Account.Requests())
	if n == 0 {
		t.Error("no kill hit a batch that was announced and not yet committed: the test showed nothing")
	}
	v, err := load.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil || v.Lost+v.Doubled != 0 {
		t.Errorf("lost %d, doubled %d: %v", v.Lost, v.Doubled, err)
	}
}

// waitStored returns when more is stored than when it was called.
func waitStored(ctx context.Context, t *testing.T, s *devstack.Stack) {
	t.Helper()
	stored := func() (n int64) {
		totals, err := s.Store.LedgerTotals(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, total := range totals {
			n += total.Messages
		}
		return n
	}
	for before := stored(); stored() == before; {
		if err := s.Failed(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
