// Command alert (gatewatch-alert) evaluates service level objectives and sends
// pages that name owner, runbook and suspects.
//
//	request_10s, completeness ──► evaluate ──► owner + runbook + suspects ──► Alertmanager
//	                                 │
//	                                 └──► alert_event ──► explain
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
		Name:    "gatewatch-alert",
		Summary: "service level objectives, and the pages that explain a failure",
		Default: "run",
		Commands: []daemon.Command{
			{Name: "run", Summary: "evaluate all objectives until stopped", Run: runRun},
			{Name: "check", Summary: "check objectives, owners and runbooks; with --connect also ClickHouse and Alertmanager", Run: runCheck},
			{Name: "backtest", Summary: "say what the objectives would have raised in the past", Run: runBacktest},
			{Name: "incidents", Summary: "list the alerts that were raised", Run: runIncidents},
			{Name: "explain", Summary: "show an alert's history, its evidence and its page", Run: runExplain},
		},
	}
	return app.Main(ctx, env, args)
}
