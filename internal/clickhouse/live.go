package clickhouse

import (
	"context"
	"fmt"
	"time"
)

// A LedgerTotal is what the ledger says about a topic.
type LedgerTotal struct {
	Topic                         string
	Messages, Rows, Dead, Skipped int64
}

// LedgerTotals sums the ledger per topic.
func (c *Conn) LedgerTotals(ctx context.Context) ([]LedgerTotal, error) {
	rows, err := c.Query(ctx, `SELECT topic, sum(messages), sum(rows), sum(dead), sum(skipped) FROM ledger GROUP BY topic ORDER BY topic`)
	if err != nil {
		return nil, fmt.Errorf("sum the ledger: %w", err)
	}
	defer rows.Close()
	var list []LedgerTotal
	for rows.Next() {
		var t LedgerTotal
		if err := rows.Scan(&t.Topic, &t.Messages, &t.Rows, &t.Dead, &t.Skipped); err != nil {
			return nil, fmt.Errorf("sum the ledger: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// Traffic is the requests of one operation with one result.
type Traffic struct {
	Service, Method, Route, ErrorClass string
	Requests                           int64
	Histogram                          map[uint16]int64 // latency bucket → requests
}

// Traffic sums request_10s over [from, to), which should be multiples of 10 s.
func (c *Conn) Traffic(ctx context.Context, from, to time.Time) ([]Traffic, error) {
	rows, err := c.Query(ctx, `SELECT service, method, route, toString(error_class), sum(requests), sumMap(latency_hist)
		FROM v_request_10s WHERE time >= toDateTime(?, 'UTC') AND time < toDateTime(?, 'UTC')
		GROUP BY service, method, route, error_class`, from.Unix(), to.Unix())
	if err != nil {
		return nil, fmt.Errorf("sum the traffic: %w", err)
	}
	defer rows.Close()
	var list []Traffic
	for rows.Next() {
		var t Traffic
		if err := rows.Scan(&t.Service, &t.Method, &t.Route, &t.ErrorClass, &t.Requests, &t.Histogram); err != nil {
			return nil, fmt.Errorf("sum the traffic: %w", err)
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// ServicesSince returns the services whose name begins with prefix that
// v_request_10s has in windows from then on.
func (c *Conn) ServicesSince(ctx context.Context, prefix string, from time.Time) (map[string]bool, error) {
	rows, err := c.Query(ctx, "SELECT DISTINCT toString(service) FROM v_request_10s WHERE startsWith(service, ?) AND time >= toDateTime(?, 'UTC')", prefix, from.Unix())
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	defer rows.Close()
	seen := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list services: %w", err)
		}
		seen[name] = true
	}
	return seen, rows.Err()
}

// An AlertState is the newest event of one alert.
type AlertState struct {
	ID, SLO, Service, Severity, State string
	Since                             time.Time
}

// AlertStates returns the newest state of each alert that changed at or after from.
func (c *Conn) AlertStates(ctx context.Context, from time.Time) ([]AlertState, error) {
	rows, err := c.Query(ctx, `SELECT alert_id, any(slo), any(service), argMax(severity, at), argMax(to_state, at) AS state, max(at) AS since
		FROM alert_event WHERE at >= ? GROUP BY alert_id ORDER BY since`, from)
	if err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close()
	var list []AlertState
	for rows.Next() {
		var a AlertState
		if err := rows.Scan(&a.ID, &a.SLO, &a.Service, &a.Severity, &a.State, &a.Since); err != nil {
			return nil, fmt.Errorf("read alerts: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// RequestTotals returns how many requests each table and view of requests holds,
// by its name. What each tells of a key is the number of requests with one.
func (c *Conn) RequestTotals(ctx context.Context) (map[string]int64, error) {
	totals := map[string]int64{}
	for _, t := range []struct{ table, count string }{
		{"access_log", "count()"},
		{"request_10s", "sum(requests)"},
		{"request_1m", "sum(requests)"},
		{"request_1h", "sum(requests)"},
		{"key_1m", "sum(requests)"},
		{"key_1h", "sum(requests)"},
		{"key_1d", "sum(requests)"},
	} {
		var n int64
		if err := c.QueryRow(ctx, "SELECT toInt64("+t.count+") FROM "+t.table).Scan(&n); err != nil {
			return nil, fmt.Errorf("count the requests of %s: %w", t.table, err)
		}
		totals[t.table] = n
	}
	return totals, nil
}
