package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
	"gatewatch/internal/rollup"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// Two instances measure side by side against a real broker's protocol and the
// real store, while a topic is filled and the ledger follows.
func TestRunMeasuresCompleteness(t *testing.T) {
	conn, c := clickhousetest.New(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "access"), kfake.SeedTopics(1, "spans"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var admins []string
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		addr := freeAddr(t)
		admins = append(admins, addr)
		file := settings(t, c, fmt.Sprintf("aggregate: {listen: %q, interval: 50ms}\n", addr))
		replaceInFile(t, file, "127.0.0.1:1]", cluster.ListenAddrs()[0]+"]")
		wg.Go(func() {
			code := run(ctx, &daemon.Env{Getenv: func(string) string { return "" }, Stdout: io.Discard, Stderr: t.Output()}, []string{"run", "--config", file})
			if code != 0 {
				t.Errorf("run: exit %d", code)
			}
		})
	}
	access := func() (w rollup.Watermark) {
		ws, err := conn.Watermarks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ws {
			if x.Topic == "access" {
				w = x
			}
		}
		return w
	}
	eventually(t, "an empty topic is complete until now", func() bool {
		w := access()
		return w.CaughtUp && w.Lag == 0 && w.CompleteUntil.Equal(w.MeasuredAt)
	})
	for _, a := range admins {
		eventually(t, "ready", func() bool { code, _ := get(t, "http://"+a+"/readyz"); return code == http.StatusOK })
	}

	conf := kafka.DefaultConfig()
	conf.Brokers = cluster.ListenAddrs()
	client, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	base := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	var messages []ingest.Message
	for i := range 10 {
		messages = append(messages, ingest.Message{Key: []byte("k"), Value: []byte("v"), Time: base.Add(time.Duration(i) * time.Minute)})
	}
	if err := client.Write(t.Context(), "access", messages); err != nil {
		t.Fatal(err)
	}
	// The writer deals messages out in turn: one partition has the even minutes.
	even, odd := int32(0), int32(1)
	first, ok, err := client.MessageTime(t.Context(), "access", 0, 0)
	if err != nil || !ok {
		t.Fatalf("the first message: %t, %v", ok, err)
	}
	if !first.Equal(base) {
		even, odd = 1, 0
	}
	expect := func(what string, lag int64, until time.Duration) {
		t.Helper()
		eventually(t, what, func() bool {
			w := access()
			return w.Lag == lag && w.CompleteUntil.Equal(base.Add(until))
		})
	}
	expect("incomplete from the first message on", 10, 0)
	store := clickhouse.NewWriter(conn)
	defer store.Close()
	b := store.NewBlock(ingest.TopicConfig{Name: "access"})
	insert := func(partition int32, first, last int64) {
		t.Helper()
		b.Reset()
		b.AppendEntry(ingest.Coordinates{Offset: first, KafkaTime: base}, &accesslog.Entry{Time: base})
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", Partition: partition, First: first, Last: last}, Messages: last - first + 1, Rows: 1}
		if err := b.Insert(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	insert(even, 0, 3)
	expect("the other partition holds back", 6, time.Minute)
	insert(odd, 0, 4)
	expect("complete until the last message", 1, 8*time.Minute)
	insert(even, 4, 4)
	eventually(t, "complete until now", func() bool {
		w := access()
		return w.Lag == 0 && w.CaughtUp && w.CompleteUntil.Equal(w.MeasuredAt)
	})
	for _, a := range admins {
		eventually(t, "the metrics say so too", func() bool {
			_, text := get(t, "http://"+a+"/metrics")
			return strings.Contains(text, `gatewatch_aggregate_lag_messages{topic="access"} 0`) && strings.Contains(text, `gatewatch_aggregate_complete_until_timestamp_seconds{topic="access"}`)
		})
	}
	// Whoever measured: no measurement may say more than what was stored then.
	var wrong uint64
	err = conn.QueryRow(t.Context(), `SELECT countIf(complete_until != multiIf(lag = 0, measured_at, lag = 1, toDateTime64(?, 3, 'UTC'), lag = 6, toDateTime64(?, 3, 'UTC'), toDateTime64(?, 3, 'UTC')))
		FROM completeness WHERE topic = 'access' AND lag IN (0, 1, 6, 10)`, base.Add(8*time.Minute).Unix(), base.Add(time.Minute).Unix(), base.Unix()).Scan(&wrong)
	if err != nil || wrong != 0 {
		t.Errorf("%d wrong measurements, %v", wrong, err)
	}
	stop()
	wg.Wait()
}

func replaceInFile(t *testing.T, file, from, to string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunFaults(t *testing.T) {
	file := settings(t, clickhouse.Config{Address: "127.0.0.1:1", Database: "gatewatch", Username: "default"}, "")
	missing := strings.TrimSuffix(file, "gatewatch.yaml") + "other.yaml"
	wrong := settings(t, clickhouse.Config{Address: "127.0.0.1:1", Database: "gatewatch", Username: "default"}, "aggregate: {intervall: 1s}\n")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"run", "--config", missing}, 2, "no such file"},
		{[]string{"run", "--config", wrong}, 2, `"interval"`},
		{[]string{"run", "--config", file, "now"}, 2, "no arguments"},
		{[]string{"check", "--config", wrong}, 2, "gatewatch.yaml:6"},
		{[]string{"check", "--config", file}, 0, "ok"},
		{[]string{"check", "--connect", "--config", file}, 3, "FAIL  Kafka"},
		{[]string{"backfill", "--config", file}, 3, "can't be reached"},
		{[]string{"fly"}, 2, "unknown command"},
	} {
		code, out, errs := runCommand(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%q: exit %d, want %d with %s\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}
