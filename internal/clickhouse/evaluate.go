package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/alert"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// serverClasses returns the quoted names of the error classes that count against a service.
func serverClasses() string {
	var names []string
	for _, c := range accesslog.ErrorClasses() {
		if c.Server() {
			names = append(names, "'"+c.String()+"'")
		}
	}
	return strings.Join(names, ", ")
}

// quotaClass counts neither as good nor as bad.
const quotaClass = "'client_quota'"

// countable returns the expressions for the valid and the bad requests of a
// rollup's row.
func countable(s slo.SLI) (valid, bad string) {
	if s.Kind == slo.Latency {
		bucket, _ := s.Bucket()
		answered := fmt.Sprintf("error_class NOT IN (%s, %s)", serverClasses(), quotaClass)
		fast := fmt.Sprintf("arraySum(mapValues(mapFilter((k, v) -> k <= %d, latency_hist)))", bucket)
		return fmt.Sprintf("if(%s, timed, 0)", answered), fmt.Sprintf("if(%s, timed - %s, 0)", answered, fast)
	}
	return fmt.Sprintf("if(error_class != %s, requests, 0)", quotaClass),
		fmt.Sprintf("if(error_class IN (%s), requests, 0)", serverClasses())
}

// narrow returns the condition for an objective's requests and its arguments.
func narrow(s slo.SLO) (string, []any) {
	where, args := "service = @service", []any{clickhouse.Named("service", s.Service)}
	if s.SLI.Route != "" {
		where += " AND route = @route"
		args = append(args, clickhouse.Named("route", s.SLI.Route))
	}
	if s.SLI.Method != "" {
		where += " AND method = @method"
		args = append(args, clickhouse.Named("method", s.SLI.Method))
	}
	return where, args
}

// grainTable returns the rollup of a grain.
func grainTable(g rollup.Grain) (string, error) {
	switch g {
	case rollup.Grain10s:
		return "request_10s", nil
	case rollup.Grain1m:
		return "request_1m", nil
	case rollup.Grain1h:
		return "request_1h", nil
	}
	return "", fmt.Errorf("no rollup of grain %s", time.Duration(g))
}

// Counts implements evaluate.Querier.
func (c *Conn) Counts(ctx context.Context, s slo.SLO, g rollup.Grain, from, to time.Time) ([]evaluate.Point, error) {
	table, err := grainTable(g)
	if err != nil {
		return nil, err
	}
	valid, bad := countable(s.SLI)
	where, args := narrow(s)
	query := fmt.Sprintf(`SELECT time, sum(%s), sum(%s) FROM %s
		WHERE %s AND time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC')
		GROUP BY time ORDER BY time`, valid, bad, table, where)
	rows, err := c.Query(ctx, query, append(args, clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()))...)
	if err != nil {
		return nil, fmt.Errorf("count %s: %w", s.Name, err)
	}
	defer rows.Close()
	var list []evaluate.Point
	for rows.Next() {
		var p evaluate.Point
		if err := rows.Scan(&p.Time, &p.Valid, &p.Bad); err != nil {
			return nil, fmt.Errorf("count %s: %w", s.Name, err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// comparison is how long before a failure is the usual state.
const comparison = time.Hour

// Evidence implements evaluate.Querier. It reads the raw rows: all of them, not a sample.
func (c *Conn) Evidence(ctx context.Context, s slo.SLO, onset, to time.Time) (evaluate.Evidence, error) {
	ev := evaluate.Evidence{From: onset, To: to}
	valid, bad := fmt.Sprintf("error_class != %s", quotaClass), fmt.Sprintf("error_class IN (%s)", serverClasses())
	if s.SLI.Kind == slo.Latency {
		_, edge := s.SLI.Bucket()
		valid = fmt.Sprintf("latency_us IS NOT NULL AND error_class NOT IN (%s, %s)", serverClasses(), quotaClass)
		bad = fmt.Sprintf("%s AND latency_us > %d", valid, edge.Microseconds())
	}
	where, args := narrow(s)
	args = append(args, clickhouse.Named("from", onset.Add(-comparison).UnixMilli()), clickhouse.Named("onset", onset.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	rowsOf := fmt.Sprintf(`(SELECT ts >= fromUnixTimestamp64Milli(@onset, 'UTC') AS is_now, (%s) AS is_valid, (%s) AS is_bad,
		upstream, concat(method, ' ', route) AS operation, node, region, api_version, consumer, plan,
		toString(error_class) AS class, toString(responder) AS who, toString(error_evidence) AS basis
		FROM access_log WHERE %s AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC'))`, valid, bad, where)
	var nowValid, nowBad, beforeValid, beforeBad, hit, active, stated uint64
	err := c.QueryRow(ctx, `SELECT countIf(is_now AND is_valid), countIf(is_now AND is_bad), countIf(NOT is_now AND is_valid), countIf(NOT is_now AND is_bad),
		uniqExactIf(consumer, is_now AND is_bad AND consumer != ''), uniqExactIf(consumer, is_now AND consumer != ''),
		countIf(is_now AND is_bad AND basis = 'stated') FROM `+rowsOf, args...).
		Scan(&nowValid, &nowBad, &beforeValid, &beforeBad, &hit, &active, &stated)
	if err != nil {
		return ev, fmt.Errorf("compare the failure of %s with before: %w", s.Name, err)
	}
	ev.Now, ev.Before = slo.Count{Valid: int64(nowValid), Bad: int64(nowBad)}, slo.Count{Valid: int64(beforeValid), Bad: int64(beforeBad)}
	ev.Consumers, ev.ActiveConsumers = int64(hit), int64(active)
	if nowBad > 0 {
		ev.Stated = float64(stated) / float64(nowBad)
	}
	rows, err := c.Query(ctx, `SELECT dim.1, dim.2, countIf(is_now AND is_valid), countIf(is_now AND is_bad) AS bad, countIf(NOT is_now AND is_valid), countIf(NOT is_now AND is_bad)
		FROM `+rowsOf+` ARRAY JOIN [('upstream', toString(upstream)), ('route', operation), ('node', toString(node)), ('region', toString(region)),
		('version', toString(api_version)), ('consumer', toString(consumer)), ('plan', toString(plan)), ('class', class), ('responder', who)] AS dim
		GROUP BY dim.1, dim.2 HAVING bad > 0 ORDER BY bad DESC, dim.1, dim.2 LIMIT 300`, args...)
	if err != nil {
		return ev, fmt.Errorf("break down the failure of %s: %w", s.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var cell suspect.Cell
		var n [4]uint64
		if err := rows.Scan(&cell.Dimension, &cell.Value, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return ev, fmt.Errorf("break down the failure of %s: %w", s.Name, err)
		}
		cell.Now, cell.Before = slo.Count{Valid: int64(n[0]), Bad: int64(n[1])}, slo.Count{Valid: int64(n[2]), Bad: int64(n[3])}
		portion := evaluate.Portion{Name: cell.Value, Share: float64(cell.Now.Bad) / float64(max(1, ev.Now.Bad))}
		switch cell.Dimension {
		case "class":
			ev.Classes = append(ev.Classes, portion)
		case "responder":
			ev.Responders = append(ev.Responders, portion)
		default:
			ev.Cells = append(ev.Cells, cell)
		}
	}
	return ev, rows.Err()
}

// Firing implements evaluate.Querier.
func (c *Conn) Firing(ctx context.Context) ([]evaluate.Restored, error) {
	rows, err := c.Query(ctx, `SELECT slo, argMax(alert_id, at) AS id, argMax(severity, at), argMax(annotations['since'], at), argMax(to_state, at) AS state
		FROM alert_event GROUP BY slo HAVING state = 'firing'`)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	var list []evaluate.Restored
	for rows.Next() {
		var r evaluate.Restored
		var severity, since, state string
		if err := rows.Scan(&r.SLO, &r.ID, &severity, &since, &state); err != nil {
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

// Record implements evaluate.Querier. The same events recorded twice, by two
// instances or after a restart, are kept once.
func (c *Conn) Record(ctx context.Context, events []evaluate.Event) error {
	var token strings.Builder
	for _, e := range events {
		fmt.Fprintf(&token, "%s/%d/%s/%s ", e.AlertID, e.At.Unix(), e.Status.State, e.Status.Severity)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"insert_deduplication_token": token.String()}))
	b, err := c.PrepareBatch(ctx, "INSERT INTO alert_event (at, alert_id, slo, service, owner, severity, from_state, to_state, labels, annotations, evidence, sent_at, send_error)")
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
		err := b.Append(e.At, e.AlertID, e.Status.SLO.Name, e.Status.SLO.Service, e.Owner, severity.String(),
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

// An AlertEvent is one recorded change of an alert.
type AlertEvent struct {
	At                                                         time.Time
	ID, SLO, Service, Owner, Severity, From, To, Evidence, Err string
	Annotations                                                map[string]string
	SentAt                                                     time.Time
}

// AlertEvents returns the changes of the alert whose id begins with id, oldest
// first; of the newest alert if id is empty.
func (c *Conn) AlertEvents(ctx context.Context, id string) ([]AlertEvent, error) {
	rows, err := c.Query(ctx, `SELECT at, alert_id, slo, service, owner, severity, from_state, to_state, evidence, send_error, annotations, sent_at
		FROM alert_event WHERE alert_id = (SELECT argMax(alert_id, at) FROM alert_event WHERE startsWith(alert_id, @id)) ORDER BY at`, clickhouse.Named("id", id))
	if err != nil {
		return nil, fmt.Errorf("read alert %s: %w", id, err)
	}
	defer rows.Close()
	var list []AlertEvent
	for rows.Next() {
		var e AlertEvent
		if err := rows.Scan(&e.At, &e.ID, &e.SLO, &e.Service, &e.Owner, &e.Severity, &e.From, &e.To, &e.Evidence, &e.Err, &e.Annotations, &e.SentAt); err != nil {
			return nil, fmt.Errorf("read alert %s: %w", id, err)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
