package clickhouse

import (
	"context"
	"fmt"
	"math"
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

// anyOf returns the condition that an error class is one of a list.
func anyOf(classes []accesslog.ErrorClass) string {
	names := make([]string, 0, len(classes))
	for _, c := range classes {
		names = append(names, "'"+c.String()+"'")
	}
	if len(names) == 0 {
		return "0"
	}
	return "error_class IN (" + strings.Join(names, ", ") + ")"
}

// countable returns the expressions for the valid and the bad requests of a
// rollup's row.
func countable(s slo.SLI) (valid, bad string) {
	failed, excluded := anyOf(s.BadClasses()), anyOf(s.ExcludedClasses())
	if s.Kind == slo.Latency {
		bucket, _ := s.Bucket()
		answered := fmt.Sprintf("NOT (%s) AND NOT (%s)", failed, excluded)
		fast := fmt.Sprintf("arraySum(mapValues(mapFilter((k, v) -> k <= %d, latency_hist)))", bucket)
		return fmt.Sprintf("if(%s, timed, 0)", answered), fmt.Sprintf("if(%s, timed - %s, 0)", answered, fast)
	}
	return fmt.Sprintf("if(%s, 0, requests)", excluded), fmt.Sprintf("if(%s AND NOT (%s), requests, 0)", failed, excluded)
}

// countableRaw returns the conditions for a valid and for a bad raw row.
func countableRaw(s slo.SLI) (valid, bad string) {
	failed, excluded := anyOf(s.BadClasses()), anyOf(s.ExcludedClasses())
	if s.Kind == slo.Latency {
		_, edge := s.Bucket()
		valid = fmt.Sprintf("latency_us IS NOT NULL AND NOT (%s) AND NOT (%s)", failed, excluded)
		return valid, fmt.Sprintf("%s AND latency_us > %d", valid, edge.Microseconds())
	}
	return fmt.Sprintf("NOT (%s)", excluded), fmt.Sprintf("%s AND NOT (%s)", failed, excluded)
}

// narrow returns the condition for an objective's requests and its arguments.
func narrow(s slo.SLO) (string, []any) {
	where, args := "service = @service", []any{clickhouse.Named("service", s.Service)}
	for _, by := range []struct{ column, value string }{
		{"route", s.SLI.Route}, {"method", s.SLI.Method}, {"environment", s.SLI.Environment}, {"tenant", s.SLI.Tenant},
	} {
		if by.value != "" {
			where += fmt.Sprintf(" AND %s = @%s", by.column, by.column)
			args = append(args, clickhouse.Named(by.column, by.value))
		}
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

const (
	comparison    = time.Hour       // how long before a failure is compared with it
	minComparison = 5 * time.Minute // what is left of that on a busy service
	maxRows       = 2_000_000       // of a comparison: raw rows that are read at most
	minTraces     = 20              // that a statement about layers needs on either side
	settled       = 5 * time.Minute // after which a value that appears is new
)

// Evidence implements evaluate.Querier. It reads the raw rows: all of them, not
// a sample, for an hour before the failure or as long as they are not too many.
func (c *Conn) Evidence(ctx context.Context, s slo.SLO, onset, to time.Time) (evaluate.Evidence, error) {
	ev := evaluate.Evidence{From: onset, To: to}
	from, err := c.comparison(ctx, s, onset)
	if err != nil {
		return ev, err
	}
	valid, bad := countableRaw(s.SLI)
	where, args := narrow(s)
	args = append(args, clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("onset", onset.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	e := evidenceReader{conn: c, slo: s, ev: &ev, from: from, args: args, rows: fmt.Sprintf(`(SELECT ts, ts >= fromUnixTimestamp64Milli(@onset, 'UTC') AS is_now, (%s) AS is_valid, (%s) AS is_bad,
		upstream, concat(method, ' ', route) AS operation, node, region, api_version, consumer, plan, trace_id, gateway_latency_us,
		toString(error_class) AS class, toString(responder) AS who, toString(error_evidence) AS basis
		FROM access_log WHERE %s AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC'))`, valid, bad, where)}
	for _, read := range []func(context.Context) error{e.totals, e.cells, e.versions, e.layers} {
		if err := read(ctx); err != nil {
			return ev, fmt.Errorf("compare the failure of %s with before: %w", s.Name, err)
		}
	}
	return ev, nil
}

// comparison returns where the time before onset begins that is compared.
func (c *Conn) comparison(ctx context.Context, s slo.SLO, onset time.Time) (time.Time, error) {
	where, args := narrow(s)
	var n int64
	err := c.QueryRow(ctx, "SELECT sum(requests) FROM request_1m WHERE "+where+" AND time >= toDateTime(@from, 'UTC') AND time < toDateTime(@onset, 'UTC')",
		append(args, clickhouse.Named("from", onset.Add(-comparison).Unix()), clickhouse.Named("onset", onset.Unix()))...).Scan(&n)
	if err != nil {
		return onset, fmt.Errorf("count the requests before the failure of %s: %w", s.Name, err)
	}
	width := comparison
	if n > maxRows {
		width = max(minComparison, time.Duration(float64(comparison)*maxRows/float64(n)))
	}
	return onset.Add(-width), nil
}

// An evidenceReader fills in an Evidence.
type evidenceReader struct {
	conn *Conn
	slo  slo.SLO
	ev   *evaluate.Evidence
	from time.Time
	rows string // sub-query of an objective's rows
	args []any
}

func (e *evidenceReader) totals(ctx context.Context) error {
	var n [7]uint64
	var trace string
	var before, now float64
	err := e.conn.QueryRow(ctx, `SELECT countIf(is_now AND is_valid), countIf(is_now AND is_bad), countIf(NOT is_now AND is_valid), countIf(NOT is_now AND is_bad),
		uniqExactIf(consumer, is_now AND is_bad AND consumer != ''), uniqExactIf(consumer, is_now AND consumer != ''),
		countIf(is_now AND is_bad AND basis = 'stated'),
		lower(hex(anyIf(trace_id, is_now AND is_bad AND trace_id != toFixedString('', 16)))),
		ifNull(quantileIf(0.95)(gateway_latency_us, NOT is_now), nan), ifNull(quantileIf(0.95)(gateway_latency_us, is_now), nan) FROM `+e.rows, e.args...).
		Scan(&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &trace, &before, &now)
	if err != nil {
		return err
	}
	ev := e.ev
	ev.Now, ev.Before = slo.Count{Valid: int64(n[0]), Bad: int64(n[1])}, slo.Count{Valid: int64(n[2]), Bad: int64(n[3])}
	ev.Consumers, ev.ActiveConsumers = int64(n[4]), int64(n[5])
	if n[1] > 0 {
		ev.Stated = float64(n[6]) / float64(n[1])
	}
	if strings.Trim(trace, "0") != "" {
		ev.TraceID = trace
	}
	if !math.IsNaN(before) && !math.IsNaN(now) {
		ev.Layers = []evaluate.Layer{{Name: "gateway", Now: microseconds(now), Before: microseconds(before)}}
	}
	return nil
}

func microseconds(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }

func (e *evidenceReader) cells(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, `SELECT dim.1, dim.2, countIf(is_now AND is_valid), countIf(is_now AND is_bad) AS bad, countIf(NOT is_now AND is_valid), countIf(NOT is_now AND is_bad)
		FROM `+e.rows+` ARRAY JOIN [('upstream', toString(upstream)), ('route', operation), ('node', toString(node)), ('region', toString(region)),
		('version', toString(api_version)), ('consumer', toString(consumer)), ('plan', toString(plan)), ('class', class), ('responder', who)] AS dim
		GROUP BY dim.1, dim.2 HAVING bad > 0 OR dim.1 IN ('node', 'region') ORDER BY bad DESC, dim.1, dim.2 LIMIT 300`, e.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var cell suspect.Cell
		var n [4]uint64
		if err := rows.Scan(&cell.Dimension, &cell.Value, &n[0], &n[1], &n[2], &n[3]); err != nil {
			return err
		}
		cell.Now, cell.Before = slo.Count{Valid: int64(n[0]), Bad: int64(n[1])}, slo.Count{Valid: int64(n[2]), Bad: int64(n[3])}
		portion := evaluate.Portion{Name: cell.Value, Share: float64(cell.Now.Bad) / float64(max(1, e.ev.Now.Bad))}
		switch cell.Dimension {
		case "class":
			e.ev.Classes = append(e.ev.Classes, portion)
		case "responder":
			e.ev.Responders = append(e.ev.Responders, portion)
		default:
			e.ev.Cells = append(e.ev.Cells, cell)
		}
	}
	return rows.Err()
}

// versions finds API versions that were not there when the comparison begins.
func (e *evidenceReader) versions(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, `SELECT toString(api_version), min(ts) AS first FROM `+e.rows+` WHERE api_version != ''
		GROUP BY api_version HAVING first >= fromUnixTimestamp64Milli(@settled, 'UTC') ORDER BY first LIMIT 10`,
		append(e.args, clickhouse.Named("settled", e.from.Add(settled).UnixMilli()))...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		seen := evaluate.FirstSeen{Dimension: "version"}
		if err := rows.Scan(&seen.Value, &seen.At); err != nil {
			return err
		}
		if e.ev.Before.Valid > 0 {
			e.ev.FirstSeen = append(e.ev.FirstSeen, seen)
		}
	}
	return rows.Err()
}

// layers compares the service's own time and its database's per trace.
func (e *evidenceReader) layers(ctx context.Context) error {
	rows, err := e.conn.Query(ctx, `SELECT is_now, count(), quantile(0.95)(own), quantile(0.95)(db), max(db)
		FROM (SELECT trace_id, min(ts) >= fromUnixTimestamp64Milli(@onset, 'UTC') AS is_now,
			sumIf(duration_us, kind = 'client' AND db_system != '') AS db,
			greatest(0, toInt64(sumIf(duration_us, kind = 'server')) - toInt64(sumIf(duration_us, kind = 'client'))) AS own
			FROM span WHERE service = @service AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC')
			GROUP BY trace_id HAVING countIf(kind = 'server') > 0)
		GROUP BY is_now`, e.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var n [2]uint64
	var own, db [2]float64
	hasDB := false
	for rows.Next() {
		var isNow bool
		var traces uint64
		var o, d float64
		var most uint64
		if err := rows.Scan(&isNow, &traces, &o, &d, &most); err != nil {
			return err
		}
		i := 0
		if isNow {
			i = 1
		}
		n[i], own[i], db[i], hasDB = traces, o, d, hasDB || most > 0
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if n[0] < minTraces || n[1] < minTraces {
		e.ev.Layers = nil
		return nil
	}
	list := []evaluate.Layer{{Name: "service", Now: microseconds(own[1]), Before: microseconds(own[0])}}
	if hasDB {
		list = append(list, evaluate.Layer{Name: "database", Now: microseconds(db[1]), Before: microseconds(db[0])})
	}
	e.ev.Layers = append(list, e.ev.Layers...)
	e.ev.Traces = int64(n[1])
	if e.ev.Now.Valid > 0 {
		e.ev.Sampled = min(1, float64(n[1])/float64(e.ev.Now.Valid))
	}
	return nil
}

// Firing implements evaluate.Querier.
func (c *Conn) Firing(ctx context.Context) ([]evaluate.Restored, error) {
	rows, err := c.Query(ctx, `SELECT slo, argMax(alert_id, at) AS id, argMax(severity, at), argMax(annotations['since'], at), argMax(to_state, at) AS state,
		argMax(labels, at), argMax(annotations, at), argMax(sent_at, (at, sent_at)) > toDateTime64(0, 3)
		FROM alert_event GROUP BY slo HAVING state = 'firing' ORDER BY slo`)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	var list []evaluate.Restored
	for rows.Next() {
		var r evaluate.Restored
		var severity, since, state string
		if err := rows.Scan(&r.SLO, &r.ID, &severity, &since, &state, &r.Labels, &r.Annotations, &r.Sent); err != nil {
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
// instances or after a restart, are kept once. An event that was recorded as not
// sent is recorded again when it has been; AlertEvents gives the later one.
func (c *Conn) Record(ctx context.Context, events []evaluate.Event) error {
	var token strings.Builder
	for _, e := range events {
		fmt.Fprintf(&token, "%s/%d/%s/%s/%t ", e.AlertID, e.At.Unix(), e.Status.State, e.Status.Severity, e.SentAt.IsZero())
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
		FROM alert_event WHERE alert_id = (SELECT argMax(alert_id, at) FROM alert_event WHERE startsWith(alert_id, @id))
		ORDER BY at, sent_at DESC LIMIT 1 BY at, to_state, severity`, clickhouse.Named("id", id))
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

// An Incident is the life of one alert as it was recorded.
type Incident struct {
	ID, SLO, Service, Owner string
	Severity                string // the highest
	Onset, Raised           time.Time
	Ended                   time.Time // zero: not ended
	Sent                    bool      // an Alertmanager took it
}

// Incidents returns the alerts that were raised in [from, to), oldest first.
func (c *Conn) Incidents(ctx context.Context, from, to time.Time) ([]Incident, error) {
	rows, err := c.Query(ctx, `SELECT alert_id, any(slo), any(service), argMax(owner, at), if(countIf(severity = 'page') > 0, 'page', 'ticket'),
		min(at) AS raised, argMin(annotations['since'], at), argMax(to_state, at) = 'firing', max(at), max(sent_at) > toDateTime64(0, 3)
		FROM alert_event GROUP BY alert_id HAVING raised >= fromUnixTimestamp64Milli(@from, 'UTC') AND raised < fromUnixTimestamp64Milli(@to, 'UTC') ORDER BY raised, alert_id`,
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
		if err := rows.Scan(&i.ID, &i.SLO, &i.Service, &i.Owner, &i.Severity, &i.Raised, &since, &firing, &last, &i.Sent); err != nil {
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
