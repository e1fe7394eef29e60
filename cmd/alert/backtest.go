package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
)

func runBacktest(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "backtest", "says what the objectives would have raised in the past; nothing is sent.", "gatewatch-alert backtest --from 7d")
	file := configFlag(fs)
	from := fs.String("from", "7d", "first `time`: RFC 3339, -2h or 7d")
	to := fs.String("to", "", "last `time` (default now)")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	now := time.Now()
	begin, err := daemon.ParseTime(*from, now)
	if err != nil {
		return daemon.Usage(err)
	}
	end := now
	if *to != "" {
		if end, err = daemon.ParseTime(*to, now); err != nil {
			return daemon.Usage(err)
		}
	}
	if !begin.Before(end) {
		return daemon.Usagef("--from %s is not before --to", *from)
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	if len(k.slos) == 0 {
		return daemon.Unknown(fmt.Errorf("there are no objectives: set alert.slos"))
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return err
	}
	defer store.Close()
	changes, err := evaluate.Backtest(ctx, store, k.slos, begin, end)
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	return printBacktest(env, *output, begin, end, changes)
}

func printBacktest(env *daemon.Env, output string, begin, end time.Time, changes []evaluate.Transition) error {
	type row struct {
		Tick     time.Time `json:"tick"`
		SLO      string    `json:"slo"`
		From     string    `json:"from"`
		To       string    `json:"to"`
		Severity string    `json:"severity"`
		Reason   string    `json:"reason"`
	}
	list := make([]row, 0, len(changes))
	var table [][]string
	for _, t := range changes {
		severity := t.Status.Severity
		if severity == 0 {
			severity = t.FromSever
		}
		r := row{t.At.UTC(), t.Status.SLO.Name, string(t.From), string(t.Status.State), severity.String(), t.Status.Reason}
		list = append(list, r)
		table = append(table, []string{r.Tick.Format(time.RFC3339), r.SLO, r.Severity, r.From + " → " + r.To, r.Reason})
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"schema": "gatewatch/backtest/v1", "from": begin.UTC(), "to": end.UTC(), "changes": list})
	}
	return daemon.WriteTable(env.Stdout, output == "csv", []string{"TICK", "SLO", "SEVERITY", "CHANGE", "REASON"}, table)
}
