package clickhouse

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/evaluate"
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

// narrow returns the condition for the requests of a feed, or of one group of
// it, and its arguments.
func narrow(f slo.Feed, group string) (string, []any) {
	where, args := "service = @service", []any{clickhouse.Named("service", f.Service)}
	by := []struct{ column, value string }{
		{"route", f.SLI.Route}, {"method", f.SLI.Method}, {"environment", f.SLI.Environment}, {"tenant", f.SLI.Tenant},
	}
	switch {
	case group == "" || group == slo.Other:
	case f.Group == slo.ByRoute:
		by[1].value, by[0].value, _ = strings.Cut(group, " ")
	default:
		by = append(by, struct{ column, value string }{string(f.Group), group})
	}
	for _, by := range by {
		if by.value != "" {
			where += fmt.Sprintf(" AND %s = @%s", by.column, by.column)
			args = append(args, clickhouse.Named(by.column, by.value))
		}
	}
	return where, args
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
func (c *Conn) Evidence(ctx context.Context, f slo.Feed, group string, onset, to time.Time) (evaluate.Evidence, error) {
	ev := evaluate.Evidence{From: onset, To: to}
	from, err := c.comparison(ctx, f, onset)
	if err != nil {
		return ev, err
	}
	valid, bad := countableRaw(f.SLI)
	where, args := narrow(f, group)
	args = append(args, clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("onset", onset.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	e := evidenceReader{conn: c, ev: &ev, from: from, args: args, rows: fmt.Sprintf(`(SELECT ts, ts >= fromUnixTimestamp64Milli(@onset, 'UTC') AS is_now, (%s) AS is_valid, (%s) AS is_bad,
		upstream, concat(method, ' ', route) AS operation, node, region, api_version, consumer, plan, trace_id, gateway_latency_us,
		toString(error_class) AS class, toString(responder) AS who, toString(error_evidence) AS basis
		FROM access_log WHERE %s AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC'))`, valid, bad, where)}
	for _, read := range []func(context.Context) error{e.totals, e.cells, e.versions, e.layers} {
		if err := read(ctx); err != nil {
			return ev, fmt.Errorf("compare the failure of %s with before: %w", f.Service, err)
		}
	}
	return ev, nil
}

// comparison returns where the time before onset begins that is compared.
func (c *Conn) comparison(ctx context.Context, f slo.Feed, onset time.Time) (time.Time, error) {
	where, args := narrow(f, "")
	var n int64
	err := c.QueryRow(ctx, "SELECT sum(requests) FROM request_1m WHERE "+where+" AND time >= toDateTime(@from, 'UTC') AND time < toDateTime(@onset, 'UTC')",
		append(args, clickhouse.Named("from", onset.Add(-comparison).Unix()), clickhouse.Named("onset", onset.Unix()))...).Scan(&n)
	if err != nil {
		return onset, fmt.Errorf("count the requests before the failure of %s: %w", f.Service, err)
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
