package accesslogtest

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/internal/accesslog"
)

// TestDecoder checks what every decoder must keep to, on messages that it can
// read: one result however often it decodes, no allocation once it is warm,
// errors with a reason and no panic for any piece of a message, no change of
// the message, and text that is UTF-8.
func TestDecoder(t *testing.T, d accesslog.Decoder, messages ...string) {
	t.Helper()
	var out accesslog.Entries
	for _, m := range messages {
		msg := []byte(m)
		first := entries(t, d, msg)
		if len(first) == 0 {
			t.Errorf("%.80q: no entry", m)
			continue
		}
		if diff := cmp.Diff(first, entries(t, d, msg), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%.80q: decoded twice (-first +second):\n%s", m, diff)
		}
		if string(msg) != m {
			t.Errorf("%.80q: the message was changed to %.80q", m, msg)
		}
		if n := testing.AllocsPerRun(200, func() {
			out.Reset()
			if err := d.Decode(msg, &out); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%.80q: %v allocations a message, want 0", m, n)
		}
		for i := range msg {
			CheckDecode(t, d, msg[:i])
			CheckDecode(t, d, append([]byte(nil), msg[i:]...))
		}
		for i := 0; i < len(msg); i += 3 {
			hurt := append([]byte(nil), msg...)
			hurt[i] ^= 0x95
			CheckDecode(t, d, hurt)
		}
	}
}

// CheckDecode decodes any message and checks what holds for all: it is what fuzz tests call.
func CheckDecode(t testing.TB, d accesslog.Decoder, msg []byte) {
	t.Helper()
	var out accesslog.Entries
	err := d.Decode(msg, &out)
	var pe *accesslog.ParseError
	if err != nil && (!errors.As(err, &pe) || pe.Reason == "") {
		t.Fatalf("%q: the error %v has no reason", msg, err)
	}
	if err != nil {
		return
	}
	for _, e := range out.All() {
		if e.Status < 0 || e.Status > 999 || e.ResponseBytes.V < 0 || e.RequestBytes.V < 0 || e.Latency.Total.V < 0 || e.Latency.Upstream.V < 0 {
			t.Fatalf("%q: impossible numbers: %+v", msg, e)
		}
		if o := e.Outcome; int(o.Class) >= len(accesslog.ErrorClasses()) || o.Responder > accesslog.ResponderClient || o.UpstreamReached > accesslog.ReachedNo {
			t.Fatalf("%q: outside the vocabulary: %+v", msg, o)
		}
		for _, s := range []string{e.Method, e.Target, e.Path, e.Query, e.UserAgent, e.Referer, e.RequestLine} {
			if !utf8.ValidString(s) {
				t.Fatalf("%q: %q is not UTF-8", msg, s)
			}
		}
	}
}

// entries decodes msg and returns copies of its entries.
func entries(t *testing.T, d accesslog.Decoder, msg []byte) []accesslog.Entry {
	t.Helper()
	var out accesslog.Entries
	if err := d.Decode(msg, &out); err != nil {
		t.Errorf("%.80q: %v", msg, err)
	}
	list := append([]accesslog.Entry(nil), out.All()...)
	for i := range list {
		list[i] = cloned(list[i])
	}
	return list
}

// cloned copies what a later use of the message's memory could change.
func cloned(e accesslog.Entry) accesslog.Entry {
	for _, s := range []*string{
		&e.Method, &e.Target, &e.Path, &e.Query, &e.RequestLine, &e.Host, &e.Authority, &e.Protocol,
		&e.UserAgent, &e.Referer, &e.ClientIP, &e.Service, &e.Route, &e.Upstream, &e.Node, &e.Region, &e.APIVersion, &e.APIKey,
		&e.Consumer.ID, &e.Consumer.Plan, &e.Flags, &e.Details, &e.RequestID, &e.ForwardedFor, &e.URL, &e.TraceHeader,
	} {
		*s = strings.Clone(*s)
	}
	return e
}
