package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/proxy"
	"gatewatch/internal/loadgen"
)

const (
	kindTimeout = 20 * time.Minute
	settle      = 4 * time.Minute
	// sessionTimeout is ingest's: after a crash its partitions rest that long.
	sessionTimeout = time.Second
	// ordinaryRate is how many requests a second the load sends.
	ordinaryRate = 800
)

type rigConfig struct {
	dir, root, bin, broker string
	seed                   uint64
	kind                   kind
}

// A rig is a system under test: broker, engine, load, and members of ingest
// behind proxies of their own.
type rig struct {
	config rigConfig
	stack  *devstack.Stack
	broker broker
	kafka  *proxy.Proxy // what ingest and the load know as Kafka
	load   *devstack.Load
	rnd    *rand.Rand

	members  []*member
	recovery []time.Duration
	dead     map[string]int64 // poison that was sent, by topic
	stopLoad func() error
}

func newRig(ctx context.Context, c rigConfig) (*rig, error) {
	r := &rig{config: c, rnd: rand.New(rand.NewPCG(c.seed, uint64(len(c.kind.name)))), dead: map[string]int64{}}
	if err := r.start(ctx); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *rig) start(ctx context.Context) (err error) {
	c := r.config
	if r.kafka, err = proxy.Start(proxy.Config{Frames: true}); err != nil {
		return err
	}
	advertise := ""
	if c.kind.proxyKafka {
		advertise = r.kafka.Addr
	}
	dir := filepath.Join(c.dir, "broker")
	if c.broker == brokerKafka {
		r.broker, err = startKafka(ctx, dir, advertise, loadgen.Topics())
	} else {
		r.broker, err = startKfake(ctx, dir, advertise, loadgen.Topics(), max(1, c.kind.nodes))
	}
	if err != nil {
		return err
	}
	r.kafka.Retarget(r.broker.Addr())
	settings := map[string]any{
		"kafka": map[string]any{"session_timeout": sessionTimeout.String()},
		"ingest": map[string]any{
			"listen": "127.0.0.1:0", "batch_rows": 3000, "batch_age": "200ms", "shutdown_timeout": "2s",
		},
	}
	r.stack, err = devstack.Start(ctx, devstack.Config{
		Dir: filepath.Join(c.dir, "stack"), Root: c.root, Bin: c.bin, WithoutAlert: true, Kafka: r.kafka.Addr, Settings: settings, Log: os.Stderr,
	})
	if err != nil {
		return err
	}
	r.load = r.stack.NewLoad(c.seed)
	return nil
}

func (r *rig) close() {
	if r.stopLoad != nil {
		_ = r.stopLoad()
	}
	for _, m := range r.members {
		m.end()
	}
	if r.stack != nil {
		_ = r.stack.Stop()
	}
	if r.broker != nil {
		r.broker.Stop()
	}
	if r.kafka != nil {
		r.kafka.Close()
	}
}

// A member is one ingest process with its own way to ClickHouse.
type member struct {
	rig     *rig
	name    string
	store   *proxy.Proxy
	inserts *inserts
	process *leash.Process
}

// join adds a member and starts it.
func (r *rig) join() (*member, error) {
	m := &member{rig: r, name: fmt.Sprintf("ingest-%d", len(r.members))}
	var err error
	if m.store, err = proxy.Start(proxy.Config{Target: r.stack.Engine.Addr}); err != nil {
		return nil, err
	}
	m.inserts = watch(m.store)
	text, err := os.ReadFile(r.stack.Settings)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(m.settings(), bytes.ReplaceAll(text, []byte(r.stack.Engine.Addr), []byte(m.store.Addr)), 0o600); err != nil {
		return nil, err
	}
	r.members = append(r.members, m)
	return m, m.start()
}

func (m *member) settings() string { return filepath.Join(m.rig.config.dir, m.name+".yaml") }
func (m *member) log() string      { return filepath.Join(m.rig.config.dir, m.name+".log") }

func (m *member) start() error {
	out, err := os.OpenFile(m.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	m.process, err = leash.Start(out, filepath.Join(m.rig.config.bin, "ingest"), "run", "--config", m.settings())
	return err
}

// kill ends the process as a crash does.
func (m *member) kill() { m.process.Kill() }

// stop ends the process with SIGTERM.
func (m *member) stop() error {
	if !m.process.Stop(5 * time.Second) {
		return fmt.Errorf("%s did not stop within 5 s of SIGTERM", m.name)
	}
	return nil
}

func (m *member) signal(s syscall.Signal) error { return syscall.Kill(m.process.PID, s) }

func (m *member) end() {
	if m.process != nil {
		m.process.Kill()
	}
	m.store.Close()
}

// live sends requests until the returned function is called.
func (r *rig) live(ctx context.Context, perSecond float64) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- r.load.Live(ctx, perSecond) }()
	r.stopLoad = sync.OnceValue(func() error {
		cancel()
		if err := <-sent; err != nil {
			return fmt.Errorf("send: %w", err)
		}
		return nil
	})
	return r.stopLoad
}

// past sends requests that ended within the last length.
func (r *rig) past(ctx context.Context, length time.Duration, requests int) error {
	return r.load.SendHistory(ctx, devstack.History{Length: length, Requests: requests, Spans: length}, nil)
}

func (r *rig) stored(ctx context.Context) (n int64) {
	totals, err := r.stack.Store.LedgerTotals(ctx)
	if err != nil {
		return -1
	}
	for _, t := range totals {
		n += t.Messages + t.Dead
	}
	return n
}

// sent is how many messages Kafka has by now.
func (r *rig) sent() (n int64) {
	for _, t := range loadgen.Topics() {
		n += r.load.Account.Messages(t) + r.dead[t]
	}
	return n
}

// progress waits until more is stored than before, or everything is, and notes
// how long that took since.
func (r *rig) progress(ctx context.Context, since time.Time) error {
	before := int64(-1)
	for {
		n := r.stored(ctx)
		if before < 0 {
			before = n
		}
		if before >= 0 && (n > before || n > 0 && n == r.sent()) {
			r.recovery = append(r.recovery, time.Since(since))
			return nil
		}
		if time.Since(since) > time.Minute {
			return fmt.Errorf("nothing is stored a minute after the fault")
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// verdict waits until everything is stored and compares.
func (r *rig) verdict(ctx context.Context) (devstack.Verdict, error) {
	if r.stopLoad != nil {
		if err := r.stopLoad(); err != nil {
			return devstack.Verdict{}, err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	if err := r.load.Settle(waiting, nil); err != nil {
		return devstack.Verdict{}, err
	}
	var poison int64
	for _, n := range r.dead {
		poison += n
	}
	for poison > 0 {
		totals, err := r.stack.Store.LedgerTotals(waiting)
		if err != nil {
			return devstack.Verdict{}, err
		}
		var found int64
		for _, t := range totals {
			found += t.Dead
		}
		if found >= poison {
			break
		}
		if err := pause(waiting, 100*time.Millisecond); err != nil {
			return devstack.Verdict{}, fmt.Errorf("%d of %d dead letters are stored: %w", found, poison, err)
		}
	}
	// Whoever still inserts (a zombie, a retry) may end now.
	if err := pause(ctx, time.Second); err != nil {
		return devstack.Verdict{}, err
	}
	return r.load.Verify(ctx, devstack.VerifyOptions{Deep: true, Recent: true, Dead: r.dead})
}

// logs returns the end of the members' logs.
func (r *rig) logs() string {
	var all []string
	for _, m := range r.members {
		b, _ := os.ReadFile(m.log())
		all = append(all, m.name+":\n"+string(b[max(0, len(b)-1500):]))
	}
	return strings.Join(all, "\n")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func minMedianMax(d []time.Duration) (lo, mid, hi time.Duration) {
	d = slices.Sorted(slices.Values(d))
	return d[0], d[len(d)/2], d[len(d)-1]
}
