// Command ingestbench measures ingest on nginx JSON logs: from an embedded
// Kafka broker, in a process of its own, into a real ClickHouse. It prints the
// client's CPU time per row stage by stage, then the throughput of the whole
// pipeline, and ends with one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/engine"
	gwkafka "gatewatch/internal/kafka"
	"gatewatch/internal/loadgen"
)

const (
	topic      = "bench"
	partitions = 4
	brokerArg  = "__broker"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == brokerArg {
		os.Exit(serveBroker(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingestbench:", err)
		os.Exit(1)
	}
}

// result is the last line.
type result struct {
	Bench       string  `json:"bench"`
	Format      string  `json:"format"`
	Rows        int     `json:"rows"`
	RowsPerS    float64 `json:"rows_per_s"`
	CPUPerRow   float64 `json:"cpu_us_per_row"`
	RowsPerCore float64 `json:"rows_per_s_per_core"`
	Fetch       float64 `json:"fetch_us"`
	Decode      float64 `json:"decode_us"`
	Normalise   float64 `json:"normalise_us"`
	Encode      float64 `json:"encode_us"`
	Insert      float64 `json:"insert_us"`
	Engine      float64 `json:"engine_cpu_us_per_row"`
	Bytes       float64 `json:"bytes_per_message"`
	MaxRSS      int64   `json:"max_rss_mib"`
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("ingestbench", flag.ContinueOnError)
	rows := fs.Int("rows", 1_000_000, "messages to move")
	profile := fs.String("cpuprofile", "", "write a CPU profile of the pipeline to this `FILE`")
	if err := fs.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewatch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	addr, stopBroker, err := startBroker(ctx, filepath.Join(dir, "kafka"))
	if err != nil {
		return err
	}
	defer stopBroker()
	server, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(dir, "clickhouse"), Log: os.Stderr})
	if err != nil {
		return err
	}
	defer server.Stop(time.Second) //nolint:errcheck // its data goes next
	conn, err := openStore(ctx, dir, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	kc := gwkafka.DefaultConfig()
	kc.Brokers = []string{addr}
	client, err := gwkafka.NewClient(kc)
	if err != nil {
		return err
	}
	defer client.Close()

	r := result{Bench: "ingest", Format: "nginx_json", Rows: *rows}
	fmt.Printf("%d nginx JSON messages, lz4, %d partitions\n\nclient, µs of CPU per row\n", *rows, partitions)
	bytes, err := fill(ctx, addr, *rows)
	if err != nil {
		return fmt.Errorf("fill the topic: %w", err)
	}
	r.Bytes = float64(bytes) / float64(*rows)
	if err := stages(ctx, client, conn, &r); err != nil {
		return err
	}
	if err := profiled(*profile, func() error { return whole(ctx, client, conn, server.PID(), &r) }); err != nil {
		return err
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	r.MaxRSS = usage.Maxrss >> 10
	fmt.Printf("\nwhole pipeline: %.0f rows/s, %.2f µs client CPU and %.2f µs engine CPU per row, %d MiB at most\n", r.RowsPerS, r.CPUPerRow, r.Engine, r.MaxRSS)
	return json.NewEncoder(os.Stdout).Encode(r)
}

func profiled(path string, f func() error) error {
	if path == "" {
		return f()
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

func openStore(ctx context.Context, dir string, s *engine.Server) (*clickhouse.Conn, error) {
	c := clickhouse.DefaultConfig()
	c.Address, c.Username, c.PasswordFile = s.Addr, s.Username, filepath.Join(dir, "password")
	if err := os.WriteFile(c.PasswordFile, []byte(s.Password), 0o600); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(c)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Migrate(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// startBroker starts this program again as the broker, so that its CPU time is not ours.
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
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic), kfake.DataDir(dir),
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

// fill writes n log lines of the last hour and returns their size.
func fill(ctx context.Context, addr string, n int) (bytes int64, err error) {
	w := &kafka.Writer{
		Addr: kafka.TCP(addr), Topic: topic, Balancer: &kafka.RoundRobin{}, RequiredAcks: kafka.RequireAll,
		BatchSize: 1000, BatchTimeout: 5 * time.Millisecond, Compression: kafka.Lz4,
	}
	shop := loadgen.NewShop(1)
	end := time.Now()
	batch := make([]kafka.Message, 0, 20_000)
	flush := func() error {
		err := w.WriteMessages(ctx, batch...)
		batch = batch[:0]
		return err
	}
	left := n
	rate := func(time.Time) float64 { return float64(n) / 1800 } // Envoy's lines are left out
	err = loadgen.NewGenerator(shop, 1).Between(end.Add(-time.Hour), end, rate, func(q *loadgen.Request) error {
		if q.Envoy() || left == 0 {
			return nil
		}
		left--
		line := shop.AppendLog(nil, q)
		bytes += int64(len(line))
		if batch = append(batch, kafka.Message{Value: line, Time: time.UnixMilli(q.End)}); len(batch) == cap(batch) {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err == nil && left > 0 {
		err = fmt.Errorf("the generator made %d lines too few", left)
	}
	return bytes, err
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf returns the CPU time that another process has used, 0 where that can't be read.
func cpuOf(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	var user, sys int64
	var skip string
	if _, err := fmt.Sscan(rest, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &user, &sys); err != nil {
		return 0
	}
	return time.Duration(user+sys) * time.Second / 100
}
