package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/alert"
	"gatewatch/internal/evaluate"
)

// Firing implements evaluate.Journal.
func (c *Conn) Firing(ctx context.Context) ([]evaluate.Restored, error) {
	rows, err := c.Query(ctx, `SELECT slo, group_value, argMax(alert_id, at) AS id, argMax(severity, at), argMax(annotations['since'], at), argMax(to_state, at) AS state,
		argMax(labels, at), argMax(annotations, at), argMax(sent_at, at) > toDateTime64(0, 3), max(at)
		FROM alert_event FINAL GROUP BY slo, group_value HAVING state = 'firing' ORDER BY slo, group_value`)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	var list []evaluate.Restored
	for rows.Next() {
		var r evaluate.Restored
		var severity, since, state string
		if err := rows.Scan(&r.SLO, &r.Group, &r.ID, &severity, &since, &state, &r.Labels, &r.Annotations, &r.Sent, &r.At); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		if r.Severity, err = alert.ParseSeverity(severity); err != nil {
			return nil, fmt.Errorf("read alert %s: %w", r.ID, err)
		}
		if r.Since, err = time.Parse(time.RFC3339, since); err != nil {
			return nil, fmt.Errorf("read alert %s: %w", r.ID, err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// Record implements evaluate.Journal. The same events recorded twice, by two
// instances or after a restart, are kept once; one that was recorded as not sent
// is replaced when it has been.
func (c *Conn) Record(ctx context.Context, events []evaluate.Event) error {
	b, err := c.PrepareBatch(ctx, "INSERT INTO alert_event (at, alert_id, slo, group_value, kind, service, owner, severity, from_state, to_state, labels, annotations, evidence, sent_at, send_error)")
	if err != nil {
		return fmt.Errorf("record alerts: %w", err)
	}
	defer b.Close()
	for _, e := range events {
		severity := e.Status.Severity
		if severity == alert.None {
			severity = e.FromSever
		}
		labels, annotations := e.Labels, e.Annotations
		if labels == nil {
			labels = map[string]string{}
		}
		if annotations == nil {
			annotations = map[string]string{}
		}
		sent := e.SentAt
		if sent.IsZero() {
			sent = time.Unix(0, 0)
		}
		err := b.Append(e.At, e.AlertID, e.Status.SLO.Name, e.Status.Group, string(e.Status.Kind()), e.Status.SLO.Service, e.Owner, severity.String(),
			string(e.From), string(e.Status.State), labels, annotations, e.Evidence, sent, e.SendError)
		if err != nil {
			return fmt.Errorf("record alert %s: %w", e.AlertID, err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("record alerts: %w", err)
	}
	return nil
}

// Recorded implements evaluate.Journal.
func (c *Conn) Recorded(ctx context.Context, after time.Time) (map[string]bool, error) {
	rows, err := c.Query(ctx, "SELECT alert_id, at, to_state, severity FROM alert_event WHERE at > fromUnixTimestamp64Milli(@after, 'UTC')", clickhouse.Named("after", after.UnixMilli()))
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	keys := map[string]bool{}
	for rows.Next() {
		var e evaluate.Event
		var state, severity string
		if err := rows.Scan(&e.AlertID, &e.At, &state, &severity); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		// Of an end the severity that ended is stored; its key has none.
		if e.Status.State = alert.State(state); e.Status.State == alert.Firing {
			if e.Status.Severity, err = alert.ParseSeverity(severity); err != nil {
				return nil, fmt.Errorf("read alert %s: %w", e.AlertID, err)
			}
		}
		keys[e.Key()] = true
	}
	return keys, rows.Err()
}

// Keep implements evaluate.Journal.
func (c *Conn) Keep(ctx context.Context, cp evaluate.Checkpoint) error {
	b, err := json.Marshal(cp)
	if err != nil {
		return err
	}
	if err := c.Exec(ctx, "INSERT INTO alert_checkpoint (tick, state) VALUES (?, ?)", cp.Tick, string(b)); err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// Kept implements evaluate.Journal.
func (c *Conn) Kept(ctx context.Context) (cp evaluate.Checkpoint, found bool, err error) {
	var n uint64
	var state string
	if err := c.QueryRow(ctx, "SELECT count(), argMax(state, tick) FROM alert_checkpoint").Scan(&n, &state); err != nil {
		return cp, false, fmt.Errorf("read the checkpoint: %w", err)
	}
	if n == 0 {
		return cp, false, nil
	}
	if err := json.Unmarshal([]byte(state), &cp); err != nil {
		return cp, false, fmt.Errorf("read the checkpoint: %w", err)
	}
	return cp, true, nil
}

// An AlertEvent is one recorded change of an alert.
type AlertEvent struct {
	At                                                time.Time
	ID, SLO, Group, Kind                              string
	Service, Owner, Severity, From, To, Evidence, Err string
	Labels                                            map[string]string
	Annotations                                       map[string]string
	SentAt                                            time.Time
}

// AlertEvents returns the changes of the alert whose id begins with id, oldest
// first; of the newest alert if id is empty.
func (c *Conn) AlertEvents(ctx context.Context, id string) ([]AlertEvent, error) {
	rows, err := c.Query(ctx, `SELECT at, alert_id, slo, group_value, kind, service, owner, severity, from_state, to_state, evidence, send_error, labels, annotations, sent_at
		FROM alert_event FINAL WHERE alert_id = (SELECT argMax(alert_id, at) FROM alert_event WHERE startsWith(alert_id, @id))
		ORDER BY at, severity`, clickhouse.Named("id", id))
	if err != nil {
		return nil, fmt.Errorf("read alert %s: %w", id, err)
	}
	defer rows.Close()
	var list []AlertEvent
	for rows.Next() {
		var e AlertEvent
		if err := rows.Scan(&e.At, &e.ID, &e.SLO, &e.Group, &e.Kind, &e.Service, &e.Owner, &e.Severity, &e.From, &e.To, &e.Evidence, &e.Err, &e.Labels, &e.Annotations, &e.SentAt); err != nil {
			return nil, fmt.Errorf("read alert %s: %w", id, err)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// An Incident is the life of one alert as it was recorded.
type Incident struct {
	ID, SLO, Group, Kind string
	Service, Owner       string
	Severity             string // the highest
	Onset, Raised        time.Time
	Ended                time.Time // zero: not ended
	Sent                 bool      // an Alertmanager took it
	Evidence             string    // JSON, of the beginning
}

// Incidents returns the alerts that were raised in [from, to), oldest first.
func (c *Conn) Incidents(ctx context.Context, from, to time.Time) ([]Incident, error) {
	rows, err := c.Query(ctx, `SELECT alert_id, any(slo), any(group_value), any(kind), any(service), argMax(owner, at), if(countIf(severity = 'page') > 0, 'page', 'ticket'),
		min(at) AS raised, argMin(annotations['since'], at), argMax(to_state, at) = 'firing', max(at), max(sent_at) > toDateTime64(0, 3), argMin(evidence, at)
		FROM alert_event FINAL GROUP BY alert_id HAVING raised >= fromUnixTimestamp64Milli(@from, 'UTC') AND raised < fromUnixTimestamp64Milli(@to, 'UTC') ORDER BY raised, alert_id`,
		clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	defer rows.Close()
	var list []Incident
	for rows.Next() {
		var i Incident
		var since string
		var firing bool
		var last time.Time
		if err := rows.Scan(&i.ID, &i.SLO, &i.Group, &i.Kind, &i.Service, &i.Owner, &i.Severity, &i.Raised, &since, &firing, &last, &i.Sent, &i.Evidence); err != nil {
			return nil, fmt.Errorf("list incidents: %w", err)
		}
		if i.Onset, err = time.Parse(time.RFC3339, since); err != nil {
			return nil, fmt.Errorf("list incident %s: %w", i.ID, err)
		}
		if !firing {
			i.Ended = last
		}
		list = append(list, i)
	}
	return list, rows.Err()
}
