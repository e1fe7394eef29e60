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
	"gatewatch/internal/kafka"
	"gatewatch/internal/loadgen"
)

// TestIngestKilled kills ingest with -9 under load, five times, each at a random
// moment after a batch was announced. In the end nothing is lost and nothing
// counts twice.
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
	conf := kafka.DefaultConfig()
	conf.Brokers = []string{s.Broker.Addr}
	client, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const kills = 5
	for range kills {
		// The dead member's partitions move when its session times out; then there
		// is a backlog, and one batch follows the other.
		waitStored(ctx, t, s)
		waitAnnounced(ctx, t, client)
		time.Sleep(rand.N(20 * time.Millisecond)) // somewhere in the insert or just after it
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
	v, err := load.Verify(ctx, devstack.VerifyOptions{Deep: true, Recent: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil || v.Lost+v.Doubled != 0 {
		t.Errorf("lost %d, doubled %d: %v", v.Lost, v.Doubled, err)
	}
}

// waitAnnounced returns when a batch is announced and not yet committed.
func waitAnnounced(ctx context.Context, t *testing.T, client *kafka.Client) {
	t.Helper()
	for {
		for _, topic := range loadgen.Topics() {
			commits, err := client.Committed(ctx, client.Group("ingest"), topic, []int32{0, 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range commits {
				if c.Announced() {
					return
				}
			}
		}
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
