package clickhouse

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"gatewatch/internal/evaluate"
)

// readRouteErrors reads the routes of which most requests of the last five
// minutes end with one class of client error, or with no route at the gateway.
// The gateway names no service for those: it is the one that the route had in the
// day before. Who called is asked of the raw rows, of such routes alone.
func (c *Conn) readRouteErrors(ctx context.Context, at time.Time, r *evaluate.Readings) error {
	list, ids, err := c.failingRoutes(ctx, at)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := c.usualRoutes(ctx, at, list, ids); err != nil {
		return err
	}
	err = c.each(ctx, `SELECT operation, class, countIf(hit * 2 >= n), count() FROM (
			SELECT concat(method, ' ', route) AS operation, consumer, toString(error_class) AS class, count() AS hit, sum(hit) OVER (PARTITION BY operation, consumer) AS n
			FROM access_log WHERE ts >= toDateTime(@at, 'UTC') - INTERVAL 5 MINUTE AND ts < toDateTime(@at, 'UTC') AND operation IN (@ids) AND consumer != ''
			GROUP BY method, route, consumer, error_class)
		GROUP BY operation, class`, at, func(rows driver.Rows) error {
		var operation, class string
		var hit, active uint64
		if err := rows.Scan(&operation, &class, &hit, &active); err != nil {
			return err
		}
		for i := range list {
			if e := &list[i]; e.Route == operation && e.Class == class {
				e.Hit, e.Active = int64(hit), int64(active)
			}
		}
		return nil
	}, clickhouse.Named("ids", ids))
	for _, e := range list {
		if e.Service != "" {
			r.Errors = append(r.Errors, e)
		}
	}
	return err
}

// failingRoutes returns routes with most of their requests in one class of error.
func (c *Conn) failingRoutes(ctx context.Context, at time.Time) (list []evaluate.ClassShare, ids []string, err error) {
	err = c.each(ctx, `SELECT service, operation, class, n, of_route, since FROM (
			SELECT service, concat(method, ' ', route) AS operation, toString(error_class) AS class, sum(requests) AS n,
				sum(n) OVER (PARTITION BY service, method, route) AS of_route, min(time) AS since
			FROM request_10s WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 5 MINUTE AND time < toDateTime(@at, 'UTC') AND route != ''
			GROUP BY service, method, route, error_class)
		WHERE n * 2 >= of_route AND n >= 10 AND (startsWith(class, 'client_') OR class = 'gateway_no_route') AND class NOT IN ('client_cancelled', 'client_timeout')
		ORDER BY service, operation`, at, func(rows driver.Rows) error {
		var e evaluate.ClassShare
		err := rows.Scan(&e.Service, &e.Route, &e.Class, &e.Errors, &e.Requests, &e.Since)
		list, ids = append(list, e), append(ids, e.Route)
		return err
	})
	return list, ids, err
}

// usualRoutes reads how the day before ended at routes, and whose they were.
func (c *Conn) usualRoutes(ctx context.Context, at time.Time, list []evaluate.ClassShare, ids []string) error {
	type key struct{ service, route string }
	all, errs, owners, most := map[key]int64{}, map[[3]string]int64{}, map[string]string{}, map[string]int64{}
	err := c.each(ctx, `SELECT service, concat(method, ' ', route) AS operation, toString(error_class), sum(requests) FROM request_1h
		WHERE time >= toDateTime(@at, 'UTC') - INTERVAL 25 HOUR AND time < toDateTime(@at, 'UTC') - INTERVAL 1 HOUR AND operation IN (@ids)
		GROUP BY service, method, route, error_class`, at, func(rows driver.Rows) error {
		var k key
		var class string
		var n int64
		if err := rows.Scan(&k.service, &k.route, &class, &n); err != nil {
			return err
		}
		all[k] += n
		errs[[3]string{k.service, k.route, class}] = n
		if k.service != "" && all[k] > most[k.route] {
			owners[k.route], most[k.route] = k.service, all[k]
		}
		return nil
	}, clickhouse.Named("ids", ids))
	for i := range list {
		e := &list[i]
		if e.Service == "" {
			e.Service = owners[e.Route]
		}
		e.UsualRequests, e.UsualErrors = all[key{e.Service, e.Route}], errs[[3]string{e.Service, e.Route, e.Class}]
	}
	return err
}
