// Command kpibench measures what the product reports take at a given number of
// calls and keys: seconds of each report over 30 days, and bytes of the rollups
// by key against those of the raw rows. Calls are stored in a real ClickHouse in
// blocks, as ingest does. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/ingest"
)

func main() { leash.Command("kpibench", run) }

// result is the last line.
type result struct {
	Rows    int64              `json:"rows"`
	Keys    int                `json:"keys"`
	Slowest float64            `json:"slowest_report_s"`
	Reports map[string]float64 `json:"reports_s"` // median of three
	// Engine is the engine's CPU seconds of each report, which neighbours on the machine don't disturb.
	Engine map[string]float64 `json:"engine_cpu_s"`
	// Share is the bytes of all rollups by key, of the same 30 days, against those of access_log.
	Share  float64            `json:"key_rollup_share"`
	Shares map[string]float64 `json:"shares"`
	Bytes  float64            `json:"raw_bytes_per_row"`
	Insert float64            `json:"engine_us_per_row"` // raw rows and all rollups
	Runs   float64            `json:"workflow_pass_s"`   // the first one, over all calls
}

// days is the length of what is stored.
const days = 30

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("kpibench", flag.ContinueOnError)
	rows := fs.Int64("rows", 50_000_000, "raw rows to store")
	keys := fs.Int("keys", 5000, "keys that call")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-kpibench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, result: result{Rows: *rows, Keys: *keys, Reports: map[string]float64{}, Engine: map[string]float64{}, Shares: map[string]float64{}}}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.stop()
	if err := b.fill(ctx); err != nil {
		return err
	}
	if err := b.sizes(ctx); err != nil {
		return err
	}
	if err := b.reports(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(b.result)
}

type bench struct {
	dir, bin, settings string
	engine             *engine.Server
	conn               *clickhouse.Conn
	result             result
}

func (b *bench) start(ctx context.Context) error {
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	b.bin = filepath.Join(b.dir, "aggregate")
	if err := devstack.Build(ctx, root, b.dir, "aggregate"); err != nil {
		return err
	}
	if b.engine, err = engine.Start(ctx, engine.Config{Dir: filepath.Join(b.dir, "engine"), Log: os.Stderr}); err != nil {
		return err
	}
	c := clickhouse.DefaultConfig()
	c.Address, c.Username, c.PasswordFile = b.engine.Addr, b.engine.Username, filepath.Join(b.dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(b.engine.Password), 0o600); err != nil {
		return err
	}
	b.settings = filepath.Join(b.dir, "gatewatch.yaml")
	text := fmt.Sprintf("kafka: {brokers: [127.0.0.1:1], topics: [{name: access, format: nginx_json}]}\nclickhouse: {address: %q, username: %q, password_file: password}\naggregate: {kpi: %q}\nalert: {default_owner: platform, catalog: %q}\n",
		c.Address, c.Username, filepath.Join(root, "deploy", "kpi"), filepath.Join(root, "deploy", "catalog"))
	if err := os.WriteFile(b.settings, []byte(text), 0o600); err != nil {
		return err
	}
	if b.conn, err = clickhouse.Open(c); err != nil {
		return err
	}
	if _, err = b.conn.Migrate(ctx); err != nil {
		return err
	}
	_, err = b.aggregate(ctx, "kpi")
	return err
}

func (b *bench) stop() {
	if b.conn != nil {
		_ = b.conn.Close()
	}
	if b.engine != nil {
		_ = b.engine.Stop(5 * time.Second)
	}
}

func (b *bench) aggregate(ctx context.Context, args ...string) (time.Duration, error) {
	began := time.Now()
	out, err := exec.CommandContext(ctx, b.bin, append(args, "--config", b.settings)...).CombinedOutput()
	const nothingToSay = 4 // an answer too
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != nothingToSay) {
		return 0, fmt.Errorf("aggregate %v: %w\n%s", args, err, out)
	}
	return time.Since(began), nil
}

// eventsSQL announces the keys, some of them twice (rotated), and changes some plans.
const eventsSQL = `INSERT INTO key_event (time, kafka_time, topic, kafka_offset, key_id, action, consumer, plan, tier, owner)
SELECT now() - INTERVAL 40 DAY + toIntervalSecond(intHash32(number) %% 3000000) AS time, time, 'keys', number, reinterpretAsFixedString(sipHash128(number)) AS key_id, 'created' AS action,
	concat('c-', toString(if(number %% 20 = 19, number - 1, number))) AS consumer, ['free', 'free', 'basic', 'pro', 'enterprise'][number %% 5 + 1] AS plan, if(number %% 5 > 2, 'gold', '') AS tier, concat(consumer, '@example.com') AS owner
FROM numbers(%[1]d)
UNION ALL
SELECT now() - toIntervalSecond(intHash32(number) %% 2500000) AS time, time, 'keys', %[1]d + number, reinterpretAsFixedString(sipHash128(number * 40)), 'updated', '', 'pro', '', '' FROM numbers(%[2]d)`

// operations that keys call, most used first; the last five are steps of workflows.
var operations = [...]struct{ service, method, route string }{
	{"catalog", "GET", "/v1/products/{id}"},
	{"catalog", "GET", "/v1/search"},
	{"catalog", "GET", "/v2/products/{id}"},
	{"orders", "GET", "/v1/orders/{id}"},
	{"orders", "GET", "/v1/orders"},
	{"orders", "GET", "/v2/orders/{id}"},
	{"payments", "GET", "/v1/charges/{id}"},
	{"users", "GET", "/v1/users/{id}"},
	{"shipping", "GET", "/v1/shipments/{id}"},
	{"orders", "POST", "/v1/carts"},
	{"orders", "POST", "/v1/carts/{id}/items"},
	{"payments", "POST", "/v1/charges"},
	{"shipping", "POST", "/v1/rates"},
	{"shipping", "POST", "/v1/labels"},
}

// failures of 3.5 % of the calls.
var failures = [...]struct {
	share  float64
	status int
	class  accesslog.ErrorClass
}{
	{0.012, 404, accesslog.ClientNotFound},
	{0.008, 400, accesslog.ClientBadRequest},
	{0.006, 401, accesslog.ClientAuth},
	{0.003, 500, accesslog.Upstream5xx},
	{0.002, 504, accesslog.UpstreamTimeout},
	{0.004, 429, accesslog.ClientQuota},
}

// block is how many rows are stored at once, as by ingest when it catches up.
const block = 200_000

func (b *bench) fill(ctx context.Context) error {
	if err := b.conn.Exec(ctx, fmt.Sprintf(eventsSQL, b.result.Keys, b.result.Keys/40)); err != nil {
		return fmt.Errorf("store key events: %w", err)
	}
	before := devstack.CPU(b.engine.PID())
	w := clickhouse.NewWriter(b.conn)
	defer w.Close()
	var ids [][16]byte
	rows, err := b.conn.Query(ctx, "SELECT key_id FROM key_event WHERE action = 'created' ORDER BY kafka_offset")
	if err != nil {
		return err
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, [16]byte([]byte(id)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	end := time.Now().Truncate(time.Second)
	step := float64(days*24*time.Hour) / float64(b.result.Rows)
	for n := int64(0); n < b.result.Rows; n += block {
		part := w.NewBlock(ingest.TopicConfig{Name: "access", Format: "nginx_json"})
		count := min(block, b.result.Rows-n)
		for i := range count {
			at := end.Add(-time.Duration(float64(b.result.Rows-n-i) * step))
			part.AppendEntry(ingest.Coordinates{Offset: n + i, KafkaTime: at}, entry(r, at, ids))
		}
		l := ingest.LedgerEntry{Range: ingest.Range{Topic: "access", First: n, Last: n + count - 1}, Messages: count, Rows: count}
		if err := part.Insert(ctx, l); err != nil {
			return fmt.Errorf("store calls: %w", err)
		}
		fmt.Fprintf(os.Stderr, "\r%d of %d rows ", n+count, b.result.Rows)
	}
	fmt.Fprintln(os.Stderr)
	b.result.Insert = float64((devstack.CPU(b.engine.PID()) - before).Microseconds()) / float64(b.result.Rows)
	took, err := b.aggregate(ctx, "kpi")
	b.result.Runs = took.Seconds()
	return err
}

// entry makes a call: few keys make most of them, few operations get most.
func entry(r *rand.Rand, at time.Time, ids [][16]byte) *accesslog.Entry {
	u := r.Float64()
	key := min(len(ids)-1, int(float64(len(ids))*(math.Exp2(u*u*6)-1)/63))
	op := operations[int(math.Pow(r.Float64(), 5)*float64(len(operations)))]
	e := &accesslog.Entry{
		Time: at.Add(time.Duration(r.IntN(1000)) * time.Microsecond), Service: op.service, Method: op.method, Route: op.route, Path: op.route, Protocol: "HTTP/1.1", APIVersion: op.route[1:3], Status: 200,
		RequestBytes: accesslog.Some(400 + r.Int64N(300)), ResponseBytes: accesslog.Some(900 + r.Int64N(4000)), Node: fmt.Sprintf("gw-%d", r.IntN(3)), Region: "eu-west-1",
		Upstream: fmt.Sprintf("%s-%d:8080", op.service, r.IntN(3)), UserAgent: "sdk/1.0",
		Consumer: accesslog.Consumer{KeyID: ids[key]},
		Latency:  accesslog.Latency{Total: accesslog.Some(time.Duration(math.Exp(r.NormFloat64()*0.7) * float64(30*time.Millisecond)))},
	}
	if op.method == "POST" {
		e.Status = 201
	}
	for p, i := r.Float64(), 0; i < len(failures); i++ {
		if p -= failures[i].share; p < 0 {
			e.Status, e.Outcome.Class = failures[i].status, failures[i].class
			break
		}
	}
	if key%50 == 7 { // never gets through
		e.Status, e.Outcome.Class = 401, accesslog.ClientAuth
	}
	return e
}

// keyTables are the rollups that have a row a key.
var keyTables = [...]string{"key_1m", "key_1h", "key_1d", "usage_1d", "workflow_call", "workflow_run"}

func (b *bench) sizes(ctx context.Context) error {
	raw := 0.0
	for _, table := range append([]string{"access_log"}, keyTables[:]...) {
		if err := b.conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			return fmt.Errorf("merge %s: %w", table, err)
		}
		var rows, bytes uint64
		if err := b.conn.QueryRow(ctx, "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active AND table = ?", table).Scan(&rows, &bytes); err != nil {
			return fmt.Errorf("ask for the size of %s: %w", table, err)
		}
		if table == "access_log" {
			raw = float64(bytes)
			b.result.Bytes = raw / float64(rows)
			fmt.Printf("%-14s %11d rows %6.1f MB %5.1f bytes a row\n", table, rows, raw/1e6, b.result.Bytes)
			continue
		}
		share := float64(bytes) / raw
		b.result.Shares[table] = share
		b.result.Share += share
		fmt.Printf("%-14s %11d rows %6.1f MB %5.1f bytes a row, %.2f %% of the raw rows\n", table, rows, float64(bytes)/1e6, float64(bytes)/float64(max(1, rows)), 100*share)
	}
	return nil
}

// questions are the reports that are timed.
const questions = "usage signups first-call blockers retention funnel value quota deprecated sla inventory fixes digest"

func (b *bench) reports(ctx context.Context) error {
	for name := range strings.FieldsSeq(questions) {
		var times []float64
		before := devstack.CPU(b.engine.PID())
		for range 3 {
			args := []string{"report", name, "--from", "30d", "--limit", "5"}
			took, err := b.aggregate(ctx, args...)
			if err != nil {
				return err
			}
			times = append(times, took.Seconds())
		}
		median := max(min(times[0], times[1]), min(max(times[0], times[1]), times[2]))
		b.result.Reports[name] = median
		b.result.Slowest = max(b.result.Slowest, median)
		b.result.Engine[name] = (devstack.CPU(b.engine.PID()) - before).Seconds() / 3
		fmt.Printf("%-12s %.2f s, %.2f s of engine CPU\n", name, median, b.result.Engine[name])
	}
	return nil
}
