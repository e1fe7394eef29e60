// Package change holds what was changed on purpose: releases, configuration of
// gateways, flags, key policies. A change shortly before an onset is a candidate
// for its cause.
package change

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
)

// An Event is one change. Kind and What are always there.
type Event struct {
	// Time is when it took effect; zero: when the message was produced.
	Time time.Time
	// Service that it concerns; empty: all.
	Service string
	// Kind is deploy, gateway_config, flag, key_policy or a word of the user's.
	Kind string
	What string // for people, such as payments 2.14.0
	Who  string
	URL  string
}

// Before is how long before an onset a change is a candidate for its cause.
const Before = 30 * time.Minute

// Candidate reports whether the change may have caused what began at onset at a service.
func (e *Event) Candidate(service string, onset time.Time) bool {
	return !e.Time.After(onset) && onset.Sub(e.Time) <= Before && (e.Service == "" || service == "" || e.Service == service)
}

// message is an event as it is written.
type message struct {
	Time    string `json:"time"` // RFC 3339
	Service string
	Kind    string `json:"kind"`
	What    string `json:"what"`
	Who     string `json:"who"`
	URL     string `json:"url"`
}

// Columns are those of a CSV file; its first line says which and in which order.
func Columns() []string { return []string{"time", "service", "kind", "what", "who", "url"} }

func (m *message) field(name string) *string {
	switch name {
	case "time":
		return &m.Time
	case "service":
		return &m.Service
	case "kind":
		return &m.Kind
	case "what":
		return &m.What
	case "who":
		return &m.Who
	}
	return &m.URL
}

func (m *message) event() (Event, error) {
	e := Event{Service: m.Service, Kind: strings.ToLower(m.Kind), What: m.What, Who: m.Who, URL: m.URL}
	if m.Kind == "" || m.What == "" {
		return e, &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "kind or what is missing"}
	}
	if m.Time != "" {
		t, err := time.Parse(time.RFC3339Nano, m.Time)
		if err != nil {
			return e, &accesslog.ParseError{Reason: accesslog.ReasonBadTime, Detail: "time is not as 2006-01-02T15:04:05Z"}
		}
		e.Time = t.UTC()
	}
	return e, nil
}

// Decode reads one event as JSON, or a list of them.
func Decode(msg []byte) ([]Event, error) {
	var list []message
	text := strings.TrimSpace(string(msg))
	var err error
	if strings.HasPrefix(text, "[") {
		err = json.Unmarshal([]byte(text), &list)
	} else {
		list = make([]message, 1)
		err = json.Unmarshal([]byte(text), &list[0])
	}
	if err != nil {
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not a JSON object of a change"}
	}
	events := make([]Event, 0, len(list))
	for i := range list {
		e, err := list[i].event()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// Read reads a file: CSV (RFC 4180) whose first line names the columns, or JSON
// Lines. Every event needs a time. All faults are reported, each with its line.
func Read(r io.Reader) ([]Event, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		return readLines(text)
	}
	return readCSV(text)
}

var errNoTime = errors.New("time is missing")

func readLines(text string) (events []Event, err error) {
	var faults []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		list, err := Decode([]byte(line))
		if err == nil && slices.ContainsFunc(list, func(e Event) bool { return e.Time.IsZero() }) {
			err = errNoTime
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		events = append(events, list...)
	}
	return events, errors.Join(faults...)
}

func readCSV(text string) ([]Event, error) {
	c := csv.NewReader(strings.NewReader(text))
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: want the names of the columns: %w", err)
	}
	for i, name := range head {
		head[i] = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(Columns(), head[i]) {
			return nil, fmt.Errorf("line 1: no column %q; the columns are %s", name, strings.Join(Columns(), ", "))
		}
	}
	var events []Event
	var faults []error
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return events, errors.Join(faults...)
		}
		if err != nil {
			return nil, errors.Join(append(faults, err)...) // csv's errors name the line
		}
		line, _ := c.FieldPos(0)
		var m message
		for i, name := range head {
			*m.field(name) = strings.TrimSpace(row[i])
		}
		e, err := m.event()
		if err == nil && e.Time.IsZero() {
			err = errNoTime
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		events = append(events, e)
	}
}
