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

// A levelPart is a range of one level.
type levelPart struct {
	grain    string
	from, to time.Time
}

// parts cuts the window into whole UTC days, which are read from the level by
// day, and the rest by the hour. Days of another zone need hours.
func (w ProductWindow) parts(days bool) []levelPart {
	first, last := w.wholeDays()
	if days && w.Zone.String() != "UTC" || !first.Before(last) {
		return []levelPart{{"1h", w.From, w.To}}
	}
	parts := []levelPart{{"1d", first, last}}
	for _, edge := range []levelPart{{"1h", w.From, first}, {"1h", last, w.To}} {
		if edge.from.Before(edge.to) {
			parts = append(parts, edge)
		}
	}
	return parts
}

// calls selects the calls of the window with consumer, plan and tier as of their
// time, as the views call_1h and call_1d do, but joined once.
func (w ProductWindow) calls(days bool) string { return callsSQL(w.parts(days), "") }

// callsSQL selects the calls of parts; of those of the keys for which only holds,
// if it is given.
func callsSQL(parts []levelPart, only string) string {
	const columns = "service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen"
	return joinedSQL(parts, only, columns, "", columns)
}

// throttledSQL is callsSQL for whom only the calls matter, and which of them were
// throttled: far fewer rows are joined.
func throttledSQL(parts []levelPart) string {
	return joinedSQL(parts, "", "error_class = 'client_quota' AS throttled, sum(requests) AS calls, max(last_seen) AS last_call", "throttled", "throttled, calls, last_call")
}

// joinedSQL selects columns of parts, summed by group if there is one, under names.
func joinedSQL(parts []levelPart, only, columns, group, names string) string {
	const dims = "tenant, key_id, consumer, plan"
	by := ""
	if group != "" {
		by = " GROUP BY time, at, " + dims + ", " + group
	}
	var rows []string
	for _, p := range parts {
		in := fmt.Sprintf("time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", p.from.Unix(), p.to.Unix())
		if only != "" {
			in += " AND (" + only + ")"
		}
		newest := fmt.Sprintf("SELECT tenant, key_id, time, max(version) FROM call_split WHERE grain = '%s' AND %s GROUP BY tenant, key_id, time", p.grain, in)
		rows = append(rows,
			fmt.Sprintf("SELECT time, toDateTime64(time, 6, 'UTC') AS at, "+dims+", %s FROM key_%s WHERE %s AND (tenant, key_id, time) NOT IN (SELECT tenant, key_id, time FROM call_split WHERE grain = '%[2]s' AND %[3]s)%s", columns, p.grain, in, by),
			fmt.Sprintf("SELECT time, at, "+dims+", %s FROM call_split WHERE grain = '%s' AND %s AND (tenant, key_id, time, version) IN (%s)%s", columns, p.grain, in, newest, by))
	}
	return `(SELECT m.time AS time, m.tenant AS tenant, m.key_id AS key_id,
			multiIf(s.consumer != '', s.consumer, m.named != '', m.named, concat('key ', lower(hex(substring(m.key_id, 1, 4))))) AS consumer,
			if(s.plan != '', s.plan, m.plan) AS plan, s.tier AS tier, multiIf(s.consumer != '', 'catalogue', m.named != '', 'gateway', 'first_seen') AS source,
			` + names + `
		FROM (
			SELECT c.*, if(n.name != '', n.name, c.consumer) AS named,
				(c.tenant, c.key_id) IN (SELECT k.tenant, k.key_id FROM key_event AS k WHERE k.key_id != toFixedString('', 16)) AS known,
				if(known, c.key_id, toFixedString('', 16)) AS span_key, if(known, '', named) AS span_name
			FROM (` + strings.Join(rows, " UNION ALL ") + `) AS c LEFT ANY JOIN consumer_name AS n ON n.tenant = c.tenant AND n.former = c.consumer
		) AS m ASOF LEFT JOIN key_span AS s ON s.tenant = m.tenant AND s.key_id = m.span_key AND s.name = m.span_name AND m.at >= s.valid_from)`
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
	Tenant    string           `ch:"tenant"`
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
// the time of the call; most calls first. Of consumers and keys, which are many,
// the first limit have histograms; limit 0: all.
func (c *Conn) Usage(ctx context.Context, w ProductWindow, by string, limit int) ([]UsageRow, error) {
	group, hist := by, "sumMap(latency_hist)"
	apart := limit > 0 && (by == "consumer" || by == "key")
	if apart {
		hist = "CAST(map(), 'Map(UInt16, Int64)')"
	}
	if by == "key" {
		group = "if(key_id = toFixedString('', 16), '', lower(hex(key_id)))"
	}
	rows, err := product[UsageRow](ctx, c, "sum calls by "+by, w, `SELECT tenant, name, any(p) AS plan, sum(n) AS calls, sumMap(map(class, n)) AS classes, sum(t) AS timed, sum(us) AS latency_us_sum,
			sumMap(h) AS hist, min(f) AS first_seen, max(l) AS last_seen, any(s) AS source
		FROM (
			SELECT tenant, `+group+` AS name, toString(error_class) AS class, argMax(plan, last_seen) AS p, sum(requests) AS n, sum(timed) AS t, sum(latency_us_sum) AS us,
				`+hist+` AS h, min(first_seen) AS f, max(last_seen) AS l, min(source) AS s
			FROM {{calls}} GROUP BY tenant, name, class
		) GROUP BY tenant, name ORDER BY calls DESC, name`)
	if err != nil || !apart || len(rows) == 0 {
		return rows, err
	}
	return rows, c.histograms(ctx, w, by, group, rows[:min(limit, len(rows))])
}

// onlyKeys is the condition that a call is of one of the keys with which
// consumers call in the window, or that names are: levels are in their order.
func (c *Conn) onlyKeys(ctx context.Context, w ProductWindow, keys bool, names []string) (string, error) {
	if !keys {
		type row struct {
			Key string `ch:"key"`
		}
		w.From = w.From.Truncate(24 * time.Hour)
		list, err := product[row](ctx, c, "read the keys of consumers", w, `SELECT DISTINCT lower(hex(key_id)) AS key FROM (
				SELECT key_id FROM key_span WHERE consumer IN (@names)
				UNION ALL SELECT key_id FROM key_1d WHERE {{in}} AND (consumer IN (@names) OR consumer IN (SELECT former FROM consumer_name WHERE name IN (@names))
					OR concat('key ', lower(hex(substring(key_id, 1, 4)))) IN (@names)))`, clickhouse.Named("names", names))
		if err != nil {
			return "", err
		}
		names = nil
		for _, r := range list {
			names = append(names, r.Key)
		}
	}
	ids := []string{"toFixedString('', 16)"} // also what has none; whose it is the question tells
	for _, key := range names {
		ids = append(ids, "toFixedString(unhex("+quoteString(key)+"), 16)")
	}
	return "key_id IN (" + strings.Join(ids, ", ") + ")", nil
}

// histograms reads the latency of consumers or keys.
func (c *Conn) histograms(ctx context.Context, w ProductWindow, by, group string, rows []UsageRow) error {
	names := make([]string, len(rows))
	at := map[[2]string]int{} // tenant and name
	for i := range rows {
		names[i] = rows[i].Group
		at[[2]string{rows[i].Tenant, rows[i].Group}] = i
	}
	only, err := c.onlyKeys(ctx, w, by == "key", names)
	if err != nil {
		return err
	}
	type row struct {
		Tenant  string           `ch:"tenant"`
		Name    string           `ch:"name"`
		Latency map[uint16]int64 `ch:"hist"`
	}
	list, err := product[row](ctx, c, "read the latency by "+by, w, "SELECT tenant, "+group+" AS name, sumMap(latency_hist) AS hist FROM "+
		callsSQL(w.parts(false), only)+" WHERE name IN (@names) GROUP BY tenant, name", clickhouse.Named("names", names))
	if err != nil {
		return err
	}
	for _, r := range list {
		if i, ok := at[[2]string{r.Tenant, r.Name}]; ok {
			rows[i].Latency = r.Latency
		}
	}
	return nil
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
}

// Consumers returns all consumers who signed up before the window's end, as they
// stand then; plan, tier and owner are those of now.
func (c *Conn) Consumers(ctx context.Context, w ProductWindow) ([]ConsumerRow, error) {
	return product[ConsumerRow](ctx, c, "list consumers", w, `SELECT tenant, consumer, plan, tier, owner, source, signed_up_at,
			if(first_call < toDateTime(@to, 'UTC'), first_call, NULL) AS first_call, if(first_success < toDateTime(@to, 'UTC'), first_success, NULL) AS first_success
		FROM (SELECT tenant, consumer, plan, tier, owner, source, signed_up_at, v.first_call AS first_call, v.first_success AS first_success FROM v_consumer AS v WHERE signed_up_at < toDateTime(@to, 'UTC'))
		ORDER BY signed_up_at, consumer`)
}

// ActiveDays is the days on which a consumer called with success.
type ActiveDays struct {
	Tenant   string `ch:"tenant"`
	Consumer string `ch:"consumer"`
	// Days are counted from 1970-01-01 by the calendar of the window's zone; Calls
	// are the successful calls of each.
	Days  []int32 `ch:"days"`
	Calls []int64 `ch:"calls"`
}

// ActiveDays returns who called with success on which days of the window.
func (c *Conn) ActiveDays(ctx context.Context, w ProductWindow) ([]ActiveDays, error) {
	return product[ActiveDays](ctx, c, "list active days", w, `SELECT tenant, consumer, groupArray(day) AS days, groupArray(n) AS calls FROM (
			SELECT tenant, consumer, toInt32(toDate(time, {{zone}})) AS day, sum(requests) AS n FROM {{calls by day}} WHERE error_class = 'none' GROUP BY tenant, consumer, day
		) GROUP BY tenant, consumer ORDER BY consumer, tenant`)
}

// A KeyDay is the keys that called with success on a day.
type KeyDay struct {
	Day   int32  `ch:"day"` // as in ActiveDays
	Keys  uint64 `ch:"active_keys"`
	Calls int64  `ch:"calls"`
}

// ActiveKeys counts keys with a successful call by day.
func (c *Conn) ActiveKeys(ctx context.Context, w ProductWindow) ([]KeyDay, error) {
	var parts []string
	for _, p := range w.parts(true) {
		parts = append(parts, fmt.Sprintf("SELECT time, tenant, key_id, requests FROM key_%s WHERE error_class = 'none' AND time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", p.grain, p.from.Unix(), p.to.Unix()))
	}
	return product[KeyDay](ctx, c, "count active keys", w, `SELECT toInt32(toDate(time, {{zone}})) AS day, uniqExactIf((tenant, key_id), key_id != toFixedString('', 16)) AS active_keys, sum(requests) AS calls
		FROM (`+strings.Join(parts, " UNION ALL ")+`) GROUP BY day ORDER BY day`)
}

// A FailedDay is the failed calls of a consumer to one operation on one UTC day.
type FailedDay struct {
	Tenant   string    `ch:"tenant"`
	Consumer string    `ch:"consumer"`
	Class    string    `ch:"class"`
	Service  string    `ch:"service"`
	Method   string    `ch:"method"`
	Route    string    `ch:"place"`
	Day      time.Time `ch:"time"`
	Calls    int64     `ch:"calls"`
}

// FailedDays returns all failed calls of consumers up to the window's end.
func (c *Conn) FailedDays(ctx context.Context, w ProductWindow, consumers []string) ([]FailedDay, error) {
	if len(consumers) == 0 {
		return nil, nil
	}
	return product[FailedDay](ctx, c, "list failed calls", w, `SELECT tenant, consumer, toString(error_class) AS class, service, method, any(route) AS place, time, sum(`+requestsIn("0", "@to")+`) AS calls
		FROM call_route_1d WHERE time < toDateTime(@to, 'UTC') AND error_class != 'none' AND consumer IN (@consumers)
		GROUP BY tenant, consumer, class, service, method, {{template}}, time HAVING calls > 0 ORDER BY tenant, consumer, time, class, service, method, place`, clickhouse.Named("consumers", consumers))
}
