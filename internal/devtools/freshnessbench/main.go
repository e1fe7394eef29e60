// Command freshnessbench measures how old a request is when it can be read: from
// its Kafka timestamp until it is in v_request_10s, while the built ingest stores
// half of what it can at most. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/loadgen"
)

func main() { leash.Command("freshnessbench", run) }

// result is the last line.
type result struct {
	P50  float64 `json:"p50_s"`
	P99  float64 `json:"p99_s"`
	Max  float64 `json:"max_s"`
	N    int     `json:"n"` // requests that were watched
	Rate float64 `json:"requests_per_s"`
	// MaxRate is what ingest stored a second from a backlog, on the same machine.
	MaxRate float64 `json:"max_requests_per_s"`
}

const (
	watchEvery = 100 * time.Millisecond // between two watched requests
	pollEvery  = 20 * time.Millisecond
	warmUp     = 5 * time.Second
)

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("freshnessbench", flag.ContinueOnError)
	backlog := fs.Int("backlog", 500_000, "requests to measure the maximum with")
	length := fs.Duration("length", 30*time.Second, "how long requests are watched")
	share := fs.Float64("share", 0.5, "of the maximum that is sent meanwhile")
	if err := fs.Parse(args); err != nil {
		return err
	}
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-freshness-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := devstack.Build(ctx, root, dir, "ingest"); err != nil {
		return err
	}
	stack, err := devstack.Start(ctx, devstack.Config{Dir: filepath.Join(dir, "stack"), Root: root, Bin: dir, WithoutAlert: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer stack.Stop() //nolint:errcheck // its data goes next
	var r result
	if r.MaxRate, err = maximum(ctx, stack, stack.NewLoad(1), *backlog); err != nil {
		return err
	}
	// A load of its own begins now; the first would make up for the time since.
	load := stack.NewLoad(2)
	fmt.Fprintf(os.Stderr, "freshnessbench: at most %.0f requests/s; sending %.0f requests/s …\n", r.MaxRate, *share*r.MaxRate)
	live, end := context.WithCancel(ctx)
	sent := make(chan error, 1)
	before, began := load.Account.Requests(), time.Now()
	go func() { sent <- load.Live(live, *share*r.MaxRate) }()
	ages, err := watch(ctx, stack, *length)
	r.Rate = float64(load.Account.Requests()-before) / time.Since(began).Seconds()
	end()
	if sendErr := <-sent; err == nil && sendErr != nil {
		err = sendErr
	}
	if err != nil {
		return err
	}
	slices.Sort(ages)
	at := func(q float64) float64 { return ages[max(0, int(math.Ceil(q*float64(len(ages))))-1)].Seconds() }
	r.P50, r.P99, r.Max, r.N = at(0.5), at(0.99), at(1), len(ages)
	return json.NewEncoder(os.Stdout).Encode(r)
}

// maximum returns how many requests a second ingest stores from a backlog.
func maximum(ctx context.Context, stack *devstack.Stack, load *devstack.Load, n int) (float64, error) {
	// An hour: longer ago than that is not read by a new group.
	if err := load.SendHistory(ctx, devstack.History{Length: 50 * time.Minute, Requests: n, Spans: 50 * time.Minute}, nil); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := stack.Run(ctx, "ingest"); err != nil {
		return 0, err
	}
	if err := load.Settle(ctx, nil); err != nil {
		return 0, err
	}
	return float64(load.Account.Requests()) / time.Since(began).Seconds(), nil
}

// watch sends requests of a service of their own and waits until each can be read.
func watch(ctx context.Context, stack *devstack.Stack, length time.Duration) ([]time.Duration, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(stack.Broker.Addr), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	type probe struct {
		name string
		at   time.Time
	}
	var open []probe
	var ages []time.Duration
	next, stop := time.Now().Add(warmUp), time.Now().Add(warmUp+length)
	for n := 0; ; {
		now := time.Now()
		if now.Before(stop) && !now.Before(next) {
			next = now.Add(watchEvery)
			p := probe{fmt.Sprintf("probe-%d", n), time.Now().Truncate(time.Millisecond)}
			n++
			line := fmt.Sprintf(`{"time":%q,"status":200,"request_method":"GET","request_uri":"/","request_time":0.001,"service":%q,"route":"/"}`, p.at.UTC().Format(time.RFC3339Nano), p.name)
			res := client.ProduceSync(ctx, &kgo.Record{Topic: loadgen.TopicNginx, Timestamp: p.at, Value: []byte(line)})
			if err := res.FirstErr(); err != nil {
				return nil, fmt.Errorf("send a watched request: %w", err)
			}
			open = append(open, p)
		}
		if len(open) > 0 {
			seen, err := stack.Store.ServicesSince(ctx, "probe-", open[0].at.Add(-time.Minute))
			if err != nil {
				return nil, err
			}
			now := time.Now()
			open = slices.DeleteFunc(open, func(p probe) bool {
				if !seen[p.name] {
					return false
				}
				ages = append(ages, now.Sub(p.at))
				return true
			})
		}
		switch now := time.Now(); {
		case now.After(stop) && len(open) == 0:
			return ages, nil
		case now.After(stop.Add(time.Minute)):
			var names []string
			for _, p := range open {
				names = append(names, p.name)
			}
			return nil, fmt.Errorf("not stored after a minute: %s", strings.Join(names, " "))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}
