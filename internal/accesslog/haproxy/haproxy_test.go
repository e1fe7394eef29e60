package haproxy_test

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/haproxy"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, haproxy.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, haproxy.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, haproxy.Formats()) }

func decode(t *testing.T, line string) accesslog.Entry {
	t.Helper()
	d := accesslogtest.Decoder(t, haproxy.Formats(), "haproxy_http", accesslog.Options{})
	var out accesslog.Entries
	if err := d.Decode([]byte(line), &out); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out.All()[0]
}

const state = `192.0.2.1:1 [23/Nov/2026:10:15:00.001] fe be/SERVER 0/0/1/2/3 STATUS 10 - - STATE 1/1/1/1/0 0/0 "GET / HTTP/1.1"`

// Each state that the manual documents (8.5) says who failed.
func TestStates(t *testing.T) {
	for _, c := range []struct{ status, server, state, want string }{
		{"200", "s1", "----", "none upstream yes none"},
		{"500", "s1", "----", "upstream_5xx upstream yes stated"},
		{"404", "s1", "--NI", "client_not_found upstream yes stated"},
		{"503", "<NOSRV>", "SC--", "gateway_no_upstream gateway no stated"},
		{"503", "s1", "SC--", "upstream_connect gateway no stated"},
		{"503", "s1", "sC--", "upstream_connect gateway no stated"},
		{"504", "s1", "sH--", "upstream_timeout gateway yes stated"},
		{"503", "<NOSRV>", "sQ--", "gateway_overload gateway no stated"},
		{"502", "s1", "SH--", "upstream_reset gateway yes stated"},
		{"502", "s1", "PH--", "upstream_protocol gateway yes stated"},
		{"200", "s1", "SD--", "upstream_reset gateway yes stated"},
		{"200", "s1", "CD--", "client_cancelled client yes stated"},
		{"408", "<NOSRV>", "cR--", "client_timeout client no stated"},
		{"400", "<NOSRV>", "PR--", "client_bad_request gateway no stated"},
		{"403", "<NOSRV>", "PR--", "client_forbidden gateway no stated"},
		{"429", "<NOSRV>", "PR--", "client_quota gateway no stated"},
		{"301", "<NOSRV>", "LR--", "none gateway no none"},
		{"500", "<NOSRV>", "PT--", "gateway_policy gateway no stated"},
		{"503", "<NOSRV>", "RC--", "gateway_overload gateway no stated"},
	} {
		e := decode(t, strings.NewReplacer("STATUS", c.status, "SERVER", c.server, "STATE", c.state).Replace(state))
		o := e.Outcome
		if got := o.Class.String() + " " + o.Responder.String() + " " + o.UpstreamReached.String() + " " + o.Evidence.String(); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", c.status, c.server, c.state, got, c.want)
		}
	}
}

// Any event with any phase is in the vocabulary; nothing falls through to guessing.
func TestEveryState(t *testing.T) {
	for _, event := range "CSPLRIDUKcs-" {
		for _, phase := range "RQCHDLT-" {
			e := decode(t, strings.NewReplacer("STATUS", "503", "SERVER", "s1", "STATE", string([]rune{event, phase})+"--").Replace(state))
			if e.Outcome.Evidence != accesslog.EvidenceStated {
				t.Errorf("state %c%c: %+v", event, phase, e.Outcome)
			}
		}
	}
}

// Retries make tries; connecting and waiting is the upstream's time; queueing the gateway's.
func TestTimes(t *testing.T) {
	e := decode(t, `192.0.2.1:1 [23/Nov/2026:10:15:00.001] fe be/s2 5/7/11/13/40 200 10 - - ---- 1/1/1/1/+2 0/0 "GET / HTTP/1.1"`)
	if e.Tries != 3 || e.Latency.Upstream.V != 24*time.Millisecond || e.Latency.Gateway.V != 7*time.Millisecond || e.Latency.Total.V != 40*time.Millisecond || !e.TimeIsStart {
		t.Errorf("%+v", e)
	}
	e = decode(t, `192.0.2.1:1 [23/Nov/2026:10:15:00.001] fe be/s2 5/7/11/-1/+40 200 +10 - - ---- 1/1/1/1/0 0/0 "GET / HTTP/1.1"`)
	if e.Latency.Upstream.OK || e.Latency.Total.OK || e.ResponseBytes.OK {
		t.Errorf("what is not known must stay absent: %+v", e)
	}
}

// syslog daemons cut lines, HAProxy at 1,024 bytes by default: the request counts nevertheless.
func TestCutLine(t *testing.T) {
	e := decode(t, `192.0.2.1:1 [23/Nov/2026:10:15:00.001] fe be/s2 0/0/1/2/3 200 10 - - ---- 1/1/1/1/0 0/0 "GET /very/lo`)
	if e.Status != 200 || e.Method != "GET" {
		t.Errorf("%+v", e)
	}
}
