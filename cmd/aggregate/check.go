package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/kafka"
)

// connectTimeout bounds each check of --connect.
const connectTimeout = 10 * time.Second

func runCheck(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "check", "checks the configuration; with --connect also Kafka and ClickHouse.", "gatewatch-aggregate check --connect")
	file := fs.String("config", "", "`file` to check (default $GATEWATCH_CONFIG, ./gatewatch.yaml, /etc/gatewatch/gatewatch.yaml)")
	connect := fs.Bool("connect", false, "also try Kafka, the topics, ClickHouse and its schema")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("check takes no arguments, got %q", fs.Arg(0))
	}
	c, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	fmt.Fprintf(env.Stdout, "ok    %s\n", c.File())
	if err := checkKPIs(env.Stdout, c); err != nil {
		return err
	}
	if !*connect {
		return nil
	}
	failed := false
	for _, check := range []struct {
		name string
		do   func(context.Context, *config.Config) (string, error)
	}{
		{"ClickHouse", connectStore}, {"Kafka", connectKafka}, {"completeness", connectCompleteness}, {"routes of KPI files", connectRoutes},
	} {
		cctx, cancel := context.WithTimeout(ctx, connectTimeout)
		text, err := check.do(cctx, c)
		cancel()
		switch _, isWarning := errors.AsType[warning](err); {
		case isWarning:
			fmt.Fprintf(env.Stdout, "warn  %s: %v\n", check.name, err)
		case err != nil:
			failed = true
			fmt.Fprintf(env.Stdout, "FAIL  %s: %v\n", check.name, err)
		default:
			fmt.Fprintf(env.Stdout, "ok    %s: %s\n", check.name, text)
		}
	}
	if failed {
		return daemon.Unreachable(nil)
	}
	return nil
}

// A warning is what works, but perhaps not as it was meant.
type warning struct{ error }

func connectStore(ctx context.Context, c *config.Config) (string, error) {
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return "", err
	}
	defer store.Close()
	if err := store.Ready(ctx, c.ClickHouse); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, database %s, schema %d", c.ClickHouse.Address, c.ClickHouse.Database, clickhouse.SchemaVersion()), nil
}

func connectKafka(ctx context.Context, c *config.Config) (string, error) {
	client, err := kafka.NewClient(c.Kafka.Config)
	if err != nil {
		return "", err
	}
	defer client.Close()
	topics, err := client.Topics(ctx, topicNames(c.Kafka.Topics)...)
	if err != nil {
		return "", err
	}
	partitions := 0
	for _, t := range topics {
		partitions += len(t.Partitions)
	}
	return fmt.Sprintf("%d topics, %d partitions", len(topics), partitions), nil
}

// connectCompleteness tells whether some instance measures at present.
func connectCompleteness(ctx context.Context, c *config.Config) (string, error) {
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return "", err
	}
	defer store.Close()
	ws, err := store.Watermarks(ctx)
	if err != nil {
		return "", clickhouse.Explain(c.ClickHouse, err)
	}
	newest := time.Time{}
	for _, w := range ws {
		if w.MeasuredAt.After(newest) {
			newest = w.MeasuredAt
		}
	}
	age := time.Since(newest)
	switch {
	case newest.IsZero():
		return "", warning{errors.New("not measured yet; start gatewatch-aggregate run")}
	case age > time.Minute:
		return "", warning{fmt.Errorf("last measured %s ago; is gatewatch-aggregate run up?", age.Round(time.Second))}
	}
	return fmt.Sprintf("measured %s ago", age.Round(100*time.Millisecond)), nil
}
