package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/ingest"
	"gatewatch/internal/loadgen"
)

const testPepper = "0123456789abcdef0123456789abcdef"

func topicDecoder(t testing.TB, topic ingest.TopicConfig) ingest.Decoder {
	t.Helper()
	n, err := newNormaliser(topic, ingest.DefaultConfig(), []byte(testPepper))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder(topic, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What a gateway logged about a request must come back as the request was.
func TestDecodersAgreeWithTraffic(t *testing.T) {
	shop := loadgen.NewShop(1)
	g := loadgen.NewGenerator(shop, 2)
	from := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	g.Add(loadgen.Scenario{Kind: loadgen.Outage, From: from.Add(time.Minute), To: from.Add(2 * time.Minute)})
	envoy := topicDecoder(t, ingest.TopicConfig{Format: "envoy_json"})
	nginx := topicDecoder(t, ingest.TopicConfig{Format: "nginx_json"})
	classes := map[string]int{}
	keys := map[string][16]byte{}
	var out ingest.Records
	err := g.Between(from, from.Add(3*time.Minute), func(time.Time) float64 { return 200 }, func(q *loadgen.Request) error {
		d := nginx
		if q.Envoy() {
			d = envoy
		}
		out.Entries.Reset()
		line := shop.AppendLog(nil, q)
		if err := d.Decode(line, &out); err != nil || out.Entries.Len() != 1 {
			t.Fatalf("%s: %d entries, %v", line, out.Entries.Len(), err)
		}
		e := &out.Entries.All()[0]
		want := q.Outcome()
		classes[want.Class]++
		if e.Outcome.Class.String() != want.Class || e.Status != q.Status() || e.Route != q.Route.Template ||
			e.Service != q.Route.Service || e.Method != q.Route.Method || e.Consumer.ID != q.Key.Consumer || e.Consumer.Plan != q.Key.Plan {
			t.Errorf("%s: class %v, status %d, %s %s of %s for %s; want %s", line, e.Outcome.Class, e.Status, e.Method, e.Route, e.Service, e.Consumer.ID, want.Class)
		}
		if e.Time.UnixMilli() != q.End || e.Latency.Total.V.Milliseconds() != q.LatencyMS || e.ResponseBytes.V != q.BytesOut {
			t.Errorf("%s: ended %v after %v with %d bytes", line, e.Time, e.Latency.Total, e.ResponseBytes.V)
		}
		if e.APIKey != "" || e.Consumer.KeyID == [16]byte{} || strings.Contains(e.Query, "50") || e.TraceID == [16]byte{} {
			t.Errorf("%s: key %q %x, query %q, trace %x", line, e.APIKey, e.Consumer.KeyID, e.Query, e.TraceID)
		}
		if known, ok := keys[q.Key.Secret]; ok && known != e.Consumer.KeyID {
			t.Errorf("%s: a key has two ids", line)
		}
		keys[q.Key.Secret] = e.Consumer.KeyID
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"none", "upstream_timeout", "upstream_connect", "client_not_found", "client_quota", "client_auth"} {
		if classes[c] == 0 {
			t.Errorf("no request of class %s among %v", c, classes)
		}
	}
	distinct := map[[16]byte]bool{}
	for _, id := range keys {
		distinct[id] = true
	}
	if len(distinct) != len(keys) {
		t.Errorf("%d ids for %d keys", len(distinct), len(keys))
	}
}

// A line comes back the same from whatever a shipper wrapped around it.
func TestEnvelopes(t *testing.T) {
	line := `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /a?b=c HTTP/1.1" 200 5 "-" "x \x22y\x22"`
	object := `{"time":"2026-01-02T03:04:05Z","remote_addr":"192.0.2.7","request_method":"GET","request_uri":"/a?b=c","status":200,"bytes_sent":5,"http_user_agent":"x \"y\""}`
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for format, payload := range map[string]string{"nginx_combined": line, "nginx_json": object} {
		for name, c := range map[string]struct{ msg, node, service string }{
			"bare":              {payload, "", ""},
			"fluent bit":        {`{"@timestamp":1767323045.1,"log":` + quote(payload) + `,"kubernetes":{"pod_name":"gw-1","namespace_name":"edge","host":"n1","labels":{"app":"gw"}}}`, "gw-1", "gw"},
			"fluentd":           {`{"message":` + quote(payload) + `,"hostname":"n1"}`, "n1", ""},
			"filebeat":          {`{"@timestamp":"2026-01-02T03:04:06Z","@metadata":{"beat":"filebeat"},"log":{"offset":7,"file":{"path":"/x"}},"message":` + quote(payload) + `,"host":{"name":"n1"},"agent":{"name":"a"}}`, "n1", ""},
			"vector":            {`{"file":"/x","host":"n1","message":` + quote(payload) + `,"source_type":"file","timestamp":"2026-01-02T03:04:06Z"}`, "n1", ""},
			"docker":            {`{"log":` + quote(payload+"\n") + `,"stream":"stdout","time":"2026-01-02T03:04:06Z"}`, "", ""},
			"cri":               {"2026-01-02T03:04:06.123456789Z stdout F " + payload, "", ""},
			"cri in fluent bit": {`{"log":` + quote("2026-01-02T03:04:06.123456789Z stdout F "+payload) + `,"kubernetes":{"pod_name":"gw-1","namespace_name":"edge"}}`, "gw-1", "edge"},
		} {
			var out ingest.Records
			d := topicDecoder(t, ingest.TopicConfig{Format: format})
			if err := d.Decode([]byte(c.msg), &out); err != nil || out.Entries.Len() != 1 {
				t.Errorf("%s in %s: %d entries, %v", format, name, out.Entries.Len(), err)
				continue
			}
			e := out.Entries.All()[0]
			if e.Status != 200 || e.Path != "/a" || e.Query != "b=*" || e.UserAgent != `x "y"` || e.ResponseBytes != accesslog.Some[int64](5) ||
				!e.Time.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || e.ClientAddr.String() != "192.0.2.0" {
				t.Errorf("%s in %s: %+v", format, name, e)
			}
			if e.Node != c.node || e.Service != c.service {
				t.Errorf("%s in %s: node %q, service %q, want %q, %q", format, name, e.Node, e.Service, c.node, c.service)
			}
		}
	}
}

func TestFaultsAreNamed(t *testing.T) {
	for _, c := range []struct {
		format, msg string
		want        accesslog.Reason
	}{
		{"nginx_json", "\x00\x00\x00\x00\x07\x02ab", accesslog.ReasonSchemaFramed},
		{"envoy_json", "\x00\x00\x00\x00\x07{}", accesslog.ReasonSchemaFramed},
		{"nginx_combined", "\x00\x00\x00\x00\x07{}", accesslog.ReasonSchemaFramed},
		{"nginx_json", `{"level":"info","msg":"started"}`, accesslog.ReasonWrongFormat},
		{"nginx_json", `{"status":200,"request_time":"fast"}`, accesslog.ReasonBadNumber},
		{"nginx_json", `{"status":99999999999999999999}`, accesslog.ReasonBadNumber},
		{"nginx_json", `{"status":200,"time":"yesterday"}`, accesslog.ReasonBadTime},
		{"nginx_json", strings.Repeat(`{"a":`, 100), accesslog.ReasonTooDeep},
		{"nginx_json", `{"status":200} {"status":200}`, accesslog.ReasonSyntax},
		{"apache_common", `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5 "-" "x"`, accesslog.ReasonWrongFormat},
		{"apache_common", `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200`, accesslog.ReasonSyntax},
		{"apache_common", `192.0.2.7 - - [32/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5`, accesslog.ReasonBadTime},
		{"apache_combined", `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 20 5 "-" "x"`, accesslog.ReasonBadNumber},
		{"apache_combined", `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5 "-"`, accesslog.ReasonSyntax},
	} {
		var out ingest.Records
		err := topicDecoder(t, ingest.TopicConfig{Format: c.format}).Decode([]byte(c.msg), &out)
		if err == nil || accesslog.AsParseError(err).Reason != c.want {
			t.Errorf("%s %.60q: %v, want %s", c.format, c.msg, err, c.want)
		}
	}
}

func TestMappedJSON(t *testing.T) {
	topic := ingest.TopicConfig{Format: "json", TimeZone: "Europe/Berlin", Mapping: map[string]ingest.FieldMapping{
		"timestamp":           {Path: "ts", Layout: "2006-01-02 15:04:05.000"},
		"method":              {Path: "req.verb"},
		"target":              {Path: `req.url\.raw`},
		"status":              {Path: "res.code"},
		"latency_ms":          {Path: "took", Unit: "us"},
		"upstream_latency_ms": {Path: "back.took", Unit: "s"},
		"api_key":             {Path: "req.headers.x-key"},
	}}
	var out ingest.Records
	msg := `{"ts":"2026-07-01 12:00:00.250","req":{"verb":"PUT","url.raw":"/v1/things/42?x=1","headers":{"x-key":["k1"]}},"res":{"code":"204"},"took":1500,"back":{"took":0.001}}`
	if err := topicDecoder(t, topic).Decode([]byte(msg), &out); err != nil {
		t.Fatal(err)
	}
	e := out.Entries.All()[0]
	if !e.Time.Equal(time.Date(2026, 7, 1, 10, 0, 0, 250e6, time.UTC)) || e.Method != "PUT" || e.Route != "/v1/things/{id}" || e.Status != 204 ||
		e.Latency.Total.V != 1500*time.Microsecond || e.Latency.Gateway.V != 500*time.Microsecond || e.Consumer.KeyID == [16]byte{} {
		t.Errorf("%+v", e)
	}
	for fault, m := range map[string]map[string]ingest.FieldMapping{
		"no such field":     {"colour": {Path: "x"}},
		"is not s, ms":      {"status": {Path: "x", Unit: "h"}},
		"empty path":        {"status": {}},
		"needs a mapping":   {},
		"path \"a\": named": {"status": {Path: "a"}, "method": {Path: "a"}},
	} {
		_, err := newDecoder(ingest.TopicConfig{Format: "json", Mapping: m}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%v: %v, want %q", m, err, fault)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	shop := loadgen.NewShop(1)
	g := loadgen.NewGenerator(shop, 2)
	from := time.Date(2026, 3, 3, 10, 0, 0, 0, time.UTC)
	lines := map[string][][]byte{}
	err := g.Between(from, from.Add(10*time.Second), func(time.Time) float64 { return 400 }, func(q *loadgen.Request) error {
		format := "nginx_json"
		if q.Envoy() {
			format = "envoy_json"
		}
		lines[format] = append(lines[format], shop.AppendLog(nil, q))
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	lines["nginx_combined"] = [][]byte{[]byte(`192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /v1/orders/4711/items?limit=50&page=3 HTTP/1.1" 200 5123 "https://shop.example/cart?x=1" "` + strings.Repeat("Mozilla/5.0 (X11; Linux x86_64) ", 12) + `"`)}
	for format, messages := range lines {
		b.Run(format, func(b *testing.B) {
			d := topicDecoder(b, ingest.TopicConfig{Format: format})
			var out ingest.Records
			size := 0
			for _, m := range messages {
				size += len(m)
				out.Entries.Reset()
				if err := d.Decode(m, &out); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size / len(messages)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				out.Entries.Reset()
				if err := d.Decode(messages[i%len(messages)], &out); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// A topic's sampling rate is the weight of spans that don't state their own.
func TestSamplingRate(t *testing.T) {
	d, err := newDecoder(ingest.TopicConfig{Format: "zipkin_v2_json", SamplingRate: 0.25}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out ingest.Records
	msg := `[{"traceId":"463ac35c9f6413ad","id":"463ac35c9f6413ad"},{"traceId":"463ac35c9f6413ad","id":"463ac35c9f6413ae","tags":{"sampling.ratio":"0.1"}}]`
	if err := d.Decode([]byte(msg), &out); err != nil {
		t.Fatal(err)
	}
	if spans := out.Spans.All(); spans[0].Weight != 4 || spans[1].Weight != 10 {
		t.Errorf("weights %v and %v, want 4 and 10", spans[0].Weight, spans[1].Weight)
	}
}
