package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// replayMessages bounds a run: contiguous dead letters that are stored as one batch.
const replayMessages = 5000

// A replay feeds dead letters back: it reads them from Kafka, decodes them with
// the present decoder and configuration, and stores what can be read, once. It
// writes nothing to Kafka. Before a run is stored its range is noted as a
// setting; whoever finds one there stores exactly that run first, whose token
// makes it count once. What is in the ledger is not stored again.
type replay struct {
	d       *deadLetters
	client  *kafka.Client
	deps    ingest.Deps
	dry     bool
	done    int // messages stored
	rows    int64
	before  int // had been replayed before
	gone    int // no longer in Kafka
	unread  int // still not readable
	unknown int // of topics that are not configured
}

func (d *deadLetters) replay(ctx context.Context, dry bool) error {
	letters, err := d.conn.DeadLetters(ctx, d.filter)
	if err != nil {
		return storeError(d.cfg, err)
	}
	client, err := openKafka(d.cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	log, err := daemon.NewLogger(d.env.Stderr, "info")
	if err != nil {
		return err
	}
	if err := checkPepper(ctx, d.cfg.Ingest.PepperFile, d.conn); err != nil {
		return daemon.Unreachable(err)
	}
	pepper, err := config.ReadSecret(d.cfg.Ingest.PepperFile)
	if err != nil {
		return daemon.Usage(err)
	}
	writer := clickhouse.NewWriter(d.conn)
	defer writer.Close()
	r := &replay{d: d, client: client, dry: dry, deps: ingest.Deps{
		Shards: d.conn.Shards(),
		Sink:   writer, Mask: maskExcerpt, OldestEvent: longest(d.cfg.Retention), Now: time.Now, Log: log,
		NewDecoder: func(t ingest.TopicConfig) (ingest.Decoder, error) {
			n, err := newNormaliser(t, d.cfg.Ingest, []byte(pepper))
			if err != nil {
				return nil, err
			}
			return newDecoder(t, n, func(format, why string) {
				log.Info("format found out", "topic", t.Name, "format", format, "why", why)
			})
		},
	}}
	for id, offsets := range deadOffsets(letters) {
		if err := r.partition(ctx, id, offsets); err != nil {
			return err
		}
	}
	return r.report()
}

// deadOffsets returns the letters' offsets by partition, in order, each once.
func deadOffsets(letters []clickhouse.DeadLetter) map[partitionID][]int64 {
	out := make(map[partitionID][]int64)
	for _, l := range letters {
		if !strings.HasSuffix(l.Topic, ingest.ReplaySuffix) {
			id := partitionID{l.Topic, l.Partition}
			out[id] = append(out[id], l.Offset)
		}
	}
	for id, offsets := range out {
		slices.Sort(offsets)
		out[id] = slices.Compact(offsets)
	}
	return out
}

func (r *replay) partition(ctx context.Context, id partitionID, offsets []int64) error {
	i := slices.IndexFunc(r.d.cfg.Kafka.Topics, func(t ingest.TopicConfig) bool { return t.Name == id.topic })
	if i < 0 {
		r.unknown += len(offsets)
		return nil
	}
	to, err := ingest.NewReplayer(r.d.cfg.Ingest, r.d.cfg.Kafka.Topics[i], r.deps)
	if err != nil {
		return daemon.Usage(err)
	}
	if err := r.finish(ctx, to, id); err != nil {
		return err
	}
	var stored []ingest.Range
	err = r.d.conn.Ledger(ctx, id.topic+ingest.ReplaySuffix, id.id, func(e ingest.LedgerEntry) error {
		stored = append(stored, e.Range)
		return nil
	})
	if err != nil {
		return storeError(r.d.cfg, err)
	}
	all := len(offsets)
	offsets = slices.DeleteFunc(offsets, func(o int64) bool {
		_, found := slices.BinarySearchFunc(stored, o, func(s ingest.Range, o int64) int {
			if s.First <= o && o <= s.Last {
				return 0
			}
			return cmp.Compare(s.First, o)
		})
		return found
	})
	r.before += all - len(offsets)
	for len(offsets) > 0 {
		n := 1
		for n < len(offsets) && n < replayMessages && offsets[n] == offsets[n-1]+1 {
			n++
		}
		if err := r.readable(ctx, to, id, offsets[0], offsets[n-1]); err != nil {
			return err
		}
		offsets = offsets[n:]
	}
	return nil
}

// readable stores the readable messages among first to last, run by run.
func (r *replay) readable(ctx context.Context, to *ingest.Replayer, id partitionID, first, last int64) error {
	messages, err := r.read(ctx, id, first, last)
	if err != nil {
		return err
	}
	r.gone += int(last-first) + 1 - len(messages)
	var run []ingest.Message
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		defer func() { run = run[:0] }()
		if r.dry {
			r.done += len(run)
			return nil
		}
		return r.store(ctx, to, id, run)
	}
	for i := range messages {
		m := &messages[i]
		if to.Check(m) != nil {
			r.unread++
			continue
		}
		if n := len(run); n > 0 && run[n-1].Offset+1 != m.Offset {
			if err := flush(); err != nil {
				return err
			}
		}
		run = append(run, *m)
	}
	return flush()
}

// read returns what Kafka still has of first to last.
func (r *replay) read(ctx context.Context, id partitionID, first, last int64) ([]ingest.Message, error) {
	kept, err := r.client.Offsets(ctx, id.topic)
	if err != nil {
		return nil, daemon.Unreachable(err)
	}
	for _, k := range kept {
		if k.Partition == id.id {
			first = max(first, k.First)
		}
	}
	if first > last {
		return nil, nil
	}
	messages, err := r.client.Read(ctx, id.topic, id.id, first, int(last-first)+1)
	if err != nil {
		return nil, daemon.Unreachable(err)
	}
	return slices.DeleteFunc(messages, func(m ingest.Message) bool { return m.Offset > last }), nil
}

// pendingReplay is the setting that names the run that is being stored.
func pendingReplay(id partitionID) string { return fmt.Sprintf("replay:%s:%d", id.topic, id.id) }

const pendingFormat = "%d-%d"

func (r *replay) store(ctx context.Context, to *ingest.Replayer, id partitionID, run []ingest.Message) error {
	conn := r.d.conn
	if err := conn.SetSetting(ctx, pendingReplay(id), fmt.Sprintf(pendingFormat, run[0].Offset, run[len(run)-1].Offset)); err != nil {
		return storeError(r.d.cfg, err)
	}
	rows, err := to.Store(ctx, id.id, run)
	if err != nil {
		return storeError(r.d.cfg, err)
	}
	r.done += len(run)
	r.rows += rows
	return storeError(r.d.cfg, conn.SetSetting(ctx, pendingReplay(id), ""))
}

// finish stores the run that an interrupted replay has begun, if there is one.
func (r *replay) finish(ctx context.Context, to *ingest.Replayer, id partitionID) error {
	if r.dry {
		return nil
	}
	pending, err := r.d.conn.Setting(ctx, pendingReplay(id))
	if err != nil || pending == "" {
		return storeError(r.d.cfg, err)
	}
	var first, last int64
	if _, err := fmt.Sscanf(pending, pendingFormat, &first, &last); err != nil {
		return fmt.Errorf("setting %s is %q: %w", pendingReplay(id), pending, err)
	}
	run, err := r.read(ctx, id, first, last)
	if err != nil {
		return err
	}
	if int64(len(run)) != last-first+1 {
		return daemon.Unknown(fmt.Errorf("an interrupted replay of %s/%d offsets %d-%d can't be finished: Kafka no longer has all of them", id.topic, id.id, first, last))
	}
	return r.store(ctx, to, id, run)
}

func (r *replay) report() error {
	verb := "were stored"
	if r.dry {
		verb = "would be stored"
	}
	if r.d.output == "json" {
		return writeJSON(r.d.env.Stdout, struct {
			Schema       string `json:"schema"`
			DryRun       bool   `json:"dry_run"`
			Stored       int    `json:"stored"`
			Rows         int64  `json:"rows"`
			Before       int    `json:"stored_before"`
			Unreadable   int    `json:"still_unreadable"`
			Gone         int    `json:"no_longer_in_kafka"`
			Unconfigured int    `json:"topic_not_configured"`
		}{"gatewatch/replay/1", r.dry, r.done, r.rows, r.before, r.unread, r.gone, r.unknown})
	}
	fmt.Fprintf(r.d.env.Stdout, "%d messages %s; %d had been before; %d still can't be read; %d are no longer in Kafka\n", r.done, verb, r.before, r.unread, r.gone)
	if r.unknown > 0 {
		fmt.Fprintf(r.d.env.Stdout, "%d are of topics that are not configured\n", r.unknown)
	}
	return nil
}

// isSet reports whether a flag was given.
func isSet(fs *flag.FlagSet, name string) (set bool) {
	fs.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}
