package main

import (
	"context"
	"time"

	"gatewatch/internal/alertmanager"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
)

// shutdownTimeout bounds a graceful stop: a round that is cut off is done again
// at the next start.
const shutdownTimeout = 5 * time.Second

func runRun(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "run", "evaluates all objectives until stopped.", "gatewatch-alert run --config /etc/gatewatch/gatewatch.yaml")
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
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	if err := k.faults(); err != nil {
		return daemon.Usage(err)
	}
	c := k.config
	peers, err := openPeers(c)
	if err != nil {
		return daemon.Usage(err)
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer store.Close()
	reg := daemon.NewRegistry()
	loop := evaluate.New(c.Alert, k.deps(store, peers), log, reg)
	checks := []daemon.Check{
		{Name: "clickhouse", Probe: func(ctx context.Context) error { return store.Ready(ctx, c.ClickHouse) }},
		{Name: "evaluation", Probe: loop.Ready},
	}
	if !c.Alert.Preview {
		checks = append(checks, daemon.Check{Name: "alertmanager", Probe: peers.Check})
	}
	admin := daemon.NewAdmin(c.Alert.Listen, *pprof, reg, log, checks...)
	admin.Handle("GET /runbooks/{name}", serveRunbooks(k.runbooks))
	admin.Handle("GET /alerts/{id}", serveAlert(store))
	if err := admin.Listen(); err != nil {
		return err
	}
	log.Info("started", "listen", admin.Addr(), "slos", len(k.set.SLOs), "preview", c.Alert.Preview, "version", daemon.Version())
	return daemon.RunStages(ctx, log, shutdownTimeout,
		daemon.Stage{Name: "evaluate", Run: func(ctx context.Context) error {
			if err := daemon.Await(ctx, log, "ClickHouse", func(ctx context.Context) error { return store.Ready(ctx, c.ClickHouse) }, clickhouse.Hopeless); err != nil {
				return err
			}
			k.publish(ctx, store, log)
			k.record(ctx, store, log)
			return loop.Run(ctx)
		}},
		daemon.Stage{Name: "admin", Run: admin.Run},
	)
}

// deps is what a loop stands on.
func (k *knowledge) deps(store *clickhouse.Conn, peers *alertmanager.Client) evaluate.Deps {
	r := k.config.Retention
	return evaluate.Deps{
		Query: store, Journal: store, Send: peers, Observe: peers, Set: k.set, Owners: k.owners, Runbooks: k.runbooks,
		Topics: accessLogTopics(k.config.Kafka.Topics), Now: time.Now, Elapsed: elapsed(), Fine: r.Request10s, Minutes: r.Request1m,
	}
}

// elapsed returns a clock that nobody sets.
func elapsed() func() time.Duration {
	begin := time.Now()
	return func() time.Duration { return time.Since(begin) }
}

// openPeers returns the client of the Alertmanagers. None are needed to preview.
func openPeers(c *config.Config) (*alertmanager.Client, error) {
	if len(c.Alert.Alertmanagers) == 0 && !c.Alert.Preview {
		return nil, c.Fault("alert.alertmanagers", "missing: list their base URLs, or set preview: true to send nothing")
	}
	return alertmanager.New(c.Alert.Alertmanagers, c.Alert.AlertmanagerAuth)
}
