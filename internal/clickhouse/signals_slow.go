package clickhouse

import (
	"context"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"gatewatch/internal/evaluate"
)

// readBreakers reads which operations a breaker refuses requests to.
func (c *Conn) readBreakers(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	err := c.each(ctx, `SELECT service, concat(method, ' ', route), sumIf(requests, time >= toDateTime(@at, 'UTC') - INTERVAL 1 MINUTE),
			sumIf(requests, error_class = 'breaker_open' AND time >= toDateTime(@at, 'UTC') - INTERVAL 1 MINUTE) AS refused,
			minIf(time, error_class = 'breaker_open')
		FROM request_10s WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 10 MINUTE AND time < toDateTime(@at, 'UTC')
		GROUP BY service, method, route HAVING refused > 0 ORDER BY service, method, route`, at, func(rows driver.Rows) error {
		var b evaluate.BreakerUse
		if err := rows.Scan(&b.Service, &b.Route, &b.Requests, &b.Refused, &b.Since); err != nil {
			return err
		}
		r.Breakers = append(r.Breakers, b)
		return nil
	})
	if err != nil {
		return err
	}
	return c.readInferred(ctx, at, r)
}

// readInferred adds breakers that no flag states and that are open still.
func (c *Conn) readInferred(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	from := at.Add(-10 * time.Minute)
	episodes, _, err := c.Breakers(ctx, Scope{From: from, To: at}, "request_1m", from.Add(-breakerMargin), at)
	if err != nil {
		return err
	}
	for _, e := range episodes {
		if e.Evidence == "inferred" && e.Closed.IsZero() {
			r.Breakers = append(r.Breakers, evaluate.BreakerUse{Service: e.Service, Upstream: e.Upstream, Requests: e.Shed + e.Reached, Refused: e.Shed, Since: e.Opened})
		}
	}
	return nil
}

// readPeriods reads what consumers have used of a month, and what product
// managers have declared their plans to allow.
func (c *Conn) readPeriods(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	return c.each(ctx, `SELECT u.consumer, u.plan, u.used, u.last_day, q.quota FROM (
			SELECT toString(k.consumer) AS consumer, argMax(toString(k.plan), k.time) AS plan, sumIf(requests, time >= toStartOfMonth(toDateTime(@at, 'UTC')) AND error_class != 'client_quota') AS used,
				sumIf(requests, time >= toDateTime(@at, 'UTC') - INTERVAL 1 DAY AND error_class != 'client_quota') AS last_day
			FROM key_1h AS k WHERE k.time >= toDateTime(@at, 'UTC') - INTERVAL 32 DAY AND k.time < toDateTime(@at, 'UTC') AND k.consumer != '' AND k.plan != ''
			GROUP BY k.consumer) AS u
		LEFT JOIN (SELECT JSONExtractString(json, 'plan') AS plan, min(JSONExtractInt(json, 'calls')) AS quota FROM v_kpi_definition
			WHERE kind = 'quota' AND JSONExtractString(json, 'per') = 'month' GROUP BY plan) AS q ON q.plan = u.plan
		ORDER BY u.consumer`, at, func(rows driver.Rows) error {
		var p evaluate.ConsumerPeriod
		if err := rows.Scan(&p.Consumer, &p.Plan, &p.Used, &p.LastDay, &p.Quota); err != nil {
			return err
		}
		r.Periods = append(r.Periods, p)
		return nil
	})
}

// readVersions reads who calls which version, and who calls what is declared to end.
func (c *Conn) readVersions(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	err := c.each(ctx, `SELECT service, toString(api_version), toInt64(uniqExact(key_id)), toInt64(sum(requests)) FROM usage_1d
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 7 DAY AND time < toDateTime(@at, 'UTC') AND api_version != '' AND key_id != toFixedString('', 16)
		GROUP BY service, api_version ORDER BY service, api_version`, at, func(rows driver.Rows) error {
		var v evaluate.VersionUse
		if err := rows.Scan(&v.Service, &v.Version, &v.Keys, &v.Requests); err != nil {
			return err
		}
		r.Versions = append(r.Versions, v)
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(ctx, `SELECT service, JSONExtractString(k.json, 'version') AS version, if(version = '', any(concat(u.method, ' ', u.route)), '') AS operation,
			any(JSONExtractString(k.json, 'sunset')) AS sunset, toInt64(uniqExact(u.key_id)) AS keys, toInt64(sum(u.requests)) AS n
		FROM (SELECT toString(service) AS service, toString(api_version) AS api_version, toString(method) AS method, toString(route) AS route, key_id, sum(requests) AS requests FROM usage_1d
			WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 7 DAY AND time < toDateTime(@at, 'UTC') AND key_id != toFixedString('', 16) GROUP BY service, api_version, method, route, key_id) AS u
		CROSS JOIN (SELECT name, json FROM v_kpi_definition WHERE kind = 'deprecation') AS k
		WHERE JSONExtractString(k.json, 'service') IN ('', u.service) AND JSONExtractString(k.json, 'version') IN ('', u.api_version) AND JSONExtractString(k.json, 'method') IN ('', u.method)
			AND JSONExtractString(k.json, 'route') IN ('', `+strings.Replace(templateSQL, "route", "u.route", 1)+`)
		GROUP BY k.name, version, u.service ORDER BY k.name, u.service`, at, func(rows driver.Rows) error {
		var d evaluate.DeprecatedUse
		var sunset string
		if err := rows.Scan(&d.Service, &d.Version, &d.Route, &sunset, &d.Keys, &d.Requests); err != nil {
			return err
		}
		d.Sunset, _ = time.Parse(time.DateOnly, sunset)
		if !d.Sunset.IsZero() {
			r.Deprecated = append(r.Deprecated, d)
		}
		return nil
	})
}

// readDisks writes down the space on the server's disks, which it does not
// remember itself, and reads how that was a day ago. Two instances write the same.
func (c *Conn) readDisks(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	err := c.Exec(ctx, "INSERT INTO disk_space (time, host, disk, free, total) SELECT toStartOfMinute(now('UTC')), hostName(), name, free_space, total_space FROM system.disks WHERE total_space > 0")
	if err != nil {
		return err
	}
	return c.each(ctx, `SELECT toString(host), toString(disk), min(time) AS first, max(time) AS last, argMin(free, time), argMax(free, time), argMax(total, time) FROM disk_space
		WHERE time >= now('UTC') - INTERVAL 1 DAY GROUP BY host, disk HAVING last >= now('UTC') - INTERVAL 1 HOUR ORDER BY host, disk`, at, func(rows driver.Rows) error {
		var d evaluate.DiskState
		if err := rows.Scan(&d.Host, &d.Disk, &d.First, &d.Last, &d.FreeFirst, &d.Free, &d.Total); err != nil {
			return err
		}
		r.Disks = append(r.Disks, d)
		return nil
	})
}
