package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

func runExplain(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "explain", "shows an alert's history, its evidence and its page; of the newest alert if no id is given.", "gatewatch-alert explain 3f9a")
	file := configFlag(fs)
	output := fs.String("o", "table", "table or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 1 {
		return daemon.Usagef("explain takes one id, got %q", fs.Args())
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
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
	events, err := store.AlertEvents(ctx, fs.Arg(0))
	if err != nil {
		return daemon.Unreachable(clickhouse.Explain(k.config.ClickHouse, err))
	}
	if len(events) == 0 {
		return daemon.Unknown(fmt.Errorf("no alert begins with %q", fs.Arg(0)))
	}
	if *output == "json" {
		return explainJSON(env, events)
	}
	var rows [][]string
	for _, e := range events {
		sent := "not sent"
		if e.SentAt.Unix() > 0 {
			sent = "sent " + e.SentAt.UTC().Format(time.TimeOnly)
		}
		if e.Err != "" {
			sent = e.Err
		}
		rows = append(rows, []string{e.At.UTC().Format(time.RFC3339), e.ID, e.SLO, e.Severity, e.From + " → " + e.To, e.Owner, sent})
	}
	if err := daemon.WriteTable(env.Stdout, false, []string{"TICK", "ALERT", "SLO", "SEVERITY", "CHANGE", "OWNER", "NOTIFICATION"}, rows); err != nil {
		return err
	}
	last := events[len(events)-1]
	facts := last
	for _, e := range events {
		if e.To == string(alert.Firing) {
			facts = e
		}
	}
	why, err := reasons(facts)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "\n%s\n%s\n", why, last.Annotations["page"])
	return err
}

// reasons says why an alert was raised and why its owner and runbook were chosen.
func reasons(e clickhouse.AlertEvent) (string, error) {
	var f struct {
		Reason, Owner string
		OwnerReason   string                          `json:"owner_reason"`
		RunbookReason string                          `json:"runbook_reason"`
		Others        []struct{ Name, Reason string } `json:"runbook_others"`
	}
	if err := json.Unmarshal([]byte(e.Evidence), &f); err != nil {
		return "", fmt.Errorf("read the evidence of alert %s: %w", e.ID, err)
	}
	var b strings.Builder
	add := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s%s\n", name, fmt.Sprintf(format, args...))
	}
	if f.Reason != "" {
		add("Raised", "%s", f.Reason)
	}
	if f.OwnerReason != "" {
		add("Owner", "%s: %s", f.Owner, f.OwnerReason)
	}
	if book := e.Annotations["runbook"]; book != "" {
		add("Runbook", "%s: %s", book, e.Annotations["runbook_reason"])
	}
	for i, o := range f.Others {
		name := ""
		if i == 0 {
			name = "Then"
		}
		add(name, "%s: %s", o.Name, o.Reason)
	}
	return b.String(), nil
}

func explainJSON(env *daemon.Env, events []clickhouse.AlertEvent) error {
	type change struct {
		Tick        time.Time         `json:"tick"`
		Alert       string            `json:"alert"`
		SLO         string            `json:"slo"`
		Service     string            `json:"service"`
		Owner       string            `json:"owner"`
		Severity    string            `json:"severity"`
		From        string            `json:"from"`
		To          string            `json:"to"`
		SentAt      *time.Time        `json:"sent_at,omitempty"`
		SendError   string            `json:"send_error,omitempty"`
		Annotations map[string]string `json:"annotations"`
		Evidence    json.RawMessage   `json:"evidence"`
	}
	list := make([]change, 0, len(events))
	for _, e := range events {
		c := change{e.At.UTC(), e.ID, e.SLO, e.Service, e.Owner, e.Severity, e.From, e.To, nil, e.Err, e.Annotations, json.RawMessage(e.Evidence)}
		if e.SentAt.Unix() > 0 {
			at := e.SentAt.UTC()
			c.SentAt = &at
		}
		list = append(list, c)
	}
	enc := json.NewEncoder(env.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"schema": "gatewatch/explain/v1", "changes": list})
}
