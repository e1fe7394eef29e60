// Package devstack runs the whole system on one machine, from one process: an
// embedded Kafka broker, ClickHouse, Alertmanager, the three built binaries on
// one gatewatch.yaml made from the shipped one, a receiver of notifications
// and the load generator. Everything listens on free ports of 127.0.0.1, keeps
// its data in one folder and ends with this process, however that ends.
package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/loadgen"
)

// Config says what to run.
type Config struct {
	// Dir is the folder for all data; it must be empty.
	Dir string
	// Root is the repository: its deploy folder is used.
	Root string
	// Bin holds the built binaries ingest, aggregate, alert. Default Root/bin.
	Bin string
	// Kafka is the address of a broker to use instead of the embedded one; its
	// topics exist, with that many Partitions each.
	Kafka string
	// Partitions is how many each topic has. Default 2.
	Partitions int
	// Topics replaces the topics of the shipped configuration, for a load other
	// than the shop's: each a map as in gatewatch.yaml.
	Topics []map[string]any
	// Shards is how many ClickHouse servers make a cluster; 0 is one server without.
	Shards int
	// Settings are further overrides of gatewatch.yaml.
	Settings map[string]any
	// Users is the text of a users.xml with further users of ClickHouse, Logins
	// are their passwords.
	Users  string
	Logins map[string]string
	// WithoutAlert leaves out alert, Alertmanager and the receiver.
	WithoutAlert bool
	// Log receives progress of downloads and builds.
	Log io.Writer
	// Step is told the name of each start-up step and how long it took.
	Step func(name string, took time.Duration)
}

// A Stack is the running system.
type Stack struct {
	Broker       *Broker
	Engine       *engine.Server
	Engines      []*engine.Server // all of a cluster; Engine is the first
	Store        *clickhouse.Conn
	Alertmanager *Alertmanager // nil without alert
	Webhook      *Webhook      // nil without alert

	// Settings is the path of gatewatch.yaml.
	Settings string
	// Ingest, Aggregate and Alert are the addresses of /metrics.
	Ingest, Aggregate, Alert string

	config    Config
	processes []*process
	admin     map[string]string // binary → address
}

// A process is one of the binaries.
type process struct {
	name  string
	child *leash.Process
	log   string // file
}

const (
	stopTimeout   = 1800 * time.Millisecond // for each binary; all end at the same time
	engineTimeout = 700 * time.Millisecond
)

// Start starts Kafka, ClickHouse and Alertmanager and returns when all answer.
// On an error nothing is left running.
func Start(ctx context.Context, c Config) (*Stack, error) {
	if c.Bin == "" {
		c.Bin = filepath.Join(c.Root, "bin")
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	if c.Partitions == 0 {
		c.Partitions = Partitions
	}
	if c.Step == nil {
		c.Step = func(string, time.Duration) {}
	}
	s := &Stack{config: c}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context) error {
	c := s.config
	step := func(name string, f func() error) error {
		begin := time.Now()
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.Step(name, time.Since(begin))
		return nil
	}
	if c.Kafka != "" {
		s.Broker = &Broker{Addr: c.Kafka}
	} else if err := step("Kafka (embedded)", func() (err error) {
		s.Broker, err = startBroker(filepath.Join(c.Dir, "kafka"), c.Partitions, s.topics())
		return err
	}); err != nil {
		return err
	}
	if err := step("ClickHouse", func() (err error) {
		conf := engine.Config{Dir: filepath.Join(c.Dir, "clickhouse"), Users: c.Users, Logins: c.Logins, Log: c.Log}
		if c.Shards == 0 {
			s.Engine, err = engine.Start(ctx, conf)
			return err
		}
		if s.Engines, err = engine.StartCluster(ctx, conf, c.Shards, 1); err == nil {
			s.Engine = s.Engines[0]
		}
		return err
	}); err != nil {
		return err
	}
	if !c.WithoutAlert {
		if err := step("Alertmanager", func() (err error) {
			if s.Webhook, err = startWebhook(); err != nil {
				return err
			}
			s.Alertmanager, err = startAlertmanager(ctx, c, s.Webhook.URL)
			return err
		}); err != nil {
			return err
		}
	}
	if err := step("gatewatch.yaml", s.writeSettings); err != nil {
		return err
	}
	return nil
}

// Run starts binaries, ingest first, and returns when all are ready. Start
// leaves that to the caller, so that a past can be sent before they read it.
func (s *Stack) Run(ctx context.Context, names ...string) error {
	for _, name := range names {
		begin := time.Now()
		if err := s.startBinary(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.config.Step(name, time.Since(begin))
	}
	return nil
}

func (s *Stack) topics() []string {
	if s.config.Topics == nil {
		return loadgen.Topics()
	}
	var list []string
	for _, t := range s.config.Topics {
		list = append(list, t["name"].(string))
	}
	return list
}

// writeSettings makes gatewatch.yaml from the shipped one and opens the store.
func (s *Stack) writeSettings() error {
	c := s.config
	addrs, err := freeAddrs(3)
	if err != nil {
		return err
	}
	s.Ingest, s.Aggregate, s.Alert = addrs[0], addrs[1], addrs[2]
	s.admin = map[string]string{"ingest": s.Ingest, "aggregate": s.Aggregate, "alert": s.Alert}
	password := filepath.Join(c.Dir, "clickhouse-password")
	if err := os.WriteFile(password, []byte(s.Engine.Password), 0o600); err != nil {
		return err
	}
	overrides := map[string]any{
		"kafka": map[string]any{"brokers": []string{s.Broker.Addr}},
		"clickhouse": map[string]any{
			"address": s.Engine.Addr, "http_address": s.Engine.HTTPAddr, "database": "gatewatch", "username": s.Engine.Username, "password_file": password,
		},
		"ingest": map[string]any{
			"listen": s.Ingest, "start": "earliest", "pepper_file": filepath.Join(c.Dir, "pepper"),
		},
		"aggregate": map[string]any{"listen": s.Aggregate, "kpi": filepath.Join(c.Root, "deploy/kpi")},
		"alert": map[string]any{
			"listen": s.Alert, "slos": filepath.Join(c.Root, "deploy/slo"), "catalog": filepath.Join(c.Root, "deploy/catalog"),
		},
	}
	if s.Alertmanager != nil {
		merge(overrides, map[string]any{"alert": map[string]any{"alertmanagers": []string{s.Alertmanager.URL}}})
	}
	if c.Topics != nil {
		merge(overrides, map[string]any{"kafka": map[string]any{"topics": c.Topics}})
	}
	if c.Settings != nil {
		merge(overrides, c.Settings)
	}
	store := clickhouse.Config{Address: s.Engine.Addr, Database: "gatewatch", Username: s.Engine.Username, PasswordFile: password}
	if len(s.Engines) > 0 {
		store.Cluster = engine.Cluster
		for _, e := range s.Engines {
			store.Shards = append(store.Shards, []string{e.Addr})
		}
		merge(overrides, map[string]any{"clickhouse": map[string]any{"cluster": store.Cluster, "shards": store.Shards}})
	}
	s.Settings = filepath.Join(c.Dir, "gatewatch.yaml")
	if err := writeSettings(filepath.Join(c.Root, "deploy/config/gatewatch.yaml"), s.Settings, overrides); err != nil {
		return err
	}
	s.Store, err = clickhouse.Open(store)
	return err
}

// startBinary starts a binary and waits until it is ready.
func (s *Stack) startBinary(ctx context.Context, name string) error {
	p := &process{name: name, log: filepath.Join(s.config.Dir, name+".log")}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if p.child, err = leash.Start(out, filepath.Join(s.config.Bin, name), "run", "--config", s.Settings); err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	if err := waitReady(ctx, "http://"+s.admin[name]+"/readyz", p.child.Done()); err != nil {
		return fmt.Errorf("%w; the end of %s:\n%s", err, p.log, tail(p.log))
	}
	return nil
}

// waitReady asks url until it answers 200.
func waitReady(ctx context.Context, url string, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // each statement of a migration takes its time on a busy machine
	defer cancel()
	last := "no answer"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			last = strings.TrimSpace(string(b))
		}
		select {
		case <-done:
			return errors.New("the process ended")
		case <-ctx.Done():
			return fmt.Errorf("not ready: %s: %w", last, ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// tail returns the last lines of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// Kill ends a binary at once, as a crash does.
func (s *Stack) Kill(name string) {
	for _, p := range s.processes {
		if p.name == name {
			p.child.Kill()
		}
	}
}

// Restart starts a binary again that has ended.
func (s *Stack) Restart(ctx context.Context, name string) error { return s.startBinary(ctx, name) }

// RestartEngine starts ClickHouse again on its data and addresses after Engine.Kill.
func (s *Stack) RestartEngine(ctx context.Context) error {
	e, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(s.config.Dir, "clickhouse"), Log: s.config.Log})
	if err != nil {
		return err
	}
	s.Engine = e
	return nil
}

// Failed returns an error that names a binary which has ended, or nil.
func (s *Stack) Failed() error {
	current := map[string]*process{}
	for _, p := range s.processes {
		current[p.name] = p
	}
	for _, p := range current {
		select {
		case <-p.child.Done():
			return fmt.Errorf("%s ended (%w); the end of its log:\n%s", p.name, p.child.Err(), tail(p.log))
		default:
		}
	}
	return nil
}

// Command runs a binary's sub-command on the stack's configuration and returns
// its standard output; the error of a failing one holds its standard error.
func (s *Stack) Command(ctx context.Context, name, command string, args ...string) ([]byte, error) {
	args = append([]string{command, "--config", s.Settings}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(s.config.Bin, name), args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", name, command, err, strings.TrimSpace(errs.String()))
	}
	return out, nil
}

// Stop ends everything, the binaries first, in less than three seconds. It
// returns an error for each binary that had to be killed.
func (s *Stack) Stop() error {
	ended := make(chan error)
	for _, p := range s.processes {
		go func() {
			if !p.child.Stop(stopTimeout) {
				ended <- fmt.Errorf("%s did not stop in %s and was killed", p.name, stopTimeout)
				return
			}
			ended <- nil
		}()
	}
	if s.Alertmanager != nil {
		s.Alertmanager.stop()
	}
	if s.Webhook != nil {
		s.Webhook.close()
	}
	var errs []error
	for range s.processes {
		errs = append(errs, <-ended)
	}
	if s.Store != nil {
		errs = append(errs, s.Store.Close())
	}
	if s.Broker != nil {
		s.Broker.close()
	}
	for _, e := range s.Engines[min(1, len(s.Engines)):] {
		e.Kill()
	}
	if s.Engine != nil {
		// In the middle of merges it takes longer and is killed: its data is thrown away.
		_ = s.Engine.Stop(engineTimeout)
	}
	return errors.Join(errs...)
}
