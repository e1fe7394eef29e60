package otlp

import (
	"encoding/binary"
	"encoding/json"
	"strconv"

	"gatewatch/internal/accesslog"
)

// checkJSON refuses what pdata's lenient reader would let pass: bad grammar,
// trailing data, and nesting that would exhaust the stack.
func checkJSON(msg []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(msg); i++ {
		switch c := msg[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			if depth > maxDepth {
				return &accesslog.ParseError{Reason: accesslog.ReasonTooDeep, Detail: "nested deeper than " + strconv.Itoa(maxDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if !json.Valid(msg) {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not valid JSON"}
	}
	return nil
}

// Wire types of protobuf (Protocol Buffers encoding, "Message Structure").
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// protoDepth bounds how deep values can nest in a message: it follows the one
// recursive type of OTLP, AnyValue, through every length-delimited field that
// parses as a message. It stops once maxDepth is exceeded.
func protoDepth(msg []byte) int { return depthOf(msg, 1) }

func depthOf(msg []byte, depth int) int {
	deepest := depth
	for len(msg) > 0 {
		tag, n := binary.Uvarint(msg)
		if n <= 0 || tag>>3 == 0 {
			return deepest // no message: a string or bytes
		}
		msg = msg[n:]
		field, rest, ok := cut(msg, tag&7)
		if !ok {
			return deepest
		}
		msg = rest
		if len(field) > 3 {
			deepest = max(deepest, depthOf(field, depth+1))
			if deepest > maxDepth {
				return deepest
			}
		}
	}
	return deepest
}

// cut returns the content of a length-delimited field, and what follows a field of any type.
func cut(msg []byte, wire uint64) (field, rest []byte, ok bool) {
	switch wire {
	case wireVarint:
		_, n := binary.Uvarint(msg)
		return nil, msg[max(n, 0):], n > 0
	case wireFixed64:
		return nil, msg[min(8, len(msg)):], len(msg) >= 8
	case wireFixed32:
		return nil, msg[min(4, len(msg)):], len(msg) >= 4
	case wireBytes:
		size, n := binary.Uvarint(msg)
		if n <= 0 || size > uint64(len(msg)-n) {
			return nil, nil, false
		}
		return msg[n : n+int(size)], msg[n+int(size):], true
	}
	return nil, nil, false
}
