package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"gatewatch/internal/ingest"
)

// A LedgerEnd is how far the ledger of a partition reaches.
type LedgerEnd struct {
	Topic     string
	Partition int32
	Last      int64 // the last offset that is accounted for
	Messages  int64 // sums over all ranges
	Rows      int64
	Dead      int64
	Recent    int64     // messages of ranges that were written in the last minute
	WrittenAt time.Time // when the newest range was written
}

// LedgerEnds returns the end of every partition's ledger, sorted.
func (c *Conn) LedgerEnds(ctx context.Context) ([]LedgerEnd, error) {
	rows, err := c.Query(ctx, `SELECT topic, kafka_partition, max(last_offset), sum(l.messages), sum(l.rows), sum(l.dead), sumIf(l.messages + l.dead, l.written_at > now64(3) - INTERVAL 1 MINUTE), max(l.written_at)
		FROM ledger AS l GROUP BY topic, kafka_partition ORDER BY topic, kafka_partition`)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer rows.Close()
	var out []LedgerEnd
	for rows.Next() {
		var e LedgerEnd
		if err := rows.Scan(&e.Topic, &e.Partition, &e.Last, &e.Messages, &e.Rows, &e.Dead, &e.Recent, &e.WrittenAt); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

const ledgerColumns = `first_offset, last_offset, messages, rows, dead, skipped, lost, earliest_event, latest_event, first_kafka_time, last_kafka_time, format, topic_id`

func scanEntry(rows interface{ Scan(dest ...any) error }, e *ingest.LedgerEntry) error {
	return rows.Scan(&e.First, &e.Last, &e.Messages, &e.Rows, &e.Dead, &e.Skipped, &e.Lost,
		&e.EarliestEvent, &e.LatestEvent, &e.FirstKafkaTime, &e.LastKafkaTime, &e.Format, &e.TopicID)
}

// LedgerLast returns the last entry of a partition; ok is false if there is none.
func (c *Conn) LedgerLast(ctx context.Context, topic string, partition int32) (e ingest.LedgerEntry, ok bool, err error) {
	e.Topic, e.Partition = topic, partition
	row := c.QueryRow(ctx, "SELECT "+ledgerColumns+" FROM ledger WHERE topic = ? AND kafka_partition = ? ORDER BY first_offset DESC LIMIT 1", topic, partition)
	err = scanEntry(row, &e)
	if errors.Is(err, sql.ErrNoRows) {
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("read the ledger of %s/%d: %w", topic, partition, err)
	}
	return e, true, nil
}

// Ledger calls each with every range of a partition in the order of offsets.
// Ranges that are in the ledger twice come twice.
func (c *Conn) Ledger(ctx context.Context, topic string, partition int32, each func(ingest.LedgerEntry) error) error {
	rows, err := c.Query(ctx, "SELECT "+ledgerColumns+" FROM ledger WHERE topic = ? AND kafka_partition = ? ORDER BY first_offset, last_offset", topic, partition)
	if err != nil {
		return fmt.Errorf("read the ledger of %s/%d: %w", topic, partition, err)
	}
	defer rows.Close()
	for rows.Next() {
		e := ingest.LedgerEntry{Range: ingest.Range{Topic: topic, Partition: partition}}
		if err := scanEntry(rows, &e); err != nil {
			return fmt.Errorf("read the ledger of %s/%d: %w", topic, partition, err)
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return rows.Err()
}
