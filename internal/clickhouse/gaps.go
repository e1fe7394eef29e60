package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/aggregate"
)

// InsertCounters implements aggregate.Counters.
func (c *Conn) InsertCounters(ctx context.Context, list []aggregate.Counter) error {
	b, err := c.PrepareBatch(ctx, "INSERT INTO gateway_counter (time, node, requests, error)")
	if err != nil {
		return fmt.Errorf("store the gateways' counters: %w", err)
	}
	defer b.Close()
	for _, s := range list {
		if err := b.Append(s.Time, s.Node, s.Requests, s.Error); err != nil {
			return fmt.Errorf("store the gateways' counters: %w", err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("store the gateways' counters: %w", err)
	}
	return nil
}

// A Served is what a gateway's own counter says it served between two readings.
type Served struct {
	Node           string
	First, Last    time.Time
	Requests       int64
	Failed         int64 // readings
	Error          string
	Logged         int64 // rows of the node between the two readings
	LoggedAtLatest time.Time
}

// Served returns what the gateways counted in a window, as far as they were
// asked, beside what they logged in the same time. A counter that begins anew
// counts from zero.
func (c *Conn) Served(ctx context.Context, from, to time.Time) (list []Served, err error) {
	rows, err := c.Query(ctx, `SELECT node, min(time), max(time), sum(if(n = 1, 0, if(requests >= before, requests - before, requests))),
			any(failed), any(message)
		FROM (SELECT toString(node) AS node, time, requests, row_number() OVER w AS n, lagInFrame(requests) OVER w AS before
			FROM gateway_counter WHERE time >= fromUnixTimestamp64Milli(@from, 'UTC') AND time < fromUnixTimestamp64Milli(@to, 'UTC') AND error = '' WINDOW w AS (PARTITION BY node ORDER BY time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)) AS r
		LEFT JOIN (SELECT toString(node) AS node, toInt64(count()) AS failed, argMax(error, time) AS message FROM gateway_counter
			WHERE time >= fromUnixTimestamp64Milli(@from, 'UTC') AND time < fromUnixTimestamp64Milli(@to, 'UTC') AND error != '' GROUP BY node) AS e ON r.node = e.node
		GROUP BY node ORDER BY node`, clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	if err != nil {
		return nil, fmt.Errorf("read the gateways' counters: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var s Served
		if err := rows.Scan(&s.Node, &s.First, &s.Last, &s.Requests, &s.Failed, &s.Error); err != nil {
			return nil, fmt.Errorf("read the gateways' counters: %w", err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i := range list {
		s := &list[i]
		err := c.QueryRow(ctx, `SELECT toInt64(count()) FROM access_log WHERE node = @node
			AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC')`,
			clickhouse.Named("node", s.Node), clickhouse.Named("from", s.First.UnixMilli()), clickhouse.Named("to", s.Last.UnixMilli())).Scan(&s.Logged)
		if err != nil {
			return nil, fmt.Errorf("count what %s logged: %w", s.Node, err)
		}
	}
	return list, nil
}

// A NodeMinute is how many requests a gateway logged in a minute.
type NodeMinute struct {
	Node     string
	Minute   time.Time
	Requests int64
}

// NodeMinutes returns them in the order of node and time, without empty ones.
func (c *Conn) NodeMinutes(ctx context.Context, s Scope) ([]NodeMinute, error) {
	where, args, err := s.condition(SourceRaw)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, "SELECT toString(node) AS name, toDateTime(toStartOfMinute(ts), 'UTC') AS minute, toInt64(count()) FROM access_log WHERE "+where+" GROUP BY name, minute ORDER BY name, minute", args...)
	if err != nil {
		return nil, fmt.Errorf("count requests by node: %w", err)
	}
	defer rows.Close()
	var list []NodeMinute
	for rows.Next() {
		var n NodeMinute
		if err := rows.Scan(&n.Node, &n.Minute, &n.Requests); err != nil {
			return nil, fmt.Errorf("count requests by node: %w", err)
		}
		n.Minute = n.Minute.UTC()
		list = append(list, n)
	}
	return list, rows.Err()
}

// NodeDelays returns the median of Kafka time minus event time of each node.
// Nodes ship alike, so one that differs has another clock.
func (c *Conn) NodeDelays(ctx context.Context, s Scope) (map[string]time.Duration, error) {
	where, args, err := s.condition(SourceRaw)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, "SELECT toString(node) AS name, toFloat64(quantile(0.5)(toUnixTimestamp64Milli(kafka_time) - toUnixTimestamp64Micro(ts) / 1000)) FROM access_log WHERE "+where+" GROUP BY name", args...)
	if err != nil {
		return nil, fmt.Errorf("compare the nodes' clocks: %w", err)
	}
	defer rows.Close()
	delays := map[string]time.Duration{}
	for rows.Next() {
		var node string
		var ms float64
		if err := rows.Scan(&node, &ms); err != nil {
			return nil, fmt.Errorf("compare the nodes' clocks: %w", err)
		}
		delays[node] = time.Duration(ms * float64(time.Millisecond))
	}
	return delays, rows.Err()
}

// A Propagation is how far trace context gets at one place.
type Propagation struct {
	Service, Route string
	Requests       int64
	Traced         int64 // requests that carry a trace
	// Continued is the share of traced requests with a span behind the gateway.
	Continued float64
	// Spans of the service, and the share whose parent never arrived.
	Spans   int64
	Orphans float64
}

// Propagation compares the requests of a window with the spans around it. Of
// many it looks at the traces in one of sample.
func (c *Conn) Propagation(ctx context.Context, s Scope, byRoute bool, sample int64) ([]Propagation, error) {
	where, args, err := s.condition(SourceRaw)
	if err != nil {
		return nil, err
	}
	route, spanRoute := "''", "''"
	if byRoute {
		route, spanRoute = "toString(route)", "toString(http_route)"
	}
	hour := strings.NewReplacer("@from", fmt.Sprint(s.From.Add(-time.Hour).Unix()), "@to", fmt.Sprint(s.To.Add(time.Hour).Unix())).Replace("ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC')")
	chosen := fmt.Sprintf("trace_id != toFixedString('', 16) AND cityHash64(trace_id) %% %d = 0", sample)
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT of, place, requests, traced, if(seen = 0, 0, continued / seen), spans, if(spans_seen = 0, 0, orphans / spans_seen)
		FROM (
			SELECT toString(service) AS of, %[1]s AS place, toInt64(count()) AS requests, toInt64(countIf(trace_id != toFixedString('', 16))) AS traced,
				countIf(%[3]s) AS seen, countIf(%[3]s AND trace_id IN (SELECT trace_id FROM span WHERE %[4]s AND %[3]s)) AS continued
			FROM access_log WHERE %[2]s GROUP BY of, place
		) AS r LEFT JOIN (
			SELECT toString(service) AS of, %[5]s AS place, toInt64(count()) AS spans, countIf(%[3]s) AS spans_seen,
				countIf(%[3]s AND parent_span_id != toFixedString('', 8)
					AND (trace_id, parent_span_id) NOT IN (SELECT trace_id, span_id FROM span WHERE %[4]s AND %[3]s)
					AND (trace_id, parent_span_id) NOT IN (SELECT trace_id, span_id FROM access_log WHERE %[4]s AND %[3]s)) AS orphans
			FROM span WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC') GROUP BY of, place
		) AS s ON r.of = s.of AND r.place = s.place
		ORDER BY requests DESC, of, place`, route, where, chosen, hour, spanRoute), args...)
	if err != nil {
		return nil, fmt.Errorf("compare requests with spans: %w", err)
	}
	defer rows.Close()
	var list []Propagation
	for rows.Next() {
		var p Propagation
		if err := rows.Scan(&p.Service, &p.Route, &p.Requests, &p.Traced, &p.Continued, &p.Spans, &p.Orphans); err != nil {
			return nil, fmt.Errorf("compare requests with spans: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// A Change is something that was changed on purpose, or seen for the first time.
type Change struct {
	Time                          time.Time
	Service, Kind, What, Who, URL string
}

// Changes returns what changed in [from, to), oldest first. Service "" is all.
func (c *Conn) Changes(ctx context.Context, from, to time.Time, service string) ([]Change, error) {
	rows, err := c.Query(ctx, `SELECT time, toString(service), toString(kind), what, who, url FROM v_change
		WHERE time >= fromUnixTimestamp64Milli(@from, 'UTC') AND time < fromUnixTimestamp64Milli(@to, 'UTC') AND (@service = '' OR service IN (@service, '')) ORDER BY time, kind, what`,
		clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("to", to.UnixMilli()), clickhouse.Named("service", service))
	if err != nil {
		return nil, fmt.Errorf("list changes: %w", err)
	}
	defer rows.Close()
	var list []Change
	for rows.Next() {
		var x Change
		if err := rows.Scan(&x.Time, &x.Service, &x.Kind, &x.What, &x.Who, &x.URL); err != nil {
			return nil, fmt.Errorf("list changes: %w", err)
		}
		list = append(list, x)
	}
	return list, rows.Err()
}

// An Authentication is how the attempts of one caller ended.
type Authentication struct {
	Key, Consumer, Client         string
	Succeeded, Refused, Forbidden int64
	First, Last                   time.Time // of those that were refused
}

// Authentications returns the callers with refused requests, most refused first.
func (c *Conn) Authentications(ctx context.Context, s Scope) ([]Authentication, error) {
	where, args, err := s.condition(SourceRaw)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, `SELECT if(key_id = toFixedString('', 16), '', lower(hex(key_id))) AS key, toString(consumer) AS caller, if(client_ip = toIPv6('::'), '', replaceOne(toString(client_ip), '::ffff:', '')) AS client,
			toInt64(countIf(error_class NOT IN ('client_auth', 'client_forbidden'))), toInt64(countIf(error_class = 'client_auth')) AS refused, toInt64(countIf(error_class = 'client_forbidden')) AS forbidden,
			minIf(ts, error_class IN ('client_auth', 'client_forbidden')), maxIf(ts, error_class IN ('client_auth', 'client_forbidden'))
		FROM access_log WHERE `+where+` GROUP BY key, caller, client HAVING refused + forbidden > 0 ORDER BY refused + forbidden DESC, key, caller, client LIMIT 1000`, args...)
	if err != nil {
		return nil, fmt.Errorf("count authentications: %w", err)
	}
	defer rows.Close()
	var list []Authentication
	for rows.Next() {
		var a Authentication
		if err := rows.Scan(&a.Key, &a.Consumer, &a.Client, &a.Succeeded, &a.Refused, &a.Forbidden, &a.First, &a.Last); err != nil {
			return nil, fmt.Errorf("count authentications: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// An AuditCount is how many audit events of one kind there are.
type AuditCount struct {
	Class, Source, Action, Outcome string
	Events                         int64
}

// AuditCounts counts the audit events of [from, to), most first.
func (c *Conn) AuditCounts(ctx context.Context, from, to time.Time) ([]AuditCount, error) {
	rows, err := c.Query(ctx, `SELECT toString(class), toString(source), toString(action), toString(outcome), toInt64(count()) AS n FROM audit_event
		WHERE time >= fromUnixTimestamp64Milli(@from, 'UTC') AND time < fromUnixTimestamp64Milli(@to, 'UTC') GROUP BY class, source, action, outcome ORDER BY n DESC, class, source, action, outcome LIMIT 50`,
		clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("to", to.UnixMilli()))
	if err != nil {
		return nil, fmt.Errorf("count audit events: %w", err)
	}
	defer rows.Close()
	var list []AuditCount
	for rows.Next() {
		var a AuditCount
		if err := rows.Scan(&a.Class, &a.Source, &a.Action, &a.Outcome, &a.Events); err != nil {
			return nil, fmt.Errorf("count audit events: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}
