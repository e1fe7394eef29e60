// Command ingest (gatewatch-ingest) moves gateway access logs and spans from
// Kafka into ClickHouse, exactly once. It owns the schema.
//
//	partition ─► fetch ─► decode ─► normalise ─► block ─┐
//	partition ─► fetch ─► decode ─► normalise ─► block ─┼─► ClickHouse: rows, rollups, dead letters, ledger
//	     ▲                                              │
//	     └── intent before, offset after the insert ────┘
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
		Name:    "gatewatch-ingest",
		Summary: "gateway logs and spans from Kafka into ClickHouse, exactly once",
		Default: "run",
		Commands: []daemon.Command{
			{Name: "run", Summary: "read all configured topics until stopped", Run: runRun},
			{Name: "probe", Summary: "look at a cluster's topics, read-only, and print the configuration for them", Run: runProbe},
			{Name: "check", Summary: "check the configuration; with --connect also the servers that it names", Run: runCheck},
			{Name: "migrate", Summary: "bring the schema up to date; with --dry-run print the SQL", Run: runMigrate},
			{Name: "decode", Summary: "read messages from standard input and print their fields", Run: runDecode},
			{Name: "verify", Summary: "prove that nothing was lost or doubled", Run: runVerify},
			{Name: "status", Summary: "partitions, lag and how far each topic is complete", Run: runStatus},
			{Name: "import", Summary: "read a CSV file of API keys and their consumers", Run: runImport},
			{Name: "erase", Summary: "remove what is stored about a consumer", Run: runErase},
			{Name: "dead-letters", Summary: "list, show or replay messages that could not be read", Run: runDeadLetters},
		},
	}
	return app.Main(ctx, env, args)
}
