package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
	"gatewatch/internal/loadgen"
)

// A topic with a wrongly configured format: everything becomes a dead letter.
// Once the format is right, replay stores each message once, however often it
// is called and wherever it is interrupted, and verify finds nothing wrong.
func TestDeadLettersReplay(t *testing.T) {
	const good, bad = 200, 10
	conn, store := clickhousetest.New(t)
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "t"),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	write(t, k.ListenAddrs()[0], good, bad)
	config := func(format string) string {
		return writeConfig(t, fmt.Sprintf(`
kafka:
  brokers: [%s]
  topics: [{name: t, format: %s}]
clickhouse: {address: %q, database: %s, username: %q, password_file: %q}
ingest: {listen: "127.0.0.1:0", start: earliest, pepper_file: %q}
`, k.ListenAddrs()[0], format, store.Address, store.Database, store.Username, store.PasswordFile, filepath.Join(filepath.Dir(store.PasswordFile), "pepper")))
	}
	wrong, right := config("apache_combined"), config("nginx_json")
	ingestUntil(t, conn, wrong, good+bad)

	call := func(want int, run func(context.Context, *daemon.Env, []string) error, args ...string) string {
		t.Helper()
		out, code, err := runCommand(t, func(env *daemon.Env, args []string) error { return run(t.Context(), env, args) }, args...)
		if code != want {
			t.Fatalf("%q: exit %d, %v\n%s", args, code, err, out)
		}
		return out
	}
	checkVerify := func(wantRows int) {
		t.Helper()
		var r verifyReport
		if err := json.Unmarshal([]byte(call(0, runVerify, "--config", right, "-o", "json")), &r); err != nil {
			t.Fatal(err)
		}
		if !r.OK || r.Rows != int64(wantRows) || r.Requests == nil || *r.Requests != int64(wantRows) {
			t.Errorf("verify: ok %v, %d rows, %v requests, want %d: %+v", r.OK, r.Rows, r.Requests, wantRows, r.Faults)
		}
	}
	checkVerify(0)
	list := call(0, runDeadLetters, "list", "--config", right, "-o", "json", "--limit", "0")
	if n := strings.Count(list, `"reason"`); n != good+bad {
		t.Errorf("%d dead letters are listed, want %d", n, good+bad)
	}
	replay := func(want string, args ...string) {
		t.Helper()
		if got := call(0, runDeadLetters, append([]string{"replay", "--config", right}, args...)...); got != want {
			t.Errorf("replay says %q, want %q", got, want)
		}
	}
	replay("200 messages would be stored; 0 had been before; 10 still can't be read; 0 are no longer in Kafka\n", "--dry-run")
	checkVerify(0)
	replay("200 messages were stored; 0 had been before; 10 still can't be read; 0 are no longer in Kafka\n")
	checkVerify(good)
	replay("0 messages were stored; 200 had been before; 10 still can't be read; 0 are no longer in Kafka\n")
	checkVerify(good)

	// A replay that was killed after its insert has left its note.
	var run ingest.Range
	err = conn.Ledger(t.Context(), "t"+ingest.ReplaySuffix, 0, func(e ingest.LedgerEntry) error { run = e.Range; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetSetting(t.Context(), "replay:t:0", fmt.Sprintf("%d-%d", run.First, run.Last)); err != nil {
		t.Fatal(err)
	}
	call(0, runDeadLetters, "replay", "--config", right)
	checkVerify(good)
	if note, err := conn.Setting(t.Context(), "replay:t:0"); err != nil || note != "" {
		t.Errorf("the note is still %q, %v", note, err)
	}

	// What Kafka drops before it is read, and a commit without a ledger entry, are losses.
	for name, m := range map[string]kafkaMarks{"retention": {first: 1010, end: 1010, committed: 5}, "commit": {end: 1010, committed: 1010}} {
		v := verifier{conn: conn, marks: map[partitionID]kafkaMarks{{"t", 0}: m}}
		r, err := v.verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || len(r.Faults) != 1 || r.Faults[0].Kind != clickhouse.FaultGap || r.Faults[0].Last != 1009 || r.Lost == 0 {
			t.Errorf("%s: ok %v, lost %d, faults %+v; want a gap up to 1009", name, r.OK, r.Lost, r.Faults)
		}
	}

	show := call(0, runDeadLetters, "show", "--config", right, "t", "0", fmt.Sprint(run.First))
	if !strings.Contains(show, `"request_method"`) {
		t.Errorf("show prints %q, want the message whole", show)
	}
	call(1, runDeadLetters, "show", "--config", right, "t", "0", "99999")
	if out := call(0, runStatus, "--config", right); !strings.Contains(out, "100.0 %") {
		t.Errorf("status:\n%s", out)
	}
}

// write sends log lines of the last minutes, and between them lines that nobody can read.
func write(t *testing.T, addr string, good, bad int) {
	t.Helper()
	conf := kafka.DefaultConfig()
	conf.Brokers = []string{addr}
	c, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var messages []ingest.Message
	shop := loadgen.NewShop(5)
	now := time.Now()
	err = loadgen.NewGenerator(shop, 5).Between(now.Add(-10*time.Minute), now, func(time.Time) float64 { return 5 }, func(q *loadgen.Request) error {
		at := time.UnixMilli(q.End)
		if len(messages) < good+bad && !q.Envoy() {
			messages = append(messages, ingest.Message{Value: shop.AppendLog(nil, q), Time: at})
			if len(messages)%(good/bad+1) == 0 {
				messages = append(messages, ingest.Message{Value: []byte("{half a line"), Time: at})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// Exactly as many of either as asked for.
	var out []ingest.Message
	for _, m := range messages {
		if strings.HasPrefix(string(m.Value), "{half") {
			if bad--; bad >= 0 {
				out = append(out, m)
			}
		} else if good--; good >= 0 {
			out = append(out, m)
		}
	}
	for ; bad > 0; bad-- {
		out = append(out, ingest.Message{Value: []byte("{half a line"), Time: now})
	}
	if good > 0 {
		t.Fatalf("%d lines too few", good)
	}
	if err := c.Write(t.Context(), "t", out); err != nil {
		t.Fatal(err)
	}
}

// ingestUntil runs `run` until so many messages are in the ledger.
func ingestUntil(t *testing.T, conn *clickhouse.Conn, config string, messages int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var log strings.Builder
	done := make(chan error, 1)
	go func() {
		done <- runRun(ctx, &daemon.Env{Getenv: func(string) string { return "" }, Stderr: &log, Stdout: &log}, []string{"--config", config})
	}()
	for {
		ends, err := conn.LedgerEnds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		for _, e := range ends {
			n += e.Messages + e.Dead
		}
		if n >= messages {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("run ended with %v:\n%s", err, log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("run ended with %v:\n%s", err, log.String())
	}
}
