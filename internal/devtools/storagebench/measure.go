package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gatewatch/internal/devstack"
)

// A column is what one column takes.
type column struct {
	name  string
	bytes float64 // compressed, a row
}

// A table is what one table takes.
type table struct {
	name  string
	rows  int64
	bytes int64
}

func (b *bench) columns(ctx context.Context, name string) (list []column, err error) {
	rows, err := b.stack.Store.Query(ctx, `SELECT column, sum(column_data_compressed_bytes) / sum(rows) AS bytes FROM system.parts_columns
		WHERE database = currentDatabase() AND table = ? AND active GROUP BY column ORDER BY bytes DESC`, name)
	if err != nil {
		return nil, fmt.Errorf("ask for the columns of %s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.bytes); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func (b *bench) tables(ctx context.Context) (list []table, err error) {
	rows, err := b.stack.Store.Query(ctx, `SELECT table, toInt64(sum(rows)), toInt64(sum(bytes_on_disk)) FROM system.parts
		WHERE database = currentDatabase() AND active AND (table IN ('access_log', 'span') OR table LIKE 'request\_%' OR table LIKE 'key\_1%')
		GROUP BY table ORDER BY table`)
	if err != nil {
		return nil, fmt.Errorf("ask for the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t table
		if err := rows.Scan(&t.name, &t.rows, &t.bytes); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// candidates are orders of access_log's sorting key; the first is the shipped one.
var candidates = [...]string{
	"",
	"ts",
	"service, route, ts",
	"service, toStartOfHour(ts), key_id, route, ts",
	"service, toStartOfHour(ts), route, status, ts",
	"service, toStartOfHour(ts), route, key_id, ts",
	"toStartOfHour(ts), service, route, key_id, ts",
}

// queries are what dashboards and drill-downs ask for; {{from}} is the last hour's begin.
var queries = [...]struct{ name, sql string }{
	{"route by minute", "SELECT toStartOfMinute(ts) AS m, quantiles(0.5, 0.99)(latency_us) FROM {{table}} WHERE service = 'catalog' AND route = '/v1/products/{id}' AND ts >= {{from}} GROUP BY m FORMAT Null"},
	{"errors of a service", "SELECT ts, route, status, path FROM {{table}} WHERE service = 'orders' AND ts >= {{from}} AND error_class != 'none' ORDER BY ts DESC LIMIT 100 FORMAT Null"},
	{"one key", "SELECT route, count(), quantile(0.99)(latency_us) FROM {{table}} WHERE key_id = (SELECT key_id FROM {{table}} LIMIT 1) AND ts >= {{from}} GROUP BY route FORMAT Null"},
	{"one trace", "SELECT * FROM {{table}} WHERE trace_id = (SELECT trace_id FROM {{table}} LIMIT 1) FORMAT Null"},
	{"newest", "SELECT * FROM {{table}} WHERE ts >= {{from}} ORDER BY ts DESC LIMIT 100 FORMAT Null"},
}

// compareKeys stores the rows again under each candidate, in blocks as ingest makes them.
func (b *bench) compareKeys(ctx context.Context) error {
	var create, from string
	if err := b.stack.Store.QueryRow(ctx, "SHOW CREATE TABLE access_log").Scan(&create); err != nil {
		return fmt.Errorf("ask for access_log: %w", err)
	}
	if err := b.stack.Store.QueryRow(ctx, "SELECT concat('toDateTime64(\\'', toString(max(ts) - INTERVAL 1 HOUR), '\\', 6, \\'UTC\\')') FROM access_log").Scan(&from); err != nil {
		return fmt.Errorf("ask for the last hour: %w", err)
	}
	fmt.Println("sorting keys of access_log: bytes a row, engine CPU for storing and merging, milliseconds of queries (median of 5)")
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(out, "  ORDER BY\tbytes\tµs a row")
	for _, q := range queries {
		fmt.Fprint(out, "\t", q.name)
	}
	fmt.Fprintln(out)
	for i, key := range candidates {
		name := fmt.Sprintf("candidate_%d", i)
		bytes, cpu, err := b.candidate(ctx, create, name, key)
		if err != nil {
			return fmt.Errorf("sorting key %q: %w", key, err)
		}
		if key == "" {
			key = orderBy.FindStringSubmatch(create)[1] + " (shipped)"
		}
		fmt.Fprintf(out, "  %s\t%.2f\t%.2f", key, bytes, cpu)
		for _, q := range queries {
			ms, err := b.ask(ctx, strings.NewReplacer("{{table}}", name, "{{from}}", from).Replace(q.sql))
			if err != nil {
				return fmt.Errorf("query %q: %w", q.name, err)
			}
			fmt.Fprintf(out, "\t%.1f", ms)
		}
		fmt.Fprintln(out)
		if err := b.stack.Store.Exec(ctx, "DROP TABLE "+name+" SYNC"); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	return out.Flush()
}

var orderBy = regexp.MustCompile(`ORDER BY \(?([^\n]*?)\)?\n`)

func (b *bench) candidate(ctx context.Context, create, name, key string) (bytes, cpu float64, err error) {
	create = regexp.MustCompile(`^CREATE TABLE \S+`).ReplaceAllLiteralString(create, "CREATE TABLE "+name)
	if key != "" {
		create = orderBy.ReplaceAllLiteralString(create, "ORDER BY ("+key+")\n")
	}
	if err := b.stack.Store.Exec(ctx, create); err != nil {
		return 0, 0, err
	}
	var last int64
	if err := b.stack.Store.QueryRow(ctx, "SELECT max(kafka_offset) FROM access_log").Scan(&last); err != nil {
		return 0, 0, err
	}
	var reading time.Duration
	before := devstack.CPU(b.stack.Engine.PID())
	for _, insert := range []string{"", "INSERT INTO " + name + " "} {
		reading = devstack.CPU(b.stack.Engine.PID()) - before
		for first := int64(0); first <= last; first += blockOffsets {
			sql := fmt.Sprintf("%sSELECT * FROM access_log WHERE kafka_offset >= %d AND kafka_offset < %d", insert, first, first+blockOffsets)
			if insert == "" {
				sql += " FORMAT Null"
			}
			sql += " SETTINGS max_insert_threads = 1, max_threads = 1, max_block_size = 1000000, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0"
			if err := b.stack.Store.Exec(ctx, sql); err != nil {
				return 0, 0, err
			}
		}
	}
	if err := b.merge(ctx, name); err != nil {
		return 0, 0, err
	}
	cpu = float64((devstack.CPU(b.stack.Engine.PID()) - before - 2*reading).Microseconds()) / float64(b.rows)
	err = b.stack.Store.QueryRow(ctx, "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE database = currentDatabase() AND table = ? AND active", name).Scan(&bytes)
	return bytes, cpu, err
}

// blockOffsets is how many offsets of all partitions make a block of about 200,000 rows.
const blockOffsets = 50_000

// ask returns the median time of a query in milliseconds.
func (b *bench) ask(ctx context.Context, sql string) (float64, error) {
	var times []float64
	for range 5 {
		began := time.Now()
		if err := b.stack.Store.Exec(ctx, sql); err != nil {
			return 0, err
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// retentions are the defaults, in days.
var retentions = map[string]float64{
	"access_log": 14, "span": 7, "request_10s": 3, "request_1m": 90, "request_1h": 2 * 365, "key_1m": 14, "key_1h": 90, "key_1d": 3 * 365,
}

// sizes prints what rates of requests need.
func (b *bench) sizes(tables []table) error {
	const day = 86400
	cpu := b.engine.Seconds() / float64(b.rows) // seconds a request
	fmt.Println("sizes: requests and their spans as here, one in ten traced; engine's cores include merges, not queries")
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "  requests/s\tengine cores\tGB a day\tGB at default retention")
	for _, rate := range []float64{100, 1000, 10000} {
		var daily, kept float64
		for _, t := range tables {
			bytes := float64(t.bytes) / float64(b.rows) * rate * day
			daily += bytes
			kept += bytes * retentions[t.name]
		}
		fmt.Fprintf(out, "  %.0f\t%.3f\t%.2f\t%.1f\n", rate, cpu*rate, daily/1e9, kept/1e9)
	}
	fmt.Fprintln(out)
	return out.Flush()
}
