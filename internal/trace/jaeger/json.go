// Package jaeger decodes spans of Jaeger: the JSON encoding of its model, one
// span, a batch or a trace at a time, as its Kafka collector writes it; the
// JSON of its query API and UI; and the protobuf of the same model.
package jaeger

import (
	"encoding/base64"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonscan"
	"gatewatch/internal/trace"
)

// JSON decodes the model's JSON (https://github.com/jaegertracing/jaeger-idl/blob/main/proto/api_v2/model.proto)
// and the query API's (https://www.jaegertracing.io/docs/latest/apis/).
type JSON struct {
	scan      jsonscan.Scanner
	arena     *accesslog.Arena
	processes []process // of the trace or batch at hand
	ids       []string  // of the process of each span of it, empty for one of its own
}

// A process is who reported a span.
type process struct {
	id, service string
	attrs       []trace.Attr
}

// NewJSON returns a decoder of JSON.
func NewJSON() *JSON { return &JSON{} }

func bad(reason accesslog.Reason, detail string) error {
	return &accesslog.ParseError{Reason: reason, Detail: detail}
}

// Decode implements trace.Decoder.
func (d *JSON) Decode(msg []byte, out *trace.Spans) error {
	d.scan.Reset(msg, &out.Arena)
	d.arena = &out.Arena
	start := len(out.All())
	if d.scan.Peek() == '[' {
		if err := d.traces(out); err != nil {
			return err
		}
	} else if err := d.trace(out); err != nil {
		return err
	}
	if err := d.scan.End(); err != nil {
		return err
	}
	if len(out.All()) == start {
		return bad(accesslog.ReasonWrongFormat, "JSON without spans")
	}
	return nil
}

// traces reads a list of traces.
func (d *JSON) traces(out *trace.Spans) error {
	return d.scan.List(func() error { return d.trace(out) })
}

// trace reads one span, a batch {"spans": [], "process": {}}, a trace
// {"spans": [], "processes": {}} or a list of traces {"data": []}.
func (d *JSON) trace(out *trace.Spans) error {
	if err := d.scan.Open('{'); err != nil {
		return err
	}
	start := len(out.All())
	d.processes, d.ids = d.processes[:0], d.ids[:0]
	var single *spanParts
	id := "" // of the trace, which says it or each span
	for {
		key, ok, err := d.scan.Key()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch key {
		case "data":
			err = d.traces(out)
			start = len(out.All()) // they are done
		case "traceId", "traceID":
			var v jsonscan.Value
			v, err = d.scan.Value()
			id = v.Text
		case "spans":
			err = d.spans(out)
		case "process":
			if single == nil {
				err = d.process("")
			} else {
				err = d.ownProcess(single)
			}
		case "processes", "processMap":
			err = d.processMap()
		default:
			if single == nil && ofSpan(key) {
				single = &spanParts{span: out.Next()}
				d.ids = append(d.ids, "")
			}
			err = d.member(single, key)
		}
		if err != nil {
			return err
		}
	}
	if single != nil {
		single.span.TraceID, _ = traceID(id)
		if err := single.check(); err != nil {
			return err
		}
	}
	d.finish(out.All()[start:])
	return nil
}

// ofSpan reports whether a key is one of a span's, and of nothing around it.
func ofSpan(key string) bool {
	switch key {
	case "spanId", "spanID", "operationName", "references", "startTime", "duration", "tags", "logs":
		return true
	}
	return false
}

// finish gives spans the process that they name, or the batch's.
func (d *JSON) finish(spans []trace.Span) {
	for i := range spans {
		s := &spans[i]
		if i < len(d.ids) && s.Service == "" {
			for j := range d.processes {
				if p := &d.processes[j]; p.id == d.ids[i] {
					s.Service = p.service
					s.Attrs = append(s.Attrs, p.attrs...)
				}
			}
		}
		finish(s)
	}
}

// finish reads what tags say of s.
func finish(s *trace.Span) {
	failed := false
	kept := s.Attrs[:0]
	for _, a := range s.Attrs {
		switch a.Key {
		case "span.kind":
			s.Kind = kindOf(a.Value)
			continue
		case "error":
			failed = failed || a.Value == "true"
		case "hostname", "host.name":
			if s.Node == "" {
				s.Node = a.Value
			}
		}
		kept = append(kept, a)
	}
	s.Attrs = kept
	if failed {
		s.Status = trace.StatusError // the tag error beats all others
	}
	stated := s.ReadStatus()
	s.ReadConventions(0)
	if !stated {
		s.Status = s.StatusOfHTTP()
	}
}

func kindOf(text string) trace.Kind {
	switch text {
	case "client":
		return trace.KindClient
	case "server":
		return trace.KindServer
	case "producer":
		return trace.KindProducer
	case "consumer":
		return trace.KindConsumer
	case "internal":
		return trace.KindInternal
	}
	return trace.KindUnspecified
}

// spans reads a list of spans.
func (d *JSON) spans(out *trace.Spans) error {
	if entered, err := d.scan.Enter('['); err != nil || !entered {
		return err
	}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if err := d.scan.Open('{'); err != nil {
			return err
		}
		parts := spanParts{span: out.Next()}
		d.ids = append(d.ids, "")
		if err := d.span(&parts); err != nil {
			return err
		}
	}
}

// spanParts is a span as it is read.
type spanParts struct {
	span *trace.Span
}

func (p *spanParts) check() error {
	if p.span.TraceID.IsZero() || p.span.SpanID.IsZero() {
		return bad(accesslog.ReasonWrongFormat, "a span without trace id or span id")
	}
	return nil
}

// span reads the members of an open object.
func (d *JSON) span(p *spanParts) error {
	for {
		key, ok, err := d.scan.Key()
		if err != nil {
			return err
		}
		if !ok {
			return p.check()
		}
		if key == "process" {
			err = d.ownProcess(p)
		} else {
			err = d.member(p, key)
		}
		if err != nil {
			return err
		}
	}
}

// member reads a member of a span; p is nil if the object is none.
func (d *JSON) member(p *spanParts, key string) error {
	if p == nil {
		_, err := d.scan.Value()
		return err
	}
	s := p.span
	switch key {
	case "references":
		return d.references(s)
	case "tags":
		return d.tags(&s.Attrs)
	case "logs":
		return d.logs(s)
	}
	v, err := d.scan.Value()
	if err != nil || v.Kind != jsonscan.String && v.Kind != jsonscan.Number {
		return err
	}
	ok := true
	switch key {
	case "traceId", "traceID":
		s.TraceID, ok = traceID(v.Text)
	case "spanId", "spanID":
		s.SpanID, ok = spanID(v.Text)
	case "parentSpanID", "parentSpanId":
		if v.Text != "" && s.ParentID.IsZero() {
			s.ParentID, ok = spanID(v.Text)
		}
	case "operationName":
		s.Name = v.Text
	case "processId", "processID":
		d.ids[len(d.ids)-1] = v.Text
	case "startTime":
		s.Start, ok = timeOf(v)
	case "duration":
		s.Duration, ok = durationOf(v)
	}
	if !ok {
		return bad(accesslog.ReasonBadNumber, key)
	}
	return nil
}

// traceID reads an id in base64, as the model's JSON has it, or in
// hexadecimal without leading zeros, as the query API may.
func traceID(text string) (id trace.TraceID, ok bool) {
	if len(text) <= 32 && padHex(id[:], text) {
		return id, id != trace.TraceID{}
	}
	ok = fromBase64(id[:], text)
	return id, ok
}

func spanID(text string) (id trace.SpanID, ok bool) {
	if len(text) <= 16 && padHex(id[:], text) {
		return id, true
	}
	return id, fromBase64(id[:], text)
}

// padHex reads hexadecimal digits into the end of dst. A text of twelve or
// twenty-four with an equals sign is base64, and no text is both.
func padHex(dst []byte, text string) bool {
	if text == "" {
		return false
	}
	for i := range len(text) {
		c := text[len(text)-1-i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			clear(dst)
			return false
		}
		dst[len(dst)-1-i/2] |= c << (4 * (i % 2))
	}
	return true
}

func fromBase64(dst []byte, text string) bool {
	var buf [24]byte
	if base64.StdEncoding.DecodedLen(len(text)) > len(buf) {
		return false
	}
	n, err := base64.StdEncoding.Decode(buf[:], []byte(text))
	if err != nil || n > len(dst) {
		return false
	}
	copy(dst[len(dst)-n:], buf[:n])
	return true
}

// timeOf reads RFC 3339, or microseconds since 1970.
func timeOf(v jsonscan.Value) (time.Time, bool) {
	if v.Kind == jsonscan.String && strings.IndexByte(v.Text, '-') > 0 {
		t, err := time.Parse(time.RFC3339Nano, v.Text)
		return t.UTC(), err == nil
	}
	ns, ok := accesslog.ParseDecimal(v.Text, 3)
	if !ok || ns <= 0 {
		return time.Time{}, ok
	}
	return time.Unix(0, ns).UTC(), true
}

// durationOf reads 0.022938s or 22938000ns, or microseconds.
func durationOf(v jsonscan.Value) (time.Duration, bool) {
	if v.Kind == jsonscan.String && strings.HasSuffix(v.Text, "s") {
		t, err := time.ParseDuration(v.Text)
		return max(t, 0), err == nil
	}
	ns, ok := accesslog.ParseDecimal(v.Text, 3)
	return time.Duration(max(ns, 0)), ok
}

// tags reads a list of {"key": …, "vType": …, "vStr": …}, or {"key", "type", "value"}.
func (d *JSON) tags(attrs *[]trace.Attr) error {
	return d.scan.List(func() error {
		var a trace.Attr
		err := d.scan.Scalars(func(key string, v jsonscan.Value) {
			switch key {
			case "key":
				a.Key = v.Text
			case "vStr", "vBool", "vInt64", "vFloat64", "vBinary", "value":
				a.Value = v.String()
			}
		})
		*attrs = append(*attrs, a)
		return err
	})
}

// logs reads a list of {"timestamp": …, "fields": [tags]}.
func (d *JSON) logs(s *trace.Span) error {
	return d.scan.List(func() error {
		e := s.AddEvent()
		err := d.scan.Members(func(key string) error {
			if key == "fields" {
				return d.tags(&e.Attrs)
			}
			v, err := d.scan.Value()
			if key == "timestamp" {
				e.Time, _ = timeOf(v)
			}
			return err
		})
		nameEvent(e)
		return err
	})
}

// nameEvent takes the field event, or message, for the event's name
// (OpenTracing semantic conventions, log fields).
func nameEvent(e *trace.Event) {
	for _, name := range [...]string{"event", "message"} {
		for _, a := range e.Attrs {
			if e.Name == "" && a.Key == name {
				e.Name = a.Value
			}
		}
	}
}
