// Package otlp decodes OpenTelemetry spans as the OTLP Kafka exporters write
// them: one ExportTraceServiceRequest or TracesData a message, in protobuf or
// JSON. It knows the stable and the older semantic conventions, fills the
// fields of trace.Span from them, and keeps all other attributes as text.
package otlp

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
)

// maxDepth bounds nesting in a JSON message: pdata's reader recurses.
const maxDepth = 128

// Proto decodes the protobuf encoding (Kafka exporter encoding otlp_proto).
type Proto struct{ u ptrace.ProtoUnmarshaler }

// NewProto returns a decoder of the protobuf encoding.
func NewProto() *Proto { return &Proto{} }

// Decode implements trace.Decoder.
func (d *Proto) Decode(msg []byte, out *trace.Spans) error {
	if len(msg) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	if msg[0] == 0 {
		return framed(msg)
	}
	if protoDepth(msg) > maxDepth {
		return &accesslog.ParseError{Reason: accesslog.ReasonTooDeep, Detail: "nested deeper than " + strconv.Itoa(maxDepth)}
	}
	td, err := d.u.UnmarshalTraces(msg)
	if err != nil {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not an OTLP protobuf message"}
	}
	if td.ResourceSpans().Len() == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "protobuf without resource_spans"}
	}
	appendSpans(td, out)
	return nil
}

// JSON decodes the JSON encoding (Kafka exporter encoding otlp_json).
type JSON struct{ u ptrace.JSONUnmarshaler }

// NewJSON returns a decoder of the JSON encoding.
func NewJSON() *JSON { return &JSON{} }

// Decode implements trace.Decoder.
func (d *JSON) Decode(msg []byte, out *trace.Spans) error {
	msg = bytes.TrimSpace(msg)
	switch {
	case len(msg) == 0:
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	case msg[0] == 0:
		return framed(msg)
	case msg[0] != '{':
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not a JSON object"}
	}
	if err := checkJSON(msg); err != nil {
		return err
	}
	if !bytes.Contains(msg, []byte(`"resourceSpans"`)) && !bytes.Contains(msg, []byte(`"resource_spans"`)) {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "JSON without resourceSpans"}
	}
	td, err := d.u.UnmarshalTraces(msg)
	if err != nil {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not an OTLP JSON message"}
	}
	appendSpans(td, out)
	return nil
}

func framed(msg []byte) error {
	detail := "a zero byte first, as Confluent schema-registry framing has it"
	if len(msg) >= 5 {
		id := uint32(msg[1])<<24 | uint32(msg[2])<<16 | uint32(msg[3])<<8 | uint32(msg[4])
		detail = fmt.Sprintf("Confluent schema-registry framing, schema id %d", id)
	}
	return &accesslog.ParseError{Reason: accesslog.ReasonSchemaFramed, Detail: detail}
}

func appendSpans(td ptrace.Traces, out *trace.Spans) {
	rss := td.ResourceSpans()
	for i := range rss.Len() {
		rs := rss.At(i)
		res := readResource(rs.Resource().Attributes())
		sss := rs.ScopeSpans()
		for j := range sss.Len() {
			spans := sss.At(j).Spans()
			for k := range spans.Len() {
				fill(out.Next(), spans.At(k), &res)
			}
		}
	}
}

type resource struct {
	service, node string
	attrs         []trace.Attr
}

func readResource(m pcommon.Map) resource {
	var r resource
	instance := ""
	m.Range(func(k string, v pcommon.Value) bool {
		switch k {
		case "service.name":
			r.service = v.AsString()
		case "host.name":
			r.node = v.AsString()
		case "service.instance.id":
			instance = v.AsString()
			r.attrs = append(r.attrs, trace.Attr{Key: k, Value: instance})
		default:
			r.attrs = append(r.attrs, trace.Attr{Key: k, Value: v.AsString()})
		}
		return true
	})
	if r.node == "" {
		r.node = instance
	}
	return r
}

func fill(s *trace.Span, p ptrace.Span, res *resource) {
	s.TraceID = trace.TraceID(p.TraceID())
	s.SpanID = trace.SpanID(p.SpanID())
	s.ParentID = trace.SpanID(p.ParentSpanID())
	s.Name = p.Name()
	s.Kind = kindOf(p.Kind())
	s.Service, s.Node = res.service, res.node
	s.Start, s.Duration = times(uint64(p.StartTimestamp()), uint64(p.EndTimestamp()))
	s.Status = statusOf(p.Status().Code())
	s.Message = p.Status().Message()
	s.SetTraceState(p.TraceState().AsRaw())
	s.Attrs = append(s.Attrs, res.attrs...)
	own := len(s.Attrs)
	s.Attrs = appendAttrs(s.Attrs, p.Attributes())
	s.ReadConventions(own)
	events := p.Events()
	for i := range events.Len() {
		from, e := events.At(i), s.AddEvent()
		e.Name = from.Name()
		e.Time, _ = times(uint64(from.Timestamp()), 0)
		e.Attrs = appendAttrs(e.Attrs, from.Attributes())
	}
	links := p.Links()
	for i := range links.Len() {
		from, l := links.At(i), s.AddLink()
		l.TraceID, l.SpanID = trace.TraceID(from.TraceID()), trace.SpanID(from.SpanID())
		l.Attrs = appendAttrs(l.Attrs, from.Attributes())
	}
}

func appendAttrs(attrs []trace.Attr, m pcommon.Map) []trace.Attr {
	m.Range(func(k string, v pcommon.Value) bool {
		attrs = append(attrs, trace.Attr{Key: k, Value: v.AsString()})
		return true
	})
	return attrs
}

// times turns OTLP's nanoseconds into a start and a duration that is never negative.
func times(start, end uint64) (time.Time, time.Duration) {
	if start == 0 || start > math.MaxInt64 {
		return time.Time{}, 0
	}
	t := time.Unix(0, int64(start)).UTC()
	if end <= start || end > math.MaxInt64 {
		return t, 0
	}
	return t, time.Duration(end - start)
}

func kindOf(k ptrace.SpanKind) trace.Kind {
	switch k {
	case ptrace.SpanKindInternal:
		return trace.KindInternal
	case ptrace.SpanKindServer:
		return trace.KindServer
	case ptrace.SpanKindClient:
		return trace.KindClient
	case ptrace.SpanKindProducer:
		return trace.KindProducer
	case ptrace.SpanKindConsumer:
		return trace.KindConsumer
	}
	return trace.KindUnspecified
}

func statusOf(c ptrace.StatusCode) trace.Status {
	switch c {
	case ptrace.StatusCodeOk:
		return trace.StatusOK
	case ptrace.StatusCodeError:
		return trace.StatusError
	}
	return trace.StatusUnset
}
