package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

const (
	// triage is how many messages of each topic are looked at where none is named.
	triage = 100
	// looksLike is the share of readable messages from which a topic counts as logs or spans.
	looksLike = 0.2
	// goodShare is the share of readable messages from which the answer is yes.
	goodShare = 0.99
	// probeParallel is how many topics are looked at at the same time.
	probeParallel = 8
	// probeTimeout bounds the whole look.
	probeTimeout = time.Minute
)

// A probeAnswer is what `probe -o json` prints.
type probeAnswer struct {
	Schema string        `json:"schema"` // gatewatch/probe/v1
	Topics []topicReport `json:"topics"`
	// Others are topics that look like neither logs nor spans.
	Others []otherTopic `json:"others"`
	YAML   string       `json:"yaml"`
}

// An otherTopic is a topic that was looked at and left aside.
type otherTopic struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// runProbe looks at topics of somebody's Kafka and says what is in them. It
// reads only: it joins no group and commits nothing.
func runProbe(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "probe", "says what topics hold and prints the configuration for them; reads only",
		"gatewatch-ingest probe --brokers kafka-1:9092\ngatewatch-ingest probe --brokers kafka-1:9092 --topic gateway-logs -n 5000 -o json")
	conf := kafka.DefaultConfig()
	brokers := fs.String("brokers", "", "`host:port,…` to start from; without it, those of the configuration")
	file := configFlag(fs)
	topic := fs.String("topic", "", "`name` of the topic; without it all topics are looked at")
	n := fs.Int("n", 1000, "`messages` to read of a topic, the newest ones")
	output := fs.String("o", "table", "`format`: table or json")
	fs.BoolVar(&conf.TLS.Enabled, "tls", false, "connect with TLS")
	fs.StringVar(&conf.TLS.CAFile, "ca-file", "", "PEM `file` of trusted authorities")
	fs.StringVar(&conf.SASL.Mechanism, "sasl", "", "`mechanism`: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	fs.StringVar(&conf.SASL.Username, "username", "", "`name` to log in with")
	fs.StringVar(&conf.SASL.PasswordFile, "password-file", "", "`file` with the password")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	if err := daemon.CheckOutput(*output, "table", "json"); err != nil {
		return err
	}
	if *n < 1 || fs.NArg() > 0 {
		return daemon.Usagef("probe takes flags only, and -n of at least 1")
	}
	conf.Brokers = strings.FieldsFunc(*brokers, func(r rune) bool { return r == ',' || r == ' ' })
	if len(conf.Brokers) == 0 {
		cfg, err := config.Load(*file, env.Getenv)
		if err != nil {
			return daemon.Usagef("%w\n(or name brokers with --brokers host:port)", err)
		}
		conf = cfg.Kafka.Config
	}
	client, err := kafka.NewClient(conf)
	if err != nil {
		return daemon.Usage(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	answer, err := probe(ctx, client, *topic, *n)
	if err != nil {
		return err
	}
	answer.YAML = pasteYAML(conf, answer.Topics)
	if *output == "json" {
		err = writeJSON(env.Stdout, answer)
	} else {
		err = writeProbe(env.Stdout, answer)
	}
	if err != nil {
		return err
	}
	return answer.verdict()
}

// verdict is the exit code: yes from 99 % readable in every topic reported.
func (a *probeAnswer) verdict() error {
	if !slices.ContainsFunc(a.Topics, func(t topicReport) bool { return t.Messages > 0 }) {
		return daemon.Unknown(nil)
	}
	for _, t := range a.Topics {
		if t.Messages > 0 && t.ReadableShare < goodShare {
			return daemon.No(nil)
		}
	}
	return nil
}

// probe looks at the topic of that name, or at all topics.
func probe(ctx context.Context, client *kafka.Client, name string, n int) (*probeAnswer, error) {
	answer := &probeAnswer{Schema: "gatewatch/probe/v1", Topics: []topicReport{}, Others: []otherTopic{}}
	if name != "" {
		r, err := probeTopic(ctx, client, name, n)
		if err != nil {
			return nil, probeError(err)
		}
		answer.Topics = append(answer.Topics, *r)
		return answer, nil
	}
	topics, err := client.Topics(ctx)
	if err != nil {
		return nil, probeError(err)
	}
	topics = slices.DeleteFunc(topics, func(t kafka.Topic) bool { return t.Internal })
	reports := make([]*topicReport, len(topics))
	others := make([]string, len(topics))
	var g errgroup.Group
	g.SetLimit(probeParallel)
	for i, t := range topics {
		g.Go(func() error {
			reports[i], others[i] = triageTopic(ctx, client, t.Name, n)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, t := range topics {
		if reports[i] != nil {
			answer.Topics = append(answer.Topics, *reports[i])
		} else {
			answer.Others = append(answer.Others, otherTopic{t.Name, others[i]})
		}
	}
	return answer, nil
}

// triageTopic looks at a few messages, and at n if they look like logs or
// spans. Without a report, other says why not.
func triageTopic(ctx context.Context, client *kafka.Client, name string, n int) (r *topicReport, other string) {
	r, err := probeTopic(ctx, client, name, min(n, triage))
	if err == nil && r.Messages > 0 && r.ReadableShare >= looksLike {
		r, err = probeTopic(ctx, client, name, n)
	}
	switch {
	case err != nil:
		return nil, err.Error()
	case r.Messages == 0:
		return nil, "empty"
	case r.ReadableShare < looksLike:
		return nil, r.Verdict
	}
	return r, ""
}

func probeError(err error) error {
	if errors.Is(err, kafka.ErrNoTopic) {
		return daemon.Unreachable(fmt.Errorf("%w; without --topic probe lists the topics that there are", err))
	}
	return daemon.Unreachable(err)
}

// probeTopic samples a topic and judges it.
func probeTopic(ctx context.Context, client *kafka.Client, name string, n int) (*topicReport, error) {
	sample, err := readSample(ctx, client, name, n)
	if err != nil {
		return nil, err
	}
	return judge(name, sample)
}

// A sample is the newest messages of a topic.
type sample struct {
	partitions int
	messages   []ingest.Message
	perSecond  float64 // 0: can't be told
}

// readSample reads about n messages, an equal share from the end of each partition.
func readSample(ctx context.Context, client *kafka.Client, topic string, n int) (*sample, error) {
	offsets, err := client.Offsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	s := &sample{partitions: len(offsets)}
	if len(offsets) == 0 {
		return s, nil
	}
	share := int64(max(1, (n+len(offsets)-1)/len(offsets)))
	for _, o := range offsets {
		if o.End <= o.First {
			continue
		}
		messages, err := client.Read(ctx, topic, o.Partition, max(o.First, o.End-share), int(share))
		if err != nil {
			return nil, err
		}
		if k := len(messages); k > 1 {
			if span := messages[k-1].Time.Sub(messages[0].Time); span > 0 {
				s.perSecond += float64(k-1) / span.Seconds()
			}
		}
		s.messages = append(s.messages, messages...)
	}
	s.messages = s.messages[:min(n, len(s.messages))]
	return s, nil
}

// pasteYAML is the configuration for the topics, ready to run once the address
// of ClickHouse is right.
func pasteYAML(conf kafka.Config, topics []topicReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n", strings.Join(conf.Brokers, ", "))
	if conf.TLS.Enabled {
		b.WriteString("  tls: {enabled: true")
		if conf.TLS.CAFile != "" {
			fmt.Fprintf(&b, ", ca_file: %q", conf.TLS.CAFile)
		}
		b.WriteString("}\n")
	}
	if s := conf.SASL; s.Mechanism != "" {
		fmt.Fprintf(&b, "  sasl: {mechanism: %s, username: %q, password_file: %q}\n", s.Mechanism, s.Username, s.PasswordFile)
	}
	b.WriteString("  topics:\n")
	written := false
	for _, t := range topics {
		if t.Format == "" {
			continue
		}
		written = true
		fmt.Fprintf(&b, "    - name: %s\n      format: %s\n", t.Name, t.Format)
		if t.TimeZone != "" {
			fmt.Fprintf(&b, "      time_zone: %s   # %s; better the region's name, such as Europe/Berlin\n", t.TimeZone, t.ZoneOffset)
		}
		if len(t.Mapping) > 0 {
			b.WriteString("      mapping:   # guessed from the names of the keys: check it\n")
			for _, m := range t.Mapping {
				fmt.Fprintf(&b, "        %s: %s\n", m.Field, m.yaml())
			}
		}
	}
	if !written {
		return ""
	}
	b.WriteString("clickhouse:\n  address: 127.0.0.1:9000\nalert:\n  alertmanagers: [http://127.0.0.1:9093]\n  default_owner: platform\n")
	return b.String()
}

// writeProbe prints the answer for people.
func writeProbe(w io.Writer, a *probeAnswer) error {
	p := &printer{w: w}
	if len(a.Topics) == 0 {
		p.line("No topic looks like gateway logs or spans.")
	}
	for i := range a.Topics {
		a.Topics[i].write(p)
	}
	if len(a.Others) > 0 {
		p.line("Other topics:")
		for _, o := range a.Others {
			p.line("  %-24s %s", o.Name, o.Reason)
		}
		p.line("")
	}
	if a.YAML != "" {
		p.line("Write this to gatewatch.yaml, then run `gatewatch-ingest check --connect`:\n\n%s", a.YAML)
	}
	return p.err
}

// A printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); err != nil && p.err == nil {
		p.err = err
	}
}
