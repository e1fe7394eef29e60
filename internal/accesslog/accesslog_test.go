package accesslog_test

import (
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
)

func TestSetTarget(t *testing.T) {
	for _, c := range [][4]string{ // target, path, query, host
		{"/", "/", "", ""},
		{"/a?b?c", "/a", "b?c", ""},
		{"/a?u=http://x/", "/a", "u=http://x/", ""},
		{"http://h:8080/a?b", "/a", "b", "h"},
		{"http://h?b", "", "b", "h"},
		{"h.example:443", "", "", ""},
		{"*", "*", "", ""},
		{"?x", "", "x", ""},
	} {
		var e accesslog.Entry
		e.SetTarget(c[0])
		if e.Target != c[0] || e.Path != c[1] || e.Query != c[2] || e.Host != c[3] {
			t.Errorf("%s: path %q, query %q, host %q", c[0], e.Path, e.Query, e.Host)
		}
	}
}

func TestSetRequestLine(t *testing.T) {
	for _, c := range [][4]string{ // line, method, target, protocol; without a method the line is kept
		{"GET / HTTP/1.1", "GET", "/", "HTTP/1.1"},
		{"GET /a b HTTP/1.0", "GET", "/a b", "HTTP/1.0"},
		{"GET /a", "GET", "/a", ""},
		{"PRI * HTTP/2.0", "PRI", "*", "HTTP/2.0"},
		{"CONNECT h:443 HTTP/1.1", "CONNECT", "h:443", "HTTP/1.1"},
		{"VERSION-CONTROL /x HTTP/1.1", "VERSION-CONTROL", "/x", "HTTP/1.1"},
		{"GET", "", "", ""},
		{"GET ", "", "", ""},
		{"GET /a b", "", "", ""},
		{"EHLO example.com", "", "", ""},
		{"OPTIONS sip:nm SIP/2.0", "", "", ""},
		{"get / HTTP/1.1", "", "", ""},
		{`\x16\x03\x01`, "", "", ""},
		{"GET  HTTP/1.1", "", "", ""},
	} {
		var e accesslog.Entry
		e.SetRequestLine(c[0])
		kept := c[0]
		if c[1] != "" {
			kept = ""
		}
		if e.Method != c[1] || e.Target != c[2] || e.Protocol != c[3] || e.RequestLine != kept {
			t.Errorf("%q: %q %q %q, kept %q", c[0], e.Method, e.Target, e.Protocol, e.RequestLine)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	for _, c := range []struct {
		s    string
		exp  int
		want int64
		ok   bool
	}{
		{"0.123", 3, 123, true},
		{"0.1235", 3, 124, true},
		{"-0.5", 3, -500, true},
		{"1767323045.678901234", 9, 1767323045678901234, true},
		{"9223372036854775807", 0, 1<<63 - 1, true},
		{"9223372036854775808", 0, 0, false},
		{"1e3", 0, 1000, true},
		{"1e400", 0, 0, false},
		{"", 0, 0, false},
		{"-", 0, 0, false},
		{".", 0, 0, false},
		{"1.2.3", 0, 0, false},
		{"NaN", 0, 0, false},
		{"12", 18, 0, false},
		{"0x10", 0, 0, false},
		{"0." + strings.Repeat("0", 80) + "1", 0, 0, true}, // its divisor was 10^81, which overflowed to 0
		{"7." + strings.Repeat("0", 80), 3, 7000, true},
	} {
		if got, ok := accesslog.ParseDecimal(c.s, c.exp); ok != c.ok || ok && got != c.want {
			t.Errorf("%q ×10^%d: got %d %v, want %d %v", c.s, c.exp, got, ok, c.want, c.ok)
		}
	}
}

func TestTimesWithoutZone(t *testing.T) {
	loc, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	r := accesslog.NewTimeReader(loc)
	for s, want := range map[string]string{
		"2026-03-29T01:59:59":     "2026-03-29T00:59:59Z", // the last second of winter time
		"2026-03-29T03:00:00":     "2026-03-29T01:00:00Z",
		"2026-07-01 12:00:00.250": "2026-07-01T10:00:00.25Z",
		"2026-07-01T12:00:00Z":    "2026-07-01T12:00:00Z",
	} {
		got, ok := r.ISO(s)
		if !ok || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v %v, want %s", s, got, ok, want)
		}
	}
}

func TestInfer(t *testing.T) {
	quick, slow := accesslog.Some(time.Millisecond), accesslog.Some(time.Second)
	for _, c := range []struct {
		name string
		e    accesslog.Entry
		want string
	}{
		{"success", accesslog.Entry{Status: 200, Upstream: "u", UpstreamStatus: 200}, "none upstream yes none"},
		{"success, nobody says by whom", accesslog.Entry{Status: 200}, "none unknown unknown none"},
		{"forwarded error", accesslog.Entry{Status: 500, Upstream: "u", UpstreamStatus: 500}, "upstream_5xx upstream yes inferred"},
		{"timeout", accesslog.Entry{Status: 504, Upstream: "u", UpstreamStatus: 504, Latency: accesslog.Latency{Upstream: slow}}, "upstream_timeout gateway yes inferred"},
		{"refused", accesslog.Entry{Status: 502, Upstream: "u", UpstreamStatus: 502, Latency: accesslog.Latency{Upstream: quick}}, "upstream_connect gateway no inferred"},
		{"broken off", accesslog.Entry{Status: 502, Upstream: "u", UpstreamStatus: 502, Latency: accesslog.Latency{Upstream: slow}}, "upstream_reset gateway yes inferred"},
		{"no upstream", accesslog.Entry{Status: 502, UpstreamKnown: true}, "gateway_no_upstream gateway no inferred"},
		{"own 500", accesslog.Entry{Status: 500, UpstreamKnown: true}, "gateway_internal gateway no inferred"},
		{"own 429", accesslog.Entry{Status: 429, UpstreamKnown: true}, "client_quota gateway no inferred"},
		{"forwarded 404", accesslog.Entry{Status: 404, Upstream: "u", UpstreamStatus: 404}, "client_not_found upstream yes inferred"},
		{"gone", accesslog.Entry{Status: 499, Upstream: "u"}, "client_cancelled client yes inferred"},
		{"500, nobody says by whom", accesslog.Entry{Status: 500}, "unknown unknown unknown inferred"},
	} {
		o := accesslog.Infer(&c.e)
		if got := o.Class.String() + " " + o.Responder.String() + " " + o.UpstreamReached.String() + " " + o.Evidence.String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
