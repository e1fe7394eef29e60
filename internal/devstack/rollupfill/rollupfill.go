// Package rollupfill fills the rollups from raw rows inside ClickHouse, for
// tests and benchmarks that make raw rows there. In production ingest counts
// each batch before it inserts it.
package rollupfill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
)

// bucket is the latency's; 65535 is none.
const bucket = "if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1)))"

// A level is a rollup: its window, what tells its groups apart, the rows that
// it counts, and its columns by name as the sum of rows that share a bucket.
type level struct {
	name, window, dims, filter string
	buckets, hist              string
	columns                    [][2]string
}

const (
	requestDims = "tenant, environment, service, route, method, status, error_class, responder"
	keyDims     = "tenant, environment, key_id, consumer, plan, service, error_class"
	known       = "(consumer != '' OR key_id != toFixedString('', 16))"
)

var (
	latency = [][2]string{{"timed", "toInt64(count(latency_us))"}}
	amounts = [][2]string{
		{"bytes_in", "toInt64(sum(ifNull(bytes_in, 0)))"},
		{"bytes_out", "toInt64(sum(ifNull(bytes_out, 0)))"},
		{"latency_us_sum", "toInt64(sum(ifNull(latency_us, 0)))"},
	}
	ofRequests = [][2]string{
		{"latency_us_max", "max(ifNull(latency_us, 0))"},
		{"upstream_timed", "toInt64(count(upstream_latency_us))"},
		{"upstream_us_sum", "toInt64(sum(ifNull(upstream_latency_us, 0)))"},
	}
	ofKeys = [][2]string{{"first_seen", "min(ts)"}, {"last_seen", "max(ts)"}}
)

func join(lists ...[][2]string) (all [][2]string) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func levels() (list []level) {
	for _, l := range [][2]string{{"request_10s", "toStartOfInterval(ts, INTERVAL 10 SECOND)"}, {"request_1m", "toStartOfMinute(ts)"}, {"request_1h", "toStartOfHour(ts)"}} {
		list = append(list, level{l[0], l[1], requestDims, "1", bucket, "latency_hist", join(latency, amounts, ofRequests)})
	}
	for _, l := range [][2]string{{"key_1m", "toStartOfMinute(ts)"}, {"key_1h", "toStartOfHour(ts)"}, {"key_1d", "toStartOfDay(ts)"}} {
		list = append(list, level{l[0], l[1], keyDims, known, bucket, "latency_hist", join(latency, amounts, ofKeys)})
	}
	return append(list,
		level{"edge_1m", "toStartOfMinute(ts)", "tenant, environment, service, region, node, error_class", "1", bucket, "latency_hist", latency},
		level{"usage_1d", "toStartOfDay(ts)", "tenant, environment, key_id, consumer, service, method, route, api_version, error_class", known, "toUInt16(toHour(ts))", "hours", nil})
}

// insert returns the statement that adds the rows of a condition. The inner query
// counts by bucket, the outer one folds buckets into a map.
func (l level) insert(condition string) string {
	names, inner, outer := []string{}, "", ""
	for _, c := range l.columns {
		merge := "sum"
		switch {
		case strings.HasPrefix(c[1], "max("):
			merge = "max"
		case strings.HasPrefix(c[1], "min("):
			merge = "min"
		}
		names = append(names, c[0])
		inner += fmt.Sprintf(", %s AS c_%s", c[1], c[0])
		outer += fmt.Sprintf(", %s(c_%s)", merge, c[0])
	}
	columns := strings.Join(append([]string{"time", l.dims, "requests", l.hist}, names...), ", ")
	return fmt.Sprintf(`INSERT INTO %s (%s)
SELECT w, %s, sum(n), mapFromArrays(groupArrayIf(b, b != 65535), groupArrayIf(n, b != 65535))%s
FROM (SELECT toDateTime(%s, 'UTC') AS w, %[3]s, %[6]s AS b, toInt64(count()) AS n%s FROM access_log WHERE %s AND %s GROUP BY w, %[3]s, b)
GROUP BY w, %[3]s
SETTINGS max_partitions_per_insert_block = 0`, l.name, columns, l.dims, outer, l.window, l.buckets, inner, l.filter, condition)
}

// Fill adds what the raw rows of [from, to) add up to, a day at a time. It does
// not look at what the rollups have already.
func Fill(ctx context.Context, conn *clickhouse.Conn, from, to time.Time) error {
	for from.Before(to) {
		end := from.Truncate(24 * time.Hour).Add(24 * time.Hour)
		if end.After(to) {
			end = to
		}
		condition := fmt.Sprintf("ts >= fromUnixTimestamp64Micro(%d) AND ts < fromUnixTimestamp64Micro(%d)", from.UnixMicro(), end.UnixMicro())
		for _, l := range levels() {
			if err := conn.Exec(ctx, l.insert(condition)); err != nil {
				return fmt.Errorf("fill %s: %w", l.name, err)
			}
		}
		from = end
	}
	return nil
}

// FillAll adds what all raw rows add up to.
func FillAll(ctx context.Context, conn *clickhouse.Conn) error {
	var first, last time.Time
	if err := conn.QueryRow(ctx, "SELECT min(ts), max(ts) FROM access_log").Scan(&first, &last); err != nil {
		return fmt.Errorf("ask for the time of raw rows: %w", err)
	}
	return Fill(ctx, conn, first, last.Add(time.Microsecond))
}
