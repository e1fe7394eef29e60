package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/evaluate"
)

// RecordDelivered implements evaluate.Journal.
func (c *Conn) RecordDelivered(ctx context.Context, at time.Time, list []evaluate.Delivered) error {
	b, err := c.PrepareBatch(ctx, "INSERT INTO alert_delivery (at, alert_id, state, silenced_by, inhibited_by, muted_by, receivers)")
	if err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	defer b.Close()
	for _, d := range list {
		err := b.Append(at, d.AlertID, d.State, some(d.SilencedBy), some(d.InhibitedBy), some(d.MutedBy), some(d.Receivers))
		if err != nil {
			return fmt.Errorf("record the delivery of %s: %w", d.AlertID, err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	return nil
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// A Delivery is what Alertmanager did with an alert from a time on.
type Delivery struct {
	At time.Time
	evaluate.Delivered
}

// Deliveries returns what Alertmanager did with an alert, oldest first.
func (c *Conn) Deliveries(ctx context.Context, id string) ([]Delivery, error) {
	rows, err := c.Query(ctx, "SELECT at, alert_id, state, silenced_by, inhibited_by, muted_by, receivers FROM alert_delivery FINAL WHERE alert_id = @id ORDER BY at", clickhouse.Named("id", id))
	if err != nil {
		return nil, fmt.Errorf("read the deliveries of %s: %w", id, err)
	}
	defer rows.Close()
	var list []Delivery
	for rows.Next() {
		var d Delivery
		if err := rows.Scan(&d.At, &d.AlertID, &d.State, &d.SilencedBy, &d.InhibitedBy, &d.MutedBy, &d.Receivers); err != nil {
			return nil, fmt.Errorf("read the deliveries of %s: %w", id, err)
		}
		list = append(list, d)
	}
	return list, rows.Err()
}

// A Note is what somebody says about an incident.
type Note struct {
	At           time.Time
	Useful       string // yes, no or unknown
	Author, Text string
}

// AddNote keeps a note on an incident.
func (c *Conn) AddNote(ctx context.Context, id string, n Note) error {
	if err := c.Exec(ctx, "INSERT INTO alert_note (alert_id, at, useful, author, text) VALUES (?, ?, ?, ?, ?)", id, n.At, n.Useful, n.Author, n.Text); err != nil {
		return fmt.Errorf("keep a note on %s: %w", id, err)
	}
	return nil
}

// Notes returns the notes on incidents, by their ids, oldest first. Without ids
// all are returned.
func (c *Conn) Notes(ctx context.Context, ids ...string) (map[string][]Note, error) {
	if ids == nil {
		ids = []string{}
	}
	rows, err := c.Query(ctx, "SELECT alert_id, at, toString(useful), author, text FROM alert_note WHERE empty(@ids) OR alert_id IN (@ids) ORDER BY alert_id, at", clickhouse.Named("ids", clickhouse.ArraySet(anys(ids))))
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	defer rows.Close()
	notes := map[string][]Note{}
	for rows.Next() {
		var id string
		var n Note
		if err := rows.Scan(&id, &n.At, &n.Useful, &n.Author, &n.Text); err != nil {
			return nil, fmt.Errorf("read notes: %w", err)
		}
		notes[id] = append(notes[id], n)
	}
	return notes, rows.Err()
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
