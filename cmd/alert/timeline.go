package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

// A happening is one line of a timeline.
type happening struct {
	at   time.Time
	text string
}

// timeline writes one incident as Markdown, for its review.
func (s *history) timeline(ctx context.Context, env *daemon.Env, id string) error {
	events, err := s.store.AlertEvents(ctx, id)
	if err != nil {
		return s.unreachable(err)
	}
	if len(events) == 0 {
		return daemon.Unknown(fmt.Errorf("no alert begins with %q", id))
	}
	first, last := events[0], events[len(events)-1]
	deliveries, err := s.store.Deliveries(ctx, first.ID)
	if err != nil {
		return s.unreachable(err)
	}
	notes, err := s.store.Notes(ctx, first.ID)
	if err != nil {
		return s.unreachable(err)
	}
	_, err = fmt.Fprint(env.Stdout, markdown(first, last, happenings(events, deliveries, notes[first.ID])))
	return err
}

// happenings brings all that is known of an incident into the order of time.
func happenings(events []clickhouse.AlertEvent, deliveries []clickhouse.Delivery, notes []clickhouse.Note) []happening {
	var list []happening
	add := func(at time.Time, format string, args ...any) {
		list = append(list, happening{at, fmt.Sprintf(format, args...)})
	}
	if onset, err := time.Parse(time.RFC3339, events[0].Annotations["since"]); err == nil {
		add(onset, "onset of the failure")
	}
	for _, e := range events {
		var f struct {
			Reason string `json:"reason"`
		}
		reason := ""
		if err := json.Unmarshal([]byte(e.Evidence), &f); err == nil && f.Reason != "" {
			reason = ": " + f.Reason
		}
		if e.To == "firing" {
			add(e.At, "**%s** raised%s", e.Severity, reason)
		} else {
			add(e.At, "**%s** %s%s", e.Severity, e.To, reason)
		}
		switch {
		case e.SentAt.Unix() > 0:
			add(e.SentAt, "an Alertmanager took it")
		case e.Err != "":
			add(e.At, "not sent: %s", e.Err)
		}
	}
	for _, d := range deliveries {
		add(d.At, "at Alertmanager: %s", described(d))
	}
	for _, n := range notes {
		verdict := ""
		if n.Useful != "unknown" {
			verdict = " (useful: " + n.Useful + ")"
		}
		add(n.At, "note%s by %s: %s", verdict, cmp.Or(n.Author, "somebody"), n.Text)
	}
	slices.SortStableFunc(list, func(a, b happening) int { return a.at.Compare(b.at) })
	return list
}

// described says what Alertmanager did with an alert.
func described(d clickhouse.Delivery) string {
	parts := []string{d.State}
	for _, by := range []struct {
		word  string
		names []string
	}{{"silenced by", d.SilencedBy}, {"inhibited by", d.InhibitedBy}, {"muted by", d.MutedBy}, {"for", d.Receivers}} {
		if len(by.names) > 0 {
			parts = append(parts, by.word+" "+strings.Join(by.names, ", "))
		}
	}
	return strings.Join(parts, ", ")
}

func markdown(first, last clickhouse.AlertEvent, list []happening) string {
	var b strings.Builder
	name := first.SLO
	if first.Group != "" {
		name += ", " + first.Group
	}
	fmt.Fprintf(&b, "# Incident %s: %s\n\n", first.ID, name)
	fmt.Fprintf(&b, "* Service: %s\n* Owner: %s\n* Kind: %s\n", first.Service, first.Owner, first.Kind)
	if book := first.Annotations["runbook"]; book != "" {
		fmt.Fprintf(&b, "* Runbook: %s\n", book)
	}
	if last.To == "resolved" {
		fmt.Fprintf(&b, "* Lasted: %s, from %s to %s\n", last.At.Sub(first.At).Round(time.Second), first.At.UTC().Format(time.RFC3339), last.At.UTC().Format(time.RFC3339))
	} else {
		fmt.Fprintf(&b, "* Ongoing since %s\n", first.At.UTC().Format(time.RFC3339))
	}
	b.WriteString("\n## Timeline\n\n| UTC | what |\n|---|---|\n")
	for _, h := range list {
		fmt.Fprintf(&b, "| %s | %s |\n", h.at.UTC().Format("2006-01-02 15:04:05"), strings.NewReplacer("|", "\\|", "\n", " ").Replace(h.text))
	}
	fmt.Fprintf(&b, "\n## The page as it was sent\n\n```\n%s\n```\n", strings.ReplaceAll(first.Annotations["page"], "```", "'''"))
	if last.To == "resolved" {
		fmt.Fprintf(&b, "\n## Its end\n\n```\n%s\n```\n", strings.ReplaceAll(last.Annotations["page"], "```", "'''"))
	}
	b.WriteString("\n## What went well, what did not, what we change\n\n\n")
	return b.String()
}
