package clickhouse

import (
	"context"
	"fmt"
	"time"
)

// A DeadLetter is a message that could not be read. Excerpt is masked.
type DeadLetter struct {
	KafkaTime time.Time
	Topic     string
	Partition int32
	Offset    int64
	Record    uint16
	Reason    string
	Detail    string
	Excerpt   string
	Size      uint32 // bytes
	Format    string
	FoundAt   time.Time
}

// DeadLetterFilter chooses dead letters. Its zero fields choose all.
type DeadLetterFilter struct {
	Topic    string
	Reason   string
	From, To time.Time // Kafka time, half open
	Limit    int       // the newest ones; 0 is all
}

const deadLetterWhere = ` FROM dead_letter WHERE (? = '' OR topic = ?) AND (? = '' OR reason = ?) AND kafka_time >= ? AND kafka_time < ?`

func (f DeadLetterFilter) args() []any {
	from, to := f.From, f.To
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	if to.IsZero() {
		to = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return []any{f.Topic, f.Topic, f.Reason, f.Reason, milliseconds(from), milliseconds(to)}
}

// milliseconds writes t so that a query keeps its fraction.
func milliseconds(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// DeadLetters returns what f chooses, newest first.
func (c *Conn) DeadLetters(ctx context.Context, f DeadLetterFilter) ([]DeadLetter, error) {
	query := `SELECT kafka_time, topic, kafka_partition, kafka_offset, record, reason, detail, excerpt, size, format, found_at` +
		deadLetterWhere + ` ORDER BY kafka_time DESC, topic, kafka_partition, kafka_offset DESC`
	if f.Limit > 0 {
		query += fmt.Sprintf(" LIMIT %d", f.Limit)
	}
	rows, err := c.Query(ctx, query, f.args()...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	defer rows.Close()
	var out []DeadLetter
	for rows.Next() {
		var d DeadLetter
		err := rows.Scan(&d.KafkaTime, &d.Topic, &d.Partition, &d.Offset, &d.Record, &d.Reason, &d.Detail, &d.Excerpt, &d.Size, &d.Format, &d.FoundAt)
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// A DeadLetterCount is how many dead letters have one reason.
type DeadLetterCount struct {
	Topic  string
	Reason string
	Count  uint64
	Newest time.Time
}

// CountDeadLetters counts what f chooses by topic and reason, most first. It ignores the limit.
func (c *Conn) CountDeadLetters(ctx context.Context, f DeadLetterFilter) ([]DeadLetterCount, error) {
	rows, err := c.Query(ctx, `SELECT topic, reason, count() AS n, max(kafka_time)`+deadLetterWhere+` GROUP BY topic, reason ORDER BY n DESC, topic, reason`, f.args()...)
	if err != nil {
		return nil, fmt.Errorf("count dead letters: %w", err)
	}
	defer rows.Close()
	var out []DeadLetterCount
	for rows.Next() {
		var d DeadLetterCount
		if err := rows.Scan(&d.Topic, &d.Reason, &d.Count, &d.Newest); err != nil {
			return nil, fmt.Errorf("count dead letters: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}
