//go:build kafka

// The tests run Apache Kafka: they need Java and Maven, and the build tag kafka.

package realkafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/realkafka"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

func TestMain(m *testing.M) {
	leash.Main()
	dir, err := os.MkdirTemp("", "gatewatch-realkafka-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if server, err = realkafka.Start(context.Background(), realkafka.Config{Dir: dir, TLS: true, Log: os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Kill()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// server is one broker for all tests.
var server *realkafka.Server

func open(t *testing.T, addr string, change func(*kafka.Config)) *kafka.Client {
	t.Helper()
	conf := kafka.DefaultConfig()
	conf.Brokers, conf.GroupPrefix = []string{addr}, "t"
	if change != nil {
		change(&conf)
	}
	c, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func create(t *testing.T, s *realkafka.Server, topic string) {
	t.Helper()
	conn, err := kafkago.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.CreateTopics(kafkago.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}); err != nil {
		t.Fatal(err)
	}
}

func secret(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each way to log in carries messages both ways and lets a group be joined.
func TestSecureLinks(t *testing.T) {
	s := server
	sasl := func(mechanism string) func(*kafka.Config) {
		return func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
			c.SASL = kafka.SASLConfig{Mechanism: mechanism, Username: realkafka.User, PasswordFile: secret(t, realkafka.Password+"\n")}
		}
	}
	for name, way := range map[string]struct {
		addr   string
		change func(*kafka.Config)
	}{
		"none":          {s.Addr, nil},
		"PLAIN":         {s.SASLAddr, sasl("PLAIN")},
		"SCRAM-SHA-256": {s.SASLAddr, sasl("SCRAM-SHA-256")},
		"SCRAM-SHA-512": {s.SASLAddr, sasl("SCRAM-SHA-512")},
		"mutual": {s.MutualAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			topic := "secure-" + name
			create(t, s, topic)
			c := open(t, way.addr, way.change)
			if err := c.Write(t.Context(), topic, []ingest.Message{{Key: []byte("k"), Value: []byte("hello"), Time: time.Now()}}); err != nil {
				t.Fatal(err)
			}
			got := 0
			for p := range int32(2) {
				ms, err := c.Read(t.Context(), topic, p, 0, 10)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms {
					if got++; string(m.Value) != "hello" {
						t.Errorf("read %q", m.Value)
					}
				}
			}
			if got != 1 {
				t.Errorf("%d messages, want 1", got)
			}
			joined(t, c, topic)
		})
	}
}

// joined fails unless a group of c gets both partitions of topic.
func joined(t *testing.T, c *kafka.Client, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	var have int
	err := c.NewGroup(topic, []string{topic}, slog.New(slog.DiscardHandler)).Run(ctx, func(own context.Context, _ ingest.Partition) error {
		mu.Lock()
		if have++; have == 2 {
			cancel()
		}
		mu.Unlock()
		<-own.Done()
		return nil
	})
	if have != 2 {
		t.Errorf("the group got %d of 2 partitions: %v", have, err)
	}
}

// What is wrong with a login is said so that one knows what to change, and
// never with the password.
func TestRefusedLogins(t *testing.T) {
	s := server
	for name, c := range map[string]struct {
		addr   string
		change func(*kafka.Config)
		want   string
	}{
		"wrong password": {s.SASLAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
			c.SASL = kafka.SASLConfig{Mechanism: "SCRAM-SHA-512", Username: realkafka.User, PasswordFile: secret(t, "wrong-secret")}
		}, "kafka.sasl"},
		"wrong plain password": {s.SASLAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
			c.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: realkafka.User, PasswordFile: secret(t, "wrong-secret")}
		}, "kafka.sasl"},
		"no login": {s.SASLAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
		}, "kafka.sasl"},
		"no TLS": {s.SASLAddr, nil, "kafka.tls"},
		"unknown authority": {s.MutualAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CertFile: s.CertFile, KeyFile: s.KeyFile}
		}, "kafka.tls.ca_file"},
		"no certificate": {s.MutualAddr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
		}, "kafka.tls.cert_file"},
		"TLS to a port without": {s.Addr, func(c *kafka.Config) {
			c.TLS = kafka.TLSConfig{Enabled: true, CAFile: s.CAFile}
		}, "kafka.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.addr, c.change).Topics(t.Context())
			if err == nil {
				t.Fatal("it may come in")
			}
			text := err.Error()
			if !strings.Contains(text, c.want) {
				t.Errorf("%q does not name %s", text, c.want)
			}
			if strings.Contains(text, "wrong-secret") {
				t.Errorf("the password is shown: %s", text)
			}
		})
	}
}

// Every codec of a real producer is read, batch by batch with its checksum.
func TestCodecs(t *testing.T) {
	s := server
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			topic := "codec-" + name
			create(t, s, topic)
			p, err := kgo.NewClient(kgo.SeedBrokers(s.Addr), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			const n = 5000
			var rs []*kgo.Record
			for i := range n {
				rs = append(rs, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "message %d %s", i, strings.Repeat("x", i%100))})
			}
			if err := p.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			i := 0
			for m, err := range open(t, s.Addr, nil).Messages(t.Context(), topic, 0, 0) {
				if err != nil {
					t.Fatal(err)
				}
				if string(m.Value) != string(rs[i].Value) || m.Offset != int64(i) {
					t.Fatalf("message %d is %q at %d", i, m.Value, m.Offset)
				}
				if i++; i == n {
					break
				}
			}
			if i != n {
				t.Errorf("%d of %d messages", i, n)
			}
		})
	}
}

// A topic that is made anew has another id, and messages older than its start
// can't be had.
func TestTopicMadeAnew(t *testing.T) {
	s := server
	create(t, s, "anew")
	c := open(t, s.Addr, nil)
	before, err := c.TopicID(t.Context(), "anew")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := kafkago.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.DeleteTopics("anew"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := conn.CreateTopics(kafkago.TopicConfig{Topic: "anew", NumPartitions: 2, ReplicationFactor: 1})
		if err == nil {
			break
		}
		if !errors.Is(err, kafkago.TopicAlreadyExists) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	// The broker answers for the topic some moments after the controller has made it.
	after, err := c.TopicID(t.Context(), "anew")
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); after, err = c.TopicID(t.Context(), "anew") {
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil || after == before {
		t.Errorf("id %s, then %s (%v): want another", before, after, err)
	}
}
