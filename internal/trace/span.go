// Package trace holds spans as tracers report them. Decoders for each wire
// format are its child packages.
package trace

import "time"

// A TraceID is 16 bytes; the zero value is invalid (W3C Trace Context §3.2.2.3).
type TraceID [16]byte //nolint:revive // W3C's name for it

// A SpanID is 8 bytes; the zero value is invalid (W3C Trace Context §3.2.2.4).
type SpanID [8]byte

// IsZero reports whether the id is absent.
func (id TraceID) IsZero() bool { return id == TraceID{} }

// IsZero reports whether the id is absent.
func (id SpanID) IsZero() bool { return id == SpanID{} }

// A Kind is a span's role (OpenTelemetry SpanKind).
type Kind uint8

// The kinds. Their numbers are stored: append only.
const (
	KindUnspecified Kind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

var kindNames = [...]string{"unspecified", "internal", "server", "client", "producer", "consumer"}

func (k Kind) String() string { return kindNames[k] }

// A Status is a span's status code (OpenTelemetry StatusCode).
type Status uint8

// The status codes. Their numbers are stored: append only.
const (
	StatusUnset Status = iota
	StatusOK
	StatusError
)

var statusNames = [...]string{"unset", "ok", "error"}

func (s Status) String() string { return statusNames[s] }

// An Attr is one attribute, its value as text.
type Attr struct{ Key, Value string }

// A Span is one operation of a trace. Strings may alias the message; copy what is kept.
type Span struct {
	TraceID  TraceID
	SpanID   SpanID
	ParentID SpanID // zero for a root
	Name     string
	Kind     Kind
	Service  string // resource service.name
	Node     string // resource host.name or service.instance.id
	Start    time.Time
	Duration time.Duration // never negative
	Status   Status
	Message  string // status message

	HTTPMethod string // http.request.method, before: http.method
	HTTPRoute  string // http.route
	HTTPStatus int    // http.response.status_code, before: http.status_code; 0 if absent
	DBSystem   string // db.system.name, before: db.system
	DBQuery    string // db.query.summary or db.query.text, before: db.statement; literals removed before storage
	Peer       string // server.address or peer.service

	// Weight is how many spans this one stands for: 1 / sampling rate, at least 1.
	Weight float64

	Attrs []Attr // what has no field of its own, resource attributes included
}

// Spans is a reusable list of spans that one message yields.
type Spans struct{ list []Span }

// Next appends a zero span of weight 1 and returns it; the pointer is valid until the next call of Next or Reset.
func (ss *Spans) Next() *Span {
	if len(ss.list) < cap(ss.list) {
		ss.list = ss.list[:len(ss.list)+1]
	} else {
		ss.list = append(ss.list, Span{})
	}
	s := &ss.list[len(ss.list)-1]
	*s = Span{Weight: 1, Attrs: s.Attrs[:0]}
	return s
}

// All returns the spans since the last Reset.
func (ss *Spans) All() []Span { return ss.list }

// Reset forgets all spans.
func (ss *Spans) Reset() { ss.list = ss.list[:0] }

// A Decoder reads the spans of one message. On error the caller drops what
// the message had appended. It is used by one goroutine at a time. Errors are
// accesslog.ParseError in meaning; see that package's reasons.
type Decoder interface {
	Decode(msg []byte, out *Spans) error
}
