// Command aggregate (gatewatch-aggregate) measures how far the data is
// complete, repairs rollups from the raw rows and answers questions about any
// window of traffic.
//
//	Kafka end offsets ─┐
//	                   ├─ run ──► completeness ──► alert, report, dashboards
//	ledger ────────────┘
//	access_log ── backfill ──► request_10s 1m 1h, key_1m 1h 1d ── report ──► table, JSON, CSV
package main

import (
	"context"
	"os"

	"gatewatch/internal/daemon"
)

func main() {
	os.Exit(run(context.Background(), &daemon.Env{
		Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}, os.Args[1:]))
}

func run(ctx context.Context, env *daemon.Env, args []string) int {
	app := daemon.App{
		Name:    "gatewatch-aggregate",
		Summary: "completeness, rollups and reports of what the gateways logged",
		Default: "run",
		Commands: []daemon.Command{
			{Name: "run", Summary: "measure completeness of all topics until stopped", Run: runRun},
			{Name: "check", Summary: "check the configuration; with --connect also Kafka and ClickHouse", Run: runCheck},
			{Name: "backfill", Summary: "recompute final windows of the rollups from the raw rows", Run: runBackfill},
			{Name: "verify", Summary: "compare random windows of the rollups with the raw rows", Run: runVerify},
			{Name: "retention", Summary: "what each level keeps and takes, and when disks are full", Run: runRetention},
			{Name: "kpi", Summary: "publish the KPI files and bring runs of workflows up to date, once", Run: runKPI},
			{Name: "report", Summary: "answer a question about any window: traffic, errors, clients, layers …", Run: runReport},
		},
	}
	return app.Main(ctx, env, args)
}
