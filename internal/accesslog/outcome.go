package accesslog

import "slices"

// An Outcome says who produced a response and how it failed, in a vocabulary
// that is the same for every gateway.
type Outcome struct {
	Responder       Responder
	Class           ErrorClass
	UpstreamReached Reached
	Evidence        Evidence
}

// A Responder is who produced the outcome.
type Responder uint8

// The responders. Their numbers are stored: append only.
const (
	ResponderUnknown Responder = iota
	ResponderGateway
	ResponderUpstream
	ResponderClient
)

var responderNames = [...]string{"unknown", "gateway", "upstream", "client"}

func (r Responder) String() string { return responderNames[r] }

// ParseResponder returns the responder of that name.
func ParseResponder(name string) (Responder, bool) {
	i := slices.Index(responderNames[:], name)
	return Responder(max(i, 0)), i >= 0
}

// Reached says whether a request got as far as an upstream.
type Reached uint8

// The answers. Their numbers are stored: append only.
const (
	ReachedUnknown Reached = iota
	ReachedYes
	ReachedNo
)

var reachedNames = [...]string{"unknown", "yes", "no"}

func (r Reached) String() string { return reachedNames[r] }

// ParseReached returns the answer of that name.
func ParseReached(name string) (Reached, bool) {
	i := slices.Index(reachedNames[:], name)
	return Reached(max(i, 0)), i >= 0
}

// Evidence says what an error class rests on.
type Evidence uint8

// The kinds of evidence. Their numbers are stored: append only.
const (
	EvidenceNone     Evidence = iota // no error to explain
	EvidenceInferred                 // from status and times only
	EvidenceStated                   // the gateway's own flag says so
)

var evidenceNames = [...]string{"none", "inferred", "stated"}

func (e Evidence) String() string { return evidenceNames[e] }

// An ErrorClass is how a request failed.
type ErrorClass uint8

// The error classes. Their numbers are stored: append only.
const (
	ErrorNone ErrorClass = iota
	ClientBadRequest
	ClientAuth
	ClientForbidden
	ClientNotFound
	ClientQuota
	ClientTooLarge
	ClientTimeout
	ClientCancelled
	ClientOther
	GatewayPolicy
	GatewayNoRoute
	GatewayNoUpstream
	GatewayOverload
	GatewayInternal
	BreakerOpen
	UpstreamDNS
	UpstreamConnect
	UpstreamTLS
	UpstreamTimeout
	UpstreamReset
	UpstreamProtocol
	Upstream5xx
	ErrorUnknown
)

var errorClassNames = [...]string{
	"none", "client_bad_request", "client_auth", "client_forbidden", "client_not_found", "client_quota",
	"client_too_large", "client_timeout", "client_cancelled", "client_other",
	"gateway_policy", "gateway_no_route", "gateway_no_upstream", "gateway_overload", "gateway_internal",
	"breaker_open", "upstream_dns", "upstream_connect", "upstream_tls", "upstream_timeout", "upstream_reset",
	"upstream_protocol", "upstream_5xx", "unknown",
}

func (c ErrorClass) String() string { return errorClassNames[c] }

// ErrorClasses returns all classes in the order of their numbers.
func ErrorClasses() []ErrorClass {
	cs := make([]ErrorClass, len(errorClassNames))
	for i := range cs {
		cs[i] = ErrorClass(i)
	}
	return cs
}

// ParseErrorClass returns the class of that name.
func ParseErrorClass(name string) (ErrorClass, bool) {
	for i, n := range errorClassNames {
		if n == name {
			return ErrorClass(i), true
		}
	}
	return 0, false
}

// Server reports whether the class counts against the service by default:
// the gateway or the upstream failed, not the client, or nobody can tell which
// (ErrorUnknown). A policy refusal and an unknown route are the gateway doing its work.
func (c ErrorClass) Server() bool { return c >= GatewayNoUpstream }
