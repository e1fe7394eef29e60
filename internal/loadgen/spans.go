package loadgen

import (
	"encoding/binary"
	"math/bits"
)

// Values of the OTLP span fields (opentelemetry/proto/trace/v1/trace.proto).
const (
	kindServer  = 2
	kindClient  = 3
	statusError = 2

	traceState = "ot=th:e666666666666" // one trace in ten is kept
)

// A span is one operation of a trace that is being encoded.
type span struct {
	id, parent          uint64
	name                string
	kind                uint64
	start, end          int64 // milliseconds since 1970
	failed              bool
	status              int
	method, route       string
	dbSystem, dbSummary string
	peer                string
}

// SpansOf is how many spans AppendSpans writes for the request.
func SpansOf(q *Request) int {
	switch {
	case q.UpstreamMS < 0:
		return 1
	case q.outcome == refused || q.outcome == timeout504:
		return 2
	default:
		return 4
	}
}

// AppendSpans appends the ResourceSpans of one request as a tracer at each
// layer reports them: the gateway's server and client span, the service's
// server span and its database call. Concatenated messages are one export request.
func (s *Shop) AppendSpans(b []byte, q *Request) []byte {
	start, status := q.End-q.LatencyMS, q.Status()
	failed := outcomes[q.outcome].Bad
	spans := [4]span{
		{id: q.span, name: q.Route.Method + " " + q.Route.Template, kind: kindServer, start: start, end: q.End, failed: failed, status: status, method: q.Route.Method, route: q.Route.Template},
		{id: q.span ^ 0xa5a5, parent: q.span, name: q.Route.Method, kind: kindClient, start: start, end: start + max(0, q.UpstreamMS), failed: failed, status: status, method: q.Route.Method, peer: s.Upstreams[q.Route.service][q.Upstream]},
	}
	n := min(2, SpansOf(q))
	b = q.appendResource(b, "gateway", s.Nodes[q.Node], spans[:n])
	if SpansOf(q) < 4 {
		return b
	}
	spans[2] = span{id: q.span ^ 0x5a5a00, parent: q.span ^ 0xa5a5, name: q.Route.Method + " " + q.Route.Template, kind: kindServer, start: start, end: start + q.UpstreamMS, failed: failed, status: status, method: q.Route.Method, route: q.Route.Template}
	spans[3] = span{id: q.span ^ 0xc3c30000, parent: q.span ^ 0x5a5a00, name: "SELECT " + q.Route.Service, kind: kindClient, start: start, end: start + q.DatabaseMS, dbSystem: "postgresql", dbSummary: "SELECT " + q.Route.Service, peer: q.Route.Service + "-db", failed: q.databaseFails}
	return q.appendResource(b, q.Route.Service, s.Upstreams[q.Route.service][q.Upstream], spans[2:])
}

func (q *Request) appendResource(b []byte, service, host string, spans []span) []byte {
	size := 0
	resource := attrSize("service.name", service) + attrSize("host.name", host)
	for i := range spans {
		size += field(q.spanSize(&spans[i]))
	}
	b = tag(b, 1, field(resource)+field(size))
	b = tag(b, 1, resource)
	b = appendAttr(b, 1, "service.name", service)
	b = appendAttr(b, 1, "host.name", host)
	b = tag(b, 2, size)
	for i := range spans {
		b = tag(b, 2, q.spanSize(&spans[i]))
		b = q.appendSpan(b, &spans[i])
	}
	return b
}

// spanSize returns the encoded length of appendSpan.
func (q *Request) spanSize(sp *span) int {
	n := field(16) + field(8) + field(len(traceState)) + field(len(sp.name)) + 2 + 9 + 9
	if sp.parent != 0 {
		n += field(8)
	}
	sp.attrs(func(k, v string) { n += attrSize(k, v) })
	if sp.status != 0 {
		n += field(intAttrSize("http.response.status_code", sp.status))
	}
	if sp.failed {
		n += 1 + 1 + 2
	}
	return n
}

func (sp *span) attrs(f func(k, v string)) {
	for _, a := range [...][2]string{
		{"http.request.method", sp.method},
		{"http.route", sp.route},
		{"server.address", sp.peer},
		{"db.system.name", sp.dbSystem},
		{"db.query.summary", sp.dbSummary},
	} {
		if a[1] != "" {
			f(a[0], a[1])
		}
	}
}

func (q *Request) appendSpan(b []byte, sp *span) []byte {
	b = tag(b, 1, 16)
	b = binary.BigEndian.AppendUint64(b, q.traceHi)
	b = binary.BigEndian.AppendUint64(b, q.traceLo)
	b = tag(b, 2, 8)
	b = binary.BigEndian.AppendUint64(b, sp.id)
	b = appendString(b, 3, traceState)
	if sp.parent != 0 {
		b = tag(b, 4, 8)
		b = binary.BigEndian.AppendUint64(b, sp.parent)
	}
	b = appendString(b, 5, sp.name)
	b = append(b, 6<<3, byte(sp.kind))
	b = append(b, 7<<3|1)
	b = binary.LittleEndian.AppendUint64(b, uint64(sp.start)*1e6)
	b = append(b, 8<<3|1)
	b = binary.LittleEndian.AppendUint64(b, uint64(sp.end)*1e6)
	sp.attrs(func(k, v string) { b = appendAttr(b, 9, k, v) })
	if sp.status != 0 {
		b = tag(b, 9, intAttrSize("http.response.status_code", sp.status))
		b = appendString(b, 1, "http.response.status_code")
		b = tag(b, 2, 1+uvarintLen(uint64(sp.status)))
		b = append(b, 3<<3)
		b = binary.AppendUvarint(b, uint64(sp.status))
	}
	if sp.failed {
		b = append(b, 15<<3|2, 2, 3<<3, statusError)
	}
	return b
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// field returns the length of a length-delimited field with a number below 16.
func field(n int) int { return 1 + uvarintLen(uint64(n)) + n }

func tag(b []byte, number byte, n int) []byte {
	return binary.AppendUvarint(append(b, number<<3|2), uint64(n))
}

func appendString(b []byte, number byte, s string) []byte {
	return append(tag(b, number, len(s)), s...)
}

// keyValueSize returns the length of a KeyValue with a string value.
func keyValueSize(k, v string) int { return field(len(k)) + field(field(len(v))) }

func attrSize(k, v string) int { return field(keyValueSize(k, v)) }

// intAttrSize returns the length of a KeyValue with an integer value.
func intAttrSize(k string, v int) int {
	return field(len(k)) + field(1+uvarintLen(uint64(v)))
}

func appendAttr(b []byte, number byte, k, v string) []byte {
	b = tag(b, number, keyValueSize(k, v))
	b = appendString(b, 1, k)
	b = tag(b, 2, field(len(v)))
	return appendString(b, 1, v)
}
