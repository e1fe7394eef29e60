package aggregate

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Gateway is one gateway whose own counter of requests is read.
type Gateway struct {
	// Node is its name as its log has it.
	Node string `yaml:"node"`
	// URL of its Prometheus endpoint or nginx's stub_status page.
	URL string `yaml:"url"`
	// Metric of the Prometheus endpoint whose series are summed, such as
	// kong_http_requests_total. Default: those that are known of Envoy, Kong,
	// APISIX, Traefik, HAProxy and nginx-ingress.
	Metric string `yaml:"metric"`
}

// A Counter is one reading: requests since the gateway started, or why it failed.
type Counter struct {
	Time     time.Time
	Node     string
	Requests int64
	Error    string
}

// Counters keeps readings.
type Counters interface {
	InsertCounters(ctx context.Context, list []Counter) error
}

const (
	// countEvery is the time between two readings of a gateway's counter.
	countEvery = 15 * time.Second
	// countTimeout bounds one.
	countTimeout = 5 * time.Second
)

// A Reader reads the counters of gateways.
type Reader struct {
	Gateways []Gateway
	// Read returns how many requests a gateway has served since it started.
	Read     func(ctx context.Context, g Gateway) (int64, error)
	Counters Counters
	Now      func() time.Time
	Log      *slog.Logger
}

// Run reads all gateways every 15 s until ctx ends. What can't be read is
// written down as such.
func (r *Reader) Run(ctx context.Context) error {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for len(r.Gateways) > 0 {
		if err := r.Step(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error("the gateways' counters are not kept", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	<-ctx.Done()
	return nil
}

// Step reads all gateways once, at the same time.
func (r *Reader) Step(ctx context.Context) error {
	list := make([]Counter, len(r.Gateways))
	var wait sync.WaitGroup
	for i, g := range r.Gateways {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, countTimeout)
			defer cancel()
			c := Counter{Time: r.Now(), Node: g.Node}
			n, err := r.Read(ctx, g)
			if err != nil {
				c.Error = err.Error()
			}
			c.Requests = n
			list[i] = c
		})
	}
	wait.Wait()
	return r.Counters.InsertCounters(ctx, list)
}
