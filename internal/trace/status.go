package trace

import "strings"

// ReadStatus takes the status from the attributes in which formats without one
// carry OpenTelemetry's: otel.status_code and otel.status_description
// (https://opentelemetry.io/docs/specs/otel/common/mapping-to-non-otlp/#span-status).
// It leaves a status that is known already. It reports whether s has one.
func (s *Span) ReadStatus() bool {
	code, description := "", ""
	kept := s.Attrs[:0]
	for _, a := range s.Attrs {
		switch a.Key {
		case "otel.status_code":
			code = a.Value
		case "otel.status_description":
			description = a.Value
		default:
			kept = append(kept, a)
		}
	}
	s.Attrs = kept
	if s.Status == StatusUnset {
		switch strings.ToUpper(code) {
		case "OK":
			s.Status = StatusOK
		case "ERROR":
			s.Status = StatusError
		}
	}
	if s.Status == StatusError && s.Message == "" {
		s.Message = description
	}
	return s.Status != StatusUnset || code != ""
}

// StatusOfHTTP is the status of a call that says nothing but its HTTP status
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status): a 4xx is
// the caller's failure, not the server's.
func (s *Span) StatusOfHTTP() Status {
	switch {
	case s.HTTPStatus < 400 || s.HTTPStatus < 500 && s.Kind == KindServer:
		return StatusUnset
	}
	return StatusError
}
