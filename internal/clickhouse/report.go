package clickhouse

import (
	"context"
	_ "embed" // of the queries
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/histogram"
	"gatewatch/internal/rollup"
)

// A Source is a family of tables that a question can be answered from.
type Source string

// The sources, in the order in which they are preferred: a coarser one is faster and kept longer.
const (
	SourceRequest Source = "request" // request_10s, 1m, 1h
	SourceKey     Source = "key"     // key_1m, 1h, 1d; only requests with a key or a consumer
	// SourceDimension is dimension_1h: one of its dimensions at a time.
	SourceDimension Source = "dimension"
	SourceRaw       Source = "access_log"
)

// Dimensions returns what a source's requests can be grouped and filtered by.
func (s Source) Dimensions() []string {
	switch s {
	case SourceRequest:
		return []string{"service", "route", "method", "status", "error_class", "responder", "tenant", "environment"}
	case SourceKey:
		return []string{"key_id", "consumer", "plan", "service", "error_class", "tenant", "environment"}
	case SourceDimension:
		return append([]string{"service", "error_class", "tenant", "environment"}, singleDimensions...)
	case SourceRaw:
	}
	return []string{
		"service", "route", "method", "status", "error_class", "responder", "tenant", "environment",
		"key_id", "consumer", "plan", "upstream", "upstream_status", "upstream_reached", "error_evidence", "flags",
		"node", "region", "api_version", "host", "protocol", "user_agent", "client_ip", "topic",
	}
}

// singleDimensions are those of dimension_1h, of which a question can have one.
var singleDimensions = []string{"node", "region", "upstream", "api_version", "plan"}

// Single returns the one of dims that is a dimension of dimension_1h only, and
// whether there is exactly one.
func Single(dims []string) (string, bool) {
	name := ""
	for _, d := range dims {
		if slices.Contains(singleDimensions, d) {
			if name != "" && name != d {
				return "", false
			}
			name = d
		}
	}
	return name, name != ""
}

// dimension returns the expression of a dimension as text.
func dimension(name string) string { return dimensionIn(name, name) }

// dimensionIn returns the expression of a dimension that a column holds.
func dimensionIn(name, column string) string {
	switch name {
	case "key_id":
		return "if(" + column + " = toFixedString('', 16), '', lower(hex(" + column + ")))"
	case "client_ip":
		return "if(" + column + " = toIPv6('::'), '', replaceOne(toString(" + column + "), '::ffff:', ''))"
	}
	return "toString(" + column + ")"
}

// A Condition restricts a question to one value of a dimension.
type Condition struct{ Dimension, Value string }

// A SumsQuery asks what the requests of a range add up to.
type SumsQuery struct {
	Source Source
	// Table of the source; its grain divides From and To.
	Table    string
	From, To time.Time
	// Coarse is a coarser table of the source, if any, that answers about whole
	// windows of its own from CoarseFrom to CoarseTo unless Step asks for finer ones.
	Coarse               string
	CoarseFrom, CoarseTo time.Time
	// By is dimensions of Source; a row for each of their combinations.
	By []string
	// Step splits the range into steps; 0 does not.
	Step  time.Duration
	Where []Condition
	// ErrorsOnly leaves out the error class none.
	ErrorsOnly bool
	// Largest orders steps by their requests instead of time.
	Largest bool
	// Limit keeps that many rows; 0 keeps all.
	Limit int
	// Single is the dimension that SourceDimension is asked about; By need not have it.
	Single string
	// Apdex is the threshold for satisfied requests; 0 counts none.
	Apdex time.Duration
}

// Sums answers q: over time in the order of time, else with most requests first.
// It has no row for what did not occur.
func (c *Conn) Sums(ctx context.Context, q SumsQuery) ([]rollup.Row, error) {
	text, args, err := q.sql()
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("sum %s: %w", q.Table, err)
	}
	defer rows.Close()
	var list []rollup.Row
	for rows.Next() {
		var r rollup.Row
		hist := map[uint16]int64{}
		err := rows.Scan(&r.Group, &r.Time, &r.Requests, &r.BytesIn, &r.BytesOut, &r.Timed, &r.LatencySum, &r.LatencyMax, &hist, &r.Classes, &r.FirstSeen, &r.LastSeen, &r.Satisfied, &r.Tolerating)
		if err != nil {
			return nil, fmt.Errorf("sum %s: %w", q.Table, err)
		}
		r.Latency = histogram.Histogram(hist)
		if q.Step == 0 {
			r.Time = time.Time{}
		}
		if q.Source == SourceRequest || q.Source == SourceDimension {
			r.FirstSeen, r.LastSeen = time.Time{}, time.Time{}
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// bucketSQL is histogram.Index of latency_us; 65535 stands for no latency.
const bucketSQL = "if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1)))"

var (
	//go:embed queries/sums.sql
	sumsSQL string
	//go:embed queries/sums_level.sql
	sumsLevelSQL string
	//go:embed queries/sums_raw.sql
	sumsRawSQL string
)

// sql composes the query. Names come from closed lists, values are parameters.
func (q SumsQuery) sql() (string, []any, error) {
	where, args, err := q.where()
	if err != nil {
		return "", nil, err
	}
	dims, groups, columns := make([]string, len(q.By)), "", ""
	for i, d := range q.By {
		if !slices.Contains(q.Source.Dimensions(), d) {
			return "", nil, fmt.Errorf("%s has no dimension %q", q.Source, d)
		}
		group := "d" + strconv.Itoa(i)
		dims[i] = dimensionIn(d, group)
		groups += group + ", "
		columns += q.column(d) + " AS " + group + ", "
	}
	step, order := "toDateTime(0, 'UTC')", "total DESC, dims"
	if q.Step > 0 {
		step = fmt.Sprintf("toDateTime(toStartOfInterval(%s, INTERVAL %d SECOND, 'UTC'), 'UTC')", q.timeColumn(), int64(q.Step/time.Second))
		if order = "step, total DESC, dims"; q.Largest {
			order = "total DESC, step, dims"
		}
	}
	inner, most, first, last := sumsLevelSQL, "max(r.latency_us_max)", "toDateTime64(0, 6, 'UTC')", "toDateTime64(0, 6, 'UTC')"
	switch q.Source {
	case SourceKey:
		most, first, last = "toUInt64(0)", "min(r.first_seen)", "max(r.last_seen)"
	case SourceRaw:
		inner = sumsRawSQL
	case SourceRequest, SourceDimension:
	}
	table := q.Table
	if q.Source == SourceDimension {
		table = "v_" + table // of what was computed twice the newer one
	}
	largest := ""
	if q.Source == SourceKey && q.Limit > 0 && q.Step == 0 && groups != "" {
		// Histograms are read of those that are shown: there are thousands of keys.
		groups := strings.TrimSuffix(groups, ", ")
		largest = " AND (" + groups + ") IN (" + fmt.Sprintf("SELECT %s FROM (%s) GROUP BY %s HAVING sum(n) != 0 ORDER BY sum(n) DESC, {{dims}} LIMIT %d",
			groups, q.levels("SELECT {{columns}}sum(r.requests) AS n FROM {{table}} AS r WHERE {{where}} GROUP BY "+groups+"\n", table, where), groups, q.Limit) + ")"
	}
	text := strings.Replace(sumsSQL, "{{inner}}", q.levels(inner, table, where+largest), 1)
	text = strings.NewReplacer(
		"{{dims}}", "CAST(["+strings.Join(dims, ", ")+"], 'Array(String)')", "{{groups}}", groups, "{{columns}}", columns, "{{step}}", step, "{{order}}", order,
		"{{satisfied}}", q.within(0, 1), "{{tolerating}}", q.within(1, 4),
		"{{bucket}}", bucketSQL, "{{max}}", most, "{{first_seen}}", first, "{{last_seen}}", last,
	).Replace(text)
	if q.Limit > 0 {
		text += "LIMIT " + strconv.Itoa(q.Limit)
	}
	return text, args, nil
}

// levels makes of a query about {{table}} {{where}} one about both levels.
func (q SumsQuery) levels(inner, table, where string) string {
	if q.Coarse == "" || q.Step != 0 {
		return strings.NewReplacer("{{where}}", where, "{{table}}", table).Replace(inner)
	}
	inside := fmt.Sprintf("time >= toDateTime(%d, 'UTC') AND time < toDateTime(%d, 'UTC')", q.CoarseFrom.Unix(), q.CoarseTo.Unix())
	return strings.NewReplacer("{{where}}", where+" AND NOT ("+inside+")", "{{table}}", table).Replace(inner) +
		"UNION ALL\n" + strings.NewReplacer("{{where}}", where+" AND "+inside, "{{table}}", q.Coarse).Replace(inner)
}

// column is what holds a dimension in the source's table.
func (q SumsQuery) column(name string) string {
	if q.Source == SourceDimension && slices.Contains(singleDimensions, name) {
		return "value"
	}
	return name
}

// within counts the requests whose latency is above lower and up to upper times
// the threshold, by the bucket edges nearest to them.
func (q SumsQuery) within(lower, upper time.Duration) string {
	if q.Apdex == 0 {
		return "0"
	}
	high, _ := histogram.NearestEdge(uint64((upper * q.Apdex).Microseconds()))
	low := -1
	if lower > 0 {
		i, _ := histogram.NearestEdge(uint64((lower * q.Apdex).Microseconds()))
		low = int(i)
	}
	var failed []string
	for _, c := range accesslog.ErrorClasses() {
		if c.Server() {
			failed = append(failed, quoteString(c.String()))
		}
	}
	return fmt.Sprintf("if(class IN (%s), 0, arraySum(mapValues(mapFilter((k, v) -> k > %d AND k <= %d, latency_hist))))", strings.Join(failed, ", "), low, high)
}

func (q SumsQuery) timeColumn() string {
	if q.Source == SourceRaw {
		return "ts"
	}
	return "time"
}

// where composes the condition and its parameters.
func (q SumsQuery) where() (string, []any, error) {
	parts := []string{q.timeColumn() + " >= toDateTime(@from, 'UTC')", q.timeColumn() + " < toDateTime(@to, 'UTC')"}
	args := []any{clickhouse.Named("from", q.From.Unix()), clickhouse.Named("to", q.To.Unix())}
	for i, w := range q.Where {
		if !slices.Contains(q.Source.Dimensions(), w.Dimension) {
			return "", nil, fmt.Errorf("%s has no dimension %q", q.Source, w.Dimension)
		}
		name := "where" + strconv.Itoa(i)
		parts = append(parts, dimensionIn(w.Dimension, q.column(w.Dimension))+" = @"+name)
		args = append(args, clickhouse.Named(name, w.Value))
	}
	if q.Source == SourceDimension {
		if !slices.Contains(singleDimensions, q.Single) {
			return "", nil, fmt.Errorf("%s answers by one of %s", q.Source, strings.Join(singleDimensions, ", "))
		}
		parts = append(parts, "dimension = '"+q.Single+"'")
	}
	if q.ErrorsOnly {
		parts = append(parts, "error_class != 'none'")
	}
	return strings.Join(parts, " AND "), args, nil
}

// A DeadLetterReason is the messages that could not be read for one reason.
type DeadLetterReason struct {
	Reason   string
	Messages int64
	// Detail and Excerpt are of one of them; the excerpt is masked.
	Detail, Excerpt string
}

// Extent returns the first and last event time of the raw rows, and false if there are none.
func (c *Conn) Extent(ctx context.Context) (first, last time.Time, ok bool, err error) {
	var n uint64
	if err := c.QueryRow(ctx, "SELECT count(), min(ts), max(ts) FROM access_log").Scan(&n, &first, &last); err != nil {
		return first, last, false, fmt.Errorf("read the extent of access_log: %w", err)
	}
	return first, last, n > 0, nil
}

// DeadLetterReasons counts dead letters that Kafka received in [from, to) by
// reason, the most frequent first; zero times do not bound.
func (c *Conn) DeadLetterReasons(ctx context.Context, from, to time.Time) ([]DeadLetterReason, error) {
	if to.IsZero() {
		to = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	rows, err := c.Query(ctx, `SELECT reason, toInt64(count()) AS n, any(detail), any(excerpt) FROM dead_letter
		WHERE kafka_time >= toDateTime(@from, 'UTC') AND kafka_time < toDateTime(@to, 'UTC')
		GROUP BY reason ORDER BY n DESC, reason`,
		clickhouse.Named("from", max(0, from.Unix())), clickhouse.Named("to", to.Unix()))
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	defer rows.Close()
	var list []DeadLetterReason
	for rows.Next() {
		var r DeadLetterReason
		if err := rows.Scan(&r.Reason, &r.Messages, &r.Detail, &r.Excerpt); err != nil {
			return nil, fmt.Errorf("count dead letters: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}
