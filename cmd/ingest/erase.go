package main

import (
	"context"
	"fmt"
	"strings"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
)

// runErase removes what is stored about a consumer.
func runErase(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "erase", `removes what is stored about a consumer: erase consumer NAME

Names, plans and contacts of its keys, its calls in rollups by key and its runs of
workflows go; raw rows stay without key, consumer, client, path and user agent, so
that verify still counts them. Kafka keeps its messages as long as its topics do.`,
		"gatewatch-ingest erase consumer acme\ngatewatch-ingest erase --yes consumer acme")
	file := configFlag(fs)
	yes := fs.Bool("yes", false, "do it; without, say what would go")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 2 || fs.Arg(0) != "consumer" || fs.Arg(1) == "" {
		return daemon.Usagef("erase takes the word consumer and the consumer's name")
	}
	cfg, err := config.Load(*file, env.Getenv)
	if err != nil {
		return daemon.Usage(err)
	}
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer conn.Close()
	e, err := conn.Erasure(ctx, fs.Arg(1))
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(cfg.ClickHouse, err))
	}
	var total int64
	for _, r := range e.Rows {
		total += r.Rows
		fmt.Fprintf(env.Stdout, "%-14s %12d rows\n", r.Table, r.Rows)
	}
	fmt.Fprintf(env.Stdout, "%s with %s\n", strings.Join(e.Names, ", "), daemon.Plural(int64(e.Keys), "key"))
	if total == 0 {
		return daemon.No(fmt.Errorf("nothing is stored about %s", fs.Arg(1)))
	}
	if !*yes {
		fmt.Fprintln(env.Stdout, "nothing was changed; --yes erases it")
		return nil
	}
	if err := conn.Erase(ctx, e); err != nil {
		return daemon.Unreachable(clickhouse.Explain(cfg.ClickHouse, err))
	}
	fmt.Fprintln(env.Stdout, "erased")
	return nil
}
