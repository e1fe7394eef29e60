package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/owner"
	"gatewatch/internal/runbook"
)

func runExplain(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "explain", `shows an alert's history, its evidence and its page; of the newest alert if no id is given.
With --kind it asks nobody: it says which runbook and owner a signal would get that you describe.`,
		"gatewatch-alert explain 3f9a\n  gatewatch-alert explain --kind slo_burn --service payments --error-class upstream_timeout --reach one_upstream --set upstream=pay-2")
	file := configFlag(fs)
	output := fs.String("o", "table", "table or json")
	var sig runbook.Signal
	invented(fs, &sig)
	vars := map[string]string{}
	fs.Func("set", "`name=value` that steps may mention, such as upstream=pay-2; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || !slices.Contains(runbook.Variables(), name) {
			return fmt.Errorf("want one of %s, such as upstream=pay-2", strings.Join(runbook.Variables(), ", "))
		}
		vars[name] = value
		return nil
	})
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
	if sig != (runbook.Signal{}) {
		if fs.NArg() > 0 {
			return daemon.Usagef("give an id, or describe a signal, not both")
		}
		return k.explainInvented(env, sig, vars, *output)
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
	return explainText(env.Stdout, events)
}

// invented adds a flag for each field by which runbooks match.
func invented(fs *flag.FlagSet, sig *runbook.Signal) {
	for _, f := range []struct {
		name, usage string
		to          *string
	}{
		{"kind", "`kind` of signal: " + strings.Join(kinds(), ", "), &sig.Kind},
		{"service", "`service` that it is about", &sig.Service},
		{"route", "`route` template", &sig.Route},
		{"error-class", "`class` that most failures have, such as upstream_timeout", &sig.ErrorClass},
		{"responder", "who answered: `gateway`, upstream, client or unknown", &sig.Responder},
		{"layer", "`layer` that time or errors are in", &sig.Layer},
		{"tier", "`tier` of the objective", &sig.Tier},
		{"severity", "`severity`: page or ticket", &sig.Severity},
		{"window", "long `window` that burns, such as 1h", &sig.Window},
		{"reach", "how far it goes, such as `one_upstream`", &sig.Reach},
		{"change", "kind of `change` near the onset, such as deploy", &sig.Change},
		{"traffic", "`surge` or drop against the hour before", &sig.Traffic},
	} {
		fs.StringVar(f.to, f.name, "", f.usage)
	}
}

// explainInvented says what a described signal would get.
func (k *knowledge) explainInvented(env *daemon.Env, sig runbook.Signal, vars map[string]string, output string) error {
	known := k.values()
	for _, f := range []struct{ field, value string }{{"kind", sig.Kind}, {"error_class", sig.ErrorClass}, {"reach", sig.Reach}, {"responder", sig.Responder}, {"layer", sig.Layer}, {"severity", sig.Severity}, {"traffic", sig.Traffic}} {
		if f.value != "" && !slices.Contains(known[f.field], f.value) {
			return daemon.Usagef("--%s %q: want one of %s", strings.ReplaceAll(f.field, "_", "-"), f.value, strings.Join(known[f.field], ", "))
		}
	}
	if info, ok := alert.Kind(sig.Kind).Info(); ok {
		usual := signalOf(info)
		sig.Severity, sig.ErrorClass = cmp.Or(sig.Severity, usual.Severity), cmp.Or(sig.ErrorClass, usual.ErrorClass)
	}
	found, ok := k.runbooks.Match(sig)
	if !ok {
		return daemon.No(fmt.Errorf("no runbook fits, and there is none without match for everything"))
	}
	method, route, both := strings.Cut(sig.Route, " ")
	if !both {
		method, route = "", sig.Route
	}
	who := k.owners.Lookup(owner.Question{Service: sig.Service, Method: method, Route: route}, k.config.Alert.DefaultOwner)
	for name, value := range map[string]string{"service": sig.Service, "route": sig.Route, "error_class": sig.ErrorClass} {
		if vars[name] == "" {
			vars[name] = value
		}
	}
	link := found.Link(k.config.Alert.RunbookBase(), vars)
	if output == "json" {
		return writeJSON(env.Stdout, map[string]any{
			"schema": "gatewatch/explain-signal/v1", "owner": who.Team.Name, "owner_reason": who.Source,
			"runbook": evaluate.RunbookFacts{Name: found.Runbook.Name, Section: found.Section.Title, Reason: found.Reason, URL: link, Steps: found.Steps(vars), Others: found.Others},
		})
	}
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s%s\n", name, fmt.Sprintf(format, args...))
	}
	line("Runbook", "%s § %s: %s", found.Runbook.Name, found.Section.Title, found.Reason)
	line("", "%s", link)
	thenOthers(&b, found.Others)
	for i, s := range found.Steps(vars) {
		line(map[bool]string{true: "DO NOW"}[i == 0], "%d %s", i+1, s)
	}
	line("Owner", "%s: %s", who.Team.Name, who.Source)
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

// thenOthers lists the runbooks that come after the chosen one.
func thenOthers(b *strings.Builder, others []runbook.Other) {
	for i, o := range others {
		fmt.Fprintf(b, "%-9s%s: %s\n", map[bool]string{true: "Then"}[i == 0], o.Name, o.Reason)
	}
}

// explainText writes an alert's history, why it is as it is, and its last page.
func explainText(w io.Writer, events []clickhouse.AlertEvent) error {
	all := changes(events)
	if err := daemon.WriteTable(w, false, all[0], all[1:]); err != nil {
		return err
	}
	why, err := reasons(raised(events))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\n%s\n%s\n", why, events[len(events)-1].Annotations["page"])
	return err
}

// changes is a table of an alert's changes, its head first.
func changes(events []clickhouse.AlertEvent) [][]string {
	rows := [][]string{{"TICK", "ALERT", "SLO", "SEVERITY", "CHANGE", "OWNER", "NOTIFICATION"}}
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
	return rows
}

// raised returns the change whose facts say why: the last to firing, else the last.
func raised(events []clickhouse.AlertEvent) clickhouse.AlertEvent {
	last := events[len(events)-1]
	for _, e := range events {
		if e.To == string(alert.Firing) {
			last = e
		}
	}
	return last
}

// reasons says why an alert was raised and why its owner and runbook were chosen.
func reasons(e clickhouse.AlertEvent) (string, error) {
	var f evaluate.Facts
	if err := json.Unmarshal([]byte(e.Evidence), &f); err != nil {
		return "", fmt.Errorf("read the evidence of alert %s: %w", e.ID, err)
	}
	var b strings.Builder
	add := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-9s%s\n", name, text)
		}
	}
	add("Raised", f.Reason)
	add("Suspects", f.Sentence)
	if f.Layers != nil {
		add("Layers", f.Layers.Why)
	}
	if f.Owner.Name != "" {
		add("Owner", f.Owner.Name+": "+f.Owner.Source)
	}
	if r := f.Runbook; r != nil {
		add("Runbook", fmt.Sprintf("%s § %s: %s", r.Name, r.Section, r.Reason))
		thenOthers(&b, r.Others)
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
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"` // as they were sent
		Evidence    json.RawMessage   `json:"evidence"`
	}
	list := make([]change, 0, len(events))
	for _, e := range events {
		c := change{e.At.UTC(), e.ID, e.SLO, e.Service, e.Owner, e.Severity, e.From, e.To, nil, e.Err, e.Labels, e.Annotations, json.RawMessage(e.Evidence)}
		if e.SentAt.Unix() > 0 {
			at := e.SentAt.UTC()
			c.SentAt = &at
		}
		list = append(list, c)
	}
	return writeJSON(env.Stdout, map[string]any{"schema": "gatewatch/explain/v1", "changes": list})
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
