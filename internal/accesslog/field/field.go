// Package field fills entries from text: which field, in which unit, with which
// time layout. Tables for JSON and templates for text share it, so that every
// format reads addresses, numbers, times and ids alike.
package field

import "slices"

// A Field is a field of accesslog.Entry, or a part of one, that a logged value can fill.
type Field uint8

// The fields. Times, durations and sizes take the units that their Rule names.
const (
	Timestamp  Field = iota // end of the request, or when it was logged
	StartTime               // start of the request
	LoggedTime              // when the line was written; counts where neither of them is there
	ClientIP                // an address, with or without port
	ClientPort
	Method
	Target // with query
	Path   // without query
	Query
	URL         // absolute, with query
	RequestLine // "GET /path HTTP/1.1"
	Host        // without port
	Authority   // with port
	Protocol
	Status
	RequestBytes
	ResponseBytes
	Latency
	UpstreamLatency
	UpstreamHeaders // time to the first byte of the upstream's response
	GatewayLatency
	Service
	Route
	Upstream
	UpstreamPort // of an Upstream without one
	UpstreamStatus
	Flags
	Details
	Tries
	UserAgent
	Referer
	RequestID
	TraceID
	SpanID
	Traceparent
	TraceContext   // a propagation header of any convention; see trace.ParseContext
	DatadogTraceID // decimal
	DatadogSpanID  // decimal
	ForwardedFor
	Consumer
	ClientSubject // distinguished name of a client's certificate: its common name is the consumer, unless one is named
	Plan
	APIKey // also "Bearer …"
	Node
	Region
	APIVersion
	Amount // what the call is worth, in units of a currency that the log doesn't say
	count
)

// fieldNames are the names in `ingest decode` and in a topic's mapping.
var fieldNames = [count]string{
	"timestamp", "start_time", "logged_time", "client_ip", "client_port", "method", "target", "path", "query", "url", "request_line",
	"host", "authority", "protocol", "status", "request_bytes", "response_bytes",
	"latency_ms", "upstream_latency_ms", "upstream_response_ms", "gateway_latency_ms", "service", "route", "upstream_addr", "upstream_port", "upstream_status",
	"response_flags", "response_details", "tries", "user_agent", "referer", "request_id", "trace_id", "span_id", "traceparent", "trace_context", "datadog_trace_id", "datadog_span_id",
	"x_forwarded_for", "consumer", "client_subject", "plan", "api_key", "node", "region", "api_version", "amount",
}

func (f Field) String() string { return fieldNames[f] }

// Parse returns the field of that name. A duration's name may lack its _ms.
func Parse(name string) (Field, bool) {
	switch name {
	case "latency", "upstream_latency", "upstream_response", "gateway_latency":
		name += "_ms"
	}
	i := slices.Index(fieldNames[:], name)
	return Field(max(i, 0)), i >= 0
}

// Names returns the names of all fields.
func Names() []string { return slices.Clone(fieldNames[:]) }

// Essential reports whether a field makes an object an access-log record;
// a time, a host or a node alone can be an envelope's.
func (f Field) Essential() bool {
	switch f {
	case Method, Target, Path, URL, RequestLine, Status, Latency:
		return true
	}
	return false
}

// A Unit is the unit of a number: a power of ten of nanoseconds.
type Unit uint8

// The units. Auto is milliseconds for a duration, and for an epoch what its magnitude says.
const (
	Auto Unit = iota
	Seconds
	Milliseconds
	Microseconds
	Nanoseconds
)

// ParseUnit returns the unit of that name: s, ms, us, ns, or empty for Auto.
func ParseUnit(name string) (Unit, bool) {
	i := slices.Index([]string{"", "s", "ms", "us", "ns"}, name)
	return Unit(max(i, 0)), i >= 0
}

// exp10 is what takes a number of units to nanoseconds.
func (u Unit) exp10() int {
	switch u {
	case Seconds:
		return 9
	case Microseconds:
		return 3
	case Nanoseconds:
		return 0
	}
	return 6
}
