package envelope_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

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
