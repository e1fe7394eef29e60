package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/evaluate"
	"gatewatch/internal/histogram"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// A countSource is the rollup that counts of a dimension and grain are read from.
type countSource struct {
	table string
	time  string // expression of the window
	group string // expression of the group
}

// countSourceOf returns where counts come from. Consumers, plans and regions are
// kept by the minute.
func countSourceOf(d slo.Dimension, g rollup.Grain) (countSource, error) {
	tables := map[rollup.Grain]string{rollup.Grain10s: "request_10s", rollup.Grain1m: "request_1m", rollup.Grain1h: "request_1h"}
	src := countSource{time: "time", group: "''"}
	switch d {
	case slo.ByRoute:
		src.group = "concat(method, ' ', route)"
	case slo.ByConsumer, slo.ByPlan:
		tables = map[rollup.Grain]string{rollup.Grain1m: "key_1m", rollup.Grain1h: "key_1h"}
		src.group = "toString(" + string(d) + ")"
	case slo.ByRegion:
		tables = map[rollup.Grain]string{rollup.Grain1m: "edge_1m", rollup.Grain1h: "edge_1m"}
		src.group = "toString(region)"
		if g == rollup.Grain1h {
			src.time = "toStartOfHour(time)"
		}
	}
	if src.table = tables[g]; src.table == "" {
		return src, fmt.Errorf("no rollup of grain %s by %q", time.Duration(g), d)
	}
	return src, nil
}

// maxExpressions is how many indicators one query counts.
const maxExpressions = 40

// Counts implements evaluate.Counter. Feeds that come from one rollup are read
// by one query.
func (c *Conn) Counts(ctx context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]evaluate.Point, error) {
	out := make([][]evaluate.Point, len(feeds))
	sources := map[countSource][]int{}
	var order []countSource
	for i, f := range feeds {
		src, err := countSourceOf(f.Group, g)
		if err != nil {
			return nil, err
		}
		if sources[src] == nil {
			order = append(order, src)
		}
		sources[src] = append(sources[src], i)
	}
	for _, src := range order {
		q := countQuery{source: src, from: from, to: to, column: map[string]int{}, feeds: map[string]map[int][]int{}}
		for _, i := range sources[src] {
			if q.add(feeds[i], i) {
				if err := q.read(ctx, c, out); err != nil {
					return nil, err
				}
				q.reset()
			}
		}
		if err := q.read(ctx, c, out); err != nil {
			return nil, err
		}
	}
	for _, points := range out {
		if !slices.IsSortedFunc(points, byTime) {
			slices.SortFunc(points, byTime)
		}
	}
	return out, nil
}

func byTime(a, b evaluate.Point) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Group, b.Group))
}

// A countQuery counts several indicators of several services at once.
type countQuery struct {
	source   countSource
	from, to time.Time
	columns  []string                 // two expressions for each indicator
	column   map[string]int           // number of an indicator's first
	feeds    map[string]map[int][]int // service → number of the indicator's first column → feeds
	args     []any
}

func (q *countQuery) reset() {
	q.columns, q.args = nil, nil
	clear(q.column)
	clear(q.feeds)
}

// add counts a feed too; it reports whether the query is full.
func (q *countQuery) add(f slo.Feed, number int) bool {
	key := fmt.Sprintf("%+v", f.SLI)
	n, ok := q.column[key]
	if !ok {
		n = len(q.columns)
		q.column[key] = n
		valid, bad := countable(f.SLI)
		conds := []string{"1"}
		for _, by := range []struct{ column, value string }{
			{"route", f.SLI.Route}, {"method", f.SLI.Method}, {"environment", f.SLI.Environment}, {"tenant", f.SLI.Tenant},
		} {
			if by.value != "" {
				name := fmt.Sprintf("v%d", len(q.args))
				conds = append(conds, fmt.Sprintf("%s = @%s", by.column, name))
				q.args = append(q.args, clickhouse.Named(name, by.value))
			}
		}
		cond := strings.Join(conds, " AND ")
		q.columns = append(q.columns, fmt.Sprintf("toInt64(sumIf(%s, %s)) AS c%d", valid, cond, n), fmt.Sprintf("toInt64(sumIf(%s, %s)) AS c%d", bad, cond, n+1))
	}
	if q.feeds[f.Service] == nil {
		q.feeds[f.Service] = map[int][]int{}
	}
	q.feeds[f.Service][n] = append(q.feeds[f.Service][n], number)
	return len(q.columns) >= 2*maxExpressions
}

// text returns the query: a row a service and group, with arrays over time.
func (q *countQuery) text() string {
	arrays := make([]string, len(q.columns))
	for i := range q.columns {
		arrays[i] = fmt.Sprintf("groupArray(c%d)", i)
	}
	return fmt.Sprintf(`SELECT service, g, groupArray(t), %s FROM (
		SELECT service, %s AS g, toUnixTimestamp(%s) AS t, %s FROM %s
		WHERE service IN (@services) AND time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC')
		GROUP BY service, g, t ORDER BY service, g, t)
		GROUP BY service, g`, strings.Join(arrays, ", "), q.source.group, q.source.time, strings.Join(q.columns, ", "), q.source.table)
}

func (q *countQuery) read(ctx context.Context, c *Conn, out [][]evaluate.Point) error {
	if len(q.columns) == 0 {
		return nil
	}
	services := make([]string, 0, len(q.feeds))
	for s := range q.feeds {
		services = append(services, s)
	}
	slices.Sort(services)
	rows, err := c.Query(ctx, q.text(), append(q.args, clickhouse.Named("services", services), clickhouse.Named("from", q.from.Unix()), clickhouse.Named("to", q.to.Unix()))...)
	if err != nil {
		return fmt.Errorf("count requests: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var service, group string
		var times []uint32
		values := make([][]int64, len(q.columns))
		into := []any{&service, &group, &times}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("count requests: %w", err)
		}
		for n, numbers := range q.feeds[service] {
			for _, i := range numbers {
				out[i] = appendPoints(out[i], group, times, values[n], values[n+1])
			}
		}
	}
	return rows.Err()
}

// appendPoints adds the windows that hold something.
func appendPoints(list []evaluate.Point, group string, times []uint32, valid, bad []int64) []evaluate.Point {
	list = slices.Grow(list, len(times))
	for k, t := range times {
		if valid[k] != 0 || bad[k] != 0 {
			list = append(list, evaluate.Point{Time: time.Unix(int64(t), 0).UTC(), Group: group, Count: slo.Count{Valid: valid[k], Bad: bad[k]}})
		}
	}
	return list
}

// Changed implements evaluate.Querier: the ledger says which event times the
// newest batches have.
func (c *Conn) Changed(ctx context.Context, topics []string, after time.Time) (evaluate.Change, error) {
	var ch evaluate.Change
	var n uint64
	err := c.QueryRow(ctx, `SELECT count(), min(earliest_event), max(latest_event), max(written_at) FROM ledger
		WHERE topic IN (@topics) AND rows > 0 AND written_at > fromUnixTimestamp64Milli(@after, 'UTC')`,
		clickhouse.Named("topics", topics), clickhouse.Named("after", max(0, after.UnixMilli()))).Scan(&n, &ch.From, &ch.To, &ch.Seen)
	if err != nil {
		return ch, fmt.Errorf("read the ledger: %w", err)
	}
	if n == 0 {
		return evaluate.Change{}, nil
	}
	return ch, nil
}

// FirstCount returns the first minute that a feed has counts of; the zero time if
// it has none.
func (c *Conn) FirstCount(ctx context.Context, f slo.Feed) (time.Time, error) {
	src, err := countSourceOf(f.Group, rollup.Grain1m)
	if err != nil {
		return time.Time{}, err
	}
	where, args := narrow(f, "")
	var n uint64
	var first time.Time
	if err := c.QueryRow(ctx, fmt.Sprintf("SELECT count(), min(time) FROM %s WHERE %s", src.table, where), args...).Scan(&n, &first); err != nil {
		return first, fmt.Errorf("find the first count of %s: %w", f.Service, err)
	}
	if n == 0 {
		return time.Time{}, nil
	}
	return first.UTC(), nil
}

// ServiceTraffic is a service's requests of some time.
type ServiceTraffic struct {
	Service string
	Count   slo.Count
	Latency histogram.Histogram // of the answers that are valid for an indicator of latency
}

// ServiceTraffic sums the requests of each service over whole hours in [from, to),
// counted as an availability indicator says.
func (c *Conn) ServiceTraffic(ctx context.Context, from, to time.Time, sli slo.SLI) ([]ServiceTraffic, error) {
	valid, bad := countable(sli)
	answered := fmt.Sprintf("NOT (%s) AND NOT (%s)", anyOf(sli.BadClasses()), anyOf(sli.ExcludedClasses()))
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT service, sum(%s), sum(%s), sumMapIf(latency_hist, %s) FROM request_1h
		WHERE time >= toDateTime(@from, 'UTC') AND time < toDateTime(@to, 'UTC') GROUP BY service ORDER BY service`, valid, bad, answered),
		clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()))
	if err != nil {
		return nil, fmt.Errorf("sum the traffic of services: %w", err)
	}
	defer rows.Close()
	var list []ServiceTraffic
	for rows.Next() {
		var s ServiceTraffic
		var latency map[uint16]int64
		if err := rows.Scan(&s.Service, &s.Count.Valid, &s.Count.Bad, &latency); err != nil {
			return nil, fmt.Errorf("sum the traffic of services: %w", err)
		}
		s.Latency = histogram.Histogram(latency)
		list = append(list, s)
	}
	return list, rows.Err()
}

// Operations returns the methods with route templates that each service has been
// asked for since a time.
func (c *Conn) Operations(ctx context.Context, since time.Time) (map[string][]string, error) {
	rows, err := c.Query(ctx, "SELECT service, concat(method, ' ', route) AS operation FROM request_1h WHERE time >= toDateTime(@since, 'UTC') GROUP BY service, operation ORDER BY service, operation", clickhouse.Named("since", since.Unix()))
	if err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	defer rows.Close()
	list := map[string][]string{}
	for rows.Next() {
		var service, operation string
		if err := rows.Scan(&service, &operation); err != nil {
			return nil, fmt.Errorf("list operations: %w", err)
		}
		list[service] = append(list[service], operation)
	}
	return list, rows.Err()
}
