package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"gatewatch/internal/ingest"
)

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("topic does not exist")

// A Topic is a topic and its partitions' ids in order.
type Topic struct {
	Name       string
	Internal   bool
	Partitions []int32
}

// Topics lists the cluster's topics by name; with names, only those.
func (c *Client) Topics(ctx context.Context, names ...string) ([]Topic, error) {
	var wire []string // none asks for all
	for _, n := range names {
		wire = append(wire, Wire(n))
	}
	m, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: wire})
	if err != nil {
		return nil, c.explain("list topics", err)
	}
	out := make([]Topic, 0, len(m.Topics))
	for _, t := range m.Topics {
		if t.Error != nil {
			if errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
				return nil, fmt.Errorf("%q: %w", t.Name, ErrNoTopic)
			}
			return nil, c.explain("list topic "+t.Name, t.Error)
		}
		topic := Topic{Name: t.Name, Internal: t.Internal || strings.HasPrefix(t.Name, "__")}
		for _, p := range t.Partitions {
			topic.Partitions = append(topic.Partitions, int32(p.ID))
		}
		slices.Sort(topic.Partitions)
		out = append(out, topic)
	}
	slices.SortFunc(out, func(a, b Topic) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Offsets are a partition's bounds: First is the oldest kept, End the next one
// to be written (the last stable one, so that open transactions do not count).
type Offsets struct {
	Partition  int32
	First, End int64
	// AsOf is the moment just before the bounds were asked for.
	AsOf time.Time
}

// Offsets returns the bounds of all partitions of a topic.
func (c *Client) Offsets(ctx context.Context, topic string) ([]Offsets, error) {
	ts, err := c.Topics(ctx, topic)
	if err != nil {
		return nil, err
	}
	var reqs []kafka.OffsetRequest
	for _, p := range ts[0].Partitions {
		reqs = append(reqs, kafka.FirstOffsetOf(int(p)), kafka.LastOffsetOf(int(p)))
	}
	asOf := time.Now()
	res, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{Wire(topic): reqs}, IsolationLevel: kafka.ReadCommitted,
	})
	if err != nil {
		return nil, c.explain("list offsets of "+topic, err)
	}
	out := make([]Offsets, 0, len(ts[0].Partitions))
	for _, p := range res.Topics[Wire(topic)] {
		if p.Error != nil {
			return nil, c.explain(fmt.Sprintf("list offsets of %s/%d", topic, p.Partition), p.Error)
		}
		out = append(out, Offsets{Partition: int32(p.Partition), First: p.FirstOffset, End: p.LastOffset, AsOf: asOf})
	}
	slices.SortFunc(out, func(a, b Offsets) int { return cmp.Compare(a.Partition, b.Partition) })
	return out, nil
}

// Retention returns how long the brokers keep a topic's messages, 0 if for ever.
func (c *Client) Retention(ctx context.Context, topic string) (time.Duration, error) {
	const name = "retention.ms"
	res, err := c.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: Wire(topic), ConfigNames: []string{name},
	}}})
	if err != nil {
		return 0, c.explain("ask for the retention of "+topic, err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return 0, c.explain("ask for the retention of "+topic, r.Error)
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigName != name {
				continue
			}
			ms, err := strconv.ParseInt(e.ConfigValue, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("retention of %s is %q: %w", topic, e.ConfigValue, err)
			}
			return time.Duration(max(ms, 0)) * time.Millisecond, nil
		}
	}
	return 0, nil
}

// offsetAt returns the offset of the first message stamped at or after t, or
// the end if there is none. The zero t is the first message kept.
func (c *Client) offsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	req := []kafka.OffsetRequest{kafka.FirstOffsetOf(int(partition)), kafka.LastOffsetOf(int(partition))}
	if !t.IsZero() {
		req = append(req, kafka.TimeOffsetOf(int(partition), t))
	}
	res, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{Wire(topic): req}, IsolationLevel: kafka.ReadCommitted,
	})
	if err != nil {
		return 0, c.explain("list offsets of "+topic, err)
	}
	for _, p := range res.Topics[Wire(topic)] {
		if p.Error != nil {
			return 0, c.explain(fmt.Sprintf("list offsets of %s/%d", topic, partition), p.Error)
		}
		if t.IsZero() {
			return p.FirstOffset, nil
		}
		for o := range p.Offsets {
			if o >= 0 {
				return o, nil
			}
		}
		return p.LastOffset, nil //nolint:staticcheck // one partition was asked for
	}
	return 0, fmt.Errorf("list offsets of %s/%d: no answer", topic, partition)
}

// Committed returns a group's offset of each partition of a topic, -1 for none.
func (c *Client) Committed(ctx context.Context, group, topic string, partitions []int32) (map[int32]ingest.Commit, error) {
	ids := make([]int, len(partitions))
	for i, p := range partitions {
		ids[i] = int(p)
	}
	res, err := c.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{Wire(topic): ids}})
	if err != nil {
		return nil, c.explain("read committed offsets", err)
	}
	out := make(map[int32]ingest.Commit, len(ids))
	if errors.Is(res.Error, kafka.GroupIdNotFound) { // nobody has joined it yet
		for _, p := range partitions {
			out[p] = ingest.Commit{Offset: -1}
		}
		return out, nil
	}
	if res.Error != nil {
		return nil, c.explain("read committed offsets", res.Error)
	}
	for _, p := range res.Topics[Wire(topic)] {
		if p.Error != nil {
			return nil, c.explain(fmt.Sprintf("read the committed offset of %s/%d", topic, p.Partition), p.Error)
		}
		out[int32(p.Partition)] = ingest.Commit{Offset: p.CommittedOffset, Metadata: p.Metadata}
	}
	return out, nil
}

// Messages reads a partition from offset on, without a group, to its end as
// of the reading. A message is valid until the next one is asked for.
func (c *Client) Messages(ctx context.Context, topic string, partition int32, offset int64) iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		f := newFetcher(c, topic, partition)
		for {
			res, err := f.fetch(ctx, offset, 1<<20, time.Millisecond)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range res.Messages {
				if !yield(&res.Messages[i], nil) {
					return
				}
			}
			throttled := res.AsOf.IsZero()
			if !throttled && (res.Next >= res.End || res.Next == offset) {
				return
			}
			offset = res.Next
		}
	}
}

// Read returns up to n messages of a partition from offset on, without a
// group. It copies them. It stops early at the end of the partition.
func (c *Client) Read(ctx context.Context, topic string, partition int32, offset int64, n int) ([]ingest.Message, error) {
	var out []ingest.Message
	if n <= 0 {
		return out, nil
	}
	for m, err := range c.Messages(ctx, topic, partition, offset) {
		if err != nil {
			return out, err
		}
		out = append(out, ingest.Message{Offset: m.Offset, Time: m.Time, Key: slices.Clone(m.Key), Value: slices.Clone(m.Value)})
		if len(out) == n {
			break
		}
	}
	return out, nil
}

// MessageTime returns Kafka's time of the first message at or after offset; ok is false at the end.
func (c *Client) MessageTime(ctx context.Context, topic string, partition int32, offset int64) (t time.Time, ok bool, err error) {
	ms, err := c.Read(ctx, topic, partition, offset, 1)
	if err != nil || len(ms) == 0 {
		return t, false, err
	}
	return ms[0].Time, true, nil
}

// Write appends messages to a topic and returns when all replicas have them.
func (c *Client) Write(ctx context.Context, topic string, messages []ingest.Message) error {
	w := &kafka.Writer{
		Addr: kafka.TCP(c.conf.Brokers...), Topic: Wire(topic), Transport: c.transport,
		RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, BatchSize: 1000,
	}
	ms := make([]kafka.Message, len(messages))
	for i, m := range messages {
		ms[i] = kafka.Message{Key: m.Key, Value: m.Value, Time: m.Time}
	}
	err := w.WriteMessages(ctx, ms...)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return c.explain("write to "+topic, err)
	}
	return nil
}

// Unreachable reports whether err means that no broker could be talked to or logged in to.
func Unreachable(err error) bool {
	_, isNet := errors.AsType[net.Error](err)
	return isNet || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, kafka.SASLAuthenticationFailed)
}

// explain says in one line what was being done and what is likely wrong.
func (c *Client) explain(doing string, err error) error {
	brokers := strings.Join(c.conf.Brokers, ", ")
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		remote    *net.OpError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%s: Kafka at %s has a certificate of an unknown authority: name that one's in kafka.tls.ca_file: %w", doing, brokers, err)
	case errors.As(err, &name):
		return fmt.Errorf("%s: Kafka at %s has a certificate for another name: write that name into kafka.brokers: %w", doing, brokers, err)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("%s: Kafka at %s refuses the TLS connection: check kafka.tls.cert_file and key_file: %w", doing, brokers, err)
	case c.conf.TLS.Enabled && (errors.Is(err, io.EOF) || errors.As(err, &record)):
		return fmt.Errorf("%s: Kafka at %s closed the connection; is that a port with TLS, as kafka.tls says? %w", doing, brokers, err)
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return fmt.Errorf("%s: Kafka at %s refuses user %q: check kafka.sasl: %w", doing, brokers, c.conf.SASL.Username, err)
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.GroupAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed):
		return fmt.Errorf("%s: not permitted by Kafka at %s: %w", doing, brokers, err)
	case errors.Is(err, io.ErrUnexpectedEOF) && c.conf.SASL.Mechanism == "":
		return fmt.Errorf("%s: Kafka at %s closed the connection; does it want kafka.sasl or kafka.tls? %w", doing, brokers, err)
	case Unreachable(err):
		return fmt.Errorf("%s: Kafka at %s can't be reached: %w", doing, brokers, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Denied reports whether the brokers refuse the user or what it wants to do.
func Denied(err error) bool {
	return errors.Is(err, kafka.SASLAuthenticationFailed) || errors.Is(err, kafka.TopicAuthorizationFailed) ||
		errors.Is(err, kafka.GroupAuthorizationFailed) || errors.Is(err, kafka.ClusterAuthorizationFailed)
}
