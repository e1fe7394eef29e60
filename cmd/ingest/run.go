package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

func runRun(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "run", "reads all configured topics until stopped.", "gatewatch-ingest run --config /etc/gatewatch/gatewatch.yaml")
	file := configFlag(fs)
	level := fs.String("log.level", "info", "debug, info, warn or error")
	pprof := fs.Bool("pprof", false, "serve /debug/pprof/ beside the metrics")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("run takes no arguments, got %q", fs.Arg(0))
	}
	log, err := daemon.NewLogger(env.Stderr, *level)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(env, *file)
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer conn.Close()
	client, err := openKafka(cfg)
	if err != nil {
		return err
	}
	defer client.Close()

	limitMemory(cfg.Ingest.MaxMemory)
	reg := daemon.NewRegistry()
	d := &ingestDaemon{cfg: cfg, conn: conn, client: client, log: log}
	admin := daemon.NewAdmin(cfg.Ingest.Listen, *pprof, reg, log,
		daemon.Check{Name: "clickhouse", Probe: d.checkStore},
		daemon.Check{Name: "kafka", Probe: d.checkTopics},
		daemon.Check{Name: "partitions", Probe: d.checkPartitions},
	)
	if err := admin.Listen(); err != nil {
		return err
	}
	log.Info("started", "listen", admin.Addr(), "version", daemon.Version())
	return daemon.RunStages(ctx, log, cfg.Ingest.ShutdownTimeout,
		daemon.Stage{Name: "ingest", Run: func(ctx context.Context) error {
			if err := d.prepare(ctx); err != nil {
				return err
			}
			writer := clickhouse.NewWriter(conn)
			defer writer.Close()
			return d.ingest(ctx, writer, ingest.Deps{Registerer: reg})
		}},
		daemon.Stage{Name: "admin", Run: admin.Run},
	)
}

// limitMemory lets the garbage collector keep the process below limit bytes;
// GOMEMLIMIT goes before.
func limitMemory(limit int) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(int64(limit) / 20 * 19) // what the runtime does not count is little
	}
}

// An ingestDaemon is what run wires together.
type ingestDaemon struct {
	cfg    *config.Config
	conn   *clickhouse.Conn
	client *kafka.Client
	log    *slog.Logger
	ready  readiness
}

// prepare waits for ClickHouse and Kafka, brings the schema up to date and
// makes sure that keys are hashed with the same pepper as before.
func (d *ingestDaemon) prepare(ctx context.Context) error {
	final := func(err error) bool {
		return clickhouse.Hopeless(err) || errors.Is(err, errPepper) || kafka.Denied(err)
	}
	if err := daemon.Await(ctx, d.log, "ClickHouse", d.prepareStore, final); err != nil {
		return err
	}
	return daemon.Await(ctx, d.log, "Kafka", d.checkTopics, final)
}

func (d *ingestDaemon) prepareStore(ctx context.Context) error {
	done, err := d.conn.Migrate(ctx)
	if err != nil {
		return clickhouse.Explain(d.cfg.ClickHouse, err)
	}
	for _, m := range done {
		d.log.Info("schema migrated", "version", m.Version, "name", m.Name)
	}
	if err := d.conn.ApplyRetention(ctx, d.cfg.Retention.TTLs()); err != nil {
		return clickhouse.Explain(d.cfg.ClickHouse, err)
	}
	return checkPepper(ctx, d.cfg.Ingest.PepperFile, d.conn)
}

// ingest runs the pipeline; deps come with their registerer and get the rest here.
func (d *ingestDaemon) ingest(ctx context.Context, sink ingest.Sink, deps ingest.Deps) error {
	if ctx.Err() != nil {
		return nil
	}
	pepper, err := config.ReadSecret(d.cfg.Ingest.PepperFile)
	if err != nil {
		return daemon.Usage(err)
	}
	names := make([]string, len(d.cfg.Kafka.Topics))
	for i, t := range d.cfg.Kafka.Topics {
		names[i] = t.Name
	}
	deps.Source = d.client.NewGroup(d.client.Group(groupName), names, d.log)
	deps.Sink = sink
	deps.NewDecoder = func(t ingest.TopicConfig) (ingest.Decoder, error) {
		n, err := newNormaliser(t, d.cfg.Ingest, []byte(pepper))
		if err != nil {
			return nil, err
		}
		return newDecoder(t, n, func(format, why string) {
			d.log.Info("format found out", "topic", t.Name, "format", format, "why", why)
		})
	}
	deps.Mask = maskExcerpt
	deps.DeadLetters = d.client.Write
	deps.Reached = d.conn.LedgerLast
	deps.OldestEvent = longest(d.cfg.Retention)
	deps.Shards = d.conn.Shards()
	deps.SchemaVersion = clickhouse.SchemaVersion()
	deps.Now = time.Now
	deps.Log = d.log
	p, err := ingest.New(d.cfg.Ingest, d.cfg.Kafka.Topics, deps)
	if err != nil {
		return daemon.Usage(err)
	}
	d.ready.set(p.Ready)
	return p.Run(ctx)
}

// longest returns the longest retention of any level, 0 if one keeps for ever.
func longest(r config.Retention) time.Duration {
	var m time.Duration
	for _, t := range r.TTLs() {
		if t.Table != "access_log" && !strings.HasPrefix(t.Table, "request_") && !strings.HasPrefix(t.Table, "key_") {
			continue
		}
		for _, e := range append(t.Tenants, clickhouse.Exception{Keep: t.Keep}) {
			if e.Keep == 0 {
				return 0
			}
			m = max(m, e.Keep)
		}
	}
	return m
}

func (d *ingestDaemon) checkStore(ctx context.Context) error {
	return d.conn.Ready(ctx, d.cfg.ClickHouse)
}

func (d *ingestDaemon) checkTopics(ctx context.Context) error {
	for _, t := range d.cfg.Kafka.Topics {
		if _, err := d.client.Topics(ctx, t.Name); err != nil {
			return fmt.Errorf("kafka.topics: %w", err)
		}
	}
	return nil
}

func (d *ingestDaemon) checkPartitions(context.Context) error { return d.ready.get() }
