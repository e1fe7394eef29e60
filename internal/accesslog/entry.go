// Package accesslog holds one request as the gateway saw it, and the bounded
// vocabulary that says who answered it and how it failed. Decoders for each
// gateway are its child packages; they fill entries, nothing else.
package accesslog

import (
	"errors"
	"net/netip"
	"time"
)

// An Opt is a value that a log line may lack. The zero Opt is absent, which is
// different from a present zero: absent becomes NULL in storage, never 0.
type Opt[T any] struct {
	V  T
	OK bool
}

// Some returns a present value.
func Some[T any](v T) Opt[T] { return Opt[T]{V: v, OK: true} }

// Latency is how long a request took, as its gateway states it.
type Latency struct {
	// Total is the time from the first byte of the request to the last byte of the response.
	Total Opt[time.Duration]
	// Upstream is the time spent waiting for the upstream, summed over its tries.
	Upstream Opt[time.Duration]
	// Gateway is the gateway's own share: Total - Upstream and never negative,
	// absent where either is absent, unless the gateway states it itself.
	Gateway Opt[time.Duration]
	// UpstreamHeaders is the time from the end of the request to the first byte of
	// the upstream's response, where the gateway states it beside Upstream. Not stored.
	UpstreamHeaders Opt[time.Duration]
}

// A Consumer is who called: the owner of a key. The key itself is never kept.
type Consumer struct {
	// ID names the consumer, as the gateway or the catalogue does.
	ID string
	// Plan is the commercial plan that the gateway states, if it does.
	Plan string
	// KeyID is the HMAC of the API key, set by the normaliser; zero if there was none.
	KeyID [16]byte
}

// An Entry is one request. Strings alias the message or the arena of the
// Entries that holds it and die with the next Reset: copy what is kept.
// Empty strings are absent fields.
type Entry struct {
	// Time is the time that the gateway logged, in UTC. After normalising it is the
	// event time: the end of the request where the gateway states it or its
	// start and length, else the time that it logged.
	Time time.Time
	// TimeIsStart says that Time is the request's start as logged; the normaliser adds Latency.Total.
	TimeIsStart bool

	Method string // request method, upper case as logged
	// Target is the raw request target with its query. Private: masked before storage.
	Target string
	// Path is Target without its query, empty where it can't be told unambiguously.
	Path  string
	Query string // without the question mark
	// URL is the absolute URL of the request, where the gateway logs one beside
	// the target. Private: not stored.
	URL string
	// RequestLine is a request line that can't be read, kept as it was.
	RequestLine string
	Host        string // without port
	Authority   string // host as sent, may have a port
	Protocol    string // for instance HTTP/1.1
	UserAgent   string
	Referer     string
	ClientIP    string // as logged; truncated before storage
	ClientPort  int    // 0 if absent
	// ClientAddr is ClientIP, truncated as configured; set by the normaliser, invalid if absent.
	ClientAddr netip.Addr

	Status        int  // HTTP status sent to the client; 0 if absent
	NoResponse    bool // the gateway logged a status of 0: it sent no response. Not stored.
	RequestBytes  Opt[int64]
	ResponseBytes Opt[int64]
	Amount        Opt[int64] // what the call is worth, in millionths of its currency's unit
	Latency       Latency

	Service    string // upstream service as the gateway names it
	Route      string // matched route: an id or a template, low cardinality
	Upstream   string // address of the upstream that answered last
	Node       string // gateway instance
	Region     string
	APIVersion string
	Consumer   Consumer
	// APIKey is the credential as logged. The normaliser turns it into
	// Consumer.KeyID and empties it: it must not be stored, logged or measured.
	APIKey string

	UpstreamStatus int // status of the last try; 0 if absent
	Tries          int // upstream tries; 0 if absent
	// UpstreamKnown says that this log would name an upstream if one had been
	// tried, so that an absent upstream means that the gateway answered itself.
	UpstreamKnown bool
	Flags         string // the gateway's own words for the outcome, such as Envoy response flags
	Details       string // finer reason, such as Envoy response_code_details

	RequestID string
	TraceID   [16]byte // zero if absent
	// TraceHeader is the trace's id as logged where that is more than its
	// hexadecimal digits, such as AWS's Root=1-5833…. Not stored.
	TraceHeader  string
	SpanID       [8]byte // zero if absent
	ForwardedFor string  // X-Forwarded-For as logged

	// Outcome is set by a decoder from what its gateway states, and completed by the normaliser.
	Outcome Outcome
}

// Entries is a reusable list of entries that one message yields. The zero
// value is ready for use. It is not safe for concurrent use.
type Entries struct {
	list  []Entry
	n     int
	Arena Arena
}

// Next appends a zero entry and returns it. The pointer is valid until the next call of Next or Reset.
func (es *Entries) Next() *Entry {
	if es.n == len(es.list) {
		es.list = append(es.list, Entry{})
	} else {
		es.list[es.n] = Entry{}
	}
	es.n++
	return &es.list[es.n-1]
}

// All returns the entries since the last Reset.
func (es *Entries) All() []Entry { return es.list[:es.n] }

// Len returns how many entries there are.
func (es *Entries) Len() int { return es.n }

// Truncate forgets all entries but the first n, as after a message that can't be read.
func (es *Entries) Truncate(n int) { es.n = min(es.n, n) }

// Reset forgets all entries and everything in the arena.
func (es *Entries) Reset() {
	es.n = 0
	es.Arena.Reset()
}

// An Arena holds bytes that a decoder had to rewrite (unescaped strings). It
// never moves what it handed out before Reset.
type Arena struct{ buf []byte }

const arenaChunk = 4096

// Grow returns an empty slice with room for n bytes; give it back through Keep.
func (a *Arena) Grow(n int) []byte {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]byte, 0, max(arenaChunk, n))
	}
	return a.buf[len(a.buf):len(a.buf):cap(a.buf)]
}

// Keep records that b, which Grow returned and the caller appended to within its room, is in use.
func (a *Arena) Keep(b []byte) { a.buf = a.buf[:len(a.buf)+len(b)] }

// Reset frees everything that was handed out.
func (a *Arena) Reset() { a.buf = a.buf[:0] }

// A Decoder reads the records of one message. It appends them to out, aliasing
// msg where it can. On error the caller drops what the message had appended.
// A Decoder keeps scratch state and is used by one goroutine at a time.
type Decoder interface {
	Decode(msg []byte, out *Entries) error
}

// A ParseError says why a message can't be read. Reason is one of the Reason
// constants, so that it can be a metric label; Detail is for people and holds
// no bytes of the message beyond a field's name or a short number.
type ParseError struct {
	Reason Reason
	Detail string
}

func (e *ParseError) Error() string {
	if e.Detail == "" {
		return string(e.Reason)
	}
	return string(e.Reason) + ": " + e.Detail
}

// A Reason is why a message became a dead letter. The list is closed.
type Reason string

// The reasons.
const (
	ReasonEmpty        Reason = "empty"          // no bytes, or white space only
	ReasonSyntax       Reason = "syntax"         // not of the format's grammar
	ReasonEncoding     Reason = "encoding"       // base64, compression or UTF-8 that can't be undone
	ReasonMissingTime  Reason = "missing_time"   // no event time
	ReasonBadTime      Reason = "bad_time"       // an event time that can't be read
	ReasonBadNumber    Reason = "bad_number"     // a number out of range or not a number
	ReasonTooDeep      Reason = "too_deep"       // nested deeper than the limit
	ReasonTooLarge     Reason = "too_large"      // larger than the limit
	ReasonWrongFormat  Reason = "wrong_format"   // readable, but not what the topic is said to hold
	ReasonSchemaFramed Reason = "schema_framing" // Confluent schema-registry framing
	ReasonFuture       Reason = "future"         // event time more than 10 min ahead of the Kafka time
	ReasonTooOld       Reason = "too_old"        // event time before the longest retention
	ReasonPanic        Reason = "decoder_panic"  // a defect in the decoder, kept for us to mend
)

// AsParseError returns err as a ParseError, wrapping anything else as a syntax error.
func AsParseError(err error) *ParseError {
	if pe, ok := errors.AsType[*ParseError](err); ok {
		return pe
	}
	return &ParseError{Reason: ReasonSyntax, Detail: err.Error()}
}
