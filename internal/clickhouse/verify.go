package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatewatch/internal/ingest"
)

// A FaultKind is how the store and the ledger disagree.
type FaultKind string

// The kinds of faults.
const (
	FaultGap         FaultKind = "gap"          // offsets that no range holds
	FaultOverlap     FaultKind = "overlap"      // offsets that two ranges hold
	FaultAccount     FaultKind = "account"      // a range whose messages, dead letters and skipped offsets don't add up
	FaultLost        FaultKind = "lost"         // fewer rows than the ledger says
	FaultDoubled     FaultKind = "doubled"      // rows that are stored more than once
	FaultUnaccounted FaultKind = "unaccounted"  // more rows than the ledger says
	FaultDeadLetters FaultKind = "dead_letters" // fewer dead letters than the ledger says
	FaultRollup      FaultKind = "rollup"       // the hourly rollup counts other than the ledger
	FaultRetention   FaultKind = "retention"    // Kafka's retention took messages before they were read
	FaultContent     FaultKind = "content"      // the rows are not those that Kafka's messages give
)

// A Fault is one finding. First and Last are the offsets that it is about.
type Fault struct {
	Kind        FaultKind
	Topic       string
	Partition   int32
	First, Last int64
	Want, Have  int64
}

// String returns the fault as one line.
func (f Fault) String() string {
	if f.Kind == FaultRollup {
		return fmt.Sprintf("rollup: the ledger holds %d requests, request_1h %d", f.Want, f.Have)
	}
	where := fmt.Sprintf("%s/%d offsets %d-%d", f.Topic, f.Partition, f.First, f.Last)
	switch f.Kind {
	case FaultGap:
		return fmt.Sprintf("gap: %s are in no range (%d offsets)", where, f.Last-f.First+1)
	case FaultOverlap:
		return fmt.Sprintf("overlap: %s are in two ranges (%d offsets)", where, f.Last-f.First+1)
	case FaultAccount:
		return fmt.Sprintf("account: %s are %d offsets, the range accounts for %d", where, f.Want, f.Have)
	case FaultRetention:
		return fmt.Sprintf("retention: Kafka dropped %s before they were read (%d offsets)", where, f.Last-f.First+1)
	case FaultContent:
		return fmt.Sprintf("content: the rows of %s are not those that Kafka's messages give today", where)
	case FaultDoubled:
		return fmt.Sprintf("doubled: %s hold %d rows more than once", where, f.Have-f.Want)
	}
	return fmt.Sprintf("%s: %s should hold %d, hold %d", f.Kind, where, f.Want, f.Have)
}

// A PartitionAccount is what verifying one partition found.
type PartitionAccount struct {
	Topic                         string
	Partition                     int32
	First, Last                   int64 // the ledger's first and last offset
	Ranges                        int64
	Expired                       int64 // ranges whose rows retention may have removed; they are not counted
	Messages, Rows, Dead, Skipped int64
	Lost, Doubled                 int64 // rows, and messages that Kafka's retention took
	Faults                        []Fault
	// Checked are the ranges whose rows were counted: not expired, and beginning
	// after the one before.
	Checked []ingest.LedgerEntry
}

// Fault adds a finding about a range.
func (a *PartitionAccount) Fault(kind FaultKind, r ingest.Range, want, have int64) {
	a.Faults = append(a.Faults, Fault{Kind: kind, Topic: a.Topic, Partition: a.Partition, First: r.First, Last: r.Last, Want: want, Have: have})
}

// A chunk of ranges is counted by one query. The limits keep its text and its memory small.
const (
	chunkRanges = 4000
	chunkRows   = 4_000_000
)

// chunk returns how many of ranges, which are not empty, one query counts.
func chunk(ranges []ingest.LedgerEntry) int {
	n, rows := 0, int64(0)
	for n < len(ranges) && n < chunkRanges && (n == 0 || rows+ranges[n].Rows <= chunkRows) {
		rows += ranges[n].Rows
		n++
	}
	return n
}

// Between restricts what is verified to ranges with messages of [From, To) by
// Kafka's time. Zero is no limit.
type Between struct{ From, To time.Time }

func (b Between) holds(e ingest.LedgerEntry) bool {
	return (b.From.IsZero() || !e.LastKafkaTime.Before(b.From)) && (b.To.IsZero() || e.FirstKafkaTime.Before(b.To))
}

// Verify checks a partition: its ranges neither overlap nor leave gaps, each
// accounts for all of its offsets, and the store holds exactly its rows. Ranges
// with rows older than the retention are only checked for the former.
func (c *Conn) Verify(ctx context.Context, topic string, partition int32, between Between) (*PartitionAccount, error) {
	expired, err := c.expiredBefore(ctx, topic)
	if err != nil {
		return nil, err
	}
	a := &PartitionAccount{Topic: topic, Partition: partition}
	err = c.Ledger(ctx, topic, partition, func(e ingest.LedgerEntry) error {
		if !between.holds(e) {
			return nil
		}
		fresh := a.account(e)
		switch {
		case e.Rows > 0 && e.EarliestEvent.Before(expired):
			a.Expired++
		case fresh:
			a.Checked = append(a.Checked, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for ranges := a.Checked; len(ranges) > 0; {
		n := chunk(ranges)
		if err := c.verifyChunk(ctx, a, ranges[:n]); err != nil {
			return nil, err
		}
		ranges = ranges[n:]
	}
	return a, nil
}

// account adds a range to the sums and checks it against the one before. It
// reports whether it begins after that one.
func (a *PartitionAccount) account(e ingest.LedgerEntry) (fresh bool) {
	fresh = true
	switch {
	case a.Ranges == 0:
		a.First = e.First
	case e.First > a.Last+1 && !strings.HasSuffix(a.Topic, ingest.ReplaySuffix): // replays are few and far between
		a.Fault(FaultGap, ingest.Range{First: a.Last + 1, Last: e.First - 1}, 0, 0)
	case e.First <= a.Last:
		a.Fault(FaultOverlap, ingest.Range{First: e.First, Last: min(e.Last, a.Last)}, 0, 0)
		fresh = false
	}
	if have, want := e.Messages+e.Dead+e.Skipped+e.Lost, e.Last-e.First+1; have != want {
		a.Fault(FaultAccount, e.Range, want, have)
	}
	if e.Lost > 0 {
		a.Fault(FaultRetention, e.Range, e.Lost, 0)
		a.Lost += e.Lost
	}
	a.Ranges++
	a.Last = max(a.Last, e.Last)
	a.Messages += e.Messages
	a.Rows += e.Rows
	a.Dead += e.Dead
	a.Skipped += e.Skipped
	return fresh
}

// rangeCount is what a table holds of one range.
type rangeCount struct{ rows, distinct, offsets int64 }

// rowTables are the tables that hold the rows of messages.
var rowTables = []string{"access_log", "span", "key_event", "change_event", "audit_event"}

// verifyChunk counts the rows of ranges, which are in order and don't overlap.
func (c *Conn) verifyChunk(ctx context.Context, a *PartitionAccount, ranges []ingest.LedgerEntry) error {
	found := map[int64]rangeCount{}
	for _, table := range rowTables {
		counts, err := c.countRanges(ctx, table, ranges)
		if err != nil {
			return err
		}
		for first, n := range counts {
			sum := found[first]
			found[first] = rangeCount{rows: sum.rows + n.rows, distinct: sum.distinct + n.distinct}
		}
	}
	dead, err := c.countRanges(ctx, "dead_letter", ranges)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		have, distinct := found[r.First].rows, found[r.First].distinct
		if have > distinct {
			a.Fault(FaultDoubled, r.Range, distinct, have)
			a.Doubled += have - distinct
		}
		if distinct < r.Rows {
			a.Fault(FaultLost, r.Range, r.Rows, distinct)
			a.Lost += r.Rows - distinct
		}
		if distinct > r.Rows {
			a.Fault(FaultUnaccounted, r.Range, r.Rows, distinct)
		}
		d := dead[r.First]
		if d.offsets < r.Dead {
			a.Fault(FaultDeadLetters, r.Range, r.Dead, d.offsets)
		}
		if d.rows > d.distinct {
			a.Fault(FaultDoubled, r.Range, d.distinct, d.rows)
			a.Doubled += d.rows - d.distinct
		}
	}
	return nil
}

// firstOffsets returns where ranges begin, and the first and last of them.
func firstOffsets(ranges []ingest.LedgerEntry) (firsts []int64, first, last ingest.LedgerEntry) {
	for _, r := range ranges {
		firsts = append(firsts, r.First)
	}
	return firsts, ranges[0], ranges[len(ranges)-1]
}

// countRanges counts a table's rows by range, keyed by the range's first offset.
func (c *Conn) countRanges(ctx context.Context, table string, ranges []ingest.LedgerEntry) (map[int64]rangeCount, error) {
	firsts, first, last := firstOffsets(ranges)
	rows, err := c.Query(ctx, `SELECT roundDown(kafka_offset, ?) AS first, toInt64(count()), toInt64(uniqExact(kafka_offset, record)), toInt64(uniqExact(kafka_offset))
		FROM `+table+` WHERE topic = ? AND kafka_partition = ? AND kafka_offset BETWEEN ? AND ? GROUP BY first`,
		firsts, first.Topic, first.Partition, first.First, last.Last)
	if err != nil {
		return nil, fmt.Errorf("count the rows of %s/%d in %s: %w", first.Topic, first.Partition, table, err)
	}
	defer rows.Close()
	out := make(map[int64]rangeCount, len(ranges))
	for rows.Next() {
		var key int64
		var n rangeCount
		if err := rows.Scan(&key, &n.rows, &n.distinct, &n.offsets); err != nil {
			return nil, fmt.Errorf("count the rows of %s/%d in %s: %w", first.Topic, first.Partition, table, err)
		}
		out[key] = n
	}
	return out, rows.Err()
}

// expiredBefore returns the event time before which a topic's rows may have
// been removed by retention, by the server's clock; zero if they are kept for ever.
func (c *Conn) expiredBefore(ctx context.Context, topic string) (time.Time, error) {
	table := "access_log"
	var spans uint64
	if err := c.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM span WHERE topic = ? LIMIT 1)", topic).Scan(&spans); err != nil {
		return time.Time{}, fmt.Errorf("look for spans of %s: %w", topic, err)
	}
	if spans > 0 {
		table = "span"
	}
	var keep int64
	var now time.Time
	err := c.QueryRow(ctx, `SELECT toInt64OrZero(extract(engine_full, ' TTL .*toIntervalSecond\\((\\d+)\\)')), now64(3, 'UTC')
		FROM system.tables WHERE database = ? AND name = ?`, c.config.stored(), table).Scan(&keep, &now)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the retention of %s: %w", table, err)
	}
	if keep == 0 {
		return time.Time{}, nil
	}
	return now.Add(-time.Duration(keep) * time.Second), nil
}

// rollupWait is how long the ledger may be behind the rollup: a batch in flight
// reaches it last.
const rollupWait = 10 * time.Second

// VerifyRollup compares the requests in request_1h with the ledger's rows of
// access logs. It returns nil if they agree. Batches may come in meanwhile.
func (c *Conn) VerifyRollup(ctx context.Context) (requests int64, fault *Fault, err error) {
	before, err := c.ledgerRequests(ctx)
	if err != nil {
		return 0, nil, err
	}
	if err := c.QueryRow(ctx, "SELECT toInt64(sum(requests)) FROM request_1h").Scan(&requests); err != nil {
		return 0, nil, fmt.Errorf("sum the hourly rollup: %w", err)
	}
	if requests < before {
		return requests, &Fault{Kind: FaultRollup, Want: before, Have: requests}, nil
	}
	after := before
	for waited := time.Duration(0); after < requests; waited += rollupWait / 50 {
		if waited >= rollupWait {
			return requests, &Fault{Kind: FaultRollup, Want: after, Have: requests}, nil
		}
		select {
		case <-ctx.Done():
			return 0, nil, context.Cause(ctx)
		case <-time.After(rollupWait / 50):
		}
		if after, err = c.ledgerRequests(ctx); err != nil {
			return 0, nil, err
		}
	}
	return requests, nil, nil
}

// ledgerRequests sums the ledger's rows of topics that hold neither spans nor events.
func (c *Conn) ledgerRequests(ctx context.Context) (n int64, err error) {
	err = c.QueryRow(ctx, "SELECT toInt64(sum(rows)) FROM ledger WHERE NOT has((SELECT groupUniqArray(toString(topic)) FROM (SELECT DISTINCT topic FROM span UNION ALL SELECT DISTINCT topic FROM key_event UNION ALL SELECT DISTINCT topic FROM change_event UNION ALL SELECT DISTINCT topic FROM audit_event)), topic)").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("sum the ledger: %w", err)
	}
	return n, nil
}
