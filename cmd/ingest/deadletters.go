package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

const deadLettersExample = `gatewatch-ingest dead-letters list --from 7d --reason syntax
gatewatch-ingest dead-letters show access 3 81230
gatewatch-ingest dead-letters replay --topic access --dry-run`

// deadLetters is a call of dead-letters.
type deadLetters struct {
	env    *daemon.Env
	cfg    *config.Config
	conn   *clickhouse.Conn
	output string
	filter clickhouse.DeadLetterFilter
}

// runDeadLetters lists, shows or replays messages that could not be read.
func runDeadLetters(ctx context.Context, env *daemon.Env, args []string) error {
	action := "list"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		action, args = args[0], args[1:]
	}
	fs := daemon.Flags(env, "dead-letters [list|show TOPIC PARTITION OFFSET|replay]",
		"messages that could not be read: list them, show one, or feed them back once a fault is mended", deadLettersExample)
	path := configFlag(fs)
	topic := fs.String("topic", "", "only of this `TOPIC`")
	reason := fs.String("reason", "", "only for this `REASON`")
	from := fs.String("from", "24h", "from this `TIME` on: RFC 3339, -2h or 7d")
	to := fs.String("to", "now", "up to this `TIME`")
	limit := fs.Int("limit", 100, "at most `N`, the newest; 0 is all")
	dry := fs.Bool("dry-run", false, "replay: say what would be fed back and do nothing")
	output := fs.String("o", "table", "output `FORMAT`: table, json or csv")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := daemon.CheckOutput(*output, "table", "json", "csv"); err != nil {
		return err
	}
	if action == "replay" && !isSet(fs, "limit") {
		*limit = 0
	}
	d := deadLetters{env: env, output: *output, filter: clickhouse.DeadLetterFilter{Topic: *topic, Reason: *reason, Limit: *limit}}
	now := time.Now()
	var err error
	if d.filter.From, err = daemon.ParseTime(*from, now); err != nil {
		return err
	}
	if d.filter.To, err = daemon.ParseTime(*to, now); err != nil {
		return err
	}
	if *to == "now" {
		d.filter.To = time.Time{} // nothing is newer
	}
	if d.cfg, err = loadConfig(env, *path); err != nil {
		return err
	}
	if d.conn, err = openStore(ctx, d.cfg); err != nil {
		return err
	}
	defer d.conn.Close()
	switch action {
	case "list":
		return d.list(ctx)
	case "show":
		return d.show(ctx, fs.Args())
	case "replay":
		return d.replay(ctx, *dry)
	}
	return daemon.Usagef("dead-letters %s: want list, show or replay", action)
}

// deadLetterRow is a dead letter in JSON.
type deadLetterRow struct {
	KafkaTime time.Time `json:"kafka_time"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Record    uint16    `json:"record"`
	Reason    string    `json:"reason"`
	Detail    string    `json:"detail,omitempty"`
	Excerpt   string    `json:"excerpt,omitempty"`
	Size      uint32    `json:"size"`
	Format    string    `json:"format"`
}

func rowOf(l clickhouse.DeadLetter) deadLetterRow {
	return deadLetterRow{
		KafkaTime: l.KafkaTime.UTC(), Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Record: l.Record,
		Reason: l.Reason, Detail: l.Detail, Excerpt: l.Excerpt, Size: l.Size, Format: l.Format,
	}
}

func (d *deadLetters) list(ctx context.Context) error {
	letters, err := d.conn.DeadLetters(ctx, d.filter)
	if err != nil {
		return storeError(d.cfg, err)
	}
	if d.output == "json" {
		report := struct {
			Schema      string          `json:"schema"`
			DeadLetters []deadLetterRow `json:"dead_letters"`
		}{"gatewatch/dead-letters/1", []deadLetterRow{}}
		for _, l := range letters {
			report.DeadLetters = append(report.DeadLetters, rowOf(l))
		}
		return writeJSON(d.env.Stdout, report)
	}
	rows := make([][]string, len(letters))
	for i, l := range letters {
		rows[i] = []string{
			l.KafkaTime.UTC().Format(time.RFC3339), l.Topic, strconv.Itoa(int(l.Partition)), strconv.FormatInt(l.Offset, 10),
			l.Reason, l.Detail, l.Excerpt,
		}
	}
	header := []string{"KAFKA TIME", "TOPIC", "PARTITION", "OFFSET", "REASON", "DETAIL", "EXCERPT"}
	if err := daemon.WriteTable(d.env.Stdout, d.output == "csv", header, rows); err != nil || d.output == "csv" {
		return err
	}
	counts, err := d.conn.CountDeadLetters(ctx, d.filter)
	if err != nil {
		return storeError(d.cfg, err)
	}
	for _, c := range counts {
		fmt.Fprintf(d.env.Stdout, "%s: %d %s, newest %s\n", c.Topic, c.Count, c.Reason, c.Newest.UTC().Format(time.RFC3339))
	}
	return nil
}

// show prints one message as it is in Kafka, after what is known about it.
func (d *deadLetters) show(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return daemon.Usagef("dead-letters show wants TOPIC PARTITION OFFSET")
	}
	partition, err1 := strconv.ParseInt(args[1], 10, 32)
	offset, err2 := strconv.ParseInt(args[2], 10, 64)
	if err1 != nil || err2 != nil {
		return daemon.Usagef("dead-letters show: %s and %s should be numbers", args[1], args[2])
	}
	letters, err := d.conn.DeadLetters(ctx, clickhouse.DeadLetterFilter{Topic: args[0]})
	if err != nil {
		return storeError(d.cfg, err)
	}
	found := false
	for _, l := range letters {
		if l.Partition == int32(partition) && l.Offset == offset {
			found = true
			fmt.Fprintf(d.env.Stderr, "%s %s/%d offset %d record %d, %s, %d bytes: %s %s\n",
				l.KafkaTime.UTC().Format(time.RFC3339), l.Topic, l.Partition, l.Offset, l.Record, l.Format, l.Size, l.Reason, l.Detail)
		}
	}
	if !found {
		return daemon.No(fmt.Errorf("%s/%d offset %d is not a dead letter", args[0], partition, offset))
	}
	client, err := openKafka(d.cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	m, err := readMessage(ctx, client, args[0], int32(partition), offset)
	if err != nil {
		return err
	}
	if _, err := d.env.Stdout.Write(m.Value); err != nil {
		return err
	}
	fmt.Fprintln(d.env.Stdout)
	return nil
}

// readMessage reads the message at an offset, if Kafka still has it.
func readMessage(ctx context.Context, client *kafka.Client, topic string, partition int32, offset int64) (ingest.Message, error) {
	ms, err := client.Read(ctx, topic, partition, offset, 1)
	if err != nil && kafka.Unreachable(err) {
		return ingest.Message{}, daemon.Unreachable(err)
	}
	if err != nil || len(ms) == 0 || ms[0].Offset != offset {
		return ingest.Message{}, daemon.Unknown(fmt.Errorf("kafka no longer has %s/%d offset %d", topic, partition, offset))
	}
	return ms[0], nil
}
