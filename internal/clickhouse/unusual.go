package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/anomaly"
	"gatewatch/internal/histogram"
	"gatewatch/internal/rollup"
)

const (
	// historyWeeks is how many weeks a baseline rests on at most.
	historyWeeks = 8
	// nearHours is how many hours around one are read, for its spread.
	nearHours = 2
	// minActive is how many requests a key must have had in one of the hours.
	minActive = 20
)

// judge writes down what was unusual in an hour.
func (c *Conn) judge(ctx context.Context, w rollup.Window, now time.Time) error {
	var found []anomaly.Finding
	for _, f := range []func(context.Context, time.Time) ([]anomaly.Finding, error){c.judgeHours, c.judgeMixes, c.judgeAbuse} {
		list, err := f(ctx, w.Start)
		if err != nil {
			return fmt.Errorf("judge %s: %w", w.Start.Format(time.RFC3339), err)
		}
		found = append(found, list...)
	}
	now = now.UTC().Truncate(time.Millisecond)
	if len(found) > 0 {
		b, err := c.PrepareBatch(ctx, "INSERT INTO unusual_1h (time, kind, subject, name, tenant, service, value, expected, low, high, score, weeks, evidence, computed_at)")
		if err != nil {
			return fmt.Errorf("write down what is unusual: %w", err)
		}
		defer b.Close()
		for _, f := range found {
			err := b.Append(w.Start, f.Kind, f.Subject.Kind, f.Name, f.Tenant, f.Service, f.Value, f.Expected, f.Low, f.High, f.Score, uint16(f.Weeks), f.Evidence, now)
			if err != nil {
				return fmt.Errorf("write down what is unusual: %w", err)
			}
		}
		if err := b.Send(); err != nil {
			return fmt.Errorf("write down what is unusual: %w", err)
		}
	}
	return c.Exec(ctx, "INSERT INTO derived_window (name, time, computed_at) SELECT 'unusual_1h', toDateTime(@hour, 'UTC'), fromUnixTimestamp64Milli(@now, 'UTC')",
		clickhouse.Named("hour", w.Start.Unix()), clickhouse.Named("now", now.UnixMilli()))
}

// sameHours returns the hours of the week around hour in the weeks before.
func sameHours(hour time.Time) []string {
	var list []string
	for week := 1; week <= historyWeeks; week++ {
		for near := -nearHours; near <= nearHours; near++ {
			list = append(list, strconv.FormatInt(hour.AddDate(0, 0, -7*week).Add(time.Duration(near)*time.Hour).Unix(), 10))
		}
	}
	return list
}

// A judged is one subject with its hours.
type judged struct {
	subject anomaly.Subject
	began   time.Time
	hours   map[time.Time]*anomaly.Hour
}

// judgeHours judges services, routes and keys against their baselines.
func (c *Conn) judgeHours(ctx context.Context, hour time.Time) ([]anomaly.Finding, error) {
	subjects := map[anomaly.Subject]*judged{}
	times := sameHours(hour)
	in := "(toUnixTimestamp(r.time) IN (" + strings.Join(times, ", ") + ") OR r.time = toDateTime(@hour, 'UTC'))"
	for _, q := range []struct{ kind, name, tables, group string }{
		{"service", "toString(service)", "request_1h", ""},
		{"route", "concat(toString(method), ' ', toString(route))", "request_1h", ""},
		{"key", "lower(hex(r.key_id))", "key_1h", " AND r.key_id != toFixedString('', 16)"},
	} {
		service := "toString(r.service)"
		if q.kind == "key" {
			service = "''"
		}
		if err := c.readSubjectHours(ctx, subjects, q.kind, hour, fmt.Sprintf(`SELECT %[1]s AS name, toString(tenant) AS tenant, %[4]s AS of, r.time AS time, sum(r.requests),
			sumMapIf(map(toString(error_class), r.requests), error_class != 'none'), sumMap(r.latency_hist)
			FROM %[2]s AS r WHERE %[3]s%[5]s AND r.time >= toDateTime(@oldest, 'UTC') GROUP BY name, tenant, of, time`, q.name, q.tables, in, service, q.group)); err != nil {
			return nil, err
		}
		if err := c.readBegan(ctx, subjects, q.kind, hour, fmt.Sprintf(`SELECT %[1]s AS name, toString(tenant) AS tenant, %[3]s AS of, min(r.time) FROM %[2]s AS r
			WHERE r.time >= toDateTime(@oldest, 'UTC') AND r.time <= toDateTime(@hour, 'UTC')%[4]s GROUP BY name, tenant, of`, q.name, q.tables, service, q.group)); err != nil {
			return nil, err
		}
	}
	var found []anomaly.Finding
	for s, j := range subjects {
		var history []anomaly.Hour
		most := int64(0)
		for _, t := range times {
			n, err := strconv.ParseInt(t, 10, 64)
			if err != nil {
				return nil, err
			}
			at := time.Unix(n, 0).UTC()
			if at.Before(j.began) {
				continue
			}
			h := anomaly.Hour{Time: at}
			if known := j.hours[at]; known != nil {
				h = *known
			}
			most = max(most, h.Requests)
			history = append(history, h)
		}
		now := anomaly.Hour{Time: hour}
		if known := j.hours[hour]; known != nil {
			now = *known
		}
		if max(most, now.Requests) < minActive {
			continue
		}
		list, _ := anomaly.Judge(s, history, j.began, now)
		found = append(found, list...)
	}
	return found, nil
}

func (c *Conn) readSubjectHours(ctx context.Context, subjects map[anomaly.Subject]*judged, kind string, hour time.Time, query string) error {
	rows, err := c.Query(ctx, query, clickhouse.Named("hour", hour.Unix()), clickhouse.Named("oldest", hour.AddDate(0, 0, -7*historyWeeks-1).Unix()))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s := anomaly.Subject{Kind: kind}
		var h anomaly.Hour
		hist := map[uint16]int64{}
		if err := rows.Scan(&s.Name, &s.Tenant, &s.Service, &h.Time, &h.Requests, &h.Errors, &hist); err != nil {
			return err
		}
		h.Time, h.Latency = h.Time.UTC(), histogram.Histogram(hist)
		j := subjects[s]
		if j == nil {
			j = &judged{subject: s, hours: map[time.Time]*anomaly.Hour{}, began: hour}
			subjects[s] = j
		}
		j.hours[h.Time] = &h
	}
	return rows.Err()
}

func (c *Conn) readBegan(ctx context.Context, subjects map[anomaly.Subject]*judged, kind string, hour time.Time, query string) error {
	rows, err := c.Query(ctx, query, clickhouse.Named("hour", hour.Unix()), clickhouse.Named("oldest", hour.AddDate(0, 0, -7*historyWeeks-1).Unix()))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s := anomaly.Subject{Kind: kind}
		var began time.Time
		if err := rows.Scan(&s.Name, &s.Tenant, &s.Service, &began); err != nil {
			return err
		}
		if j := subjects[s]; j != nil {
			j.began = began.UTC()
		}
	}
	return rows.Err()
}

// judgeMixes compares each key's routes, regions and client addresses with the
// same hour one and two weeks before, as far as raw rows are kept.
func (c *Conn) judgeMixes(ctx context.Context, hour time.Time) ([]anomaly.Finding, error) {
	starts := []time.Time{hour, hour.AddDate(0, 0, -7), hour.AddDate(0, 0, -14)}
	var in []string
	for _, s := range starts {
		in = append(in, fmt.Sprintf("ts >= toDateTime(%d, 'UTC') AND ts < toDateTime(%d, 'UTC')", s.Unix(), s.Add(time.Hour).Unix()))
	}
	rows, err := c.Query(ctx, `SELECT toString(key_id) AS key, toString(tenant) AS tenant, dim.1, dim.2, toUnixTimestamp(toStartOfHour(ts)) AS hour, toInt64(count())
		FROM access_log ARRAY JOIN [('route', concat(method, ' ', route)), ('region', toString(region)), ('client', toString(client_ip))] AS dim
		WHERE key_id != toFixedString('', 16) AND (`+strings.Join(in, " OR ")+`) GROUP BY key, tenant, dim.1, dim.2, hour`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	type key struct{ id, tenant, dimension string }
	mixes := map[key]*[3]map[string]int64{}
	for rows.Next() {
		var k key
		var value string
		var at uint32
		var n int64
		if err := rows.Scan(&k.id, &k.tenant, &k.dimension, &value, &at, &n); err != nil {
			return nil, err
		}
		m := mixes[k]
		if m == nil {
			m = &[3]map[string]int64{{}, {}, {}}
			mixes[k] = m
		}
		i := slices.IndexFunc(starts, func(t time.Time) bool { return t.Unix() == int64(at) })
		m[i][value] += n
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var found []anomaly.Finding
	for k, m := range mixes {
		s := anomaly.Subject{Kind: "key", Name: hex.EncodeToString([]byte(k.id)), Tenant: k.tenant}
		if f, ok := anomaly.JudgeMix(s, anomaly.Mix{Dimension: k.dimension, Now: m[0], Last: m[1], Past: m[2]}); ok {
			found = append(found, f)
		}
	}
	return found, nil
}

// judgeAbuse looks at each caller of each operation: keys, and client addresses
// for what a key does not tell, such as many keys from one address.
func (c *Conn) judgeAbuse(ctx context.Context, hour time.Time) ([]anomaly.Finding, error) {
	const columns = `concat(method, ' ', toString(route)) AS operation, toString(tenant) AS of, toString(service) AS service_name,
		toInt64(count()) AS n, toInt64(countIf(error_class IN ('client_auth', 'client_forbidden'))), toInt64(countIf(error_class = 'client_not_found')),
		toInt64(countIf(error_class = 'none')), toInt64(uniqExact(path)) AS objects, toInt64(uniqExactIf(key_id, key_id != toFixedString('', 16))), toInt64(uniqExact(toStartOfMinute(ts))),
		position(operation, '{') > 0, method IN ('GET', 'HEAD'), match(lower(operation), '^post .*(login|session|token|signin|auth)')`
	var found []anomaly.Finding
	for _, q := range []struct{ kind, name, where string }{
		{"key", "lower(hex(key_id))", "key_id != toFixedString('', 16)"},
		{"client", "replaceOne(toString(client_ip), '::ffff:', '')", "client_ip != toIPv6('::')"},
	} {
		typical, activities, err := c.activities(ctx, q.kind, hour, fmt.Sprintf(`SELECT *, quantileExact(0.5)(objects) OVER (PARTITION BY operation, service_name) AS typical
			FROM (SELECT %s AS name, %s FROM access_log WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC') AND %s
			GROUP BY name, method, route, tenant, service)
			QUALIFY n >= 60`, q.name, columns, q.where))
		if err != nil {
			return nil, err
		}
		for i, a := range activities {
			f, ok := anomaly.Abuse(a, typical[i])
			// What one key does is told of the key; of an address only what many keys do.
			if ok && (q.kind == "key" || a.Credentials > 1 && f.Kind == "credential_stuffing" || a.Credentials == 0) {
				found = append(found, f)
			}
		}
	}
	return found, nil
}

func (c *Conn) activities(ctx context.Context, kind string, hour time.Time, query string) (typical []float64, list []anomaly.Activity, err error) {
	rows, err := c.Query(ctx, query, clickhouse.Named("from", hour.Unix()), clickhouse.Named("to", hour.Add(time.Hour).Unix()))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		a := anomaly.Activity{Subject: anomaly.Subject{Kind: kind}}
		var template, reads, login uint8
		var usual int64
		if err := rows.Scan(&a.Name, &a.Operation, &a.Tenant, &a.Service, &a.Requests, &a.Refused, &a.Missing, &a.Succeeded,
			&a.Objects, &a.Credentials, &a.Minutes, &template, &reads, &login, &usual); err != nil {
			return nil, nil, err
		}
		a.Template, a.Reads, a.Login = template != 0, reads != 0, login != 0
		typical, list = append(typical, float64(usual)), append(list, a)
	}
	return typical, list, rows.Err()
}

// An Unusual is a finding of an hour.
type Unusual struct {
	Time time.Time
	anomaly.Finding
}

// Unusual returns what was unusual in the hours of [from, to), the highest score
// first, and until when hours have been judged (zero: never).
func (c *Conn) Unusual(ctx context.Context, from, to time.Time) (list []Unusual, until time.Time, err error) {
	r, err := c.Reached(ctx, "unusual_1h")
	if err != nil {
		return nil, until, err
	}
	rows, err := c.Query(ctx, `SELECT time, kind, subject, name, tenant, service, value, expected, low, high, score, weeks, evidence
		FROM v_unusual WHERE time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC') ORDER BY score DESC, time, kind, subject, name`,
		clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()))
	if err != nil {
		return nil, until, fmt.Errorf("read what is unusual: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u Unusual
		var weeks uint16
		if err := rows.Scan(&u.Time, &u.Kind, &u.Subject.Kind, &u.Name, &u.Tenant, &u.Service, &u.Value, &u.Expected, &u.Low, &u.High, &u.Score, &weeks, &u.Evidence); err != nil {
			return nil, until, fmt.Errorf("read what is unusual: %w", err)
		}
		u.Time, u.Weeks = u.Time.UTC(), int(weeks)
		list = append(list, u)
	}
	return list, r.Until, rows.Err()
}
