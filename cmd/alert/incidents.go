package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

func runIncidents(ctx context.Context, env *daemon.Env, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "note":
			return runNote(ctx, env, args[1:])
		case "quality":
			return runQuality(ctx, env, args[1:])
		}
	}
	fs := daemon.Flags(env, "incidents", "lists the alerts that were raised, oldest first; with an id it writes one's timeline as Markdown.\n"+
		"`incidents note ID --useful yes|no --text …` says what somebody made of one, `incidents quality` sums that up by objective.", "gatewatch-alert incidents --from 7d")
	file := configFlag(fs)
	from := fs.String("from", "7d", "first `time`: RFC 3339, -2h or 7d")
	to := fs.String("to", "", "last `time` (default now)")
	output := fs.String("o", "table", "table, csv or json")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 1 {
		return daemon.Usagef("incidents takes one id, got %q", fs.Args())
	}
	if err := daemon.CheckOutput(*output, "table", "csv", "json"); err != nil {
		return err
	}
	begin, end, err := parseRange(*from, *to, time.Now())
	if err != nil {
		return err
	}
	s, err := openHistory(ctx, env, *file)
	if err != nil {
		return err
	}
	defer s.store.Close()
	if fs.NArg() == 1 {
		return s.timeline(ctx, env, fs.Arg(0))
	}
	list, err := s.store.Incidents(ctx, begin, end)
	if err != nil {
		return s.unreachable(err)
	}
	notes, err := s.store.Notes(ctx)
	if err != nil {
		return s.unreachable(err)
	}
	return printIncidents(env, *output, begin, end, list, notes)
}

// history is the store with what explains its errors.
type history struct {
	*knowledge
	store *clickhouse.Conn
}

func openHistory(ctx context.Context, env *daemon.Env, file string) (*history, error) {
	k, err := load(file, env.Getenv)
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, k.config)
	if err != nil {
		return nil, err
	}
	return &history{k, store}, nil
}

func (s *history) unreachable(err error) error {
	return daemon.Unreachable(clickhouse.Explain(s.config.ClickHouse, err))
}

func runNote(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "incidents note", "keeps what somebody made of an incident: whether its page was worth it, and why.",
		"gatewatch-alert incidents note 3f9a --useful yes --text 'rolled back 2.14.0'")
	file := configFlag(fs)
	useful := fs.String("useful", "", "yes or no")
	text := fs.String("text", "", "what happened, what helped")
	author := fs.String("author", env.Getenv("USER"), "who says so")
	id, rest := "", args
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		id, rest = args[0], args[1:]
	}
	if err := daemon.ParseFlags(fs, rest); err != nil {
		return err
	}
	if id == "" && fs.NArg() == 1 {
		id = fs.Arg(0)
	} else if fs.NArg() > 0 {
		id = ""
	}
	if id == "" {
		return daemon.Usagef("write: incidents note ID [--useful yes|no] [--text …]")
	}
	word := map[string]string{"yes": "yes", "no": "no", "": "unknown"}[*useful]
	if word == "" || word == "unknown" && *text == "" {
		return daemon.Usagef("say --useful yes or no, or something with --text")
	}
	s, err := openHistory(ctx, env, *file)
	if err != nil {
		return err
	}
	defer s.store.Close()
	events, err := s.store.AlertEvents(ctx, id)
	if err != nil {
		return s.unreachable(err)
	}
	if len(events) == 0 {
		return daemon.Unknown(fmt.Errorf("no alert begins with %q", id))
	}
	if err := s.store.AddNote(ctx, events[0].ID, clickhouse.Note{At: time.Now().UTC(), Useful: word, Author: *author, Text: *text}); err != nil {
		return s.unreachable(err)
	}
	_, err = fmt.Fprintf(env.Stdout, "noted on %s (%s)\n", events[0].ID, events[0].SLO)
	return err
}

// useful returns the last verdict of notes: yes, no or empty.
func useful(notes []clickhouse.Note) string {
	word := ""
	for _, n := range notes {
		if n.Useful != "unknown" {
			word = n.Useful
		}
	}
	return word
}

func printIncidents(env *daemon.Env, output string, begin, end time.Time, list []clickhouse.Incident, notes map[string][]clickhouse.Note) error {
	type row struct {
		Alert    string     `json:"alert"`
		SLO      string     `json:"slo"`
		Group    string     `json:"group,omitempty"`
		Kind     string     `json:"kind"`
		Service  string     `json:"service"`
		Owner    string     `json:"owner"`
		Severity string     `json:"severity"`
		Onset    time.Time  `json:"onset"`
		Raised   time.Time  `json:"raised"`
		Ended    *time.Time `json:"ended,omitempty"`
		Sent     bool       `json:"sent"`
		Useful   string     `json:"useful,omitempty"`
	}
	rows := []row{}
	var table [][]string
	for _, i := range list {
		r := row{i.ID, i.SLO, i.Group, i.Kind, i.Service, i.Owner, i.Severity, i.Onset.UTC(), i.Raised.UTC(), moment(i.Ended), i.Sent, useful(notes[i.ID])}
		lasted, sent := "ongoing", "no"
		if r.Ended != nil {
			lasted = r.Ended.Sub(i.Raised).String()
		}
		if i.Sent {
			sent = "yes"
		}
		name := r.SLO
		if r.Group != "" {
			name += " " + r.Group
		}
		rows = append(rows, r)
		table = append(table, []string{r.Raised.Format(time.RFC3339), r.Alert, r.Severity, name, r.Owner, lasted, sent, r.Useful})
	}
	if output == "json" {
		enc := json.NewEncoder(env.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"schema": "gatewatch/incidents/v1", "from": begin.UTC(), "to": end.UTC(), "incidents": rows})
	}
	return daemon.WriteTable(env.Stdout, output == "csv", []string{"RAISED", "ALERT", "SEVERITY", "SLO", "OWNER", "LASTED", "SENT", "USEFUL"}, table)
}

// rangeFlags adds --config, --from and --to.
func rangeFlags(fs *flag.FlagSet, since string) (file, from, to *string) {
	return configFlag(fs), fs.String("from", since, "first `time`: RFC 3339, -2h or 7d"), fs.String("to", "", "last `time` (default now)")
}
