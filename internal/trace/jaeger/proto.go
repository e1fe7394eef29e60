package jaeger

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/wire"
)

// Proto decodes the model's protobuf: a Span, as Jaeger's Kafka collector
// writes it, a Batch or a Trace. The numbers below are those of
// api_v2/model.proto.
type Proto struct {
	arena *accesslog.Arena
	attrs []trace.Attr // of the batch's process
}

// NewProto returns a decoder of protobuf.
func NewProto() *Proto { return &Proto{} }

// Decode implements trace.Decoder.
func (d *Proto) Decode(msg []byte, out *trace.Spans) error {
	if len(msg) == 0 {
		return bad(accesslog.ReasonEmpty, "")
	}
	if err := wire.Framed(msg); err != nil {
		return err
	}
	d.arena = &out.Arena
	if isSpan(msg) {
		s := out.Next()
		if err := d.span(wire.Read(msg), s); err != nil {
			return err
		}
		finish(s)
		return nil
	}
	return d.batch(msg, out)
}

// isSpan tells a Span from a Batch: its first field is an id of 16 bytes and
// its second one of 8, where a Batch has messages that are longer.
func isSpan(msg []byte) bool {
	ids := 0
	f := wire.Read(msg)
	for f.Next() {
		if f.Is(1, wire.Bytes) && len(f.Data) == 16 || f.Is(2, wire.Bytes) && len(f.Data) == 8 {
			ids++
		}
	}
	return f.Err() == nil && ids == 2
}

func (d *Proto) batch(msg []byte, out *trace.Spans) error {
	start, service := len(out.All()), ""
	d.attrs = d.attrs[:0]
	f := wire.Read(msg)
	for f.Next() {
		var err error
		switch {
		case f.Is(1, wire.Bytes):
			err = d.span(f.Message(), out.Next())
		case f.Is(2, wire.Bytes):
			service, err = d.process(f.Message(), &d.attrs)
		}
		if err != nil {
			return err
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	spans := out.All()[start:]
	if len(spans) == 0 {
		return bad(accesslog.ReasonWrongFormat, "protobuf without spans")
	}
	for i := range spans {
		if spans[i].Service == "" {
			spans[i].Service = service
			spans[i].Attrs = append(spans[i].Attrs, d.attrs...)
		}
		finish(&spans[i])
	}
	return nil
}

func (d *Proto) span(f wire.Fields, s *trace.Span) error {
	refs := references{span: s}
	for f.Next() {
		var err error
		switch {
		case f.Is(1, wire.Bytes):
			err = setID(s.TraceID[:], f.Data)
		case f.Is(2, wire.Bytes):
			err = setID(s.SpanID[:], f.Data)
		case f.Is(3, wire.Bytes):
			s.Name = d.text(&f)
		case f.Is(4, wire.Bytes):
			var r reference
			if r, err = d.reference(f.Message()); err == nil {
				refs.add(r)
			}
		case f.Is(6, wire.Bytes):
			var seconds, nanos int64
			seconds, nanos, err = pair(f.Message())
			s.Start = time.Unix(seconds, nanos).UTC()
		case f.Is(7, wire.Bytes):
			var seconds, nanos int64
			seconds, nanos, err = pair(f.Message())
			s.Duration = max(time.Duration(min(max(seconds, 0), math.MaxInt64/int64(time.Second)-1))*time.Second+time.Duration(nanos), 0)
		case f.Is(8, wire.Bytes):
			err = d.tag(f.Message(), &s.Attrs)
		case f.Is(9, wire.Bytes):
			err = d.log(f.Message(), s.AddEvent())
		case f.Is(10, wire.Bytes):
			s.Service, err = d.process(f.Message(), &s.Attrs)
		}
		if err != nil {
			return err
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	return (&spanParts{span: s}).check()
}

func setID(dst, b []byte) error {
	if len(b) != len(dst) && len(b) != 8 {
		return bad(accesslog.ReasonBadNumber, "id")
	}
	copy(dst[len(dst)-len(b):], b)
	return nil
}

// pair reads Timestamp or Duration: seconds and nanoseconds.
func pair(f wire.Fields) (seconds, nanos int64, err error) {
	for f.Next() {
		switch {
		case f.Is(1, wire.Varint):
			seconds = int64(f.Int)
		case f.Is(2, wire.Varint):
			nanos = int64(f.Int)
		}
	}
	if err := f.Err(); err != nil {
		return 0, 0, err
	}
	const limit = math.MaxInt64 / int64(time.Second) // beyond it the year is 2262
	if seconds < 0 || seconds >= limit || nanos < 0 || nanos >= int64(time.Second) {
		return 0, 0, bad(accesslog.ReasonBadNumber, "time")
	}
	return seconds, nanos, nil
}

func (d *Proto) reference(f wire.Fields) (r reference, err error) {
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			err = setID(r.trace[:], f.Data)
		case f.Is(2, wire.Bytes):
			err = setID(r.span[:], f.Data)
		case f.Is(3, wire.Varint):
			r.follows = f.Int == 1
		}
		if err != nil {
			return r, err
		}
	}
	return r, f.Err()
}

// text returns a field's text, which must be UTF-8.
func (d *Proto) text(f *wire.Fields) string { return accesslog.Clean(f.Text(), d.arena) }

func (d *Proto) tag(f wire.Fields, attrs *[]trace.Attr) error {
	var a trace.Attr
	kind := uint64(0)
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			a.Key = d.text(&f)
		case f.Is(2, wire.Varint):
			kind = f.Int
		case f.Is(3, wire.Bytes):
			a.Value = d.text(&f)
		case f.Is(4, wire.Varint):
			a.Value = strconv.FormatBool(f.Int != 0)
		case f.Is(5, wire.Varint):
			a.Value = view(decimal(int64(f.Int), d.arena))
		case f.Is(6, wire.Fixed64):
			b := strconv.AppendFloat(d.arena.Grow(32), f.Double(), 'g', -1, 64)
			d.arena.Keep(b)
			a.Value = view(b)
		case f.Is(7, wire.Bytes):
			b := hex.AppendEncode(d.arena.Grow(2*len(f.Data)), f.Data)
			d.arena.Keep(b)
			a.Value = view(b)
		}
	}
	if a.Value == "" { // proto3 leaves zeros out
		a.Value = [...]string{"", "false", "0", "0", ""}[min(kind, 4)]
	}
	*attrs = append(*attrs, a)
	return f.Err()
}

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (d *Proto) log(f wire.Fields, e *trace.Event) error {
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			seconds, nanos, err := pair(f.Message())
			if err != nil {
				return err
			}
			e.Time = time.Unix(seconds, nanos).UTC()
		case f.Is(2, wire.Bytes):
			if err := d.tag(f.Message(), &e.Attrs); err != nil {
				return err
			}
		}
	}
	nameEvent(e)
	return f.Err()
}

func (d *Proto) process(f wire.Fields, attrs *[]trace.Attr) (service string, err error) {
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			service = d.text(&f)
		case f.Is(2, wire.Bytes):
			if err := d.tag(f.Message(), attrs); err != nil {
				return service, err
			}
		}
	}
	return service, f.Err()
}

// decimal returns n as text in the arena.
func decimal(n int64, arena *accesslog.Arena) []byte {
	b := strconv.AppendInt(arena.Grow(20), n, 10)
	arena.Keep(b)
	return b
}
