package trace

import (
	"encoding/hex"
	"strings"
)

// ParseTraceparent reads a traceparent header (W3C Trace Context §3.2). ok is
// false, and the ids are zero, for anything that the recommendation calls
// invalid: then the trace starts anew and the header's ids mean nothing.
func ParseTraceparent(h string) (id TraceID, span SpanID, ok bool) {
	h = trimOWS(h)
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(h) < length || h[2] != '-' || h[35] != '-' || h[52] != '-' {
		return TraceID{}, SpanID{}, false
	}
	var version, flags [1]byte
	if !parseHex(version[:], h[:2]) || !parseHex(flags[:], h[53:55]) || version[0] == 0xff {
		return TraceID{}, SpanID{}, false
	}
	// Version 00 ends here; a later one may go on after another dash.
	if len(h) > length && (version[0] == 0 || h[length] != '-') {
		return TraceID{}, SpanID{}, false
	}
	if !parseHex(id[:], h[3:35]) || !parseHex(span[:], h[36:52]) || id.IsZero() || span.IsZero() {
		return TraceID{}, SpanID{}, false
	}
	return id, span, true
}

// trimOWS removes optional white space (RFC 9110 §5.6.3) around a field value,
// also where the logger wrote a tab as an escape.
func trimOWS(h string) string {
	for {
		t := strings.Trim(h, " \t")
		t = strings.TrimSuffix(strings.TrimPrefix(t, `\t`), `\t`)
		t = strings.TrimSuffix(strings.TrimPrefix(t, `\x09`), `\x09`)
		if len(t) == len(h) {
			return h
		}
		h = t
	}
}

// ParseTraceID reads a trace id of 32 hexadecimal digits in either case, or of
// 16, as B3 and Zipkin allow, which is the lower half. ok is false for
// anything else and for the zero id.
func ParseTraceID(s string) (id TraceID, ok bool) {
	switch len(s) {
	case 32:
		ok = parseAnyHex(id[:], s)
	case 16:
		ok = parseAnyHex(id[8:], s)
	}
	if !ok || id.IsZero() {
		return TraceID{}, false
	}
	return id, true
}

// ParseSpanID reads a span id of 16 hexadecimal digits in either case. ok is
// false for anything else and for the zero id.
func ParseSpanID(s string) (id SpanID, ok bool) {
	if len(s) != 16 || !parseAnyHex(id[:], s) || id.IsZero() {
		return SpanID{}, false
	}
	return id, true
}

// parseHex reads lower-case digits only, as a traceparent must have them.
func parseHex(dst []byte, s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'F' {
			return false
		}
	}
	return parseAnyHex(dst, s)
}

func parseAnyHex(dst []byte, s string) bool {
	var digits [2 * len(TraceID{})]byte
	n := copy(digits[:2*len(dst)], s)
	_, err := hex.Decode(dst, digits[:n])
	return err == nil && n == 2*len(dst)
}
