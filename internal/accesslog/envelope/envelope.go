// Package envelope takes log lines out of what shippers wrap around them:
// Fluent Bit and Fluentd (`log`, `message`), Filebeat, Vector, Docker's
// json-file, the prefix of CRI container logs, the header of syslog messages and
// CloudEvents. What the shipper knows about
// host, pod and namespace fills the node and service of entries without them.
package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"gatewatch/internal/accesslog"
)

// maxLayers is how many envelopes may be around a line, such as Docker's inside Filebeat's.
const maxLayers = 3

// A Decoder wraps the decoder of a format.
type Decoder struct {
	inner   accesslog.Decoder
	wrapped bool // the last readable message was in an envelope
}

// New returns a decoder that finds inner's format in any known envelope or in none.
func New(inner accesslog.Decoder) *Decoder { return &Decoder{inner: inner} }

// Decode implements accesslog.Decoder.
func (d *Decoder) Decode(msg []byte, out *accesslog.Entries) error {
	if err := checkFraming(msg); err != nil {
		return err
	}
	start := out.Len()
	if d.wrapped || syslogHead(unsafe.String(unsafe.SliceData(msg), len(msg))) {
		if err := d.unwrap(msg, out, maxLayers); err == nil {
			return nil
		}
		out.Truncate(start)
	}
	err := d.inner.Decode(msg, out)
	if err == nil {
		d.wrapped = false
		return nil
	}
	out.Truncate(start)
	if inside := d.unwrap(msg, out, maxLayers); !errors.Is(inside, errBare) {
		if inside != nil {
			out.Truncate(start)
			return inside
		}
		d.wrapped = true
		return nil
	}
	return err
}

var errBare = &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "no envelope"}

// unwrap decodes what the outermost envelope holds; errBare if there is none.
func (d *Decoder) unwrap(msg []byte, out *accesslog.Entries, layers int) error {
	in, err := open(msg, &out.Arena)
	if err != nil || in.payload == "" {
		return errBare
	}
	payload := unsafe.Slice(unsafe.StringData(in.payload), len(in.payload))
	start := out.Len()
	if err = d.inner.Decode(payload, out); err != nil && layers > 1 {
		out.Truncate(start)
		if inside := d.unwrap(payload, out, layers-1); !errors.Is(inside, errBare) {
			err = inside
		}
	}
	if err != nil {
		return err
	}
	entries := out.All()[start:]
	for i := range entries {
		in.fill(&entries[i])
	}
	return nil
}

func (in *contents) fill(e *accesslog.Entry) {
	if e.Node == "" {
		e.Node = first(in.pod, in.host)
	}
	if e.Service == "" {
		e.Service = first(in.app, in.namespace)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// checkFraming names the framing of Confluent's schema registry: a zero byte
// and a schema id of four bytes before the payload. No text starts with zero.
func checkFraming(msg []byte) error {
	if len(msg) < 5 || msg[0] != 0 {
		return nil
	}
	id := uint32(msg[1])<<24 | uint32(msg[2])<<16 | uint32(msg[3])<<8 | uint32(msg[4])
	kind := "Avro or Protobuf"
	if rest := bytes.TrimSpace(msg[5:]); len(rest) > 0 && (rest[0] == '{' || rest[0] == '[') {
		kind = "JSON"
	}
	return &accesslog.ParseError{
		Reason: accesslog.ReasonSchemaFramed,
		Detail: fmt.Sprintf("Confluent schema-registry framing, schema id %d, payload looks like %s; produce plain JSON or text", id, kind),
	}
}
