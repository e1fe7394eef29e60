// Package keyevent decodes events about API keys: JSON objects on a topic, and
// rows of a CSV file.
package keyevent

import (
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/consumer"
)

// message is an event as JSON.
type message struct {
	Event    string `json:"event"`  // created, updated, revoked or renamed
	Key      string `json:"key"`    // the key itself, or
	KeyID    string `json:"key_id"` // its id, 32 hexadecimal digits as `ingest decode` prints them
	Consumer string `json:"consumer"`
	Former   string `json:"former"` // of renamed: the consumer's name before
	Plan     string `json:"plan"`
	Tier     string `json:"tier"`
	Owner    string `json:"owner"`
	Time     string `json:"time"` // RFC 3339; without it the message's own
}

// Decode reads one event, or a list of them.
func Decode(msg []byte) ([]consumer.Event, error) {
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
		return nil, &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not a JSON object of a key event"}
	}
	var events []consumer.Event
	for _, m := range list {
		e, err := m.event()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func (m *message) event() (consumer.Event, error) {
	e := consumer.Event{Key: m.Key, Consumer: m.Consumer, Former: m.Former, Plan: m.Plan, Tier: m.Tier, Owner: m.Owner}
	var ok bool
	if e.Action, ok = consumer.ParseAction(m.Event); !ok {
		return e, &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "event is not created, updated, revoked or renamed"}
	}
	if m.KeyID != "" {
		b, err := hex.DecodeString(m.KeyID)
		if err != nil || len(b) != len(e.KeyID) {
			return e, &accesslog.ParseError{Reason: accesslog.ReasonBadNumber, Detail: "key_id is not 32 hexadecimal digits"}
		}
		copy(e.KeyID[:], b)
	}
	if m.Time != "" {
		t, err := time.Parse(time.RFC3339Nano, m.Time)
		if err != nil {
			return e, &accesslog.ParseError{Reason: accesslog.ReasonBadTime, Detail: "time is not as 2006-01-02T15:04:05Z"}
		}
		e.Time = t.UTC()
	}
	if m.Key == "" && m.KeyID == "" && m.Consumer == "" {
		return e, &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "neither key nor key_id nor consumer"}
	}
	if (e.Action == consumer.Renamed) != (m.Former != "") || e.Action == consumer.Renamed && (m.Consumer == "" || m.Consumer == m.Former) {
		return e, &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "renamed goes with consumer and former, which differ"}
	}
	return e, nil
}

// Columns are those that a CSV file can have; its first line says which and in which order.
func Columns() []string {
	return []string{"event", "key", "key_id", "consumer", "former", "plan", "tier", "owner", "time"}
}

// ReadCSV reads the events of a CSV file (RFC 4180). Without a column event
// each row is a key that was made. Errors name the line, and all are reported.
func ReadCSV(r io.Reader) ([]consumer.Event, error) {
	c := csv.NewReader(r)
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("line 1: want the names of the columns: %w", err)
	}
	for i, name := range head {
		head[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if !slices.Contains(Columns(), head[i]) {
			return nil, fmt.Errorf("line 1: no column %q; the columns are %s", name, strings.Join(Columns(), ", "))
		}
	}
	var events []consumer.Event
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
		m := message{Event: "created"}
		for i, name := range head {
			*m.field(name) = strings.TrimSpace(row[i])
		}
		if m.Event == "" {
			m.Event = "created"
		}
		e, err := m.event()
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		events = append(events, e)
	}
}

func (m *message) field(name string) *string {
	switch name {
	case "event":
		return &m.Event
	case "key":
		return &m.Key
	case "key_id":
		return &m.KeyID
	case "consumer":
		return &m.Consumer
	case "former":
		return &m.Former
	case "plan":
		return &m.Plan
	case "tier":
		return &m.Tier
	case "owner":
		return &m.Owner
	}
	return &m.Time
}
