package trace

import (
	"encoding/binary"
	"strings"
)

// ParseContext reads the ids of a propagation header, whichever convention it
// follows: W3C traceparent, B3 in one header (https://github.com/openzipkin/b3-propagation),
// X-Amzn-Trace-Id (https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader),
// uber-trace-id (https://www.jaegertracing.io/sdk-migration/#propagation-format),
// Google Cloud's trace name, or a bare trace id. span is zero where the header has none.
func ParseContext(h string) (id TraceID, span SpanID, ok bool) {
	h = trimOWS(h)
	if i := strings.LastIndex(h, "/traces/"); i >= 0 {
		h = h[i+len("/traces/"):] // projects/{project}/traces/{trace id}, as Google Cloud logs it
	}
	switch {
	case strings.HasPrefix(h, "1-") && len(h) == 35:
		id, ok = parseRoot(h)
		return id, SpanID{}, ok
	case strings.Contains(h, "Root="):
		return parseAmazon(h)
	case strings.Count(h, ":") == 3 || strings.Count(h, "%3A")+strings.Count(h, "%3a") == 3:
		return parseUber(h)
	case len(h) >= 55 && h[2] == '-':
		return ParseTraceparent(h)
	}
	return parseB3(h)
}

// parseB3 reads {trace id}-{span id}[-{sampled}[-{parent}]]; the span may be missing.
func parseB3(h string) (id TraceID, span SpanID, ok bool) {
	first, rest, more := strings.Cut(h, "-")
	if id, ok = ParseTraceID(first); !ok || !more {
		return id, SpanID{}, ok
	}
	second, _, _ := strings.Cut(rest, "-")
	if span, ok = ParseSpanID(second); !ok {
		return TraceID{}, SpanID{}, false
	}
	return id, span, true
}

// parseAmazon reads Root=1-{8 digits}-{24 digits};Parent={16 digits};…, in any order.
func parseAmazon(h string) (id TraceID, span SpanID, ok bool) {
	for h != "" {
		var field string
		field, h, _ = strings.Cut(h, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Root":
			id, ok = parseRoot(value)
		case "Parent":
			span, _ = ParseSpanID(value)
		}
	}
	if !ok {
		return TraceID{}, SpanID{}, false
	}
	return id, span, true
}

// parseRoot reads 1-{8 digits}-{24 digits}.
func parseRoot(s string) (id TraceID, ok bool) {
	if len(s) != 35 || s[:2] != "1-" || s[10] != '-' || !parseAnyHex(id[:4], s[2:10]) || !parseAnyHex(id[4:], s[11:]) || id.IsZero() {
		return TraceID{}, false
	}
	return id, true
}

// parseUber reads {trace id}:{span id}:{parent}:{flags}. Leading zeros may be
// missing, and the colons may be percent-encoded.
func parseUber(h string) (id TraceID, span SpanID, ok bool) {
	first, rest := cutColon(h)
	second, _ := cutColon(rest)
	if !parsePadded(id[:], first) || !parsePadded(span[:], second) || id.IsZero() {
		return TraceID{}, SpanID{}, false
	}
	return id, span, true
}

func cutColon(s string) (before, after string) {
	if before, after, ok := strings.Cut(s, ":"); ok {
		return before, after
	}
	i := strings.Index(s, "%3")
	if i < 0 || len(s) < i+3 {
		return s, ""
	}
	return s[:i], s[i+3:]
}

// parsePadded reads up to two digits a byte; those that are missing in front are zero.
func parsePadded(dst []byte, s string) bool {
	if s == "" || len(s) > 2*len(dst) {
		return false
	}
	return parseAnyHex(dst, strings.Repeat("0", 2*len(dst)-len(s))+s)
}

// ParseDatadogID reads an id of x-datadog-trace-id or x-datadog-parent-id: 64
// bits in decimal, the lower half of a trace id
// (https://docs.datadoghq.com/tracing/trace_collection/trace_context_propagation/).
func ParseDatadogID(s string) (id uint64, ok bool) {
	for i := range len(s) {
		c := uint64(s[i] - '0')
		if c > 9 || id > (1<<64-1-c)/10 {
			return 0, false
		}
		id = id*10 + c
	}
	return id, id != 0
}

// DatadogTraceID returns the trace id whose lower half is id.
func DatadogTraceID(id uint64) (t TraceID) {
	binary.BigEndian.PutUint64(t[8:], id)
	return t
}

// DatadogSpanID returns the span id of that number.
func DatadogSpanID(id uint64) (s SpanID) {
	binary.BigEndian.PutUint64(s[:], id)
	return s
}
