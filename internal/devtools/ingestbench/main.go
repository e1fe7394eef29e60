// Command ingestbench measures the whole way from Kafka into ClickHouse with
// the built ingest, real parts and one topic each of nginx JSON, nginx combined
// and OTLP spans, beside ClickHouse's own Kafka engine, which fills the same
// tables with the same rollups in the same run. It prints CPU time per row and
// ends with one line of JSON.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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
	var err error
	if b.root, err = devstack.Root("."); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "gatewatch-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	b.bin = filepath.Join(b.dir, "ingest")
	if err := devstack.Build(ctx, b.root, b.dir, "ingest"); err != nil {
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
	var all []*measured
	add := func(who string, t input, run func() (cost, error)) {
		all = append(all, &measured{who: who, input: t, run: run})
	}
	for _, t := range topics {
		add("gatewatch", t, func() (cost, error) { return b.gatewatch(ctx, t, nil, nil) })
	}
	for _, f := range kafkaEngines {
		add("Kafka engine, "+f.name, topics[0], func() (cost, error) { return b.kafkaEngine(ctx, f) })
	}
	for round := range rounds {
		for _, m := range all {
			if round > 0 && m.who == slowest {
				continue
			}
			c, err := m.run()
			if err != nil {
				return fmt.Errorf("%s, %s: %w", m.who, m.input.name, err)
			}
			m.costs = append(m.costs, c)
		}
	}
	return b.show(all)
}

// rounds is how often everything is measured, in turns: machines are not steady,
// so figures of one round are compared with those of the same round.
const rounds = 3

// slowest takes more than all others together and is measured in the first round only.
const slowest = "Kafka engine, typed"

// A measured is one way of ingesting with its cost in each round.
type measured struct {
	who   string
	input input
	run   func() (cost, error)
	costs []cost
}

// median returns the cost of the median total.
func (m *measured) median() cost {
	list := slices.SortedFunc(slices.Values(m.costs), func(a, b cost) int { return cmp.Compare(a.total(), b.total()) })
	return list[len(list)/2]
}

// ratio returns the median over the rounds of what m costs in units of base.
func (m *measured) ratio(base *measured) float64 {
	var list []float64
	for i, c := range m.costs {
		list = append(list, c.total()/base.costs[i].total())
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// show prints the table and the last line. all begins with gatewatch on nginx JSON.
func (b *bench) show(all []*measured) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "µs of CPU a row\tinput\tB a row\trows\tclient\tengine\ttotal: median\tmin\tmax\tms\trows/s\tclient MiB\tof gatewatch's")
	first := all[0].median()
	r := result{Rows: first.rows, Client: first.client, Engine: first.engine, Total: first.total(), RowsPerCore: 1e6 / first.client}
	for _, m := range all {
		c := m.median()
		least, most := c.total(), c.total()
		for _, o := range m.costs {
			least, most = min(least, o.total()), max(most, o.total())
			r.RSS = max(r.RSS, o.rss)
		}
		ratio, memory := "", "-"
		switch {
		case c.rss > 0:
			memory = fmt.Sprint(c.rss)
		default:
			of := m.ratio(all[0])
			ratio = fmt.Sprintf("%.2f×", of)
			if r.KafkaEngineRatio == 0 || of < r.KafkaEngineRatio {
				r.KafkaEngineRatio = of
			}
		}
		switch m.input.name {
		case topicCombined:
			r.CombinedTotal = c.total()
		case topicSpans:
			r.SpansTotal = c.total()
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%s\t%s\n", m.who, strings.TrimPrefix(m.input.name, "bench-"), c.bytes, c.rows,
			c.client, c.engine, c.total(), least, most, c.seconds*1000, float64(c.rows)/c.seconds, memory, ratio)
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

func (c cost) total() float64 { return c.client + c.engine }
