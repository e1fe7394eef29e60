package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/kafka"
)

// verifyReport is the answer of verify, and its JSON.
type verifyReport struct {
	Schema     string            `json:"schema"`
	OK         bool              `json:"ok"`
	Requests   int64             `json:"requests_in_rollup"`
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

// runVerify checks that every offset is accounted for and every row is stored once.
func runVerify(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "verify", "check Kafka's offsets, the ledger and the rows against each other: nothing lost, nothing doubled",
		"gatewatch-ingest verify\ngatewatch-ingest verify --no-kafka -o json")
	path := configFlag(fs)
	noKafka := fs.Bool("no-kafka", false, "leave Kafka out and check the store alone")
	output := fs.String("o", "table", "output `FORMAT`: table, json or csv")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := daemon.CheckOutput(*output, "table", "json", "csv"); err != nil {
		return err
	}
	cfg, err := loadConfig(env, *path)
	if err != nil {
		return err
	}
	conn, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Kafka is asked first: what was committed by then must be in the ledger read after it.
	var marks map[partitionID]kafkaMarks
	if !*noKafka {
		client, err := openKafka(cfg)
		if err != nil {
			return err
		}
		defer client.Close()
		if marks, err = readMarks(ctx, client, cfg); err != nil {
			return daemon.Unreachable(err)
		}
	}
	report, err := verify(ctx, conn, marks)
	if err != nil {
		return storeError(cfg, err)
	}
	if err := report.write(env, *output); err != nil {
		return err
	}
	switch {
	case !report.OK:
		return daemon.No(nil)
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

// verify checks every partition that is in the ledger. Nil marks leave Kafka out.
func verify(ctx context.Context, conn *clickhouse.Conn, marks map[partitionID]kafkaMarks) (*verifyReport, error) {
	ends, err := conn.LedgerEnds(ctx)
	if err != nil {
		return nil, err
	}
	r := &verifyReport{Schema: "gatewatch/verify/1", Partitions: []verifyPartition{}, Faults: []verifyFault{}}
	for _, e := range ends {
		a, err := conn.Verify(ctx, e.Topic, e.Partition)
		if err != nil {
			return nil, err
		}
		p := verifyPartition{
			Topic: a.Topic, Partition: a.Partition, First: a.First, Last: a.Last, Ranges: a.Ranges, Messages: a.Messages,
			Rows: a.Rows, Dead: a.Dead, Skipped: a.Skipped, Expired: a.Expired,
		}
		if m, ok := marks[partitionID{a.Topic, a.Partition}]; ok {
			lag := max(0, m.end-(a.Last+1))
			p.Lag = &lag
			// Offsets are committed after their ledger entry, so a commit beyond the
			// ledger is a loss; so is what Kafka no longer has and nobody has read.
			if last := max(m.committed, m.first) - 1; last > a.Last {
				a.Faults = append(a.Faults, clickhouse.Fault{Kind: clickhouse.FaultGap, Topic: a.Topic, Partition: a.Partition, First: a.Last + 1, Last: last})
				a.Lost += last - a.Last
			}
		}
		p.Faults = len(a.Faults)
		r.Partitions = append(r.Partitions, p)
		r.Rows += a.Rows
		r.Lost += a.Lost
		r.Doubled += a.Doubled
		for _, f := range a.Faults {
			r.add(f)
		}
	}
	requests, fault, err := conn.VerifyRollup(ctx)
	if err != nil {
		return nil, err
	}
	r.Requests = requests
	if fault != nil {
		r.add(*fault)
	}
	r.OK = len(r.Faults) == 0
	return r, nil
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
	rows := make([][]string, len(r.Partitions))
	for i, p := range r.Partitions {
		lag := ""
		if p.Lag != nil {
			lag = strconv.FormatInt(*p.Lag, 10)
		}
		rows[i] = []string{p.Topic, strconv.Itoa(int(p.Partition)), fmt.Sprintf("%d-%d", p.First, p.Last)}
		for _, n := range []int64{p.Ranges, p.Messages, p.Rows, p.Dead, p.Skipped, p.Expired} {
			rows[i] = append(rows[i], strconv.FormatInt(n, 10))
		}
		rows[i] = append(rows[i], lag, strconv.Itoa(p.Faults))
	}
	header := []string{"TOPIC", "PARTITION", "OFFSETS", "RANGES", "MESSAGES", "ROWS", "DEAD", "SKIPPED", "EXPIRED", "LAG", "FAULTS"}
	if err := daemon.WriteTable(env.Stdout, output == "csv", header, rows); err != nil {
		return err
	}
	if output == "csv" {
		return nil
	}
	for f := range slices.Values(r.Faults) {
		fmt.Fprintln(env.Stdout, f.Text)
	}
	if r.OK {
		fmt.Fprintf(env.Stdout, "ok: %d rows, nothing lost, nothing doubled; the hourly rollup holds the same %d requests\n", r.Rows, r.Requests)
		return nil
	}
	fmt.Fprintf(env.Stdout, "FAIL: %d faults, %d rows lost, %d doubled\n", len(r.Faults), r.Lost, r.Doubled)
	return nil
}
