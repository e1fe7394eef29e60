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
			{Name: "budget", Summary: "show how much of each error budget is left, and until when", Run: runBudget},
			{Name: "backtest", Summary: "say what the objectives would have raised in the past", Run: runBacktest},
			{Name: "suggest", Summary: "write objectives from the traffic that was seen", Run: runSuggest},
			{Name: "slo", Summary: "show objectives of any form as full OpenSLO", Run: runSLO},
			{Name: "import", Summary: "convert objectives of Sloth and Pyrra", Run: runImport},
			{Name: "incidents", Summary: "list the alerts that were raised, one's timeline, notes, and what they were worth", Run: runIncidents},
			{Name: "test", Summary: "send a test page and say who receives it", Run: runTest},
			{Name: "explain", Summary: "show an alert's history, its evidence and its page, or what a described signal would get", Run: runExplain},
			{Name: "runbooks", Summary: "show which runbook each signal of each service gets, and the coverage", Run: runRunbooks},
			{Name: "owners", Summary: "show who answers for each service and route, and the coverage", Run: runOwners},
		},
	}
	return app.Main(ctx, env, args)
}
