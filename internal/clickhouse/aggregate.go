package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/rollup"
)

// Reaches returns how far the ledger has come in each partition of topics that
// has a batch. A partition in since is looked for from there on only, which
// reads a few index marks instead of all its batches.
func (c *Conn) Reaches(ctx context.Context, topics []string, since []rollup.Reach) ([]rollup.Reach, error) {
	query := "SELECT topic, kafka_partition, max(last_offset) + 1 FROM ledger WHERE topic IN (?)"
	args := []any{topics}
	if len(since) > 0 {
		var known, from []string
		var fromArgs []any
		for _, r := range since {
			known = append(known, fmt.Sprintf("(%s, %d)", quoteString(r.Topic), r.Partition))
			from = append(from, "(topic = ? AND kafka_partition = ? AND first_offset >= ?)")
			fromArgs = append(fromArgs, r.Topic, r.Partition, r.Next)
		}
		query += " AND (" + strings.Join(from, " OR ") + " OR (topic, kafka_partition) NOT IN (" + strings.Join(known, ", ") + "))"
		args = append(args, fromArgs...)
	}
	rows, err := c.Query(ctx, query+" GROUP BY topic, kafka_partition", args...)
	if err != nil {
		return nil, fmt.Errorf("read the ledger's reach: %w", err)
	}
	defer rows.Close()
	var list []rollup.Reach
	for rows.Next() {
		var r rollup.Reach
		if err := rows.Scan(&r.Topic, &r.Partition, &r.Next); err != nil {
			return nil, fmt.Errorf("read the ledger's reach: %w", err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// quoteString makes a string literal.
func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// EventDelays returns, per topic, the 99.9th percentile of Kafka time minus
// event time over the rows that came since then. It reads the rows whose event
// time is at most an hour older: what comes later than that is late data, which
// lateness is for.
func (c *Conn) EventDelays(ctx context.Context, since time.Time) (map[string]time.Duration, error) {
	rows, err := c.Query(ctx, `SELECT topic, quantileTDigest(0.999)(delay) FROM (
			SELECT topic, toUnixTimestamp64Milli(kafka_time) - toUnixTimestamp64Micro(ts) / 1000 AS delay
			FROM access_log WHERE ts >= toDateTime(@ts, 'UTC') AND kafka_time >= toDateTime(@kafka, 'UTC')
			UNION ALL
			SELECT topic, toUnixTimestamp64Milli(kafka_time) - (toUnixTimestamp64Micro(ts) + duration_us) / 1000 AS delay
			FROM span WHERE ts >= toDateTime(@ts, 'UTC') AND kafka_time >= toDateTime(@kafka, 'UTC')
		) GROUP BY topic`, clickhouse.Named("ts", since.Add(-time.Hour).Unix()), clickhouse.Named("kafka", since.Unix()))
	if err != nil {
		return nil, fmt.Errorf("measure the event delay: %w", err)
	}
	defer rows.Close()
	delays := map[string]time.Duration{}
	for rows.Next() {
		var topic string
		var ms float32
		if err := rows.Scan(&topic, &ms); err != nil {
			return nil, fmt.Errorf("measure the event delay: %w", err)
		}
		delays[topic] = time.Duration(float64(ms) * float64(time.Millisecond))
	}
	return delays, rows.Err()
}

// Watermarks returns the newest measurement of each topic.
func (c *Conn) Watermarks(ctx context.Context) ([]rollup.Watermark, error) {
	rows, err := c.Query(ctx, "SELECT topic, measured_at, complete_until, lag, caught_up, event_delay_p999_ms, retention_s FROM v_completeness ORDER BY topic")
	if err != nil {
		return nil, fmt.Errorf("read completeness: %w", err)
	}
	defer rows.Close()
	var list []rollup.Watermark
	for rows.Next() {
		var w rollup.Watermark
		var ms float64
		var retention uint32
		if err := rows.Scan(&w.Topic, &w.MeasuredAt, &w.CompleteUntil, &w.Lag, &w.CaughtUp, &ms, &retention); err != nil {
			return nil, fmt.Errorf("read completeness: %w", err)
		}
		w.EventDelay = time.Duration(ms * float64(time.Millisecond))
		w.Retention = time.Duration(retention) * time.Second
		list = append(list, w)
	}
	return list, rows.Err()
}

// InsertWatermarks records measurements.
func (c *Conn) InsertWatermarks(ctx context.Context, ws []rollup.Watermark) error {
	b, err := c.PrepareBatch(ctx, "INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up, event_delay_p999_ms, retention_s)")
	if err != nil {
		return fmt.Errorf("record completeness: %w", err)
	}
	defer b.Close()
	for _, w := range ws {
		err := b.Append(w.Topic, w.MeasuredAt, w.CompleteUntil, w.Lag, w.CaughtUp, float64(w.EventDelay)/float64(time.Millisecond), uint32(w.Retention/time.Second))
		if err != nil {
			return fmt.Errorf("record completeness: %w", err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("record completeness: %w", err)
	}
	return nil
}
