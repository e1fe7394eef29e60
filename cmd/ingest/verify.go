package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// verifyReport is the answer of verify, and its JSON.
type verifyReport struct {
	Schema     string            `json:"schema"`
	OK         bool              `json:"ok"`
	Requests   *int64            `json:"requests_in_rollup,omitempty"`
	Rows       int64             `json:"rows"`
	Lost       int64             `json:"lost"`
	Doubled    int64             `json:"doubled"`
	Partitions []verifyPartition `json:"partitions"`
	Faults     []verifyFault     `json:"faults"`
}

type verifyPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first_offset"`
	Last      int64  `json:"last_offset"`
	Ranges    int64  `json:"ranges"`
	Messages  int64  `json:"messages"`
	Rows      int64  `json:"rows"`
	Dead      int64  `json:"dead"`
	Skipped   int64  `json:"skipped"`
	Expired   int64  `json:"expired_ranges"`
	Read      *int64 `json:"ranges_read_again,omitempty"`
	Lag       *int64 `json:"lag,omitempty"`
	Faults    int    `json:"faults"`
}

type verifyFault struct {
	Kind      clickhouse.FaultKind `json:"kind"`
	Topic     string               `json:"topic,omitempty"`
	Partition int32                `json:"partition"`
	First     int64                `json:"first_offset"`
	Last      int64                `json:"last_offset"`
	Want      int64                `json:"want"`
	Have      int64                `json:"have"`
	Text      string               `json:"text"`
}

// verifyOptions are the flags of verify.
type verifyOptions struct {
	config, topic, output string
	between               clickhouse.Between
	noKafka, deep         bool
}

// verifyFlags reads the flags of verify.
func verifyFlags(env *daemon.Env, args []string) (o verifyOptions, err error) {
	fs := daemon.Flags(env, "verify", `checks Kafka's offsets, the ledger and the rows against each other.

Every offset must be accounted for once, and every row be stored once. With
--deep the messages are read again from Kafka, as far as it keeps them, and
decoded: the rows of each range must be the same. Exit 1 if anything is wrong.`, `gatewatch-ingest verify
gatewatch-ingest verify --deep --topic gateway.access --from -2h
gatewatch-ingest verify --no-kafka -o json`)
	path := configFlag(fs)
	fs.StringVar(&o.topic, "topic", "", "only this `TOPIC`")
	from := fs.String("from", "", "only ranges with messages since then, by Kafka's time: RFC 3339, or a span before now such as -2h or 7d")
	to := fs.String("to", "", "only ranges with messages before then: likewise")
	fs.BoolVar(&o.deep, "deep", false, "read the messages again from Kafka and compare the rows of every range")
	fs.BoolVar(&o.noKafka, "no-kafka", false, "leave Kafka out and check the store alone")
	fs.StringVar(&o.output, "o", "table", "output `FORMAT`: table, json or csv")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return o, err
	}
	o.config = *path
	for _, t := range []struct {
		text string
		time *time.Time
	}{{*from, &o.between.From}, {*to, &o.between.To}} {
		if t.text == "" {
			continue
		}
		if *t.time, err = daemon.ParseTime(t.text, time.Now()); err != nil {
			return o, err
		}
	}
	if o.deep && o.noKafka {
		return o, daemon.Usagef("--deep reads Kafka: leave --no-kafka out")
	}
	return o, daemon.CheckOutput(o.output, "table", "json", "csv")
}

// runVerify checks that every offset is accounted for and every row is stored once.
func runVerify(ctx context.Context, env *daemon.Env, args []string) error {
	o, err := verifyFlags(env, args)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(env, o.config)
	if err != nil {
		return err
	}
	conn, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	v := verifier{conn: conn, options: o, env: env}
	// Kafka is asked first: what was committed by then must be in the ledger read after it.
	if !o.noKafka {
		client, err := openKafka(cfg)
		if err != nil {
			return err
		}
		defer client.Close()
		if v.marks, err = readMarks(ctx, client, cfg); err != nil {
			return daemon.Unreachable(err)
		}
		if o.deep {
			if v.deep, err = newDeepCheck(ctx, cfg, conn, client, v.marks); err != nil {
				return err
			}
		}
	}
	report, err := v.verify(ctx)
	if err != nil {
		return storeError(cfg, err)
	}
	if err := report.write(env, o.output); err != nil {
		return err
	}
	switch {
	case !report.OK:
		return daemon.No(nil)
	case len(report.Partitions) == 0 && o.topic != "":
		return daemon.Unknown(fmt.Errorf("nothing of topic %s has been ingested in that time", o.topic))
	case len(report.Partitions) == 0:
		return daemon.Unknown(fmt.Errorf("nothing has been ingested yet"))
	}
	return nil
}

type partitionID struct {
	topic string
	id    int32
}

// kafkaMarks is what Kafka says about a partition.
type kafkaMarks struct {
	first, end int64 // offsets kept
	committed  int64 // by ingest's group; -1 for none
}

// readMarks asks for the offsets of all configured topics.
func readMarks(ctx context.Context, client *kafka.Client, cfg *config.Config) (map[partitionID]kafkaMarks, error) {
	marks := make(map[partitionID]kafkaMarks)
	for _, t := range cfg.Kafka.Topics {
		offsets, err := client.Offsets(ctx, t.Name)
		if err != nil {
			return nil, err
		}
		ids := make([]int32, len(offsets))
		for i, o := range offsets {
			ids[i] = o.Partition
		}
		committed, err := client.Committed(ctx, client.Group(groupName), t.Name, ids)
		if err != nil {
			return nil, err
		}
		for _, o := range offsets {
			m := kafkaMarks{first: o.First, end: o.End, committed: -1}
			if c, ok := committed[o.Partition]; ok {
				m.committed = c.Offset
			}
			marks[partitionID{t.Name, o.Partition}] = m
		}
	}
	return marks, nil
}

// A verifier checks every partition that is in the ledger.
type verifier struct {
	conn    *clickhouse.Conn
	options verifyOptions
	env     *daemon.Env
	marks   map[partitionID]kafkaMarks // nil leaves Kafka out
	deep    *deepCheck                 // nil without --deep
}

func (v *verifier) verify(ctx context.Context) (*verifyReport, error) {
	ends, err := v.conn.LedgerEnds(ctx)
	if err != nil {
		return nil, err
	}
	r := &verifyReport{Schema: "gatewatch/verify/1", Partitions: []verifyPartition{}, Faults: []verifyFault{}}
	for _, e := range ends {
		if v.options.topic != "" && e.Topic != v.options.topic {
			continue
		}
		a, err := v.conn.Verify(ctx, e.Topic, e.Partition, v.options.between)
		if err != nil {
			return nil, err
		}
		if a.Ranges == 0 {
			continue // none in that time
		}
		if err := v.partition(ctx, r, a); err != nil {
			return nil, err
		}
	}
	if v.options.topic != "" || v.options.between != (clickhouse.Between{}) {
		r.OK = len(r.Faults) == 0
		return r, nil // the rollup knows neither topics nor Kafka's time
	}
	requests, fault, err := v.conn.VerifyRollup(ctx)
	if err != nil {
		return nil, err
	}
	r.Requests = &requests
	if fault != nil {
		r.add(*fault)
	}
	r.OK = len(r.Faults) == 0
	return r, nil
}

// partition adds a partition's account to r.
func (v *verifier) partition(ctx context.Context, r *verifyReport, a *clickhouse.PartitionAccount) error {
	p := verifyPartition{
		Topic: a.Topic, Partition: a.Partition, First: a.First, Last: a.Last, Ranges: a.Ranges, Messages: a.Messages,
		Rows: a.Rows, Dead: a.Dead, Skipped: a.Skipped, Expired: a.Expired,
	}
	if m, ok := v.marks[partitionID{a.Topic, a.Partition}]; ok && v.options.between.To.IsZero() {
		lag := max(0, m.end-(a.Last+1))
		p.Lag = &lag
		// Offsets are committed after their ledger entry, so a commit beyond the
		// ledger is a loss; so is what Kafka no longer has and nobody has read.
		if last := max(m.committed, m.first) - 1; last > a.Last {
			a.Fault(clickhouse.FaultGap, ingest.Range{First: a.Last + 1, Last: last}, 0, 0)
			a.Lost += last - a.Last
		}
	}
	if v.deep != nil {
		v.deep.tick = progress(v.env, fmt.Sprintf("%s/%d", a.Topic, a.Partition), len(a.Checked))
		n, err := v.deep.partition(ctx, a)
		if err != nil {
			return err
		}
		p.Read = &n
	}
	p.Faults = len(a.Faults)
	r.Partitions = append(r.Partitions, p)
	r.Rows += a.Rows
	r.Lost += a.Lost
	r.Doubled += a.Doubled
	for _, f := range a.Faults {
		r.add(f)
	}
	return nil
}

func (r *verifyReport) add(f clickhouse.Fault) {
	r.Faults = append(r.Faults, verifyFault{
		Kind: f.Kind, Topic: f.Topic, Partition: f.Partition, First: f.First, Last: f.Last, Want: f.Want, Have: f.Have, Text: f.String(),
	})
}

func (r *verifyReport) write(env *daemon.Env, output string) error {
	if output == "json" {
		return writeJSON(env.Stdout, r)
	}
	optional := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	rows := make([][]string, len(r.Partitions))
	for i, p := range r.Partitions {
		rows[i] = []string{p.Topic, strconv.Itoa(int(p.Partition)), fmt.Sprintf("%d-%d", p.First, p.Last)}
		for _, n := range []int64{p.Ranges, p.Messages, p.Rows, p.Dead, p.Skipped, p.Expired} {
			rows[i] = append(rows[i], strconv.FormatInt(n, 10))
		}
		rows[i] = append(rows[i], optional(p.Read), optional(p.Lag), strconv.Itoa(p.Faults))
	}
	header := []string{"TOPIC", "PARTITION", "OFFSETS", "RANGES", "MESSAGES", "ROWS", "DEAD", "SKIPPED", "EXPIRED", "READ AGAIN", "LAG", "FAULTS"}
	if err := daemon.WriteTable(env.Stdout, output == "csv", header, rows); err != nil {
		return err
	}
	if output == "csv" {
		return nil
	}
	for f := range slices.Values(r.Faults) {
		fmt.Fprintln(env.Stdout, f.Text)
	}
	switch {
	case !r.OK:
		fmt.Fprintf(env.Stdout, "FAIL: %d faults, %d rows lost, %d doubled\n", len(r.Faults), r.Lost, r.Doubled)
	case r.Requests == nil:
		fmt.Fprintf(env.Stdout, "ok: %d rows, nothing lost, nothing doubled\n", r.Rows)
	default:
		fmt.Fprintf(env.Stdout, "ok: %d rows, nothing lost, nothing doubled; the hourly rollup holds the same %d requests\n", r.Rows, *r.Requests)
	}
	return nil
}
