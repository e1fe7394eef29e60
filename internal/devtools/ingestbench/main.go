// Command ingestbench measures the whole way from Kafka into ClickHouse with
// the built ingest, real parts and one topic each of nginx JSON, nginx combined
// and OTLP spans, beside ClickHouse's own Kafka engine, which fills the same
// tables with the same rollups in the same run. It prints CPU time per row and
// ends with one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
	gwkafka "gatewatch/internal/kafka"
)

func main() {
	leash.Main()
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

// result is the last line. Its figures are those of nginx JSON.
type result struct {
	Client      float64 `json:"client_us_per_row"`
	Engine      float64 `json:"engine_us_per_row"`
	Total       float64 `json:"total_us_per_row"`
	RowsPerCore float64 `json:"rows_per_s_per_core"` // of the client
	RSS         int64   `json:"rss_mib"`             // of the client, the most of all inputs
	// KafkaEngineRatio is what the cheaper form of ClickHouse's Kafka engine costs
	// a row, in units of Total.
	KafkaEngineRatio float64 `json:"kafka_engine_ratio"`
	Rows             int     `json:"rows"`
	CombinedTotal    float64 `json:"combined_total_us_per_row"`
	SpansTotal       float64 `json:"spans_total_us_per_row"`
}

// options are the flags.
type options struct {
	rows    int
	rate    float64
	profile string
	rollups bool
	scaled  bool
}

// A bench is a broker and a ClickHouse with traffic.
type bench struct {
	options
	dir, root, bin string
	broker         string
	servers        []*engine.Server // a cluster, if there are several
	user, password string           // the latter is a file
	members        int              // of ingest
	rows           map[string]int
	bytes          map[string]int64
	runs           int // of ingest: each reads from the beginning
}

func run(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("ingestbench", flag.ContinueOnError)
	b := &bench{user: benchUser, members: 1, rows: map[string]int{}, bytes: map[string]int64{}}
	fs.IntVar(&b.options.rows, "rows", 1_000_000, "messages of nginx JSON; the other inputs get half as many")
	fs.Float64Var(&b.rate, "rate", 5000, "requests a second of the traffic: the fewer, the less rollups fold")
	fs.StringVar(&b.profile, "cpuprofile", "", "write a CPU profile of ingest on nginx JSON to this `FILE`")
	fs.BoolVar(&b.rollups, "rollups", false, "compare ways to fill the rollups instead of inputs")
	fs.BoolVar(&b.scaled, "scale", false, "compare numbers of members and shards instead of inputs")
	if err := fs.Parse(args); err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	if b.root, err = devstack.Root(wd); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "gatewatch-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	addr, stopBroker, err := startBroker(ctx, filepath.Join(b.dir, "kafka"))
	if err != nil {
		return err
	}
	defer stopBroker()
	b.broker = addr
	server, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(b.dir, "clickhouse"), Users: benchUsers, Logins: map[string]string{benchUser: benchPassword}, Log: os.Stderr})
	if err != nil {
		return err
	}
	defer server.Kill() // its data goes next
	b.servers = []*engine.Server{server}
	b.password = filepath.Join(b.dir, "password")
	if err := os.WriteFile(b.password, []byte(benchPassword), 0o600); err != nil {
		return err
	}
	return b.measure(ctx)
}

func (b *bench) build(ctx context.Context) error {
	b.bin = filepath.Join(b.dir, "ingest")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.bin, "./cmd/ingest")
	build.Dir = b.root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build ingest: %w\n%s", err, out)
	}
	return nil
}

func (b *bench) measure(ctx context.Context) error {
	fmt.Fprintf(os.Stderr, "ingestbench: making %d messages of nginx JSON, nginx combined and spans, %.0f requests/s …\n", b.options.rows*2, b.rate)
	if err := b.fill(ctx); err != nil {
		return fmt.Errorf("fill the topics: %w", err)
	}
	switch {
	case b.rollups:
		return b.compareRollups(ctx)
	case b.scaled:
		return b.scale(ctx)
	}
	if err := b.stagesOf(ctx); err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "µs of CPU a row\tinput\tB a row\trows\tclient\tengine\ttotal\tms\trows/s\tclient MiB\tof gatewatch's")
	var r result
	var json1 cost
	for _, t := range topics {
		c, err := b.gatewatch(ctx, t, nil, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		r.RSS = max(r.RSS, c.rss)
		switch t.name {
		case topicJSON:
			json1 = c
			r.Rows, r.Client, r.Engine, r.Total, r.RowsPerCore = c.rows, c.client, c.engine, c.client+c.engine, 1e6/c.client
		case topicCombined:
			r.CombinedTotal = c.client + c.engine
		case topicSpans:
			r.SpansTotal = c.client + c.engine
		}
		c.print(table, "gatewatch", t, cost{})
	}
	for _, f := range kafkaEngines {
		c, err := b.kafkaEngine(ctx, f)
		if err != nil {
			return fmt.Errorf("Kafka engine, %s: %w", f.name, err)
		}
		c.print(table, "Kafka engine, "+f.name, topics[0], json1)
		if ratio := c.engine / r.Total; r.KafkaEngineRatio == 0 || ratio < r.KafkaEngineRatio {
			r.KafkaEngineRatio = ratio
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// stagesOf prints where the client's time goes, stage by stage.
func (b *bench) stagesOf(ctx context.Context) error {
	kc := gwkafka.DefaultConfig()
	kc.Brokers = []string{b.broker}
	client, err := gwkafka.NewClient(kc)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := b.open(ctx, "gatewatch_stages")
	if err != nil {
		return err
	}
	defer conn.Close()
	return stages(ctx, client, conn, b.options.rows)
}

// A cost is what a way of ingesting takes, CPU in microseconds a row.
type cost struct {
	rows           int
	client, engine float64
	seconds        float64
	rss            int64 // MiB
	bytes          float64
}

func (c cost) print(table *tabwriter.Writer, who string, t input, base cost) {
	ratio := ""
	if base.rows > 0 {
		ratio = fmt.Sprintf("%.2f×", (c.client+c.engine)/(base.client+base.engine))
	}
	memory := "-"
	if c.rss > 0 {
		memory = fmt.Sprint(c.rss)
	}
	fmt.Fprintf(table, "%s\t%s\t%.0f\t%d\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%s\t%s\n", who, strings.TrimPrefix(t.name, "bench-"), c.bytes, c.rows,
		c.client, c.engine, c.client+c.engine, c.seconds*1000, float64(c.rows)/c.seconds, memory, ratio)
}
