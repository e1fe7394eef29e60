package main

import (
	"context"
	"encoding/json"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

func runIncidents(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "incidents", "lists the alerts that were raised, oldest first.", "gatewatch-alert incidents --from 7d")
	file := configFlag(fs)
	from := fs.String("from", "7d", "first `time`: RFC 3339, -2h or 7d")
	to := fs.String("to", "", "last `time` (default now)")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return daemon.Usagef("incidents takes no arguments, got %q; `explain ID` tells about one", fs.Arg(0))
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	begin, end, err := parseRange(*from, *to, time.Now())
	if err != nil {
		return err
	}
	k, err := load(*file, env.Getenv)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return err
	}
	defer store.Close()
	list, err := store.Incidents(ctx, begin, end)
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	return printIncidents(env, *output, begin, end, list)
}

func printIncidents(env *daemon.Env, output string, begin, end time.Time, list []clickhouse.Incident) error {
	type row struct {
		Alert    string     `json:"alert"`
		SLO      string     `json:"slo"`
		Service  string     `json:"service"`
		Owner    string     `json:"owner"`
		Severity string     `json:"severity"`
		Onset    time.Time  `json:"onset"`
		Raised   time.Time  `json:"raised"`
		Ended    *time.Time `json:"ended,omitempty"`
		Sent     bool       `json:"sent"`
	}
	rows := []row{}
	var table [][]string
	for _, i := range list {
		r := row{i.ID, i.SLO, i.Service, i.Owner, i.Severity, i.Onset.UTC(), i.Raised.UTC(), nil, i.Sent}
		lasted, sent := "ongoing", "no"
		if !i.Ended.IsZero() {
			ended := i.Ended.UTC()
			r.Ended, lasted = &ended, ended.Sub(i.Raised).String()
		}
		if i.Sent {
			sent = "yes"
		}
		rows = append(rows, r)
		table = append(table, []string{r.Raised.Format(time.RFC3339), r.Alert, r.Severity, r.SLO, r.Owner, lasted, sent})
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"schema": "gatewatch/incidents/v1", "from": begin.UTC(), "to": end.UTC(), "incidents": rows})
	}
	return daemon.WriteTable(env.Stdout, output == "csv", []string{"RAISED", "ALERT", "SEVERITY", "SLO", "OWNER", "LASTED", "SENT"}, table)
}
