package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/ingest"
)

// fastGroups makes joins quick; a real broker waits for members first.
func fastGroups() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})
}

// member joins the group and hands out the partitions that it gets.
func member(t *testing.T, c *Client) (got <-chan ingest.Partition, leave func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	parts, done := make(chan ingest.Partition, 100), make(chan error, 1)
	g := c.NewGroup("gatewatch-test", []string{"t"}, slog.New(slog.DiscardHandler))
	go func() {
		done <- g.Run(ctx, func(ctx context.Context, p ingest.Partition) error {
			parts <- p
			<-ctx.Done()
			return nil
		})
	}()
	left := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = left() })
	return parts, left
}

func next(t *testing.T, parts <-chan ingest.Partition) ingest.Partition {
	t.Helper()
	select {
	case p := <-parts:
		return p
	case <-time.After(30 * time.Second):
		t.Fatal("no partition in 30 s")
		return nil
	}
}

func TestOffsetsAreFenced(t *testing.T) {
	addr := broker(t, fastGroups())
	a, leaveA := member(t, client(t, addr, nil))
	p := next(t, a)
	next(t, a)
	if c, err := p.Committed(t.Context()); err != nil || c != (ingest.Commit{Offset: -1}) {
		t.Errorf("before any commit: %+v, %v", c, err)
	}
	want := ingest.Commit{Offset: 42, Metadata: "gatewatch/1 last=99 shard=0 schema=2"}
	if err := p.Commit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if c, err := p.Committed(t.Context()); err != nil || c != want {
		t.Errorf("committed %+v, %v; want %+v", c, err, want)
	}
	// Somebody joins: the first one's handle is of a past generation.
	b, leaveB := member(t, client(t, addr, nil))
	q := next(t, b)
	if err := p.Commit(t.Context(), ingest.Commit{Offset: 1}); !errors.Is(err, ingest.ErrFenced) {
		t.Errorf("commit of a past generation: %v, want ErrFenced", err)
	}
	next(t, a)
	if q.ID() == p.ID() {
		if c, err := q.Committed(t.Context()); err != nil || c != want {
			t.Errorf("the next owner reads %+v, %v; want %+v", c, err, want)
		}
	}
	// One leaves: the other gets both partitions, well before a session would time out.
	if err := leaveB(); err != nil {
		t.Fatal(err)
	}
	seen := map[int32]bool{}
	for len(seen) < 2 {
		seen[next(t, a).ID()] = true
	}
	if err := leaveA(); err != nil {
		t.Errorf("leaving: %v", err)
	}
}

func TestOwnersErrorEndsTheMember(t *testing.T) {
	c := client(t, broker(t, fastGroups()), nil)
	boom := errors.New("boom")
	g := c.NewGroup("gatewatch-test", []string{"t"}, slog.New(slog.DiscardHandler))
	err := g.Run(t.Context(), func(ctx context.Context, p ingest.Partition) error {
		if p.ID() == 1 {
			return boom
		}
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, boom) {
		t.Errorf("Run = %v, want the owner's error", err)
	}
}

// A partition that waits for messages does not hold up another one.
func TestPartitionsDoNotWaitForEachOther(t *testing.T) {
	addr := broker(t, fastGroups())
	c := client(t, addr, nil)
	produce(t, producer(t, addr), 0, 1000) // all into partition 0
	idle, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		f := newFetcher(c, "t", 1)
		for idle.Err() == nil {
			_, _ = f.fetch(idle, 0, 1<<20, 5*time.Second)
		}
	}()
	time.Sleep(100 * time.Millisecond)
	begin := time.Now()
	f := newFetcher(c, "t", 0)
	for offset := int64(0); offset < 1000; {
		res, err := f.fetch(t.Context(), offset, 1, fetchWait) // batch by batch
		if err != nil {
			t.Fatal(err)
		}
		offset = res.Next
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("took %v beside an idle partition", took)
	}
}

// A broker that is restarted with its data loses nothing, and the fetcher goes on.
func TestBrokerRestart(t *testing.T) {
	dir := t.TempDir()
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(2, "t"), kfake.DataDir(dir), kfake.SyncWrites()}
	k, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	addr := k.ListenAddrs()[0]
	p := producer(t, addr)
	produce(t, p, 0, 10)
	f := newFetcher(client(t, addr, nil), "t", 0)
	res, err := f.fetch(t.Context(), 0, 1<<20, time.Second)
	if err != nil || res.Next != 10 {
		t.Fatalf("next %d, %v", res.Next, err)
	}
	k.Close()
	if _, err := f.fetch(t.Context(), 10, 1<<20, time.Millisecond); !Unreachable(err) {
		t.Errorf("while the broker is down: %v, want Unreachable", err)
	}
	var port int
	if _, err := fmt.Sscanf(addr, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	k, err = kfake.NewCluster(append(opts, kfake.Ports(port))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	produce(t, p, 10, 10)
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		res, err = f.fetch(t.Context(), 10, 1<<20, 100*time.Millisecond)
		if err == nil && len(res.Messages) > 0 {
			break
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("20 s after the restart: %v", err)
		}
	}
	for i, m := range res.Messages {
		same(t, m, 10+i)
	}
}
