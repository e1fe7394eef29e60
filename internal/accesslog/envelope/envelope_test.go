package envelope_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/envelope"
)

// lines accepts lines that begin with "ok ", and counts its calls.
type lines struct{ calls *int }

func (l lines) Decode(msg []byte, out *accesslog.Entries) error {
	*l.calls++
	e := out.Next()
	if !bytes.HasPrefix(msg, []byte("ok ")) {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "inner"}
	}
	e.Path = string(msg)
	return nil
}

func TestUnwrap(t *testing.T) {
	for _, c := range []struct{ msg, path, node, service, reason string }{
		{"ok bare", "ok bare", "", "", ""},
		{`{"log":"ok \"x\"\n"}`, "ok \"x\"\n", "", "", ""},
		{`{"message":"no","log":"ok 1"}`, "ok 1", "", "", ""},
		{`{"log":{"offset":1},"message":"ok 2","host":{"name":"n"},"kubernetes":{"namespace":"ns","pod":{"name":"p"}}}`, "ok 2", "p", "ns", ""},
		{`{"event":{"original":"ok 3"},"agent":{"name":"a"}}`, "ok 3", "a", "", ""},
		{`{"message":"{\"log\":\"ok 4\",\"hostname\":\"inner\"}","hostname":"outer"}`, "ok 4", "inner", "", ""},
		{"2026-01-02T03:04:05.1Z stderr F ok 5", "ok 5", "", "", ""},
		{`{"specversion":"1.0","type":"t","source":"/s","id":"1","datacontenttype":"text/plain","data":"ok ce"}`, "ok ce", "", "", ""},
		{`{"specversion":"1.0","type":"t","source":"/s","id":"1","data_base64":"b2sgYjY0"}`, "ok b64", "", "", ""},
		{`{"specversion":"1.0","data_base64":"%%%"}`, "", "", "", "wrong_format: inner"},
		{"<134>Jul  3 09:03:52 gw-1 haproxy[32450]: ok 3164", "ok 3164", "gw-1", "", ""},
		{"<134>Jul 30 09:03:52 haproxy[32450]: ok local", "ok local", "", "", ""},
		{"Jul 30 09:03:52 gw-1 nginx: ok file", "ok file", "gw-1", "", ""},
		{"2026-01-02T03:04:05.123456+01:00 gw-1 nginx: ok rsyslog", "ok rsyslog", "gw-1", "", ""},
		{`<165>1 2003-10-11T22:14:15.003Z gw-2 nginx 123 ID47 [exampleSDID@32473 iut="3" t="a\"] b"][x y="]"] ` + "\xef\xbb\xbfok 5424", "ok 5424", "gw-2", "", ""},
		{"<34>1 2003-10-11T22:14:15.003Z - su - ID47 - ok nil", "ok nil", "", "", ""},
		{"<34>1 2003-10-11T22:14:15.003Z - su", "", "", "", "wrong_format: inner"},
		{"<999999>Jul 30 09:03:52 gw-1 nginx: ok", "", "", "", "wrong_format: inner"},
		{`{"message":"no"}`, "", "", "", "wrong_format: inner"},
		{`{"other":"ok 6"}`, "", "", "", "wrong_format: inner"},
		{`{"message":"ok 7"`, "", "", "", "wrong_format: inner"},
		{"2026-01-02T03:04:05.1Z stdin F ok 8", "", "", "", "wrong_format: inner"},
		{"\x00\x00\x00\x01\x02ok", "", "", "", "schema_framing: Confluent schema-registry framing, schema id 258, payload looks like Avro or Protobuf; produce plain JSON or text"},
		{"\x00\x00\x00\x00\x07 {}", "", "", "", "schema_framing: Confluent schema-registry framing, schema id 7, payload looks like JSON; produce plain JSON or text"},
	} {
		calls := 0
		d := envelope.New(lines{&calls})
		for range 2 { // the second time it knows whether there is an envelope
			var out accesslog.Entries
			err := d.Decode([]byte(c.msg), &out)
			if c.reason != "" {
				var pe *accesslog.ParseError
				if !errors.As(err, &pe) || pe.Error() != c.reason {
					t.Errorf("%q: %v, want %s", c.msg, err, c.reason)
				}
				continue
			}
			if err != nil || out.Len() != 1 {
				t.Errorf("%q: %d entries, %v", c.msg, out.Len(), err)
				continue
			}
			if e := out.All()[0]; e.Path != c.path || e.Node != c.node || e.Service != c.service {
				t.Errorf("%q: %q, node %q, service %q", c.msg, e.Path, e.Node, e.Service)
			}
		}
	}
}

// Once a topic is known to have envelopes, or none, each message is decoded once.
func TestRemembers(t *testing.T) {
	calls := 0
	d := envelope.New(lines{&calls})
	var out accesslog.Entries
	for _, c := range []struct {
		msg   string
		calls int
	}{{"ok", 0}, {"ok 1", 1}, {"ok 2", 1}, {`{"log":"ok 3"}`, 2}, {`{"log":"ok 4"}`, 1}, {"ok 5", 1}, {"ok 6", 1}} {
		calls = 0
		err := d.Decode([]byte(c.msg), &out)
		if c.calls > 0 && (err != nil || calls != c.calls) {
			t.Errorf("%s: %d calls, %v; want %d", c.msg, calls, err, c.calls)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"log":"ok","kubernetes":{"pod":{"name":"x"}}}`))
	f.Add([]byte("2026-01-02T03:04:05.1Z stderr F ok 5"))
	f.Add([]byte(strings.Repeat(`{"message":`, 5)))
	calls := 0
	d := envelope.New(lines{&calls})
	f.Fuzz(func(t *testing.T, msg []byte) {
		var out accesslog.Entries
		if err := d.Decode(msg, &out); err == nil && out.Len() != 1 {
			t.Errorf("%q: %d entries", msg, out.Len())
		}
	})
}

func TestInflate(t *testing.T) {
	text := []byte(strings.Repeat("ok line ", 1000))
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var i envelope.Inflater
	for name, msg := range map[string][]byte{"gzip": gz.Bytes(), "zstd": zs.Bytes(), "plain": text} {
		for range 2 {
			var arena accesslog.Arena
			if got, err := i.Inflate(msg, &arena); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if name == "plain" {
			continue
		}
		var arena accesslog.Arena
		var pe *accesslog.ParseError
		if _, err := i.Inflate(msg[:len(msg)-5], &arena); !errors.As(err, &pe) || pe.Reason != accesslog.ReasonEncoding {
			t.Errorf("%s, cut short: %v", name, err)
		}
	}
}

// A small message that inflates without end is refused.
func TestInflateBomb(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(make([]byte, envelope.MaxInflated+1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var i envelope.Inflater
	var arena accesslog.Arena
	var pe *accesslog.ParseError
	if _, err := i.Inflate(b.Bytes(), &arena); !errors.As(err, &pe) || pe.Reason != accesslog.ReasonTooLarge {
		t.Errorf("%v, want too_large", err)
	}
}
