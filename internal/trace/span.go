// Package trace holds spans as tracers report them. Decoders for each wire
// format are its child packages.
package trace

import (
	"time"

	"gatewatch/internal/accesslog"
)

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

// An Event is something that happened during a span, such as an exception.
type Event struct {
	Time  time.Time // zero if absent
	Name  string
	Attrs []Attr
}

// A Link points to a span of another trace, or to one that is not the parent.
type Link struct {
	TraceID TraceID
	SpanID  SpanID
	Attrs   []Attr
}

// A Span is one operation of a trace. Strings alias the message or the arena
// of the Spans that hold it and die with the next Reset: copy what is kept.
type Span struct {
	TraceID  TraceID
	SpanID   SpanID
	ParentID SpanID // zero for a root
	Name     string
	Kind     Kind
	Service  string        // resource service.name
	Node     string        // resource host.name or service.instance.id
	Start    time.Time     // zero if absent
	Duration time.Duration // never negative
	Status   Status
	Message  string // status message

	HTTPMethod string // see ReadConventions for where these come from
	HTTPRoute  string // template
	HTTPStatus int    // 0 if absent
	DBSystem   string
	DBQuery    string // summary or text; literals removed before storage
	Peer       string // who was called: a service's name, a host or an address

	// Weight is how many spans this one stands for: 1 / sampling rate, at least 1.
	Weight float64

	Attrs  []Attr // what has no field of its own, resource attributes included
	Events []Event
	Links  []Link
}

// AddEvent appends an empty event; the pointer is valid until the next call.
func (s *Span) AddEvent() *Event {
	if n := len(s.Events); n < cap(s.Events) {
		s.Events = s.Events[:n+1]
	} else {
		s.Events = append(s.Events, Event{})
	}
	e := &s.Events[len(s.Events)-1]
	*e = Event{Attrs: e.Attrs[:0]}
	return e
}

// AddLink appends an empty link; the pointer is valid until the next call.
func (s *Span) AddLink() *Link {
	if n := len(s.Links); n < cap(s.Links) {
		s.Links = s.Links[:n+1]
	} else {
		s.Links = append(s.Links, Link{})
	}
	l := &s.Links[len(s.Links)-1]
	*l = Link{Attrs: l.Attrs[:0]}
	return l
}

// Spans is a reusable list of spans that one message yields. The zero value is
// ready for use. It is not safe for concurrent use.
type Spans struct {
	list  []Span
	Arena accesslog.Arena
	// Weight of spans that don't state a sampling rate; 0 is 1.
	Weight float64
}

// Next appends an empty span and returns it; the pointer is valid until the next call of Next or Reset.
func (ss *Spans) Next() *Span {
	if len(ss.list) < cap(ss.list) {
		ss.list = ss.list[:len(ss.list)+1]
	} else {
		ss.list = append(ss.list, Span{})
	}
	s := &ss.list[len(ss.list)-1]
	*s = Span{Weight: max(1, ss.Weight), Attrs: s.Attrs[:0], Events: s.Events[:0], Links: s.Links[:0]}
	return s
}

// All returns the spans since the last Reset.
func (ss *Spans) All() []Span { return ss.list }

// Truncate forgets all spans but the first n.
func (ss *Spans) Truncate(n int) { ss.list = ss.list[:min(n, len(ss.list))] }

// Reset forgets all spans and everything in the arena.
func (ss *Spans) Reset() {
	ss.list = ss.list[:0]
	ss.Arena.Reset()
}

// A Decoder reads the spans of one message. On error the caller drops what
// the message had appended. It is used by one goroutine at a time. Errors are
// accesslog.ParseError in meaning; see that package's reasons.
type Decoder interface {
	Decode(msg []byte, out *Spans) error
}
