package zipkin

import (
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/wire"
)

// Proto decodes ListOfSpans (https://github.com/openzipkin/zipkin-api/blob/master/zipkin.proto).
type Proto struct{ arena *accesslog.Arena }

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
	found := false
	list := wire.Read(msg)
	for list.Next() {
		if !list.Is(1, wire.Bytes) {
			continue
		}
		found = true
		if err := d.span(list.Message(), out.Next()); err != nil {
			return err
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	if !found {
		return bad(accesslog.ReasonWrongFormat, "protobuf without spans")
	}
	return nil
}

func (d *Proto) span(f wire.Fields, s *trace.Span) error {
	for f.Next() {
		var err error
		switch {
		case f.Is(1, wire.Bytes):
			err = setTraceID(s, f.Data)
		case f.Is(2, wire.Bytes):
			err = setSpanID(&s.ParentID, f.Data)
		case f.Is(3, wire.Bytes):
			err = setSpanID(&s.SpanID, f.Data)
		case f.Is(4, wire.Varint):
			s.Kind = protoKind(f.Int)
		case f.Is(5, wire.Bytes):
			s.Name = d.text(&f)
		case f.Is(6, wire.Fixed64):
			s.Start = at(f.Int)
		case f.Is(7, wire.Varint):
			s.Duration = time.Duration(min(f.Int, maxMicros)) * time.Microsecond
		case f.Is(8, wire.Bytes):
			var e endpoint
			e, err = d.endpoint(f.Message())
			s.Service = e.service
		case f.Is(9, wire.Bytes):
			var e endpoint
			e, err = d.endpoint(f.Message())
			addPeer(s, e)
		case f.Is(10, wire.Bytes):
			err = d.annotation(f.Message(), s.AddEvent())
		case f.Is(11, wire.Bytes):
			err = d.tag(f.Message(), s)
		}
		if err != nil {
			return err
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	if s.TraceID.IsZero() || s.SpanID.IsZero() {
		return bad(accesslog.ReasonWrongFormat, "a span without trace_id or id")
	}
	finish(s)
	return nil
}

// text returns a field's text, which must be UTF-8.
func (d *Proto) text(f *wire.Fields) string { return accesslog.Clean(f.Text(), d.arena) }

// maxMicros is what a duration can hold.
const maxMicros = uint64(1<<63-1) / 1000

func at(micros uint64) time.Time {
	if micros == 0 || micros > maxMicros {
		return time.Time{}
	}
	return time.Unix(0, int64(micros)*1000).UTC()
}

func setTraceID(s *trace.Span, b []byte) error {
	if len(b) != 8 && len(b) != 16 {
		return bad(accesslog.ReasonBadNumber, "trace_id")
	}
	copy(s.TraceID[16-len(b):], b)
	return nil
}

func setSpanID(id *trace.SpanID, b []byte) error {
	if len(b) != 8 && len(b) != 0 {
		return bad(accesslog.ReasonBadNumber, "span id")
	}
	copy(id[:], b)
	return nil
}

func protoKind(n uint64) trace.Kind {
	switch n {
	case 1:
		return trace.KindClient
	case 2:
		return trace.KindServer
	case 3:
		return trace.KindProducer
	case 4:
		return trace.KindConsumer
	}
	return trace.KindUnspecified
}

func (d *Proto) endpoint(f wire.Fields) (e endpoint, err error) {
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			e.service = d.text(&f)
		case f.Is(2, wire.Bytes) && len(f.Data) == 4, f.Is(3, wire.Bytes) && len(f.Data) == 16 && e.address == "":
			e.address = address(f.Data, d.arena)
		}
	}
	return e, f.Err()
}

func (d *Proto) annotation(f wire.Fields, e *trace.Event) error {
	for f.Next() {
		switch {
		case f.Is(1, wire.Fixed64):
			e.Time = at(f.Int)
		case f.Is(2, wire.Bytes):
			e.Name = d.text(&f)
		}
	}
	return f.Err()
}

func (d *Proto) tag(f wire.Fields, s *trace.Span) error {
	var a trace.Attr
	for f.Next() {
		switch {
		case f.Is(1, wire.Bytes):
			a.Key = d.text(&f)
		case f.Is(2, wire.Bytes):
			a.Value = d.text(&f)
		}
	}
	s.Attrs = append(s.Attrs, a)
	return f.Err()
}
