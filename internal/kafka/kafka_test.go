package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"gatewatch/internal/ingest"
)

// broker starts an embedded broker with topic t of two partitions.
func broker(t *testing.T, opts ...kfake.Opt) (addr string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(2, "t")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

func client(t *testing.T, addr string, change func(*Config)) *Client {
	t.Helper()
	conf := DefaultConfig()
	conf.Brokers = []string{addr}
	if change != nil {
		change(&conf)
	}
	c, err := NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// producer is another client library's, so that nobody agrees with himself.
func producer(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	p, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func produce(t *testing.T, p *kgo.Client, from, n int) {
	t.Helper()
	rs := make([]*kgo.Record, n)
	for i := range rs {
		rs[i] = record(from + i)
	}
	if err := p.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record is number i: now and then without a key or a value, or a large one.
func record(i int) *kgo.Record {
	r := &kgo.Record{Key: fmt.Appendf(nil, "key %d", i), Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("abc", i%300)), Timestamp: epoch.Add(time.Duration(i) * time.Millisecond)}
	switch i % 100 {
	case 7:
		r.Key = nil
	case 8:
		r.Value = nil
	case 9:
		r.Value = []byte(strings.Repeat(fmt.Sprint(i), 40_000))
	}
	return r
}

func same(t *testing.T, m ingest.Message, i int) {
	t.Helper()
	r := record(i)
	if string(m.Key) != string(r.Key) || string(m.Value) != string(r.Value) || !m.Time.Equal(r.Timestamp) {
		t.Fatalf("message at offset %d is not number %d: key %q, time %v, %d bytes", m.Offset, i, m.Key, m.Time, len(m.Value))
	}
}

func TestEveryCodec(t *testing.T) {
	const n = 3000
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := broker(t)
			p := producer(t, addr, kgo.ProducerBatchCompression(codec))
			for from := 0; from < n; from += 500 {
				produce(t, p, from, 500)
			}
			f := newFetcher(client(t, addr, nil), "t", 0)
			for _, maxBytes := range []int{1, 100_000, 4 << 20} { // smaller than the first batch, too
				for _, start := range []int64{0, 1, 499, 1234} {
					next := start
					for next < n {
						res, err := f.fetch(t.Context(), next, maxBytes, time.Second)
						if err != nil {
							t.Fatal(err)
						}
						for i, m := range res.Messages {
							if m.Offset != next+int64(i) {
								t.Fatalf("offset %d follows %d", m.Offset, next+int64(i)-1)
							}
							same(t, m, int(m.Offset))
						}
						if res.Next != next+int64(len(res.Messages)) || res.Next == next || res.End != n {
							t.Fatalf("%d messages from %d: next is %d, end %d", len(res.Messages), next, res.Next, res.End)
						}
						next = res.Next
					}
				}
			}
		})
	}
}

func TestReadCommitted(t *testing.T) {
	addr := broker(t)
	a, b := producer(t, addr, kgo.TransactionalID("a")), producer(t, addr, kgo.TransactionalID("b"))
	begin := func(p *kgo.Client) {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	end := func(p *kgo.Client, commit kgo.TransactionEndTry) {
		if err := p.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	begin(a)
	produce(t, a, 0, 20)
	end(a, kgo.TryCommit)
	begin(a)
	begin(b) // interleaved: a aborts, b commits
	produce(t, a, 1000, 10)
	produce(t, b, 20, 10)
	produce(t, a, 1010, 10)
	end(b, kgo.TryCommit)
	produce(t, a, 1020, 10)
	end(a, kgo.TryAbort)
	begin(a)
	produce(t, a, 30, 10)
	end(a, kgo.TryCommit)
	c := client(t, addr, nil)
	got, err := c.Read(t.Context(), "t", 0, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 40 {
		t.Fatalf("%d messages, want 40: none of an aborted transaction", len(got))
	}
	for i, m := range got {
		same(t, m, i)
	}
	// From the middle of the aborted transaction on, and where only control records follow.
	offsets, err := c.Offsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	last := offsets[0].End
	f := newFetcher(c, "t", 0)
	for from := range last {
		next, seen := from, 0
		for next < last {
			res, err := f.fetch(t.Context(), next, 4<<20, 10*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if res.Next <= next {
				t.Fatalf("stuck at %d of %d", next, last)
			}
			seen, next = seen+len(res.Messages), res.Next
		}
		want := 0
		for _, m := range got {
			if m.Offset >= from {
				want++
			}
		}
		if seen != want {
			t.Errorf("from %d: %d messages, want %d", from, seen, want)
		}
	}
	// An open transaction neither shows nor counts as lag.
	begin(b)
	produce(t, b, 0, 5)
	res, err := f.fetch(t.Context(), last, 4<<20, 10*time.Millisecond)
	if err != nil || len(res.Messages) != 0 || res.End != last || res.Next != last {
		t.Errorf("beside an open transaction: %d messages, next %d, end %d, %v; want none, %d, %d", len(res.Messages), res.Next, res.End, err, last, last)
	}
	end(b, kgo.TryAbort)
}

func TestBounds(t *testing.T) {
	addr := broker(t)
	p := producer(t, addr)
	produce(t, p, 0, 100)
	c := client(t, addr, nil)
	before := time.Now()
	got, err := c.Offsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i].AsOf.Before(before) || got[i].AsOf.After(time.Now()) {
			t.Errorf("AsOf %v is not between the call and its answer", got[i].AsOf)
		}
		got[i].AsOf = time.Time{}
	}
	if diff := cmp.Diff([]Offsets{{Partition: 0, End: 100}, {Partition: 1}}, got); diff != "" {
		t.Errorf("Offsets (-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		name string
		at   time.Time
		want int64
	}{
		{"zero", time.Time{}, 0},
		{"long before", epoch.Add(-time.Hour), 0},
		{"on a message", epoch.Add(40 * time.Millisecond), 40},
		{"between two", epoch.Add(40*time.Millisecond + time.Microsecond), 40},
		{"after the last", epoch.Add(time.Hour), 100},
	} {
		if got, err := c.offsetAt(t.Context(), "t", 0, tc.at); err != nil || got != tc.want {
			t.Errorf("%s: starts at %d, %v; want %d", tc.name, got, err, tc.want)
		}
	}
	if at, ok, err := c.MessageTime(t.Context(), "t", 0, 99); err != nil || !ok || !at.Equal(epoch.Add(99*time.Millisecond)) {
		t.Errorf("time of the last message: %v, %v, %v", at, ok, err)
	}
	if _, ok, err := c.MessageTime(t.Context(), "t", 0, 100); err != nil || ok {
		t.Errorf("time at the end: %v, %v; want none", ok, err)
	}
	if _, err := newFetcher(c, "t", 0).fetch(t.Context(), 1000, 1<<20, time.Millisecond); !errors.Is(err, ingest.ErrOffsetOutOfRange) {
		t.Errorf("fetch beyond the end: %v, want ErrOffsetOutOfRange", err)
	}
	if _, err := c.Topics(t.Context(), "absent"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a topic that is not there: %v, want ErrNoTopic", err)
	}
	m, err := c.Committed(t.Context(), "gatewatch-nobody", "t", []int32{0, 1})
	if want := map[int32]ingest.Commit{0: {Offset: -1}, 1: {Offset: -1}}; err != nil || !cmp.Equal(m, want) {
		t.Errorf("offsets of a group that does not exist: %v, %v", m, err)
	}
}

func TestRetention(t *testing.T) {
	addr := broker(t)
	c := client(t, addr, nil)
	_, err := c.client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: "hour", NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "3600000"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Retention(t.Context(), "hour#eu"); err != nil || got != time.Hour {
		t.Errorf("%v, %v; want 1h", got, err)
	}
	if got, err := c.Retention(t.Context(), "t"); err != nil || got != 7*24*time.Hour {
		t.Errorf("%v, %v; want Kafka's default, 7 days", got, err)
	}
}

func TestWrite(t *testing.T) {
	addr := broker(t)
	c := client(t, addr, nil)
	want := []ingest.Message{{Key: []byte("k"), Value: []byte("one"), Time: epoch}, {Value: []byte("two"), Time: epoch}}
	if err := c.Write(t.Context(), "t", want); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for p := range int32(2) {
		ms, err := c.Read(t.Context(), "t", p, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ms {
			got[string(m.Key)+"="+string(m.Value)] = m.Time.Equal(epoch)
		}
	}
	if want := map[string]bool{"k=one": true, "=two": true}; !cmp.Equal(got, want) {
		t.Errorf("read back %v, want %v", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := c.Write(ctx, "absent", want); err == nil {
		t.Error("writing to a topic that is not there succeeds")
	}
}

func TestLogin(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("pass word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, ca := certificate(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		for _, encrypted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s tls=%v", mechanism, encrypted), func(t *testing.T) {
				t.Parallel()
				opts := []kfake.Opt{kfake.EnableSASL(), kfake.Superuser(mechanism, "gate", "pass word")}
				if encrypted {
					opts = append(opts, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
				}
				addr := broker(t, opts...)
				login := func(user string) func(*Config) {
					return func(c *Config) {
						c.SASL = SASLConfig{Mechanism: mechanism, Username: user, PasswordFile: secret}
						if encrypted {
							c.TLS = TLSConfig{Enabled: true, CAFile: ca}
						}
					}
				}
				c := client(t, addr, login("gate"))
				if err := c.Write(t.Context(), "t", []ingest.Message{{Value: []byte("x")}}); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Offsets(t.Context(), "t"); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if _, err := client(t, addr, login("stranger")).Topics(ctx, "t"); err == nil {
					t.Error("a stranger gets in")
				}
			})
		}
	}
}

func TestUnreachable(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, err = client(t, addr, nil).Topics(t.Context(), "t")
	if err == nil || !Unreachable(err) || !strings.Contains(err.Error(), addr) {
		t.Errorf("nobody listens: %v; want an error that names the address and is Unreachable", err)
	}
}

// certificate makes a certificate for 127.0.0.1 and the file that vouches for it.
func certificate(t *testing.T) (cert tls.Certificate, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caFile
}
