package clickhouse

import (
	"context"
	_ "embed" // of the queries
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/aggregate"
	"gatewatch/internal/rollup"
)

var (
	//go:embed queries/derive_dimension_1h.sql
	deriveDimensionSQL string
	//go:embed queries/derive_layer_log.sql
	deriveLayerLogSQL string
	//go:embed queries/derive_layer_span.sql
	deriveLayerSpanSQL string
	//go:embed queries/derive_layer_1h.sql
	deriveLayerHourSQL string
)

// dimensionsSQL makes a row for each dimension that the first levels do not have.
const dimensionsSQL = "arrayJoin([('node', toString(node)), ('region', toString(region)), ('upstream', toString(upstream)), ('api_version', toString(api_version)), ('plan', toString(plan))])"

// bucketOf is histogram.Index of a column, 65535 where it is NULL.
func bucketOf(column string) string { return strings.ReplaceAll(bucketSQL, "latency_us", column) }

// serverClass is the condition that a request failed by the gateway's or the upstream's fault.
func serverClass() string {
	var classes []accesslog.ErrorClass
	for _, c := range accesslog.ErrorClasses() {
		if c.Server() {
			classes = append(classes, c)
		}
	}
	return anyOf(classes)
}

// layerTexts are the statements that compute layer_1m: from the logs, and from
// spans. only is a further condition on requests, such as " AND service = 'a'".
func layerTexts(only string) []string {
	fill := strings.NewReplacer("{{gateway_bucket}}", bucketOf("gateway_latency_us"), "{{upstream_bucket}}", bucketOf("upstream_latency_us"),
		"{{server_class}}", serverClass(), "{{part_bucket}}", "toUInt16(greatest(0, ceil(log2(greatest(1, part.2)) * 64) - 1))", "{{only}}", only)
	return []string{fill.Replace(deriveLayerLogSQL), fill.Replace(deriveLayerSpanSQL)}
}

// layerSelects are their queries for one service, without the insert.
func layerSelects() []string {
	var list []string
	for _, text := range layerTexts(" AND service = @service") {
		_, query, _ := strings.Cut(text, "\n")
		list = append(list, query)
	}
	return list
}

// Derive implements aggregate.Deriver.
func (c *Conn) Derive(ctx context.Context, name string, from, to time.Time) error {
	now := time.Now()
	var texts []string
	switch name {
	case "dimension_1h":
		texts = []string{strings.NewReplacer("{{bucket}}", bucketSQL, "{{dimensions}}", dimensionsSQL).Replace(deriveDimensionSQL)}
	case "layer_1m":
		texts = layerTexts("")
	case "layer_1h":
		texts = []string{deriveLayerHourSQL}
	case "unusual_1h":
		for _, w := range rollup.Grain1h.Windows(from, to) {
			if err := c.judge(ctx, w, now); err != nil {
				return err
			}
		}
		return nil
	default:
		return fmt.Errorf("no derived table %q", name)
	}
	for _, text := range texts {
		err := c.Exec(ctx, text, clickhouse.Named("from", from.Unix()), clickhouse.Named("to", to.Unix()), clickhouse.Named("now", now.UnixMilli()))
		if err != nil {
			return fmt.Errorf("compute %s: %w", name, err)
		}
	}
	return nil
}

// Touched implements aggregate.Deriver.
func (c *Conn) Touched(ctx context.Context, source string, since, until, before time.Time, g rollup.Grain) ([]time.Time, error) {
	rows, err := c.Query(ctx, fmt.Sprintf(`SELECT DISTINCT toDateTime(toStartOfInterval(r.ts, INTERVAL %d SECOND, 'UTC'), 'UTC') AS time
		FROM %s AS r INNER JOIN (
			SELECT topic, kafka_partition, first_offset, last_offset FROM ledger
			WHERE written_at >= fromUnixTimestamp64Milli(@since, 'UTC') AND written_at < fromUnixTimestamp64Milli(@until, 'UTC')
				AND rows > 0 AND earliest_event < toDateTime(@before, 'UTC')
		) AS l ON r.topic = l.topic AND r.kafka_partition = l.kafka_partition
		WHERE r.ts < toDateTime(@before, 'UTC') AND r.kafka_offset BETWEEN l.first_offset AND l.last_offset
			AND r.kafka_time >= (SELECT min(first_kafka_time) FROM ledger
				WHERE written_at >= fromUnixTimestamp64Milli(@since, 'UTC') AND written_at < fromUnixTimestamp64Milli(@until, 'UTC')
					AND rows > 0 AND earliest_event < toDateTime(@before, 'UTC'))
		ORDER BY time`, int64(time.Duration(g)/time.Second), source),
		clickhouse.Named("since", since.UnixMilli()), clickhouse.Named("until", until.UnixMilli()), clickhouse.Named("before", before.Unix()))
	if err != nil {
		return nil, fmt.Errorf("look for late rows in %s: %w", source, err)
	}
	defer rows.Close()
	var list []time.Time
	for rows.Next() {
		var t time.Time
		if err := rows.Scan(&t); err != nil {
			return nil, fmt.Errorf("look for late rows in %s: %w", source, err)
		}
		list = append(list, t.UTC())
	}
	return list, rows.Err()
}

// Began implements aggregate.Deriver.
func (c *Conn) Began(ctx context.Context, sources []string) (first time.Time, found bool, err error) {
	for _, s := range sources {
		var n uint64
		var t time.Time
		if err := c.QueryRow(ctx, "SELECT count(), min(ts) FROM "+s).Scan(&n, &t); err != nil {
			return first, false, fmt.Errorf("look for the oldest row of %s: %w", s, err)
		}
		if n > 0 && (!found || t.Before(first)) {
			first, found = t, true
		}
	}
	return first, found, nil
}

// Reached implements aggregate.Deriver.
func (c *Conn) Reached(ctx context.Context, name string) (r aggregate.Reached, err error) {
	text, err := c.Setting(ctx, "derived "+name)
	if err != nil || text == "" {
		return r, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("read how far %s is computed: %w", name, err)
	}
	return r, nil
}

// SetReached implements aggregate.Deriver.
func (c *Conn) SetReached(ctx context.Context, name string, r aggregate.Reached) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.SetSetting(ctx, "derived "+name, string(text))
}
