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
	"strings"
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
	s.Weight = weight(p.TraceState().AsRaw())
	s.Attrs = append(s.Attrs, res.attrs...)
	var query queryText
	p.Attributes().Range(func(k string, v pcommon.Value) bool {
		if !set(s, &query, k, v) {
			s.Attrs = append(s.Attrs, trace.Attr{Key: k, Value: v.AsString()})
		}
		return true
	})
	s.DBQuery = query.best()
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

// queryText keeps the candidates for Span.DBQuery, the most useful first.
type queryText [3]string

func (q *queryText) best() string {
	for _, s := range q {
		if s != "" {
			return s
		}
	}
	return ""
}

// set fills the field that attribute k stands for, the stable name winning
// over the older one, and reports whether there is such a field.
func set(s *trace.Span, q *queryText, k string, v pcommon.Value) bool {
	switch k {
	case "http.request.method":
		s.HTTPMethod = v.AsString()
	case "http.method":
		fallback(&s.HTTPMethod, v)
	case "http.route":
		s.HTTPRoute = v.AsString()
	case "http.response.status_code":
		s.HTTPStatus = statusCode(v)
	case "http.status_code":
		if s.HTTPStatus == 0 {
			s.HTTPStatus = statusCode(v)
		}
	case "db.system.name":
		s.DBSystem = v.AsString()
	case "db.system":
		fallback(&s.DBSystem, v)
	case "db.query.summary":
		q[0] = v.AsString()
	case "db.query.text":
		q[1] = v.AsString()
	case "db.statement":
		q[2] = v.AsString()
	case "peer.service", "service.peer.name":
		s.Peer = v.AsString()
	case "server.address", "net.peer.name":
		// On the serving side this is the server itself.
		if s.Kind != trace.KindClient && s.Kind != trace.KindProducer {
			return false
		}
		fallback(&s.Peer, v)
	default:
		return false
	}
	return true
}

func fallback(field *string, v pcommon.Value) {
	if *field == "" {
		*field = v.AsString()
	}
}

func statusCode(v pcommon.Value) int {
	n := int64(0)
	if v.Type() == pcommon.ValueTypeInt {
		n = v.Int()
	} else if i, err := strconv.ParseInt(v.AsString(), 10, 64); err == nil {
		n = i
	}
	if n < 100 || n > 999 {
		return 0
	}
	return int(n)
}

// weight reads how many spans one stands for from the OpenTelemetry entry of a
// tracestate: th, a rejection threshold of up to 14 hexadecimal digits
// (TraceState: Probability Sampling), or the older p, a power of two.
func weight(state string) float64 {
	for member := range strings.SplitSeq(state, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for sub := range strings.SplitSeq(value, ";") {
			if w := subWeight(sub); w > 0 {
				return w
			}
		}
	}
	return 1
}

func subWeight(sub string) float64 {
	if th, ok := strings.CutPrefix(sub, "th:"); ok && len(th) >= 1 && len(th) <= 14 {
		t, err := strconv.ParseUint(th, 16, 64)
		if err != nil {
			return 0
		}
		t <<= 4 * (14 - len(th))
		return (1 << 56) / float64((1<<56)-t)
	}
	if p, ok := strings.CutPrefix(sub, "p:"); ok {
		if n, err := strconv.ParseUint(p, 10, 8); err == nil && n <= 62 {
			return float64(uint64(1) << n)
		}
	}
	return 0
}
