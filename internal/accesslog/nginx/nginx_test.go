package nginx_test

import (
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/nginx"
)

var jsonLines = []string{
	`{"time":"2026-01-02T03:04:05+00:00","msec":1767323045.678,"remote_addr":"192.0.2.7","remote_user":"","request_method":"POST","host":"api.example","request_uri":"/v1/orders?x=1","server_protocol":"HTTP/2.0","status":201,"bytes_sent":512,"request_length":99,"request_time":0.250,"upstream_addr":"10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80","upstream_status":"502, - : 201","upstream_response_time":"0.001, - : 0.200","http_user_agent":"curl\/8 \"x\"","http_referer":"-","http_x_forwarded_for":"","request_id":"r1","http_traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","service":"orders","route":"/v1/orders","consumer":"acme","plan":"gold","api_key":"k","node":"gw-1","region":"eu","api_version":"v1"}`,
	`[{"time_local":"02/Jan/2026:03:04:05 +0000","request":"GET /a HTTP/1.1","status":"200"},{"time_iso8601":"2026-01-02T03:04:05Z","request":"\\x16\\x03","status":"400"}]`,
}

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, nginx.Formats()) }

func newJSON(t *testing.T) accesslog.Decoder {
	t.Helper()
	return accesslogtest.Decoder(t, nginx.Formats(), "nginx_json", accesslog.Options{})
}

func TestJSON(t *testing.T) {
	d := newJSON(t)
	var out accesslog.Entries
	if err := d.Decode([]byte(jsonLines[0]), &out); err != nil {
		t.Fatal(err)
	}
	e := out.All()[0]
	if e.Time.UnixMilli() != 1767323045678 || e.Upstream != "10.0.0.3:80" || e.UpstreamStatus != 201 || e.Tries != 3 ||
		e.Latency.Total.V != 250*time.Millisecond || e.Latency.Upstream.V != 201*time.Millisecond || e.UserAgent != `curl/8 "x"` ||
		e.Referer != "" || e.APIKey != "k" || e.TraceID[0] != 0x0a || e.SpanID[0] != 0xb7 || e.Path != "/v1/orders" || e.Query != "x=1" || !e.UpstreamKnown {
		t.Errorf("%+v", e)
	}
	out.Reset()
	if err := d.Decode([]byte(jsonLines[1]), &out); err != nil || out.Len() != 2 {
		t.Fatalf("%d entries, %v", out.Len(), err)
	}
	if a, b := out.All()[0], out.All()[1]; a.Method != "GET" || a.Target != "/a" || a.Protocol != "HTTP/1.1" || b.RequestLine != `\x16\x03` || b.Method != "" || !a.Time.Equal(b.Time) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// The last of two equal keys counts, and of two keys for one field the better one.
func TestJSONDuplicates(t *testing.T) {
	d := newJSON(t)
	var out accesslog.Entries
	msg := `{"body_bytes_sent":1,"status":200,"status":404,"bytes_sent":2,"body_bytes_sent":3,"time":"2026-01-02T03:04:05Z","msec":1767323046,"time_iso8601":"2025-01-01T00:00:00Z"}`
	if err := d.Decode([]byte(msg), &out); err != nil {
		t.Fatal(err)
	}
	if e := out.All()[0]; e.Status != 404 || e.ResponseBytes.V != 2 || e.Time.Unix() != 1767323046 {
		t.Errorf("%+v", e)
	}
}

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, nginx.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, nginx.Formats()) }
