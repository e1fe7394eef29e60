package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"gatewatch/internal/evaluate"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

const (
	comparison  = time.Hour       // how long before a failure is compared with it
	newest      = 5 * time.Minute // part of a failure that is looked at
	longest     = time.Hour       // of a failure with few bad requests
	enoughBad   = 200             // bad requests that need no longer part
	maxRows     = 1_000_000       // raw rows of a failure that are looked at, if newest has fewer
	maxValues   = 60              // of one dimension, those with most bad requests
	settled     = 5 * time.Minute // after which a value that appears is new
	week        = 7 * 24 * time.Hour
	evidenceMax = 20 * time.Second // a page does not wait longer for one of its parts
)

// Evidence implements evaluate.Querier. What was before comes from rollups; of
// the failure itself it reads the raw rows, all of them and not a sample. With
// an error it returns what could be read.
func (c *Conn) Evidence(ctx context.Context, f slo.Feed, group string, onset, to time.Time) (evaluate.Evidence, error) {
	ev := evaluate.Evidence{To: to}
	from, err := c.failing(ctx, f, group, onset, to)
	if err != nil {
		return ev, fmt.Errorf("find the newest part of the failure of %s: %w", f.Service, err)
	}
	ev.From = from
	valid, bad := countableRaw(f.SLI)
	where, args := narrow(f, group)
	args = append(args, clickhouse.Named("from", from.UnixMilli()), clickhouse.Named("to", to.UnixMilli()), clickhouse.Named("onset", onset.Unix()))
	e := evidenceReader{conn: c, ev: &ev, feed: f, group: group, onset: onset, args: args, where: where, rows: fmt.Sprintf(`(SELECT (%s) AS is_valid, (%s) AS is_bad,
		toString(upstream) AS upstream, concat(method, ' ', route) AS route, toString(method) AS method, toString(node) AS node, toString(region) AS region, toString(api_version) AS version,
		toString(consumer) AS consumer, if(key_id = toFixedString('', 16), '', lower(hex(substring(key_id, 1, 4)))) AS key, toString(plan) AS plan, trace_id,
		toString(error_class) AS class, toString(responder) AS who, toString(error_evidence) AS basis
		FROM (SELECT * FROM access_log WHERE %s AND ts >= fromUnixTimestamp64Milli(@from, 'UTC') AND ts < fromUnixTimestamp64Milli(@to, 'UTC')))`, valid, bad, where)}
	err = e.read(ctx)
	return ev, err
}

// read reads all parts: first those that need nothing else, at once, for somebody waits.
func (e *evidenceReader) read(ctx context.Context) error {
	type part = func(context.Context) error
	first := []part{e.totals, e.before, e.plans, e.services, e.changes, e.layers, e.worth}
	faults := make([]error, len(first))
	var all sync.WaitGroup
	for i, read := range first {
		all.Go(func() { faults[i] = read(ctx) })
	}
	all.Wait()
	for _, read := range []part{e.cells, e.pairs, e.firstSeen, e.owners} {
		faults = append(faults, read(ctx))
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("compare the failure of %s with before: %w", e.feed.Service, err)
	}
	return nil
}

// failing returns where the part of a failure begins that is looked at: the
// newest one, as long as it needs to have enough bad requests.
func (c *Conn) failing(ctx context.Context, f slo.Feed, group string, onset, to time.Time) (time.Time, error) {
	from := to.Add(-newest)
	if !from.After(onset) {
		return onset, nil
	}
	first := to.Add(-longest)
	if first.Before(onset) {
		first = onset
	}
	points, err := c.counted(ctx, f, group, first, to)
	if err != nil {
		return from, err
	}
	var sum slo.Count
	for _, p := range slices.Backward(points) {
		if p.Time.Before(from) && (sum.Bad >= enoughBad || sum.Valid+p.Valid > maxRows) {
			break
		}
		sum.Valid, sum.Bad = sum.Valid+p.Valid, sum.Bad+p.Bad
		if p.Time.Before(from) {
			from = p.Time
		}
	}
	if from.Before(first) {
		from = first
	}
	return from, nil
}

// counted returns a feed's counts, or one group's, by the minute.
func (c *Conn) counted(ctx context.Context, f slo.Feed, group string, from, to time.Time) ([]evaluate.Point, error) {
	if group == slo.Other {
		f.Group, group = slo.Whole, ""
	}
	lists, err := c.Counts(ctx, []slo.Feed{f}, rollup.Grain1m, from, to)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(lists[0], func(p evaluate.Point) bool { return p.Group != group }), nil
}

// An evidenceReader fills in an Evidence.
type evidenceReader struct {
	conn  *Conn
	ev    *evaluate.Evidence
	feed  slo.Feed
	group string
	onset time.Time
	where string // condition of the objective's requests
	rows  string // sub-query of those of the failure
	args  []any

	usual map[suspect.Term]slo.Count
}

// each runs a query with the reader's arguments, and calls scan for each row.
func (e *evidenceReader) each(ctx context.Context, query string, scan func(driver.Rows) error, more ...any) error {
	return e.conn.scan(ctx, query, scan, append(slices.Clone(e.args), more...)...)
}

// scan runs a query that a page waits for, and calls row for each row.
func (c *Conn) scan(ctx context.Context, query string, row func(driver.Rows) error, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, evidenceMax)
	defer cancel()
	return c.scanAll(ctx, query, row, args...)
}

func (e *evidenceReader) totals(ctx context.Context) error {
	return e.each(ctx, `SELECT countIf(is_valid), countIf(is_bad), uniqExactIf(consumer, is_bad AND consumer != ''), uniqExactIf(consumer, consumer != ''),
		countIf(is_bad AND basis = 'stated') FROM `+e.rows, func(rows driver.Rows) error {
		var n [5]uint64
		if err := rows.Scan(&n[0], &n[1], &n[2], &n[3], &n[4]); err != nil {
			return err
		}
		e.ev.Now = slo.Count{Valid: int64(n[0]), Bad: int64(n[1])}
		e.ev.Consumers, e.ev.ActiveConsumers = int64(n[2]), int64(n[3])
		if n[1] > 0 {
			e.ev.Stated = float64(n[4]) / float64(n[1])
		}
		return nil
	})
}

// before counts the hour before the onset, and the failure's time a week ago.
func (e *evidenceReader) before(ctx context.Context) error {
	for _, w := range []struct {
		from, to time.Time
		sum      *slo.Count
	}{{e.onset.Add(-comparison), e.onset, &e.ev.Before}, {e.ev.From.Add(-week), e.ev.To.Add(-week), &e.ev.WeekAgo}} {
		points, err := e.conn.counted(ctx, e.feed, e.group, w.from, w.to)
		if err != nil {
			return err
		}
		for _, p := range points {
			w.sum.Valid, w.sum.Bad = w.sum.Valid+p.Valid, w.sum.Bad+p.Bad
			if w.sum == &e.ev.Before && p.Valid > 0 {
				e.ev.BeforeMinutes++
			}
		}
	}
	return e.past(ctx)
}

// A pastSource is a rollup in which values of dimensions are counted.
type pastSource struct {
	table      string
	columns    string // array of (dimension, value)
	narrowedBy []string
	long       time.Duration
}

// pastSources have what rollups know of the hour before; the further dimensions
// are kept by the hour, so a day is read.
var pastSources = []pastSource{
	{"request_1m", "('route', concat(method, ' ', route)), ('method', toString(method))", []string{"service", "environment", "tenant", "route", "method"}, comparison},
	{"edge_1m", "('node', toString(node)), ('region', toString(region))", []string{"service", "environment", "tenant", "region"}, comparison},
	{"key_1m", "('consumer', toString(consumer)), ('plan', toString(plan)), ('key', if(key_id = toFixedString('', 16), '', lower(hex(substring(key_id, 1, 4)))))", []string{"service", "environment", "tenant", "consumer", "plan"}, comparison},
	{"dimension_1h", "(if(dimension = 'api_version', 'version', toString(dimension)), toString(value))", []string{"service", "environment", "tenant"}, 24 * time.Hour},
}

// past reads what was usual for single values, from the rollups that can be
// narrowed down as the objective is.
func (e *evidenceReader) past(ctx context.Context) error {
	e.usual = map[suspect.Term]slo.Count{}
	valid, bad := countable(e.feed.SLI)
	for _, src := range pastSources {
		if !narrows(e.where, src.narrowedBy) {
			continue
		}
		from, end := e.onset.Add(-src.long), e.onset
		only, final := "", ""
		if src.table == "dimension_1h" {
			end = end.Truncate(time.Hour)
			only, final = " AND dimension IN ('upstream', 'api_version')", " FINAL"
		}
		err := e.each(ctx, fmt.Sprintf(`SELECT dim.1, dim.2, sum(%s) AS n, sum(%s) FROM %s%s ARRAY JOIN [%s] AS dim
			WHERE %s AND time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')%s GROUP BY dim.1, dim.2 HAVING n > 0`,
			valid, bad, src.table, final, src.columns, e.where, from.Unix(), end.Unix(), only), func(rows driver.Rows) error {
			var t suspect.Term
			var n slo.Count
			if err := rows.Scan(&t.Dimension, &t.Value, &n.Valid, &n.Bad); err != nil {
				return err
			}
			e.usual[t] = n
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// narrows tells whether a condition names only columns of a rollup.
func narrows(where string, columns []string) bool {
	for part := range strings.SplitSeq(where, " AND ") {
		column, _, _ := strings.Cut(part, " ")
		if !slices.Contains(columns, column) {
			return false
		}
	}
	return true
}

// dimensionsOf are those that suspects are looked for in, as columns of the rows.
var dimensionsOf = []string{suspect.Consumer, suspect.Key, suspect.Plan, suspect.Route, suspect.Method, suspect.Upstream, suspect.Node, suspect.Region, suspect.Version}

func (e *evidenceReader) cells(ctx context.Context) error {
	var dims []string
	for _, d := range append(slices.Clone(dimensionsOf), "class", "who") {
		dims = append(dims, fmt.Sprintf("('%s', %s)", d, d))
	}
	err := e.each(ctx, fmt.Sprintf(`SELECT dim.1, dim.2, countIf(is_valid), countIf(is_bad) AS bad, lower(hex(anyIf(trace_id, is_bad AND trace_id != toFixedString('', 16))))
		FROM %s ARRAY JOIN [%s] AS dim
		GROUP BY dim.1, dim.2 HAVING bad > 0 OR dim.1 IN ('node', 'region') ORDER BY bad DESC, dim.1, dim.2 LIMIT %d BY dim.1`, e.rows, strings.Join(dims, ", "), maxValues), func(rows driver.Rows) error {
		var t suspect.Term
		var cell suspect.Cell
		var n [2]uint64
		if err := rows.Scan(&t.Dimension, &t.Value, &n[0], &n[1], &cell.TraceID); err != nil {
			return err
		}
		cell.Where, cell.Now, cell.Before = []suspect.Term{t}, slo.Count{Valid: int64(n[0]), Bad: int64(n[1])}, e.usual[t]
		if strings.Trim(cell.TraceID, "0") == "" {
			cell.TraceID = ""
		}
		portion := evaluate.Portion{Name: t.Value, Share: float64(cell.Now.Bad) / float64(max(1, e.ev.Now.Bad))}
		switch t.Dimension {
		case "class":
			e.ev.Classes = append(e.ev.Classes, portion)
		case "who":
			e.ev.Responders = append(e.ev.Responders, portion)
		default:
			e.ev.Cells = append(e.ev.Cells, cell)
		}
		return nil
	})
	return err
}

// pairs counts the pairs of values that stand out each.
func (e *evidenceReader) pairs(ctx context.Context) error {
	pairs := suspect.Pairs(suspect.Singles(e.ev.Cells, e.ev.Now, e.ev.Before))
	if len(pairs) == 0 {
		return nil
	}
	var columns []string
	var more []any
	for i, p := range pairs {
		both := fmt.Sprintf("%s = @x%d AND %s = @y%d", p[0].Dimension, i, p[1].Dimension, i)
		columns = append(columns, fmt.Sprintf("[countIf(is_valid AND %[1]s), countIf(is_bad AND %[1]s)]", both))
		more = append(more, clickhouse.Named(fmt.Sprintf("x%d", i), p[0].Value), clickhouse.Named(fmt.Sprintf("y%d", i), p[1].Value))
	}
	return e.each(ctx, "SELECT ["+strings.Join(columns, ", ")+"] FROM "+e.rows, func(rows driver.Rows) error {
		var n [][]uint64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		for i, p := range pairs {
			e.ev.Cells = append(e.ev.Cells, suspect.Cell{Where: p[:], Now: slo.Count{Valid: int64(n[i][0]), Bad: int64(n[i][1])}})
		}
		return nil
	}, more...)
}

func (e *evidenceReader) plans(ctx context.Context) error {
	return e.each(ctx, `SELECT plan, toInt64(uniqExactIf(consumer, is_bad)), toInt64(uniqExact(consumer)) AS active FROM `+e.rows+`
		WHERE plan != '' AND consumer != '' GROUP BY plan ORDER BY active, plan LIMIT 20`, func(rows driver.Rows) error {
		var p evaluate.PlanHit
		err := rows.Scan(&p.Name, &p.Affected, &p.Active)
		e.ev.Plans = append(e.ev.Plans, p)
		return err
	})
}
