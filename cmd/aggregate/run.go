package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/gatewaystat"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
	"gatewatch/internal/kpi"
	"gatewatch/internal/rollup"
)

// shutdownTimeout bounds a graceful stop. A measurement that is cut off is lost
// without harm.
const shutdownTimeout = 5 * time.Second

func runRun(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "run", "measures completeness of all topics and computes layers, dimensions and what is\nunusual, until stopped.", "gatewatch-aggregate run --config /etc/gatewatch/gatewatch.yaml")
	file := fs.String("config", "", "`file` to read (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
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
	c, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	defs, err := loadKPIs(c)
	if err != nil {
		return err
	}
	client, err := kafka.NewClient(c.Kafka.Config)
	if err != nil {
		return daemon.Usage(err)
	}
	defer client.Close()
	return serve(ctx, &aggregateDaemon{c: c, log: log, store: store, client: client, defs: defs, pprof: *pprof})
}

// An aggregateDaemon is what `run` works with.
type aggregateDaemon struct {
	c      *config.Config
	log    *slog.Logger
	store  *clickhouse.Conn
	client *kafka.Client
	defs   *kpi.Definitions
	pprof  bool
}

// serve runs all that aggregate does until ctx ends.
func serve(ctx context.Context, d *aggregateDaemon) error {
	c, log, store := d.c, d.log, d.store
	broker := broker{d.client, d.client.Group("ingest")}
	reg := daemon.NewRegistry()
	measurer := aggregate.New(c.Aggregate, topicNames(c.Kafka.Topics), aggregate.Deps{
		Broker: broker, Ledger: store, Record: store, Now: time.Now, Log: log, Registry: reg,
	})
	windows := newWindows(store, c, time.Now, log)
	counters := &aggregate.Reader{Gateways: c.Aggregate.Gateways, Read: gatewaystat.Read, Counters: store, Now: time.Now, Log: log}
	workflows := workflower(c, d.defs, store, log, reg)
	storage := newStorageWatch(store, c, log, reg)
	admin := daemon.NewAdmin(c.Aggregate.Listen, d.pprof, reg, log,
		daemon.Check{Name: "clickhouse", Probe: func(ctx context.Context) error { return store.Ready(ctx, c.ClickHouse) }},
		daemon.Check{Name: "kafka", Probe: func(ctx context.Context) error { return checkTopics(ctx, c, d.client) }},
	)
	if err := admin.Listen(); err != nil {
		return err
	}
	log.Info("started", "listen", admin.Addr(), "topics", strings.Join(topicNames(c.Kafka.Topics), " "), "version", daemon.Version())
	return daemon.RunStages(ctx, log, shutdownTimeout,
		daemon.Stage{Name: "measure", Run: func(ctx context.Context) error {
			if err := daemon.Await(ctx, log, "ClickHouse", func(ctx context.Context) error { return store.Ready(ctx, c.ClickHouse) }, clickhouse.Hopeless); err != nil {
				return err
			}
			return together(ctx, measurer.Run, windows.Run, counters.Run, storage.Run, workflows.Run)
		}},
		daemon.Stage{Name: "admin", Run: admin.Run},
	)
}

// newWindows returns what computes the derived tables.
func newWindows(store *clickhouse.Conn, c *config.Config, now func() time.Time, log *slog.Logger) *aggregate.Windows {
	return &aggregate.Windows{
		Store: store, Derivations: aggregate.Derivations(), Now: now, Log: log,
		Keep: map[string]time.Duration{"access_log": c.Retention.AccessLog, "span": c.Retention.Span},
	}
}

// together runs all until ctx ends or one fails.
func together(ctx context.Context, runs ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range runs {
		g.Go(func() error { return run(ctx) })
	}
	return g.Wait()
}

// workflower keeps runs of workflows up to date. They are cut at the moment up to
// which everything in Kafka is stored, less the time that gateways need to ship.
func workflower(c *config.Config, defs *kpi.Definitions, store *clickhouse.Conn, log *slog.Logger, reg prometheus.Registerer) *aggregate.Workflower {
	return aggregate.NewWorkflower(aggregate.WorkflowDeps{
		Store: store, Definitions: defs, Zone: c.Aggregate.ReportingTimeZone, Interval: c.Aggregate.KPIInterval, Now: time.Now, Log: log, Registry: reg,
		Until: func(ctx context.Context) (time.Time, error) {
			r := reporter{store: store, conf: c, now: time.Now().UTC()}
			complete, err := r.completeness(ctx, r.now)
			if err != nil || complete.CompleteUntil == nil {
				return r.now, err
			}
			return complete.CompleteUntil.Add(-c.Alert.Grace), nil
		},
	})
}

func checkTopics(ctx context.Context, c *config.Config, client *kafka.Client) error {
	_, err := client.Topics(ctx, topicNames(c.Kafka.Topics)...)
	return err
}

func topicNames(topics []ingest.TopicConfig) []string {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return names
}

// A broker gives Kafka's answers in the terms of rollups.
type broker struct {
	*kafka.Client
	group string // that ingest reads with
}

// Ends implements aggregate.Broker.
func (b broker) Ends(ctx context.Context, topic string) ([]rollup.PartitionEnd, error) {
	offsets, err := b.Offsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ids := make([]int32, len(offsets))
	for i, o := range offsets {
		ids[i] = o.Partition
	}
	// Without the group's offsets the answer is only more careful.
	commits, err := b.Committed(ctx, b.group, topic, ids)
	if err != nil {
		commits = nil
	}
	ends := make([]rollup.PartitionEnd, len(offsets))
	for i, o := range offsets {
		ends[i] = rollup.PartitionEnd{Topic: topic, Partition: o.Partition, Start: o.First, End: o.End, Committed: -1, AsOf: o.AsOf}
		if c, ok := commits[o.Partition]; ok {
			ends[i].Committed = c.Offset
		}
	}
	return ends, nil
}
