package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// A deepCheck reads ranges again from Kafka, decodes them as ingest does, and
// compares their accounts and fingerprints with what is stored.
type deepCheck struct {
	cfg    *config.Config
	conn   *clickhouse.Conn
	client *kafka.Client
	marks  map[partitionID]kafkaMarks
	pepper []byte
	tick   func() // called for each range
}

func newDeepCheck(ctx context.Context, cfg *config.Config, conn *clickhouse.Conn, client *kafka.Client, marks map[partitionID]kafkaMarks) (*deepCheck, error) {
	if err := checkPepper(ctx, cfg.Ingest.PepperFile, conn); err != nil {
		return nil, daemon.Unreachable(err)
	}
	pepper, err := config.ReadSecret(cfg.Ingest.PepperFile)
	if err != nil {
		return nil, daemon.Usage(err)
	}
	return &deepCheck{cfg: cfg, conn: conn, client: client, marks: marks, pepper: []byte(pepper), tick: func() {}}, nil
}

// partition compares the checked ranges of a and returns how many of them Kafka still had.
func (d *deepCheck) partition(ctx context.Context, a *clickhouse.PartitionAccount) (read int64, err error) {
	i := slices.IndexFunc(d.cfg.Kafka.Topics, func(t ingest.TopicConfig) bool { return t.Name == a.Topic })
	marks, ok := d.marks[partitionID{a.Topic, a.Partition}]
	if i < 0 || !ok {
		return 0, nil // a replay, or a topic that is no longer configured
	}
	kept := slices.DeleteFunc(slices.Clone(a.Checked), func(e ingest.LedgerEntry) bool { return e.First < marks.first || e.Lost > 0 })
	if len(kept) == 0 {
		return 0, nil
	}
	stored, err := d.conn.Fingerprints(ctx, kept)
	if err != nil {
		return 0, err
	}
	var again ingest.LedgerEntry
	var sum uint64
	auditor, err := d.auditor(d.cfg.Kafka.Topics[i], a.Partition, func(l ingest.LedgerEntry, s uint64) { again, sum = l, s })
	if err != nil {
		return 0, daemon.Usage(err)
	}
	end := func(e ingest.LedgerEntry) error {
		if err := auditor.End(ctx, e.Last); err != nil {
			return err
		}
		d.tick()
		if again.Messages != e.Messages || again.Dead != e.Dead || again.Skipped != e.Skipped || again.Rows != e.Rows || sum != stored[e.First] {
			a.Fault(clickhouse.FaultContent, e.Range, again.Rows, e.Rows)
		}
		return nil
	}
	at := 0
	auditor.Begin(kept[0].First)
	for m, err := range d.client.Messages(ctx, a.Topic, a.Partition, kept[0].First) {
		if err != nil {
			return 0, daemon.Unreachable(err)
		}
		for m.Offset > kept[at].Last {
			if err := end(kept[at]); err != nil {
				return 0, err
			}
			if at++; at == len(kept) {
				return int64(at), nil
			}
			auditor.Begin(kept[at].First)
		}
		if m.Offset >= kept[at].First {
			auditor.Add(m)
		}
	}
	// Kafka ended. What follows in the ledger has no messages, or Kafka has lost them.
	for ; at < len(kept); at++ {
		if err := end(kept[at]); err != nil {
			return 0, err
		}
		if at+1 < len(kept) {
			auditor.Begin(kept[at+1].First)
		}
	}
	return int64(len(kept)), nil
}

// auditor decodes ranges of a partition as ingest does; end is told the account
// and the fingerprint of each.
func (d *deepCheck) auditor(topic ingest.TopicConfig, partition int32, end func(ingest.LedgerEntry, uint64)) (*ingest.Auditor, error) {
	return ingest.NewAuditor(d.cfg.Ingest, topic, partition, ingest.Deps{
		Mask: maskExcerpt, OldestEvent: longest(d.cfg.Retention), Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Sink: clickhouse.FingerprintSink{End: end},
		NewDecoder: func(t ingest.TopicConfig) (ingest.Decoder, error) {
			n, err := newNormaliser(t, d.cfg.Ingest, d.pepper)
			if err != nil {
				return nil, err
			}
			return newDecoder(t, n, func(string, string) {})
		},
	})
}

// progress returns a function that draws how much of total is done, on terminals only.
func progress(env *daemon.Env, what string, total int) func() {
	done, last := 0, time.Time{}
	return func() {
		done++
		now := time.Now()
		if !daemon.IsTerminal(env.Stderr) || now.Sub(last) < 100*time.Millisecond && done < total {
			return
		}
		last = now
		fmt.Fprintf(env.Stderr, "\r%s: %d of %d ranges ", what, done, total)
		if done >= total {
			fmt.Fprintln(env.Stderr)
		}
	}
}
