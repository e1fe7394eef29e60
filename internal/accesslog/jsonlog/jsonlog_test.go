package jsonlog_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
)

var rules = []jsonlog.Rule{
	{Path: "t", Field: field.Timestamp},
	{Path: "old.t", Field: field.Timestamp, Unit: field.Milliseconds, Layout: "epoch"},
	{Path: "req.method", Field: field.Method},
	{Path: `req.u\.r\\l`, Field: field.Target},
	{Path: "req", Field: field.RequestLine},
	{Path: "req.h.ua", Field: field.UserAgent},
	{Path: "req.p", Field: field.Path},
	{Path: "req.q", Field: field.Query},
	{Path: "status", Field: field.Status},
	{Path: "ms", Field: field.Latency},
	{Path: "up", Field: field.UpstreamLatency, Unit: field.Seconds},
	{Path: "addr", Field: field.Upstream},
	{Path: "xff", Field: field.ForwardedFor},
	{Path: "port", Field: field.ClientPort},
	{Path: "in", Field: field.RequestBytes},
	{Path: "key", Field: field.APIKey},
	{Path: "host", Field: field.Host},
}

func newDecoder(t testing.TB) *jsonlog.Decoder {
	t.Helper()
	d, err := jsonlog.New(rules, jsonlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var messages = []string{
	`{"t":"2026-01-02T03:04:05.000001Z","req":{"method":"PUT","u.r\\l":"/a?b","h":{"ua":"x"}},"status":"204","ms":1.5,"up":"0.001, - : 0.002","addr":"a:1, b:2 : c:3","in":"7","key":"bearer tok","host":"h:80"}`,
	`{"old":{"t":1767323045678,"x":[[{}]]},"req":"GET /a%20b?c HTTP/1.1","status":200,"xff":"[2001:db8::1]:99, 198.51.100.1","port":null,"ms":-1}`,
	`[{"status":200,"req":{"p":"/p","q":"q=1","h":{"ua":["first","second"]}}},{"status":404,"req":{"p":"relative"}}]`,
}

func TestConformance(t *testing.T) { accesslogtest.TestDecoder(t, newDecoder(t), messages...) }

func TestDecode(t *testing.T) {
	d := newDecoder(t)
	var out accesslog.Entries
	for _, m := range messages {
		if err := d.Decode([]byte(m), &out); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c, r := out.All()[0], out.All()[1], out.All()[2], out.All()[3]
	if a.Time.UnixNano() != 1767323045000001000 || a.Method != "PUT" || a.Path != "/a" || a.Query != "b" || a.UserAgent != "x" || a.Status != 204 ||
		a.Latency.Total.V != 1500*time.Microsecond || a.Latency.Upstream.V != 3*time.Millisecond || a.Upstream != "c:3" || a.Tries != 3 ||
		a.RequestBytes.V != 7 || a.APIKey != "tok" || a.Host != "h" || a.Authority != "h:80" {
		t.Errorf("%+v", a)
	}
	if b.Time.UnixMilli() != 1767323045678 || b.Method != "GET" || b.Target != "/a%20b?c" || b.Protocol != "HTTP/1.1" || b.ClientIP != "2001:db8::1" ||
		b.ClientPort != 99 || b.Latency.Total.OK {
		t.Errorf("%+v", b)
	}
	if c.Target != "/p?q=1" || c.Path != "/p" || c.UserAgent != "first" || !c.Time.IsZero() || r.Path != "relative" {
		t.Errorf("%+v\n%+v", c, r)
	}
}

func TestEpochsByMagnitude(t *testing.T) {
	d := newDecoder(t)
	for _, stamp := range []string{
		`1767323045`, `"1767323045.0"`, `1767323045000`, `1767323045000000`, `1767323045000000000`, `"02/Jan/2026:03:04:05 +0000"`,
		`"2026-01-02 03:04:05"`, `"2026-01-02T05:04:05+02:00"`, `"2026-01-02T05:04:05,000+0200"`, `1.767323045e9`,
	} {
		var out accesslog.Entries
		if err := d.Decode([]byte(`{"status":200,"t":`+stamp+`}`), &out); err != nil {
			t.Errorf("%s: %v", stamp, err)
			continue
		}
		if got := out.All()[0].Time; got.Unix() != 1767323045 {
			t.Errorf("%s: got %v", stamp, got)
		}
	}
	for _, stamp := range []string{`"2026-13-02T03:04:05Z"`, `"2026-01-02T25:04:05Z"`, `"2026-02-30T03:04:05Z"`, `"soon"`, `0`, `-5`, `1e400`, `"2026-01-02T03:04:05.Z"`} {
		var out accesslog.Entries
		err := d.Decode([]byte(`{"status":200,"t":`+stamp+`}`), &out)
		if err == nil || accesslog.AsParseError(err).Reason != accesslog.ReasonBadTime {
			t.Errorf("%s: %v, want bad_time", stamp, err)
		}
	}
}

// What decodes is valid JSON, and valid JSON fails for its content only.
func FuzzDecode(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m))
	}
	d := newDecoder(f)
	f.Fuzz(func(t *testing.T, msg []byte) {
		accesslogtest.CheckDecode(t, d, msg)
		var out accesslog.Entries
		err := d.Decode(msg, &out)
		valid := json.Valid(msg)
		if err == nil && !valid {
			t.Fatalf("%q is not JSON, but decodes", msg)
		}
		if err != nil && valid && accesslog.AsParseError(err).Reason == accesslog.ReasonSyntax {
			if b := bytes.TrimSpace(msg); b[0] == '{' {
				t.Fatalf("%q is a JSON object, but: %v", msg, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	d := newDecoder(b)
	msg := []byte(messages[0])
	var out accesslog.Entries
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := d.Decode(msg, &out); err != nil {
			b.Fatal(err)
		}
	}
}

// Header values are arrays; what is escaped in them is read as elsewhere.
func TestFirstOfArray(t *testing.T) {
	for array, want := range map[string]string{
		`["a \"b\" \\ \u00e9","second"]`: `a "b" \ é`, ` [ "x" ] `: "x",
		`[]`: "", `[7,"x"]`: "", `[["x"]]`: "", `["-"]`: "", `[null]`: "",
	} {
		var out accesslog.Entries
		if err := newDecoder(t).Decode([]byte(`{"status":200,"req":{"h":{"ua":`+array+`}}}`), &out); err != nil {
			t.Errorf("%s: %v", array, err)
		} else if got := out.All()[0].UserAgent; got != want {
			t.Errorf("%s: got %q, want %q", array, got, want)
		}
	}
	for _, broken := range []string{`["a"`, `["a" "b"]`, `["a",]`} {
		var out accesslog.Entries
		if err := newDecoder(t).Decode([]byte(`{"status":200,"req":{"h":{"ua":`+broken+`}}}`), &out); err == nil {
			t.Errorf("%s is read", broken)
		}
	}
}
