package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/kafka"
)

// groupName is the name of ingest's consumer group, after the configured prefix.
const groupName = "ingest"

// configFlag adds --config.
func configFlag(fs *flag.FlagSet) *string {
	return fs.String("config", "", "`FILE` to read instead of $GATEWATCH_CONFIG, ./gatewatch.yaml or /etc/gatewatch/gatewatch.yaml")
}

// loadConfig reads gatewatch.yaml; its errors are exit code 2.
func loadConfig(env *daemon.Env, path string) (*config.Config, error) {
	cfg, err := config.Load(path, env.Getenv)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	return cfg, nil
}

// openStore connects to ClickHouse and checks that its schema is the one that
// this build reads. The caller closes the connection.
func openStore(ctx context.Context, cfg *config.Config) (*clickhouse.Conn, error) {
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	if err := conn.CheckSchema(ctx); err != nil {
		conn.Close()
		return nil, storeError(cfg, err)
	}
	return conn, nil
}

// storeError gives an error of ClickHouse its one line and its exit code.
func storeError(cfg *config.Config, err error) error {
	if err == nil {
		return nil
	}
	return daemon.Unreachable(clickhouse.Explain(cfg.ClickHouse, err))
}

// openKafka makes a client; it connects when it is first used.
func openKafka(cfg *config.Config) (*kafka.Client, error) {
	c, err := kafka.NewClient(cfg.Kafka.Config)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	return c, nil
}

// retention lists how long each table keeps its rows.
func retention(r config.Retention) []clickhouse.TTL {
	return []clickhouse.TTL{
		{Table: "access_log", Keep: r.AccessLog},
		{Table: "span", Keep: r.Span},
		{Table: "dead_letter", Keep: r.DeadLetter},
		{Table: "request_10s", Keep: r.Request10s},
		{Table: "request_1m", Keep: r.Request1m},
		{Table: "request_1h", Keep: r.Request1h},
		{Table: "key_1m", Keep: r.Key1m},
		{Table: "key_1h", Keep: r.Key1h},
		{Table: "key_1d", Keep: r.Key1d},
		{Table: "usage_1d", Keep: r.Usage1d},
		{Table: "workflow_call", Keep: r.WorkflowCall},
		{Table: "workflow_run", Keep: r.WorkflowRun},
	}
}

// writeJSON writes v, indented.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
