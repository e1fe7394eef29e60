package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
)

// A ProductWindow is what a product report is about: whole hours from From to
// To, with days, weeks and months by the calendar of Zone.
type ProductWindow struct {
	From, To time.Time
	Zone     *time.Location
}

// Before returns the window of the same length before w.
func (w ProductWindow) Before() ProductWindow {
	w.From, w.To = w.From.Add(w.From.Sub(w.To)), w.From
	return w
}

// product asks a question of a window: {{zone}} is its time zone, @from and @to
// are its bounds in seconds. Columns fill the fields of T by their tag ch.
func product[T any](ctx context.Context, c *Conn, what string, w ProductWindow, sql string, args ...any) ([]T, error) {
	sql = strings.NewReplacer("{{calls}}", w.calls(false), "{{calls by day}}", w.calls(true)).Replace(sql)
	sql = strings.NewReplacer(
		"{{zone}}", quoteString(w.Zone.String()), "{{server}}", classesWhere(accesslog.ErrorClass.Server), "{{failed}}", "error_class != 'none'",
		"{{template}}", templateSQL, "{{in}}", "time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC')",
	).Replace(sql)
	args = append([]any{clickhouse.Named("from", w.From.Unix()), clickhouse.Named("to", w.To.Unix())}, args...)
	list := []T{}
	if err := c.Select(ctx, &list, sql, args...); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return list, nil
}

// calls selects the calls of the window with consumer, plan and tier as of their
// time: whole UTC days from the level by day, the rest from that by the hour.
// Days of another zone need hours.
func (w ProductWindow) calls(days bool) string {
	const columns = "time, tenant, key_id, consumer, plan, tier, source, service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen"
	first, last := w.wholeDays()
	if days && w.Zone.String() != "UTC" || !first.Before(last) {
		return "(SELECT " + columns + " FROM call_1h WHERE {{in}})"
	}
	text := fmt.Sprintf("SELECT %s FROM call_1d WHERE time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", columns, first.Unix(), last.Unix())
	for _, edge := range [][2]time.Time{{w.From, first}, {last, w.To}} {
		if edge[0].Before(edge[1]) {
			text += fmt.Sprintf(" UNION ALL SELECT %s FROM call_1h WHERE time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", columns, edge[0].Unix(), edge[1].Unix())
		}
	}
	return "(" + text + ")"
}

// wholeDays returns the first UTC day that begins in the window and the last one that ends in it.
func (w ProductWindow) wholeDays() (first, last time.Time) {
	const day = 24 * time.Hour
	if first = w.From.Truncate(day); first.Before(w.From) {
		first = first.Add(day)
	}
	return first, w.To.Truncate(day)
}

// classesWhere returns the condition that an error class is one of those for which is holds.
func classesWhere(is func(accesslog.ErrorClass) bool) string {
	var list []accesslog.ErrorClass
	for _, e := range accesslog.ErrorClasses() {
		if is(e) {
			list = append(list, e)
		}
	}
	return anyOf(list)
}

// requestsIn is the requests of a row of call_route_1d between two moments, named
// by their parameters: hours tell the edges.
func requestsIn(from, to string) string {
	return fmt.Sprintf(`if(time >= toDateTime(%[1]s, 'UTC') AND time + INTERVAL 1 DAY <= toDateTime(%[2]s, 'UTC'), requests,
		arraySum(arrayMap((h, n) -> if(time + toIntervalHour(h) >= toDateTime(%[1]s, 'UTC') AND time + toIntervalHour(h) < toDateTime(%[2]s, 'UTC'), n, 0), mapKeys(hours), mapValues(hours))))`, from, to)
}

// UsageDimensions are what Usage groups by.
func UsageDimensions() []string { return []string{"consumer", "plan", "tier", "service", "key"} }

// A UsageRow is the calls of one group.
type UsageRow struct {
	Group     string           `ch:"name"`
	Plan      string           `ch:"plan"` // the last one, of a consumer or key
	Calls     int64            `ch:"calls"`
	Classes   map[string]int64 `ch:"classes"`
	Timed     int64            `ch:"timed"`
	Sum       int64            `ch:"latency_us_sum"`
	Latency   map[uint16]int64 `ch:"hist"`
	FirstSeen time.Time        `ch:"first_seen"`
	LastSeen  time.Time        `ch:"last_seen"`
	Source    string           `ch:"source"`
}

// Usage sums calls by one of UsageDimensions, with consumer, plan and tier as of
// the time of the call; most calls first.
func (c *Conn) Usage(ctx context.Context, w ProductWindow, by string) ([]UsageRow, error) {
	group := by
	if by == "key" {
		group = "if(key_id = toFixedString('', 16), '', lower(hex(key_id)))"
	}
	return product[UsageRow](ctx, c, "sum calls by "+by, w, `SELECT name, any(p) AS plan, sum(n) AS calls, sumMap(map(class, n)) AS classes, sum(t) AS timed, sum(us) AS latency_us_sum,
			sumMap(h) AS hist, min(f) AS first_seen, max(l) AS last_seen, any(s) AS source
		FROM (
			SELECT tenant, `+group+` AS name, toString(error_class) AS class, argMax(plan, last_seen) AS p, sum(requests) AS n, sum(timed) AS t, sum(latency_us_sum) AS us,
				sumMap(latency_hist) AS h, min(first_seen) AS f, max(last_seen) AS l, min(source) AS s
			FROM {{calls}} GROUP BY tenant, name, class
		) GROUP BY tenant, name ORDER BY calls DESC, name`)
}

// A ConsumerRow is a consumer from its sign-up on.
type ConsumerRow struct {
	Tenant       string     `ch:"tenant"`
	Consumer     string     `ch:"consumer"`
	Plan         string     `ch:"plan"`
	Tier         string     `ch:"tier"`
	Owner        string     `ch:"owner"`
	Source       string     `ch:"source"` // catalogue, gateway or first_seen
	SignedUp     time.Time  `ch:"signed_up_at"`
	FirstCall    *time.Time `ch:"first_call"`
	FirstSuccess *time.Time `ch:"first_success"`
	Activated    bool       `ch:"activated"`
}

// SignUps returns the consumers who signed up in the window, as they stand at
// its end. Activated are those with that many successful calls, on as many days,
// up to the end of the day that lies so long after the sign-up.
func (c *Conn) SignUps(ctx context.Context, w ProductWindow, calls, days int64, within time.Duration) ([]ConsumerRow, error) {
	return product[ConsumerRow](ctx, c, "list sign-ups", w, `WITH
		cons AS (
			SELECT tenant, consumer, plan, tier, owner, source, signed_up_at,
				if(first_call < toDateTime(@to, 'UTC'), first_call, NULL) AS first_call, if(first_success < toDateTime(@to, 'UTC'), first_success, NULL) AS first_success
			FROM v_consumer WHERE signed_up_at >= toDateTime(@from, 'UTC') AND signed_up_at < toDateTime(@to, 'UTC')
		),
		active AS (
			SELECT tenant, consumer, toDate(time, {{zone}}) AS day, sum(requests) AS n FROM {{calls by day}} WHERE error_class = 'none' GROUP BY tenant, consumer, day
		),
		activated AS (
			SELECT a.tenant AS tenant, a.consumer AS consumer FROM active AS a INNER JOIN cons AS s ON s.tenant = a.tenant AND s.consumer = a.consumer
			WHERE a.day <= toDate(s.signed_up_at + toIntervalSecond(@within), {{zone}})
			GROUP BY tenant, consumer HAVING sum(a.n) >= @calls AND uniqExact(a.day) >= @days
		)
		SELECT tenant, consumer, plan, tier, owner, source, signed_up_at, first_call, first_success, (tenant, consumer) IN (SELECT tenant, consumer FROM activated) AS activated
		FROM cons ORDER BY signed_up_at, consumer`,
		clickhouse.Named("calls", calls), clickhouse.Named("days", days), clickhouse.Named("within", int64(within/time.Second)))
}

// A Blocker is what keeps a consumer from its first success.
type Blocker struct {
	Tenant    string    `ch:"tenant"`
	Consumer  string    `ch:"consumer"`
	Plan      string    `ch:"plan"`
	Owner     string    `ch:"owner"`
	SignedUp  time.Time `ch:"signed_up_at"`
	FirstCall time.Time `ch:"first_call"`
	LastDay   time.Time `ch:"last_day"`
	Class     string    `ch:"class"`
	Service   string    `ch:"service"`
	Method    string    `ch:"method"`
	Route     string    `ch:"route"`
	Calls     int64     `ch:"calls"` // all of them failed
	Share     float64   `ch:"share"` // of the class in its failed calls, weighted
}

// Blockers returns, for each consumer who signed up in the window and has called
// but never with success, the error class of most of its failed calls and the
// route where it has most of them. Of two days the later counts twice: who
// fixes one fault and meets the next is kept by the next.
func (c *Conn) Blockers(ctx context.Context, w ProductWindow) ([]Blocker, error) {
	return product[Blocker](ctx, c, "find blockers", w, `WITH
		stuck AS (
			SELECT tenant, consumer, plan, owner, signed_up_at, first_call FROM v_consumer
			WHERE signed_up_at >= toDateTime(@from, 'UTC') AND first_call < toDateTime(@to, 'UTC') AND (first_success IS NULL OR first_success >= toDateTime(@to, 'UTC'))
		),
		failures AS (
			SELECT tenant, consumer, service, method, {{template}} AS template, toString(error_class) AS class, time, any(route) AS any_route, sum(`+requestsIn("0", "@to")+`) AS n
			FROM call_route_1d WHERE time < toDateTime(@to, 'UTC') AND (tenant, consumer) IN (SELECT tenant, consumer FROM stuck)
			GROUP BY tenant, consumer, service, method, template, class, time HAVING n > 0
		),
		weighted AS (
			SELECT f.tenant AS tenant, f.consumer AS consumer, f.service AS service, f.method AS method, f.class AS class, any(f.any_route) AS route, f.template AS template,
				sum(f.n) AS calls, sum(f.n * exp2(-dateDiff('day', f.time, l.day))) AS weight, max(l.day) AS day
			FROM failures AS f
			INNER JOIN (SELECT tenant, consumer, max(time) AS day FROM failures GROUP BY tenant, consumer) AS l ON l.tenant = f.tenant AND l.consumer = f.consumer
			GROUP BY tenant, consumer, service, method, template, class
		),
		classes AS (
			SELECT tenant, consumer, class, sum(weight) AS total, argMax((service, method, route), (weight, service, method, route)) AS place
			FROM weighted GROUP BY tenant, consumer, class
		),
		best AS (
			SELECT tenant, consumer, argMax((class, place), (total, class)) AS b, max(total) / sum(total) AS share FROM classes GROUP BY tenant, consumer
		),
		totals AS (SELECT tenant, consumer, sum(calls) AS calls, max(day) AS day FROM weighted GROUP BY tenant, consumer)
		SELECT s.tenant AS tenant, s.consumer AS consumer, s.plan AS plan, s.owner AS owner, s.signed_up_at AS signed_up_at, assumeNotNull(s.first_call) AS first_call, t.day AS last_day,
			b.b.1 AS class, b.b.2.1 AS service, b.b.2.2 AS method, b.b.2.3 AS route, t.calls AS calls, b.share AS share
		FROM stuck AS s INNER JOIN best AS b ON b.tenant = s.tenant AND b.consumer = s.consumer INNER JOIN totals AS t ON t.tenant = s.tenant AND t.consumer = s.consumer
		ORDER BY consumer`)
}

// An ActiveDay is who called with success on a day and in the days up to it.
type ActiveDay struct {
	Day   time.Time `ch:"day"`
	DAU   uint64    `ch:"dau"`
	WAU   uint64    `ch:"wau"` // in the 7 days that end with it
	MAU   uint64    `ch:"mau"` // in 30 days
	Keys  uint64    `ch:"active_keys"`
	Calls int64     `ch:"calls"`
}

// Active counts consumers and keys with a successful call by day.
func (c *Conn) Active(ctx context.Context, w ProductWindow) ([]ActiveDay, error) {
	long := w
	long.From = w.From.Add(-30 * 24 * time.Hour)
	return product[ActiveDay](ctx, c, "count active consumers", w, `WITH
		days AS (
			SELECT tenant, consumer, key_id, toDate(time, {{zone}}) AS day, sum(requests) AS n FROM `+long.calls(true)+` WHERE error_class = 'none'
			GROUP BY tenant, consumer, key_id, day
		),
		users AS (
			SELECT d + o AS day, uniqExactIf((tenant, consumer), o = 0) AS dau, uniqExactIf((tenant, consumer), o < 7) AS wau, uniqExact((tenant, consumer)) AS mau
			FROM (SELECT DISTINCT tenant, consumer, day AS d FROM days) ARRAY JOIN range(30) AS o GROUP BY day
		)
		SELECT toDateTime(u.day, {{zone}}) AS day, u.dau AS dau, u.wau AS wau, u.mau AS mau, k.keys AS active_keys, k.calls AS calls
		FROM users AS u LEFT JOIN (SELECT day, uniqExactIf((tenant, key_id), key_id != toFixedString('', 16)) AS keys, sum(n) AS calls FROM days GROUP BY day) AS k ON k.day = u.day
		WHERE u.day >= toDate(toDateTime(@from, 'UTC'), {{zone}}) AND u.day <= toDate(toDateTime(@to - 1, 'UTC'), {{zone}})
		ORDER BY day`)
}

// Repeat returns how many consumers called with success in the window, and how
// many of them on more than one day.
func (c *Conn) Repeat(ctx context.Context, w ProductWindow) (active, repeated uint64, err error) {
	type row struct {
		Active   uint64 `ch:"active"`
		Repeated uint64 `ch:"repeated"`
	}
	rows, err := product[row](ctx, c, "count repeated usage", w, `SELECT count() AS active, countIf(days > 1) AS repeated FROM (
		SELECT tenant, consumer, uniqExact(toDate(time, {{zone}})) AS days FROM {{calls by day}} WHERE error_class = 'none' GROUP BY tenant, consumer)`)
	if err != nil || len(rows) == 0 {
		return 0, 0, err
	}
	return rows[0].Active, rows[0].Repeated, nil
}

// A Cohort is the consumers who signed up in one week or month.
type Cohort struct {
	Start time.Time `ch:"cohort"`
	Size  uint64    `ch:"size"`
	// Kept and Known are, by the days that were asked for, how many called with
	// success that many days after their sign-up, and of how many the day is over.
	Kept  []uint64 `ch:"kept"`
	Known []uint64 `ch:"known"`
}

// Retention returns cohorts of those who signed up in the window.
func (c *Conn) Retention(ctx context.Context, w ProductWindow, monthly bool, days []int64) ([]Cohort, error) {
	cohort := "toMonday(signed_up_at, {{zone}})"
	if monthly {
		cohort = "toStartOfMonth(signed_up_at, {{zone}})"
	}
	return product[Cohort](ctx, c, "count retention", w, `WITH
		active AS (SELECT tenant, consumer, groupUniqArray(toDate(time, {{zone}})) AS days FROM {{calls by day}} WHERE error_class = 'none' GROUP BY tenant, consumer),
		cons AS (
			SELECT tenant, consumer, `+cohort+` AS cohort, toDate(signed_up_at, {{zone}}) AS day FROM v_consumer
			WHERE signed_up_at >= toDateTime(@from, 'UTC') AND signed_up_at < toDateTime(@to, 'UTC')
		)
		SELECT toDateTime(s.cohort, {{zone}}) AS cohort, count() AS size,
			sumForEach(arrayMap(n -> toUInt64(has(a.days, s.day + n) AND s.day + n < toDate(toDateTime(@to, 'UTC'), {{zone}})), @days)) AS kept,
			sumForEach(arrayMap(n -> toUInt64(s.day + n < toDate(toDateTime(@to, 'UTC'), {{zone}})), @days)) AS known
		FROM cons AS s LEFT JOIN active AS a ON a.tenant = s.tenant AND a.consumer = s.consumer
		GROUP BY cohort ORDER BY cohort`, clickhouse.Named("days", days))
}
