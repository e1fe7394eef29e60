// Package wire reads the protobuf encoding field by field, without a schema and
// without allocating: the formats that spans come in are small enough to be
// read straight into their fields. Strings alias the message.
package wire

import (
	"math"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"gatewatch/internal/accesslog"
)

// MaxDepth is how deep messages may be nested.
const MaxDepth = 64

// A Type is a wire type (Protocol Buffers encoding, "Message Structure").
type Type = protowire.Type

// The wire types that proto3 uses.
const (
	Varint  = protowire.VarintType
	Fixed64 = protowire.Fixed64Type
	Bytes   = protowire.BytesType
	Fixed32 = protowire.Fixed32Type
)

// Fields iterates over the fields of a message. Its zero value is an empty message.
type Fields struct {
	rest []byte
	err  error

	Number protowire.Number
	Type   Type
	// Int is the value of a varint or fixed field, Data that of a length-delimited one.
	Int  uint64
	Data []byte
}

// Read returns the fields of msg.
func Read(msg []byte) Fields { return Fields{rest: msg} }

// Next reads the next field. It returns false at the end and where the message is broken.
func (f *Fields) Next() bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	number, typ, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		return f.broken()
	}
	f.rest = f.rest[n:]
	f.Number, f.Type, f.Int, f.Data = number, typ, 0, nil
	switch typ {
	case Varint:
		f.Int, n = protowire.ConsumeVarint(f.rest)
	case Fixed64:
		f.Int, n = protowire.ConsumeFixed64(f.rest)
	case Fixed32:
		var v uint32
		v, n = protowire.ConsumeFixed32(f.rest)
		f.Int = uint64(v)
	case Bytes:
		f.Data, n = protowire.ConsumeBytes(f.rest)
	default: // a group, which proto3 doesn't have
		n = protowire.ConsumeFieldValue(number, typ, f.rest)
	}
	if n < 0 {
		return f.broken()
	}
	f.rest = f.rest[n:]
	return true
}

func (f *Fields) broken() bool {
	f.err = &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "not a protobuf message"}
	return false
}

// Err returns why Next stopped before the end, if it did.
func (f *Fields) Err() error { return f.err }

// Is reports whether the field has a number and a type. A field of another
// type than its number's is to be skipped, as an unknown one.
func (f *Fields) Is(n protowire.Number, t Type) bool { return f.Number == n && f.Type == t }

// Text returns a length-delimited field as a string.
func (f *Fields) Text() string { return unsafe.String(unsafe.SliceData(f.Data), len(f.Data)) }

// Double returns a fixed field as a float.
func (f *Fields) Double() float64 { return math.Float64frombits(f.Int) }

// Message returns the fields of an embedded message.
func (f *Fields) Message() Fields { return Fields{rest: f.Data} }

// Framed returns an error that names the schema registry's framing, which puts
// a zero byte and a schema id before a message
// (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format);
// nil if msg has none. No message of these formats begins with a zero byte.
func Framed(msg []byte) error {
	if len(msg) == 0 || msg[0] != 0 {
		return nil
	}
	return &accesslog.ParseError{Reason: accesslog.ReasonSchemaFramed, Detail: "a zero byte first, as Confluent schema-registry framing has it"}
}
