package clickhouse

import (
	"context"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/kpi"
)

// A VersionRow is the calls to one version of a service.
type VersionRow struct {
	Service   string `ch:"service"`
	Version   string `ch:"api_version"`
	Consumers uint64 `ch:"consumers"`
	Calls     int64  `ch:"calls"`
	Before    int64  `ch:"before"` // in the window before
}

// Versions returns who uses which version of which service.
func (c *Conn) Versions(ctx context.Context, w ProductWindow) ([]VersionRow, error) {
	return product[VersionRow](ctx, c, "count versions", w, `SELECT service, api_version, uniqExactIf((tenant, consumer), n > 0) AS consumers, sum(n) AS calls, sum(b) AS before FROM (
			SELECT tenant, consumer, service, api_version, sum(`+requestsIn("@from", "@to")+`) AS n, sum(`+requestsIn("@before", "@from")+`) AS b
			FROM call_route_1d WHERE time >= toStartOfDay(toDateTime(@before, 'UTC')) AND time < toDateTime(@to, 'UTC') GROUP BY tenant, consumer, service, api_version
		) GROUP BY service, api_version HAVING calls > 0 OR before > 0 ORDER BY service, api_version`, clickhouse.Named("before", w.Before().From.Unix()))
}

// A DeprecatedRow is one consumer's calls to one operation that will go.
type DeprecatedRow struct {
	Tenant   string    `ch:"tenant"`
	Consumer string    `ch:"consumer"`
	Plan     string    `ch:"plan"`
	Owner    string    `ch:"owner"`
	Service  string    `ch:"service"`
	Version  string    `ch:"api_version"`
	Method   string    `ch:"method"`
	Route    string    `ch:"route"`
	Calls    int64     `ch:"calls"`
	Before   int64     `ch:"before"`    // in the window before
	LastHour time.Time `ch:"last_hour"` // begin of the hour of its last call in the window
}

// Deprecated returns who called what the deprecations cover, in the window or
// the one before.
func (c *Conn) Deprecated(ctx context.Context, w ProductWindow, of []kpi.Deprecation) ([]DeprecatedRow, error) {
	if len(of) == 0 {
		return nil, nil
	}
	covered := make([]string, len(of))
	for i := range of {
		d := &of[i]
		parts := []string{"1"}
		for _, p := range []struct{ column, value string }{
			{"service", d.Service}, {"api_version", d.Version}, {"method", d.Method}, {templateSQL, kpi.Template(d.Route)},
		} {
			if p.value != "" {
				parts = append(parts, p.column+" = "+quoteString(p.value))
			}
		}
		covered[i] = strings.Join(parts, " AND ")
	}
	in := "time + toIntervalHour(h) >= toDateTime(@from, 'UTC') AND time + toIntervalHour(h) < toDateTime(@to, 'UTC')"
	return product[DeprecatedRow](ctx, c, "find callers of what is deprecated", w, `SELECT tenant, consumer, any(plan) AS plan, any(owner) AS owner, service, api_version, method, any(place) AS route, sum(n) AS calls, sum(b) AS before, max(last) AS last_hour FROM (
			SELECT tenant, consumer, plan, owner, service, api_version, method, route AS place, {{template}} AS template, `+requestsIn("@from", "@to")+` AS n, `+requestsIn("@before", "@from")+` AS b,
				time + toIntervalHour(arrayMax(arrayConcat([0], arrayFilter(h -> `+in+`, mapKeys(hours))))) AS last
			FROM call_route_1d WHERE time >= toStartOfDay(toDateTime(@before, 'UTC')) AND time < toDateTime(@to, 'UTC') AND ((`+strings.Join(covered, ") OR (")+`))
		) GROUP BY tenant, consumer, service, api_version, method, template HAVING calls > 0 OR before > 0 ORDER BY calls DESC, consumer, service, method, route`,
		clickhouse.Named("before", w.Before().From.Unix()))
}

// A SeenRoute is an operation that was called.
type SeenRoute struct {
	Service string    `ch:"service"`
	Method  string    `ch:"method"`
	Route   string    `ch:"route"`
	Calls   int64     `ch:"calls"`
	Answers int64     `ch:"answers"` // that are no client_not_found: somebody answers for the route
	Last    time.Time `ch:"last"`    // begin of the hour of the last call
}

// SeenRoutes returns the operations that were called in the window, by anybody.
func (c *Conn) SeenRoutes(ctx context.Context, w ProductWindow) ([]SeenRoute, error) {
	return product[SeenRoute](ctx, c, "list routes", w, `SELECT service, method, any(r) AS route, sum(n) AS calls, sum(a) AS answers, max(l) AS last FROM (
			SELECT service, method, {{template}} AS template, any(route) AS r, sum(requests) AS n, sumIf(requests, error_class NOT IN ('client_not_found', 'gateway_no_route')) AS a, max(time) AS l
			FROM request_1h WHERE {{in}} GROUP BY service, method, template
		) GROUP BY service, method, template ORDER BY service, route, method`)
}

// A FailureRow is how an operation fails in one way.
type FailureRow struct {
	Service   string `ch:"service"`
	Method    string `ch:"method"`
	Route     string `ch:"route"`
	Class     string `ch:"class"`
	Calls     int64  `ch:"calls"`
	Before    int64  `ch:"before"`    // in the window before
	Consumers uint64 `ch:"consumers"` // that were hit in the window
}

// Failures returns how operations fail, for how many consumers.
func (c *Conn) Failures(ctx context.Context, w ProductWindow) ([]FailureRow, error) {
	return product[FailureRow](ctx, c, "count failures", w, `SELECT service, method, any(r) AS route, class, sum(n) AS calls, sum(b) AS before, uniqExactIf((tenant, consumer), n > 0) AS consumers FROM (
			SELECT tenant, consumer, service, method, {{template}} AS template, toString(error_class) AS class, any(route) AS r, sum(`+requestsIn("@from", "@to")+`) AS n, sum(`+requestsIn("@before", "@from")+`) AS b
			FROM call_route_1d WHERE time >= toStartOfDay(toDateTime(@before, 'UTC')) AND time < toDateTime(@to, 'UTC') AND {{failed}}
			GROUP BY tenant, consumer, service, method, template, class
		) GROUP BY service, method, template, class HAVING calls > 0 ORDER BY calls DESC, service, method, route, class`,
		clickhouse.Named("before", w.Before().From.Unix()))
}

// A ServiceWeek is the traffic of a service in a window.
type ServiceWeek struct {
	Service   string           `ch:"service"`
	Calls     int64            `ch:"calls"`
	Bad       int64            `ch:"bad"` // failed on our side
	Consumers uint64           `ch:"consumers"`
	Timed     int64            `ch:"timed"`
	Latency   map[uint16]int64 `ch:"hist"`
	// New are consumers that called with success, but not in the window before; Gone the other way round.
	Users map[string]int64 `ch:"users"` // consumer to successful calls
}

// Services returns the traffic of each service.
func (c *Conn) Services(ctx context.Context, w ProductWindow) ([]ServiceWeek, error) {
	return product[ServiceWeek](ctx, c, "sum services", w, `SELECT service, sum(n) AS calls, sum(b) AS bad, uniqExact((tenant, consumer)) AS consumers, sum(t) AS timed, sumMap(h) AS hist,
			sumMap(map(consumer, ok)) AS users FROM (
			SELECT tenant, consumer, service, sum(requests) AS n, sumIf(requests, {{server}}) AS b, sum(timed) AS t, sumMap(latency_hist) AS h, sumIf(requests, error_class = 'none') AS ok
			FROM {{calls}} GROUP BY tenant, consumer, service
		) GROUP BY service ORDER BY service`)
}
