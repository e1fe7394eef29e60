package trace_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/trace"
)

// The cases of the W3C test suite say for a request's headers which trace id
// a tracer may go on with.
func TestParseTraceparentW3C(t *testing.T) {
	type row struct {
		ID      string
		Headers [][2]string
		Expect  []struct {
			Is    string `json:"trace_id_is"`
			IsNot string `json:"trace_id_is_not"`
		}
	}
	for _, c := range accesslogtest.Corpus[row](t, "w3c_traceparent.jsonl") {
		var values []string
		for _, h := range c.Headers {
			if strings.EqualFold(h[0], "traceparent") {
				values = append(values, h[1])
			}
		}
		// A header sent twice reaches a log joined by commas (RFC 9110 §5.3).
		id, _, ok := trace.ParseTraceparent(strings.Join(values, ", "))
		got := ""
		if ok {
			got = hex.EncodeToString(id[:])
		}
		for _, want := range c.Expect {
			if want.Is != "" && got != want.Is {
				t.Errorf("%s: trace id %q, want %q", c.ID, got, want.Is)
			}
			if want.IsNot != "" && got != "" {
				t.Errorf("%s: trace id %q from an invalid header", c.ID, got)
			}
		}
	}
}

func TestParseTraceparent(t *testing.T) {
	const trc, par = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, h := range []string{
		"", "-", "00", "00-" + trc + "-" + par, "00-" + strings.ToUpper(trc) + "-" + par + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + par + "-01", "00-" + trc + "-" + strings.Repeat("0", 16) + "-01",
		"00-" + trc + "-" + par + "-01-more", "00_" + trc + "-" + par + "-01",
	} {
		if id, span, ok := trace.ParseTraceparent(h); ok || !id.IsZero() || !span.IsZero() {
			t.Errorf("%q: got %x %x %v, want nothing", h, id, span, ok)
		}
	}
	id, span, ok := trace.ParseTraceparent("01-" + trc + "-" + par + "-01-more")
	if !ok || hex.EncodeToString(id[:]) != trc || hex.EncodeToString(span[:]) != par {
		t.Errorf("later version: got %x %x %v", id, span, ok)
	}
}

func TestParseIDs(t *testing.T) {
	if id, ok := trace.ParseTraceID("5B8EFFF798038103D269B633813FC60C"); !ok || id[0] != 0x5b || id[15] != 0x0c {
		t.Errorf("upper case: got %x %v", id, ok)
	}
	if id, ok := trace.ParseTraceID("d269b633813fc60c"); !ok || id[7] != 0 || id[8] != 0xd2 {
		t.Errorf("64 bits: got %x %v", id, ok)
	}
	for _, s := range []string{"", "0", strings.Repeat("0", 32), strings.Repeat("g", 32), strings.Repeat("a", 31)} {
		if id, ok := trace.ParseTraceID(s); ok || !id.IsZero() {
			t.Errorf("%q: got %x", s, id)
		}
	}
}
