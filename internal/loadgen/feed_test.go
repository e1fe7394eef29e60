package loadgen_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"gatewatch/internal/loadgen"
)

// A line is the part of both gateways' logs that the account sums.
type line struct {
	Status   int     `json:"status"`
	Code     int     `json:"response_code"`
	Service  string  `json:"service"`
	Cluster  string  `json:"upstream_cluster"`
	Route    string  `json:"route"`
	Name     string  `json:"route_name"`
	Method   string  `json:"request_method"`
	Method2  string  `json:"method"`
	Sent     int64   `json:"bytes_sent"`
	Time     float64 `json:"request_time"`
	Duration int64   `json:"duration"`
	Trace    string  `json:"http_traceparent"`
	Trace2   string  `json:"traceparent"`
}

type sums struct{ requests, bytes, latency int64 }

// TestHistory reads back what a Feed sent and adds it up again.
func TestHistory(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, loadgen.Topics()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addr := cluster.ListenAddrs()[0]
	shop := loadgen.NewShop(1)
	account := loadgen.NewAccount(shop)
	feed := loadgen.NewFeed(shop, 1, account, addr, 4)
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	to := from.Add(24 * time.Hour)
	feed.Add(loadgen.Scenario{Kind: loadgen.Outage, From: to.Add(-2 * time.Hour), To: to})
	if err := feed.History(t.Context(), from, to, from, 0.3, nil); err != nil {
		t.Fatal(err)
	}
	got := map[string]sums{}
	sampled := map[string]bool{}
	for _, topic := range []string{loadgen.TopicNginx, loadgen.TopicEnvoy} {
		n := consume(t, addr, topic, func(m kafka.Message) {
			var l line
			if err := json.Unmarshal(m.Value, &l); err != nil {
				t.Fatalf("%v in %s", err, m.Value)
			}
			k := fmt.Sprint(l.Service+l.Cluster, " ", l.Method+l.Method2, " ", l.Route+l.Name, " ", l.Status+l.Code)
			s := got[k]
			got[k] = sums{s.requests + 1, s.bytes + l.Sent, s.latency + int64(l.Time*1000+0.5) + l.Duration}
			if tp := l.Trace + l.Trace2; tp[len(tp)-2:] == "01" {
				sampled[tp[3:35]+" "+tp[36:52]] = true
			}
		})
		if n != account.Messages(topic) {
			t.Errorf("%s: read %d messages, account says %d", topic, n, account.Messages(topic))
		}
	}
	want := map[string]sums{}
	for k, c := range account.Routes() {
		id := fmt.Sprint(k.Service, " ", k.Method, " ", k.Route, " ", k.Status)
		s := want[id]
		want[id] = sums{s.requests + c.Requests, s.bytes + c.BytesOut, s.latency + c.LatencyMS}
	}
	if len(want) < 100 {
		t.Errorf("only %d kinds of results", len(want))
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s: log says %+v, account %+v", k, got[k], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("log has %d kinds of results, account %d", len(got), len(want))
	}
	checkSpans(t, addr, account, sampled)
}

// checkSpans reads the spans with the OpenTelemetry Collector's decoder and
// links them to the sampled requests of the log.
func checkSpans(t *testing.T, addr string, account *loadgen.Account, sampled map[string]bool) {
	t.Helper()
	var spans int64
	roots := map[string]bool{}
	services := map[string]bool{}
	consume(t, addr, loadgen.TopicSpans, func(m kafka.Message) {
		req := ptraceotlp.NewExportRequest()
		if err := req.UnmarshalProto(m.Value); err != nil {
			t.Fatal(err)
		}
		spans += int64(req.Traces().SpanCount())
		for _, rs := range req.Traces().ResourceSpans().All() {
			service, _ := rs.Resource().Attributes().Get("service.name")
			services[service.Str()] = true
			for _, sp := range rs.ScopeSpans().At(0).Spans().All() {
				if sp.EndTimestamp() < sp.StartTimestamp() {
					t.Errorf("span %s ends before it starts", sp.Name())
				}
				if sp.ParentSpanID().IsEmpty() {
					roots[sp.TraceID().String()+" "+sp.SpanID().String()] = true
				}
			}
		}
	})
	if spans != account.Spans() || spans == 0 {
		t.Errorf("read %d spans, account says %d", spans, account.Spans())
	}
	if len(services) != 6 {
		t.Errorf("spans of services %v, want the gateway and five more", services)
	}
	if len(roots) != len(sampled) {
		t.Errorf("%d root spans for %d sampled requests", len(roots), len(sampled))
	}
	for id := range sampled {
		if !roots[id] {
			t.Errorf("no root span for traceparent %s", id)
			break
		}
	}
}

// consume reads a topic from its beginning to its end and returns how many messages it had.
func consume(t *testing.T, addr, topic string, f func(kafka.Message)) int64 {
	t.Helper()
	var n int64
	for p := range 4 {
		// One connection reads a partition; ReadBatch goes on where the last one ended.
		conn, err := kafka.DialLeader(t.Context(), "tcp", addr, topic, p)
		if err != nil {
			t.Fatal(err)
		}
		end, err := conn.ReadLastOffset()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Seek(0, kafka.SeekStart); err != nil {
			t.Fatal(err)
		}
		for next := int64(0); next < end; {
			batch := conn.ReadBatch(1, 10<<20)
			for {
				m, err := batch.ReadMessage()
				if err != nil {
					break
				}
				if m.Offset != next {
					t.Fatalf("%s/%d: offset %d, want %d", topic, p, m.Offset, next)
				}
				f(m)
				next++
				n++
			}
			if err := batch.Close(); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
	}
	return n
}

func BenchmarkHistory(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, loadgen.Topics()...), kfake.DataDir(b.TempDir()))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	shop := loadgen.NewShop(1)
	account := loadgen.NewAccount(shop)
	feed := loadgen.NewFeed(shop, 1, account, cluster.ListenAddrs()[0], 4)
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(0, 0, 35)
	perSecond := float64(b.N) / to.Sub(from).Seconds()
	b.ReportAllocs()
	if err := feed.History(context.Background(), from, to, to.AddDate(0, 0, -7), perSecond, nil); err != nil {
		b.Fatal(err)
	}
}
