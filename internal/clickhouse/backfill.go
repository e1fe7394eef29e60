package clickhouse

import (
	"context"
	_ "embed" // of the query
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/rollup"
)

//go:embed queries/difference.sql
var differenceSQL string

// A family is the levels that have the same columns.
type family struct {
	// dims as text, the same expressions on raw rows and levels, and the columns that they fill.
	dims, columns []string
	// counts of a level and of raw rows.
	counts, rawCounts []string
	// filter leaves out raw rows that the family does not count.
	filter string
	// raw is what raw rows are read from.
	raw string
}

func familyOf(level string) family {
	sum := func(column string) string { return "toInt64(sum(ifNull(" + column + ", 0)))" }
	f := family{
		raw:       "access_log",
		counts:    []string{"requests", "bytes_in", "bytes_out", "timed", "latency_us_sum"},
		rawCounts: []string{"toInt64(count())", sum("bytes_in"), sum("bytes_out"), "toInt64(count(latency_us))", sum("latency_us")},
	}
	switch {
	case strings.HasPrefix(level, "dimension_"):
		f.columns = []string{"tenant", "environment", "service", "dimension", "value", "error_class"}
		f.raw = "(SELECT *, (" + dimensionsSQL + " AS dim).1 AS dimension, dim.2 AS value FROM access_log)"
	case strings.HasPrefix(level, "key_"):
		f.columns = []string{"tenant", "environment", "key_id", "consumer", "plan", "service", "error_class"}
		f.filter = " AND (consumer != '' OR key_id != toFixedString('', 16))"
	default:
		f.columns = []string{"tenant", "environment", "service", "route", "method", "status", "error_class", "responder"}
		f.counts = append(f.counts, "upstream_timed", "upstream_us_sum")
		f.rawCounts = append(f.rawCounts, "toInt64(count(upstream_latency_us))", sum("upstream_latency_us"))
	}
	for _, c := range f.columns {
		switch c {
		case "key_id":
			c = "hex(key_id)"
		case "status", "error_class", "responder", "dimension", "value":
			c = "toString(" + c + ")"
		}
		f.dims = append(f.dims, c)
	}
	return f
}

func (f family) keys() bool { return f.filter != "" }

// Difference compares a level with the raw rows of [from, to), which are
// multiples of its grain.
func (c *Conn) Difference(ctx context.Context, level rollup.Level, from, to time.Time) (rollup.Difference, error) {
	d := rollup.Difference{Level: level.Name, From: from, To: to}
	f := familyOf(level.Name)
	negated := make([]string, len(f.counts))
	for i, n := range f.counts {
		negated[i] = "-r." + n
	}
	const never = "toDateTime64(0, 6, 'UTC')"
	rawMost, levelMost := "toUInt64(max(ifNull(latency_us, 0)))", "r.latency_us_max"
	rawFirst, rawLast, levelFirst, levelLast := never, never, never, never
	if f.keys() {
		rawMost, levelMost = "toUInt64(0)", "toUInt64(0)"
		rawFirst, rawLast, levelFirst, levelLast = "min(ts)", "max(ts)", "r.first_seen", "r.last_seen"
	}
	text := differenceSQL
	if strings.HasPrefix(level.Name, "dimension_") {
		text = strings.ReplaceAll(text, "FROM {{table}} AS r", "FROM {{table}} AS r FINAL")
	}
	text = strings.NewReplacer(
		"{{seconds}}", strconv.FormatInt(int64(time.Duration(level.Grain)/time.Second), 10), "{{table}}", level.Name, "{{raw}}", f.raw,
		"{{dims}}", strings.Join(f.dims, ", "), "{{bucket}}", bucketSQL, "{{filter}}", f.filter,
		"{{raw_counts}}", strings.Join(f.rawCounts, ", "), "{{level_counts}}", strings.Join(negated, ", "),
		"{{raw_most}}", rawMost, "{{level_most}}", levelMost,
		"{{raw_first}}", rawFirst, "{{raw_last}}", rawLast, "{{level_first}}", levelFirst, "{{level_last}}", levelLast,
	).Replace(text)
	rows, err := c.Query(ctx, text, clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()))
	if err != nil {
		return d, fmt.Errorf("compare %s with the raw rows: %w", level.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r rollup.DifferenceRow
		if err := rows.Scan(&r.Time, &r.Dims, &r.Counts, &r.Latency, &r.Max, &r.FirstSeen, &r.LastSeen); err != nil {
			return d, fmt.Errorf("compare %s with the raw rows: %w", level.Name, err)
		}
		d.Rows = append(d.Rows, r)
	}
	return d, rows.Err()
}

// Correct adds a difference to its level. With the same token it counts once,
// however often it is called.
func (c *Conn) Correct(ctx context.Context, d rollup.Difference, token string) error {
	if len(d.Rows) == 0 {
		return nil
	}
	f := familyOf(d.Level)
	columns := append([]string{"time", "latency_hist"}, f.columns...)
	columns = append(columns, f.counts...)
	if f.keys() {
		columns = append(columns, "first_seen", "last_seen")
	} else {
		columns = append(columns, "latency_us_max")
	}
	settings := clickhouse.Settings{}
	for _, s := range insertSettings(token) {
		settings[s.Key] = s.Value
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(settings))
	b, err := c.PrepareBatch(ctx, "INSERT INTO "+d.Level+" ("+strings.Join(columns, ", ")+")")
	if err != nil {
		return fmt.Errorf("correct %s: %w", d.Level, err)
	}
	defer b.Close()
	for _, r := range d.Rows {
		values, err := f.values(r)
		if err != nil {
			return fmt.Errorf("correct %s: %w", d.Level, err)
		}
		if err := b.Append(values...); err != nil {
			return fmt.Errorf("correct %s: %w", d.Level, err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("correct %s: %w", d.Level, err)
	}
	return nil
}

// values returns a row in the order of Correct's columns.
func (f family) values(r rollup.DifferenceRow) ([]any, error) {
	values := []any{r.Time, r.Latency}
	for i, c := range f.columns {
		switch c {
		case "key_id":
			id, err := hex.DecodeString(r.Dims[i])
			if err != nil {
				return nil, fmt.Errorf("key_id: %w", err)
			}
			values = append(values, string(id))
		case "status":
			n, err := strconv.ParseUint(r.Dims[i], 10, 16)
			if err != nil {
				return nil, fmt.Errorf("status: %w", err)
			}
			values = append(values, uint16(n))
		default:
			values = append(values, r.Dims[i])
		}
	}
	for _, n := range r.Counts {
		values = append(values, n)
	}
	if f.keys() {
		return append(values, r.FirstSeen, r.LastSeen), nil
	}
	return append(values, r.Max), nil
}

// Unsettled returns how many raw rows of [from, to) belong to batches that are
// not in the ledger: their insert is still going on or will be repeated.
func (c *Conn) Unsettled(ctx context.Context, from, to time.Time) (int64, error) {
	var n int64
	err := c.QueryRow(ctx, `SELECT toInt64(count()) FROM access_log AS a
		LEFT JOIN (SELECT topic, kafka_partition, max(last_offset) AS reach FROM ledger GROUP BY topic, kafka_partition) AS l
			ON a.topic = l.topic AND a.kafka_partition = l.kafka_partition
		WHERE a.ts >= toDateTime(@from, 'UTC') AND a.ts < toDateTime(@to, 'UTC') AND (l.topic = '' OR a.kafka_offset > l.reach)`,
		clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix())).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("look for rows that are not in the ledger: %w", err)
	}
	return n, nil
}
