package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/loadgen"
)

const (
	partitions    = 4
	brokerArg     = "__broker"
	topicJSON     = "bench-json"
	topicCombined = "bench-combined"
	topicSpans    = "bench-spans"
	spansAMessage = 8 // requests whose spans one message has
)

// An input is a topic with its format.
type input struct{ name, format string }

var topics = [...]input{{topicJSON, "nginx_json"}, {topicCombined, "nginx_combined"}, {topicSpans, "otlp_proto"}}

// startBroker starts this program again as the broker, so that its CPU time is nobody else's.
func startBroker(ctx context.Context, dir string) (addr string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, brokerArg, dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		stop()
		return "", nil, fmt.Errorf("start the broker: %w", err)
	}
	return addr, stop, nil
}

// serveBroker prints its address and ends when its standard input does.
func serveBroker(dir string) int {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topicJSON, topicCombined, topicSpans), kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(c.ListenAddrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin)
	c.Close()
	return 0
}

// A filler writes the traffic of the last minutes, lz4, to all partitions in turn.
type filler struct {
	b      *bench
	client *kgo.Client
	shop   *loadgen.Shop
	turn   map[string]int32
	spans  []byte
	traced int
	err    error
}

// fill makes all topics.
func (b *bench) fill(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.broker), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedBytes(32<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	f := &filler{b: b, client: client, shop: loadgen.NewShop(1), turn: map[string]int32{}}
	end := time.Now()
	rate := func(time.Time) float64 { return 2 * b.rate } // about half are Envoy's, and left out
	length := time.Duration(1.2 * float64(b.options.rows) / b.rate * float64(time.Second))
	err = loadgen.NewGenerator(f.shop, 1).Between(end.Add(-length), end, rate, func(q *loadgen.Request) error {
		if q.Envoy() || b.rows[topicJSON] == b.options.rows {
			return nil
		}
		return f.request(ctx, q)
	})
	if err != nil {
		return err
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if f.err == nil && b.rows[topicJSON] < b.options.rows {
		f.err = fmt.Errorf("the generator made %d of %d lines", b.rows[topicJSON], b.options.rows)
	}
	return f.err
}

func (f *filler) request(ctx context.Context, q *loadgen.Request) error {
	line := f.shop.AppendLog(nil, q)
	f.send(ctx, topicJSON, 1, q.End, line)
	if f.b.rows[topicJSON]%2 == 0 {
		return nil
	}
	combined, err := combined(line)
	if err != nil {
		return err
	}
	f.send(ctx, topicCombined, 1, q.End, combined)
	if n := loadgen.SpansOf(q); f.b.rows[topicSpans] < f.b.options.rows/2 {
		f.spans = f.shop.AppendSpans(f.spans, q)
		f.b.rows[topicSpans] += n
		if f.traced++; f.traced == spansAMessage {
			f.send(ctx, topicSpans, 0, q.End, f.spans)
			f.spans, f.traced = nil, 0
		}
	} else if f.traced > 0 {
		f.send(ctx, topicSpans, 0, q.End, f.spans)
		f.spans, f.traced = nil, 0
	}
	return nil
}

func (f *filler) send(ctx context.Context, topic string, rows int, ms int64, value []byte) {
	p := f.turn[topic]
	f.turn[topic] = (p + 1) % partitions
	f.b.rows[topic] += rows
	f.b.bytes[topic] += int64(len(value))
	f.client.Produce(ctx, &kgo.Record{Topic: topic, Partition: p, Timestamp: time.UnixMilli(ms), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			f.err = err
		}
	})
}

// combined writes an nginx JSON line in nginx's combined format.
func combined(line []byte) ([]byte, error) {
	var l struct {
		Time      time.Time `json:"time"`
		URI       string    `json:"request_uri"`
		Protocol  string    `json:"server_protocol"`
		Method    string    `json:"request_method"`
		Status    int       `json:"status"`
		Bytes     int64     `json:"bytes_sent"`
		Client    string    `json:"remote_addr"`
		UserAgent string    `json:"http_user_agent"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `%s - - [%s] "%s %s %s" %d %d "-" %q`, l.Client, l.Time.Format("02/Jan/2006:15:04:05 -0700"),
		l.Method, l.URI, l.Protocol, l.Status, l.Bytes, l.UserAgent), nil
}
