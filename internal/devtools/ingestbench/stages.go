package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/envelope"
	"gatewatch/internal/accesslog/nginx"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

const (
	sampleRows = 100_000 // messages on which the stages are measured
	repeats    = 3
	fetchBytes = 4 << 20
)

// decoder reads nginx JSON as `ingest run` does.
type decoder struct {
	inner     accesslog.Decoder
	normalise *normalise.Normaliser // nil: decode only
}

func newDecoder(normalised bool) (*decoder, error) {
	formats := nginx.Formats()
	i := slices.IndexFunc(formats, func(f accesslog.Format) bool { return f.Name == "nginx_json" })
	j, err := formats[i].New(accesslog.Options{})
	if err != nil {
		return nil, err
	}
	d := &decoder{inner: envelope.New(j)}
	if normalised {
		d.normalise, err = normalise.New(normalise.Config{
			Peppers: []normalise.Pepper{{Secret: []byte(strings.Repeat("pepper", 6))}}, ClientIP: ingest.DefaultConfig().ClientIP,
		})
	}
	return d, err
}

func (d *decoder) Decode(msg []byte, out *ingest.Records) error {
	if err := d.inner.Decode(msg, &out.Entries); err != nil {
		return err
	}
	if d.normalise == nil {
		return nil
	}
	entries := out.Entries.All()
	for i := range entries {
		d.normalise.Normalise(&entries[i], &out.Entries.Arena)
	}
	return nil
}

// stages measures each stage alone, on one goroutine where it has one.
func stages(ctx context.Context, client *kafka.Client, conn *clickhouse.Conn, messages int) error {
	fmt.Println("client on nginx JSON, stages alone, µs of CPU a row")
	show := func(name string, us float64) { fmt.Printf("  %-10s%6.2f\n", name, us) }
	fetch, err := fetchAll(ctx, client, messages)
	if err != nil {
		return err
	}
	show("fetch", fetch)
	n := min(sampleRows, messages)
	sample, err := client.Read(ctx, topicJSON, 0, 0, n/partitions)
	if err != nil {
		return err
	}
	decode, err := pass(sample, false, nil)
	if err != nil {
		return err
	}
	both, err := pass(sample, true, nil)
	if err != nil {
		return err
	}
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	block := w.NewBlock(ingest.TopicConfig{Name: "sample"})
	all, err := pass(sample, true, block)
	if err != nil {
		return err
	}
	show("decode", decode)
	show("normalise", max(0, both-decode))
	show("encode", max(0, all-both))
	// A block as large as a batch of a busy partition, under a topic of its own.
	rows := block.Rows()
	l := ingest.LedgerEntry{
		Range:  ingest.Range{Topic: "sample", Last: int64(rows) - 1},
		Format: topics[0].format, Messages: int64(rows), Rows: int64(rows),
	}
	before := cpu()
	if err := block.Insert(ctx, l); err != nil {
		return err
	}
	show("insert", perRow(cpu()-before, rows))
	fmt.Println()
	return nil
}

func perRow(d time.Duration, rows int) float64 {
	return float64(d.Nanoseconds()) / 1000 / float64(rows)
}

// pass decodes the sample and appends it to block, if there is one, some times
// over; it returns the best time per row.
func pass(sample []ingest.Message, normalised bool, block ingest.Block) (float64, error) {
	d, err := newDecoder(normalised)
	if err != nil {
		return 0, err
	}
	var out ingest.Records
	best := 0.0
	for range repeats {
		if block != nil {
			block.Reset()
		}
		runtime.GC()
		before := cpu()
		for i := range sample {
			m := &sample[i]
			out.Entries.Reset()
			if err := d.Decode(m.Value, &out); err != nil {
				return 0, fmt.Errorf("message %d: %w", i, err)
			}
			if block == nil {
				continue
			}
			entries := out.Entries.All()
			for k := range entries {
				block.AppendEntry(ingest.Coordinates{Offset: m.Offset, KafkaTime: m.Time, Record: k}, &entries[k])
			}
		}
		if us := perRow(cpu()-before, len(sample)); best == 0 || us < best {
			best = us
		}
	}
	return best, nil
}

// fetchAll reads everything as a group does, and nothing more.
func fetchAll(ctx context.Context, client *kafka.Client, rows int) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var seen atomic.Int64
	var begin atomic.Int64
	group := client.NewGroup(client.Group("fetch"), []string{topicJSON}, quiet())
	err := group.Run(ctx, func(ctx context.Context, p ingest.Partition) error {
		begin.CompareAndSwap(0, int64(cpu()))
		for offset := int64(0); ctx.Err() == nil; {
			f, err := p.Fetch(ctx, offset, fetchBytes)
			if err != nil {
				return nil //nolint:nilerr // the measurement is over
			}
			offset = f.Next
			if seen.Add(int64(len(f.Messages))) >= int64(rows) {
				cancel()
			}
		}
		return nil
	})
	if err == nil && seen.Load() < int64(rows) {
		err = fmt.Errorf("fetched %d of %d messages", seen.Load(), rows)
	}
	return perRow(cpu()-time.Duration(begin.Load()), rows), err
}
