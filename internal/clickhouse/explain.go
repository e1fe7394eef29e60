package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/breaker"
	"gatewatch/internal/failure"
	"gatewatch/internal/histogram"
	"gatewatch/internal/layer"
	"gatewatch/internal/rollup"
)

// A Scope is a window and what a question is restricted to.
type Scope struct {
	From, To time.Time
	Where    []Condition
}

// condition composes the scope's condition on a source's rows.
func (s Scope) condition(source Source) (string, []any, error) {
	return SumsQuery{Source: source, From: s.From, To: s.To, Where: s.Where}.where()
}

// Requests returns how many requests rollups count in the scope's window,
// whatever it is restricted to.
func (c *Conn) Requests(ctx context.Context, from, to time.Time) (n int64, err error) {
	table, g := "request_1h", rollup.Grain1h
	if to.Sub(from) <= 48*time.Hour {
		table, g = "request_1m", rollup.Grain1m
	}
	from, to = g.Cover(from, to)
	err = c.QueryRow(ctx, "SELECT sum(requests) FROM "+table+" WHERE time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC')",
		clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix())).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count requests: %w", err)
	}
	return n, nil
}

// Clients returns what each caller did at each place from onset to s.To, and in
// the time from s.From to onset. From the raw rows places are operations; from a
// level of keys they are services.
func (c *Conn) Clients(ctx context.Context, s Scope, onset time.Time, source Source, table string) ([]failure.Cell, error) {
	where, args, err := s.condition(source)
	if err != nil {
		return nil, err
	}
	at, n, operation, known := "time", "sum(r.requests)", "'' AS method, '' AS route", ""
	if source == SourceRaw {
		at, n, operation = "ts", "toInt64(count())", "method, route"
		known = " AND (consumer != '' OR key_id != toFixedString('', 16))"
	}
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT %s AS key, toString(consumer), toString(plan), toString(service), trim(concat(method, ' ', route)),
			toString(class), sumIf(n, is_now), sumIf(n, NOT is_now)
		FROM (SELECT key_id, consumer, plan, service, %s, error_class AS class, r.%s >= toDateTime(@onset, 'UTC') AS is_now, %s AS n
			FROM %s AS r WHERE %s%s GROUP BY key_id, consumer, plan, service, method, route, class, is_now)
		GROUP BY key_id, consumer, plan, service, method, route, class
		ORDER BY key_id, consumer, plan, service, method, route`, dimension("key_id"), operation, at, n, table, where, known), append(args, clickhouse.Named("onset", onset.Unix()))...)
	if err != nil {
		return nil, fmt.Errorf("compare callers: %w", err)
	}
	defer rows.Close()
	var list []failure.Cell
	for rows.Next() {
		var cell failure.Cell
		var class string
		var now, before int64
		if err := rows.Scan(&cell.Key, &cell.Consumer, &cell.Plan, &cell.Service, &cell.Operation, &class, &now, &before); err != nil {
			return nil, fmt.Errorf("compare callers: %w", err)
		}
		if n := len(list); n == 0 || list[n-1].Caller != cell.Caller || list[n-1].Place != cell.Place {
			cell.Now, cell.Before = map[string]int64{}, map[string]int64{}
			list = append(list, cell)
		}
		last := &list[len(list)-1]
		if now > 0 {
			last.Now[class] = now
		}
		if before > 0 {
			last.Before[class] = before
		}
	}
	return list, rows.Err()
}

// maxCalls is how many requests of a few callers are read at most, the newest ones.
const maxCalls = 200_000

// Calls returns the requests of some callers, by caller and in the order of time.
func (c *Conn) Calls(ctx context.Context, s Scope, callers []failure.Caller) ([]failure.Call, error) {
	where, args, err := s.condition(SourceRaw)
	if err != nil || len(callers) == 0 {
		return nil, err
	}
	var keys, consumers []string
	for _, c := range callers {
		if c.Key != "" {
			keys = append(keys, "unhex("+quoteString(c.Key)+")")
		} else {
			consumers = append(consumers, quoteString(c.Consumer))
		}
	}
	var or []string
	if len(keys) > 0 {
		or = append(or, "key_id IN ("+strings.Join(keys, ", ")+")")
	}
	if len(consumers) > 0 {
		or = append(or, "key_id = toFixedString('', 16) AND consumer IN ("+strings.Join(consumers, ", ")+")")
	}
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT key, caller, of, ts, operation, path, class, tries FROM (
			SELECT if(key_id = toFixedString('', 16), '', lower(hex(key_id))) AS key, toString(consumer) AS caller, toString(plan) AS of, ts,
				concat(toString(service), ' ', toString(method), ' ', toString(route)) AS operation, path, toString(error_class) AS class, toInt64(tries) AS tries
			FROM access_log WHERE %s AND (%s) ORDER BY ts DESC LIMIT %d)
		ORDER BY key, caller, of, ts`, where, strings.Join(or, " OR "), maxCalls), args...)
	if err != nil {
		return nil, fmt.Errorf("read the calls of callers: %w", err)
	}
	defer rows.Close()
	var list []failure.Call
	for rows.Next() {
		var call failure.Call
		if err := rows.Scan(&call.Key, &call.Consumer, &call.Plan, &call.At, &call.Operation, &call.Object, &call.Class, &call.Tries); err != nil {
			return nil, fmt.Errorf("read the calls of callers: %w", err)
		}
		list = append(list, call)
	}
	return list, rows.Err()
}

const (
	// shedClasses are what shed requests can be called where the gateway names no breaker.
	shedClasses = "'gateway_no_upstream', 'gateway_overload', 'gateway_internal', 'unknown'"
	// breakerMargin is read before and after minutes in which requests were shed.
	breakerMargin = 2 * time.Minute
	// maxStretches bounds how many stretches of such minutes are read, newest first.
	maxStretches = 100
)

// A stretch is the time in which a service shed requests.
type stretch struct {
	service  string
	from, to time.Time
}

// Breakers returns the episodes that begin in the scope, and false if some of it
// was left out: its raw rows are not kept (older than rawFrom), or there was too much.
func (c *Conn) Breakers(ctx context.Context, s Scope, table string, rawFrom, until time.Time) (list []breaker.Episode, whole bool, err error) {
	stretches, whole, err := c.stretches(ctx, s, table, rawFrom)
	if err != nil || len(stretches) == 0 {
		return nil, whole, err
	}
	seconds, err := c.breakerSeconds(ctx, stretches)
	if err != nil {
		return nil, whole, err
	}
	for _, st := range stretches {
		all := seconds[st.service]
		first, _ := slices.BinarySearchFunc(all, st.from, func(x breaker.Second, t time.Time) int { return x.Time.Compare(t) })
		last, _ := slices.BinarySearchFunc(all, st.to, func(x breaker.Second, t time.Time) int { return x.Time.Compare(t) })
		list = append(list, breaker.Episodes(st.service, all[first:last], until)...)
	}
	slices.SortFunc(list, func(a, b breaker.Episode) int { return a.Opened.Compare(b.Opened) })
	return list, whole, nil
}

// stretches finds the minutes in which something was shed.
func (c *Conn) stretches(ctx context.Context, s Scope, table string, rawFrom time.Time) (list []stretch, whole bool, err error) {
	where, args, err := s.condition(SourceRequest)
	if err != nil {
		return nil, false, err
	}
	width := time.Minute
	if table == "request_1h" {
		width = time.Hour
	}
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT toString(service), toDateTime(toStartOfMinute(time), 'UTC') AS minute FROM %s
		WHERE %s AND error_class IN ('breaker_open', %s) GROUP BY service, minute HAVING sum(requests) > 0 ORDER BY service, minute`, table, where, shedClasses), args...)
	if err != nil {
		return nil, false, fmt.Errorf("look for shed requests: %w", err)
	}
	defer rows.Close()
	whole = true
	for rows.Next() {
		var st stretch
		if err := rows.Scan(&st.service, &st.from); err != nil {
			return nil, false, fmt.Errorf("look for shed requests: %w", err)
		}
		st.from, st.to = st.from.UTC().Add(-breakerMargin), st.from.UTC().Add(width+breakerMargin)
		if st.from.Before(rawFrom) {
			whole = false
			continue
		}
		if n := len(list); n > 0 && list[n-1].service == st.service && !st.from.After(list[n-1].to) {
			list[n-1].to = st.to
			continue
		}
		list = append(list, st)
	}
	if len(list) > maxStretches {
		slices.SortFunc(list, func(a, b stretch) int { return b.from.Compare(a.from) })
		list, whole = list[:maxStretches], false
	}
	return list, whole, rows.Err()
}

// breakerSeconds reads the stretches second by second, by service. What reached
// an upstream counts when it began, what was shed when it ended, which is the same.
func (c *Conn) breakerSeconds(ctx context.Context, stretches []stretch) (map[string][]breaker.Second, error) {
	var or []string
	for _, st := range stretches {
		or = append(or, fmt.Sprintf("service = %s AND ts >= toDateTime(%d, 'UTC') AND ts < toDateTime(%d, 'UTC')", quoteString(st.service), st.from.Unix(), st.to.Unix()))
	}
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT of, second, toInt64(countIf(flagged)), toInt64(countIf(fast)), toInt64(countIf(passed)),
			sumMapIf(map(class, toInt64(1)), failed), sumMapIf(map(host, toInt64(1)), failed)
		FROM (
			SELECT toString(service) AS of, toString(error_class) AS class, toString(upstream) AS host,
				class = 'breaker_open' AND error_evidence = 'stated' AS flagged,
				NOT flagged AND class IN ('breaker_open', %[1]s) AND ifNull(upstream_latency_us, 0) = 0 AND upstream_reached != 'yes' AND ifNull(latency_us, 0) <= 50000 AS fast,
				%[2]s AND NOT fast AND NOT flagged AS failed,
				NOT (%[2]s) AND (upstream_latency_us IS NOT NULL OR upstream_reached = 'yes') AS passed,
				toDateTime(if(flagged OR fast, ts, ts - toIntervalMicrosecond(ifNull(latency_us, 0))), 'UTC') AS second
			FROM access_log WHERE %[3]s
		)
		WHERE flagged OR fast OR failed OR passed
		GROUP BY of, second ORDER BY of, second`, shedClasses, serverClass(), strings.Join(or, " OR ")))
	if err != nil {
		return nil, fmt.Errorf("read shed requests: %w", err)
	}
	defer rows.Close()
	seconds := map[string][]breaker.Second{}
	for rows.Next() {
		var service string
		var x breaker.Second
		if err := rows.Scan(&service, &x.Time, &x.Flagged, &x.Fast, &x.Passed, &x.Failed, &x.Upstreams); err != nil {
			return nil, fmt.Errorf("read shed requests: %w", err)
		}
		x.Time = x.Time.UTC()
		delete(x.Upstreams, "")
		seconds[service] = append(seconds[service], x)
	}
	return seconds, rows.Err()
}

// Layers sums each service's (and route's) layers over a window. The names are
// those of services that a gateway logs, or "service route".
func (c *Conn) Layers(ctx context.Context, from, to time.Time, table string, where []Condition, byRoute bool) (map[failure.Place]map[string]layer.Figures, error) {
	parts, args := []string{"time >= toDateTime(@from, 'UTC')", "time < toDateTime(@to, 'UTC')"}, []any{clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix())}
	for i, w := range where {
		if !slices.Contains(layerDimensions, w.Dimension) {
			return nil, fmt.Errorf("layers have no dimension %q", w.Dimension)
		}
		name := fmt.Sprintf("where%d", i)
		parts, args = append(parts, dimension(w.Dimension)+" = @"+name), append(args, clickhouse.Named(name, w.Value))
	}
	condition := strings.Join(parts, " AND ")
	route := "''"
	if byRoute {
		route = "toString(route)"
	}
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT toString(service) AS of, %[1]s AS place, toString(layer) AS name, sum(requests), sum(measured), sum(traces), sum(errors), sum(time_us_sum), sumMap(time_hist)
		FROM %[2]s FINAL WHERE %[3]s AND service IN (SELECT service FROM %[2]s WHERE %[3]s AND layer = 'gateway') GROUP BY of, place, name`, route, table, condition), args...)
	if err != nil {
		return nil, fmt.Errorf("sum the layers: %w", err)
	}
	defer rows.Close()
	all := map[failure.Place]map[string]layer.Figures{}
	for rows.Next() {
		var p failure.Place
		var name string
		var f layer.Figures
		hist := map[uint16]int64{}
		if err := rows.Scan(&p.Service, &p.Operation, &name, &f.Requests, &f.Measured, &f.Traces, &f.Errors, &f.TimeUS, &hist); err != nil {
			return nil, fmt.Errorf("sum the layers: %w", err)
		}
		f.Time = histogram.Histogram(hist)
		if all[p] == nil {
			all[p] = map[string]layer.Figures{}
		}
		all[p][name] = f
	}
	return all, rows.Err()
}

var layerDimensions = []string{"service", "route", "tenant", "environment"}

// LayerDimensions returns what layers can be restricted to.
func LayerDimensions() []string { return slices.Clone(layerDimensions) }

// A Statement is one kind of call to a database.
type Statement struct {
	Service, System, Text string // literals are removed
	Calls                 int64  // weighted
	MeanUS, P95US, MaxUS  float64
	TraceID               string // of the slowest one
}

// Statements returns the database statements of services with most time in all.
func (c *Conn) Statements(ctx context.Context, from, to time.Time, services []string, limit int) ([]Statement, error) {
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT toString(service), toString(db_system), if(db_query != '', db_query, toString(name)) AS text,
			toInt64(round(sum(weight))) AS calls, toFloat64(sum(duration_us * weight) / sum(weight)), toFloat64(quantile(0.95)(duration_us)), toFloat64(max(duration_us)), lower(hex(argMax(trace_id, duration_us)))
		FROM span WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC') AND kind = 'client' AND db_system != '' AND service IN (@services)
		GROUP BY service, db_system, text ORDER BY sum(duration_us * weight) DESC, text LIMIT %d`, limit),
		clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()), clickhouse.Named("services", services))
	if err != nil {
		return nil, fmt.Errorf("list database statements: %w", err)
	}
	defer rows.Close()
	var list []Statement
	for rows.Next() {
		var s Statement
		if err := rows.Scan(&s.Service, &s.System, &s.Text, &s.Calls, &s.MeanUS, &s.P95US, &s.MaxUS, &s.TraceID); err != nil {
			return nil, fmt.Errorf("list database statements: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}
