// Command aggregatebench measures what questions cost on a large store: raw rows
// of 30 days are made inside ClickHouse from a seed, and the rollups that ingest
// would count are filled from them; then the built aggregate answers each
// question over 24 hours and over 30 days. The last line is JSON.
package main

import (
	"context"
	_ "embed" // of the queries
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/rollupfill"
	"gatewatch/internal/rollup"
)

//go:embed rows.sql
var rowsSQL string

//go:embed spans.sql
var spansSQL string

func main() { leash.Command("aggregatebench", run) }

// result is the last line.
type result struct {
	Slowest24h  float64 `json:"slowest_24h_s"`
	Slowest30d  float64 `json:"slowest_30d_s"`
	BytesPerRow float64 `json:"bytes_per_row"` // of access_log
	// RollupShare is what all rollups and derived tables take, at their default
	// retention, of what access_log takes.
	RollupShare float64 `json:"rollup_share"`
	// CPU seconds of the engine a million rows: of filling the rollups inside it,
	// which stands for ingest's folding, and of what aggregate computes afterwards.
	FillCPU   float64 `json:"fill_cpu_s_per_million"`
	DeriveCPU float64 `json:"derive_cpu_s_per_million"`
	Rows      int64   `json:"rows"`
}

const (
	length    = 30 * 24 * time.Hour
	spansFrom = 7 * 24 * time.Hour
	blockRows = 200_000
	runs      = 3 // of each question; the median counts
)

// A bench is a store with rows.
type bench struct {
	conn   *clickhouse.Conn
	server *engine.Server
	bin    string
	file   string // gatewatch.yaml
	seed   uint64
	rows   int64
	to     time.Time
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("aggregatebench", flag.ContinueOnError)
	b := &bench{to: time.Now().UTC().Truncate(time.Hour)}
	fs.Int64Var(&b.rows, "rows", 50_000_000, "raw rows")
	fs.Uint64Var(&b.seed, "seed", 1, "of the rows")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-aggregate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.start(ctx, dir); err != nil {
		return err
	}
	defer b.server.Kill() // its data goes next
	defer b.conn.Close()
	r := result{Rows: b.rows}
	if err := b.fill(ctx, &r); err != nil {
		return fmt.Errorf("make the rows: %w", err)
	}
	if err := b.sizes(ctx, &r); err != nil {
		return err
	}
	if err := b.questions(ctx, &r); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (b *bench) start(ctx context.Context, dir string) error {
	root, err := devstack.Root(".")
	if err != nil {
		return err
	}
	b.bin = filepath.Join(dir, "aggregate")
	if err := devstack.Build(ctx, root, dir, "aggregate"); err != nil {
		return err
	}
	if b.server, err = engine.Start(ctx, engine.Config{Dir: filepath.Join(dir, "clickhouse"), MaxMemory: 6 << 30, Log: os.Stderr}); err != nil {
		return err
	}
	c := clickhouse.DefaultConfig()
	c.Address, c.Username, c.PasswordFile = b.server.Addr, b.server.Username, filepath.Join(dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(b.server.Password), 0o600); err != nil {
		return err
	}
	b.file = filepath.Join(dir, "gatewatch.yaml")
	text := fmt.Sprintf("kafka: {brokers: ['127.0.0.1:1'], topics: [{name: gateway, format: nginx_json}, {name: spans, format: otlp_proto}]}\nclickhouse: {address: %q, username: %q, password_file: password}\nalert: {default_owner: platform}\nretention: {access_log: 0}\n", c.Address, c.Username)
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		return err
	}
	conf, err := config.Load(b.file, os.Getenv)
	if err != nil {
		return err
	}
	if b.conn, err = clickhouse.Open(c); err != nil {
		return err
	}
	if _, err := b.conn.Migrate(ctx); err != nil {
		return err
	}
	return b.conn.ApplyRetention(ctx, conf.Retention.TTLs())
}

// block makes rows of the bench, from the first one on.
func (b *bench) block(ctx context.Context, first, n int64) error {
	from, to := b.to.Add(-length), b.to
	return b.conn.Exec(ctx, strings.NewReplacer(
		"{{seed}}", fmt.Sprint(b.seed), "{{from}}", fmt.Sprint(from.UnixMicro()), "{{to}}", fmt.Sprint(to.UnixMicro()),
		"{{step}}", fmt.Sprint(float64(length.Microseconds())/float64(b.rows)), "{{first}}", fmt.Sprint(first), "{{rows}}", fmt.Sprint(n),
	).Replace(rowsSQL)+" SETTINGS max_block_size = 1000000, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, max_insert_threads = 1, optimize_on_insert = 0")
}

func (b *bench) cpu() float64 { return devstack.CPU(b.server.PID()).Seconds() }

// fill makes the rows and all that is computed from them.
func (b *bench) fill(ctx context.Context, r *result) error {
	for first := int64(0); first < b.rows; first += blockRows {
		if err := b.block(ctx, first, min(blockRows, b.rows-first)); err != nil {
			return err
		}
		if done := first + blockRows; done%5_000_000 == 0 {
			fmt.Fprintf(os.Stderr, "aggregatebench: %d of %d rows\n", done, b.rows)
		}
	}
	before := b.cpu()
	if err := rollupfill.FillAll(ctx, b.conn); err != nil {
		return err
	}
	r.FillCPU = 1e6 * (b.cpu() - before) / float64(b.rows)
	for from := b.to.Add(-spansFrom); from.Before(b.to); from = from.Add(24 * time.Hour) {
		q := strings.NewReplacer("{{from}}", fmt.Sprint(from.Unix()), "{{to}}", fmt.Sprint(from.Add(24*time.Hour).Unix())).Replace(spansSQL)
		if err := b.conn.Exec(ctx, q); err != nil {
			return fmt.Errorf("spans: %w", err)
		}
	}
	before = b.cpu()
	for _, d := range aggregate.Derivations() {
		from := b.to.Add(-length)
		if d.Back > 0 && b.to.Add(-d.Back).After(from) {
			from = b.to.Add(-d.Back)
		}
		for from.Before(b.to) {
			to := from.Add(max(d.Chunk, 6*time.Hour))
			if err := b.conn.Derive(ctx, d.Name, from, to); err != nil {
				return err
			}
			from = to
		}
		if err := b.conn.SetReached(ctx, d.Name, aggregate.Reached{Until: b.to, Seen: b.to}); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "aggregatebench: %s computed\n", d.Name)
	}
	r.DeriveCPU = 1e6 * (b.cpu() - before) / float64(b.rows)
	now := time.Now().UTC()
	return b.conn.InsertWatermarks(ctx, []rollup.Watermark{
		{Topic: "gateway", CompleteUntil: now, MeasuredAt: now, CaughtUp: true}, {Topic: "spans", CompleteUntil: now, MeasuredAt: now, CaughtUp: true},
	})
}

// sizes merges and weighs the tables.
func (b *bench) sizes(ctx context.Context, r *result) error {
	rollups := []string{"request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d", "dimension_1h", "layer_1m", "layer_1h", "unusual_1h"}
	for _, t := range rollups {
		if err := b.conn.Exec(ctx, "OPTIMIZE TABLE "+t+" FINAL"); err != nil {
			return fmt.Errorf("merge %s: %w", t, err)
		}
	}
	list, err := b.conn.Sizes(ctx, nil)
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "table\trows\tbytes\tof access_log")
	slices.SortFunc(list, func(x, y clickhouse.TableSize) int { return int(y.Bytes - x.Bytes) })
	var raw, all float64
	for _, t := range list {
		if t.Table == "access_log" {
			raw = float64(t.Bytes)
		}
	}
	for _, t := range list {
		if slices.Contains(rollups, t.Table) {
			all += float64(t.Bytes)
		}
		if t.Bytes > 1<<16 {
			fmt.Fprintf(out, "%s\t%d\t%d\t%.2f %%\n", t.Table, t.Rows, t.Bytes, 100*float64(t.Bytes)/raw)
		}
	}
	r.BytesPerRow, r.RollupShare = raw/float64(b.rows), all/raw
	return out.Flush()
}

// questions asks each question, and some by a dimension that only raw rows or
// dimension_1h have.
var questions = []string{
	"traffic", "traffic --by node", "traffic --by time,service", "errors", "errors --by route,error_class", "latency", "latency --by region", "keys", "routes",
	"clients", "layers", "layers --by route", "breakers", "unusual", "gaps", "propagation", "changes", "auth",
}

func (b *bench) questions(ctx context.Context, r *result) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\nquestion\t24 h, s\t30 d, s\t(median of 3, with the start of the program)")
	for _, q := range questions {
		var seconds [2]float64
		for i, from := range []string{"-24h", "-30d"} {
			var times []float64
			for range runs {
				s, err := b.ask(ctx, q, from)
				if err != nil {
					return fmt.Errorf("report %s --from %s: %w", q, from, err)
				}
				times = append(times, s)
			}
			slices.Sort(times)
			seconds[i] = times[runs/2]
		}
		fmt.Fprintf(out, "%s\t%.2f\t%.2f\n", q, seconds[0], seconds[1])
		r.Slowest24h, r.Slowest30d = max(r.Slowest24h, seconds[0]), max(r.Slowest30d, seconds[1])
	}
	return out.Flush()
}

// ask runs a report and returns how long it took. That there can't be an answer is one.
func (b *bench) ask(ctx context.Context, question, from string) (float64, error) {
	args := append([]string{"report"}, strings.Fields(question)...)
	cmd := exec.CommandContext(ctx, b.bin, append(args, "--config", b.file, "-o", "json", "--from", from)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began).Seconds()
	if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 4) {
		return 0, fmt.Errorf("%w: %s", err, errs.String())
	}
	return took, nil
}
