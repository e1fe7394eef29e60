package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

// topicStatus is how one topic stands.
type topicStatus struct {
	Topic         string     `json:"topic"`
	Format        string     `json:"format"`
	Partitions    int        `json:"partitions"`
	Lag           int64      `json:"lag"`
	Read          float64    `json:"read_percent"` // of what Kafka holds beyond the start
	SecondsLeft   *int64     `json:"seconds_left,omitempty"`
	PerSecond     float64    `json:"messages_per_second"` // over the last minute
	Rows          int64      `json:"rows"`
	Dead          int64      `json:"dead_letters"`
	CompleteUntil *time.Time `json:"complete_until,omitempty"`
	CaughtUp      bool       `json:"caught_up"`
	// AtRisk: what is not stored has lived for more than half of Kafka's retention.
	AtRisk bool `json:"at_risk"`
}

// statusReport is the JSON of status.
type statusReport struct {
	Schema        string        `json:"schema"`
	SchemaVersion int           `json:"schema_version"`
	Topics        []topicStatus `json:"topics"`
}

// runStatus shows how far each topic has been read and since when it is complete.
func runStatus(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "status", "show how far each topic is read, its lag, and until when it is complete", "gatewatch-ingest status")
	path := configFlag(fs)
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
	client, err := openKafka(cfg)
	if err != nil {
		return err
	}
	defer client.Close()
	marks, err := readMarks(ctx, client, cfg)
	if err != nil {
		return daemon.Unreachable(err)
	}
	ends, err := conn.LedgerEnds(ctx)
	if err != nil {
		return storeError(cfg, err)
	}
	states, err := conn.Watermarks(ctx)
	if err != nil {
		return storeError(cfg, err)
	}
	r := statusReport{Schema: "gatewatch/status/1", SchemaVersion: clickhouse.SchemaVersion(), Topics: []topicStatus{}}
	for _, t := range cfg.Kafka.Topics {
		s := standing(t.Name, marks, ends)
		s.Format = t.Format
		for _, c := range states {
			if c.Topic == t.Name {
				s.CompleteUntil, s.CaughtUp, s.AtRisk = &c.CompleteUntil, c.CaughtUp, c.AtRisk()
			}
		}
		r.Topics = append(r.Topics, s)
	}
	if *output == "json" {
		return writeJSON(env.Stdout, r)
	}
	return writeStatus(env, *output, r.Topics)
}

// standing sums a topic's partitions.
func standing(topic string, marks map[partitionID]kafkaMarks, ends []clickhouse.LedgerEnd) topicStatus {
	s := topicStatus{Topic: topic}
	last := make(map[int32]int64)
	var read int64
	for _, e := range ends {
		if e.Topic == topic {
			last[e.Partition] = e.Last
			s.Rows += e.Rows
			s.Dead += e.Dead
			s.PerSecond += float64(e.Recent) / 60
			read += e.Messages + e.Dead
		}
	}
	for id, m := range marks {
		if id.topic != topic {
			continue
		}
		s.Partitions++
		next := max(m.first, m.committed)
		if l, ok := last[id.id]; ok {
			next = l + 1
		}
		s.Lag += max(0, m.end-next)
	}
	s.Read = 100
	if s.Lag > 0 {
		s.Read = 100 * float64(read) / float64(read+s.Lag)
		if s.PerSecond > 0 {
			left := int64(float64(s.Lag) / s.PerSecond)
			s.SecondsLeft = &left
		}
	}
	return s
}

func writeStatus(env *daemon.Env, output string, topics []topicStatus) error {
	rows := make([][]string, len(topics))
	for i, s := range topics {
		left, until := "", ""
		if s.SecondsLeft != nil {
			left = (time.Duration(*s.SecondsLeft) * time.Second).String()
		}
		if s.CompleteUntil != nil {
			until = s.CompleteUntil.UTC().Format(time.RFC3339)
		}
		state := "catching up"
		switch {
		case s.AtRisk:
			state = "will lose messages"
		case s.CaughtUp:
			state = "live"
		}
		rows[i] = []string{
			s.Topic, s.Format, strconv.Itoa(s.Partitions), state, fmt.Sprintf("%.1f %%", s.Read), left, strconv.FormatInt(s.Lag, 10),
			fmt.Sprintf("%.0f", s.PerSecond), strconv.FormatInt(s.Rows, 10), strconv.FormatInt(s.Dead, 10), until,
		}
	}
	header := []string{"TOPIC", "FORMAT", "PARTITIONS", "STATE", "READ", "LEFT", "LAG", "MSG/S", "ROWS", "DEAD", "COMPLETE UNTIL"}
	return daemon.WriteTable(env.Stdout, output == "csv", header, rows)
}
