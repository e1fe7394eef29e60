// Package zipkin decodes spans as Zipkin's reporters and its Kafka collector
// write them: lists of spans in JSON (version 1 and 2), and protobuf.
package zipkin

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonscan"
	"gatewatch/internal/trace"
)

// JSON decodes version 2, a list of spans or one span alone, and version 1
// (https://zipkin.io/zipkin-api/, https://zipkin.io/zipkin-api/v1.html).
type JSON struct {
	scan jsonscan.Scanner
	v1   bool
}

// NewJSON returns a decoder of version 2.
func NewJSON() *JSON { return &JSON{} }

// NewJSONv1 returns a decoder of version 1.
func NewJSONv1() *JSON { return &JSON{v1: true} }

// Decode implements trace.Decoder.
func (d *JSON) Decode(msg []byte, out *trace.Spans) error {
	d.scan.Reset(msg, &out.Arena)
	start := len(out.All())
	if d.scan.Peek() == '{' {
		if err := d.span(out); err != nil {
			return err
		}
	} else if err := d.scan.List(func() error { return d.span(out) }); err != nil {
		return err
	}
	if err := d.scan.End(); err != nil {
		return err
	}
	if len(out.All()) == start {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "a list without spans"}
	}
	return nil
}

func bad(reason accesslog.Reason, detail string) error {
	return &accesslog.ParseError{Reason: reason, Detail: detail}
}

// span reads one span.
func (d *JSON) span(out *trace.Spans) error {
	if err := d.scan.Open('{'); err != nil {
		return err
	}
	s := out.Next()
	var core coreTimes
	for {
		key, ok, err := d.scan.Key()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := d.member(s, key, &core); err != nil {
			return err
		}
	}
	if s.TraceID.IsZero() || s.SpanID.IsZero() {
		return bad(accesslog.ReasonWrongFormat, "a span without traceId or id")
	}
	if d.v1 {
		core.complete(s)
	}
	finish(s)
	return nil
}

func (d *JSON) member(s *trace.Span, key string, core *coreTimes) error {
	switch key {
	case "localEndpoint":
		e, err := d.endpoint()
		s.Service = e.service
		return err
	case "remoteEndpoint":
		e, err := d.endpoint()
		addPeer(s, e)
		return err
	case "tags":
		return d.tags(s)
	case "annotations":
		return d.annotations(s, core)
	case "binaryAnnotations":
		if d.v1 {
			return d.binaryAnnotations(s, core)
		}
	}
	v, err := d.scan.Value()
	if err != nil || v.Kind != jsonscan.String && v.Kind != jsonscan.Number {
		return err
	}
	return scalar(s, key, v.Text)
}

// scalar reads a member that is a text or a number.
func scalar(s *trace.Span, key, text string) error {
	ok := true
	switch key {
	case "traceId":
		s.TraceID, ok = trace.ParseTraceID(text)
	case "id":
		s.SpanID, ok = trace.ParseSpanID(text)
	case "parentId":
		if strings.Trim(text, "0") != "" {
			s.ParentID, ok = trace.ParseSpanID(text)
		}
	case "name":
		s.Name = text
	case "kind":
		s.Kind = kindOf(text)
	case "timestamp":
		s.Start, ok = micros(text)
	case "duration":
		var ns int64
		ns, ok = accesslog.ParseDecimal(text, 3)
		s.Duration = time.Duration(max(ns, 0))
	}
	if !ok {
		return bad(accesslog.ReasonBadNumber, key)
	}
	return nil
}

// micros reads microseconds since 1970; zero and less is absent.
func micros(text string) (time.Time, bool) {
	ns, ok := accesslog.ParseDecimal(text, 3)
	if !ok || ns <= 0 {
		return time.Time{}, ok
	}
	return time.Unix(0, ns).UTC(), true
}

func kindOf(text string) trace.Kind {
	switch text {
	case "CLIENT":
		return trace.KindClient
	case "SERVER":
		return trace.KindServer
	case "PRODUCER":
		return trace.KindProducer
	case "CONSUMER":
		return trace.KindConsumer
	}
	return trace.KindUnspecified
}

// An endpoint is one side of a call.
type endpoint struct{ service, address string }

// endpoint reads {"serviceName": …, "ipv4": …, "ipv6": …, "port": …}.
func (d *JSON) endpoint() (e endpoint, err error) {
	err = d.scan.Scalars(func(key string, v jsonscan.Value) {
		switch {
		case v.Kind != jsonscan.String:
		case key == "serviceName":
			e.service = v.Text
		case key == "ipv4", key == "ipv6" && e.address == "":
			e.address = v.Text
		}
	})
	return e, err
}

// addPeer keeps the called side as the attributes that stand for it.
func addPeer(s *trace.Span, e endpoint) {
	if e.service != "" {
		s.Attrs = append(s.Attrs, trace.Attr{Key: "peer.service", Value: e.service})
	}
	if e.address != "" {
		s.Attrs = append(s.Attrs, trace.Attr{Key: "network.peer.address", Value: e.address})
	}
}

func (d *JSON) tags(s *trace.Span) error {
	return d.scan.Scalars(func(key string, v jsonscan.Value) {
		s.Attrs = append(s.Attrs, trace.Attr{Key: key, Value: v.String()})
	})
}

// annotations reads a list of {"timestamp": …, "value": …, "endpoint": {…}}.
func (d *JSON) annotations(s *trace.Span, core *coreTimes) error {
	return d.scan.List(func() error {
		a, err := d.annotation()
		if err != nil {
			return err
		}
		at, ok := micros(a.time)
		if a.time != "" && !ok {
			return bad(accesslog.ReasonBadNumber, "annotation timestamp")
		}
		if d.v1 && core.take(a.text, at, a.endpoint) {
			return nil
		}
		event := s.AddEvent()
		event.Time, event.Name = at, a.text
		return nil
	})
}

// An annotation is one of either kind.
type annotation struct {
	key, time, text string
	endpoint        endpoint
}

func (d *JSON) annotation() (a annotation, err error) {
	err = d.scan.Members(func(key string) error {
		if key == "endpoint" {
			a.endpoint, err = d.endpoint()
			return err
		}
		v, err := d.scan.Value()
		switch key {
		case "timestamp":
			a.time = v.Text
		case "key":
			a.key = v.Text
		case "value":
			a.text = v.String()
		}
		return err
	})
	return a, err
}

// binaryAnnotations reads a list of {"key": …, "value": …, "endpoint": {…}}:
// tags, and the addresses of the two sides.
func (d *JSON) binaryAnnotations(s *trace.Span, core *coreTimes) error {
	return d.scan.List(func() error {
		a, err := d.annotation()
		if err != nil {
			return err
		}
		switch a.key {
		case "sa", "ma", "ca": // the address of server, broker or client
			addPeer(s, a.endpoint)
		case "lc": // a local component
			core.local = a.endpoint.service
		default:
			s.Attrs = append(s.Attrs, trace.Attr{Key: a.key, Value: a.text})
			if core.local == "" {
				core.local = a.endpoint.service
			}
		}
		return nil
	})
}

// coreTimes are the annotations of version 1 that say what version 2 has fields for.
type coreTimes struct {
	kind        trace.Kind
	service     string // of the first of them
	local       string // of others
	first, last time.Time
}

// take reports whether an annotation is a core one.
func (c *coreTimes) take(value string, at time.Time, e endpoint) bool {
	var kind trace.Kind
	switch value {
	case "cs", "cr":
		kind = trace.KindClient
	case "sr", "ss":
		kind = trace.KindServer
	case "ms":
		kind = trace.KindProducer
	case "mr":
		kind = trace.KindConsumer
	case "ws", "wr": // wire send and receive
	default:
		if c.local == "" {
			c.local = e.service
		}
		return false
	}
	if c.kind == trace.KindUnspecified {
		c.kind, c.service = kind, e.service
	}
	if c.first.IsZero() || at.Before(c.first) {
		c.first = at
	}
	if at.After(c.last) {
		c.last = at
	}
	return true
}

// complete fills what a span of version 1 says by annotations only.
func (c *coreTimes) complete(s *trace.Span) {
	if s.Kind == trace.KindUnspecified {
		s.Kind = c.kind
	}
	for _, name := range [...]string{c.service, c.local, unnamed} {
		if s.Service == "" {
			s.Service = name
		}
	}
	if s.Start.IsZero() {
		s.Start = c.first
		if s.Duration == 0 && !c.first.IsZero() {
			s.Duration = c.last.Sub(c.first)
		}
	}
}

// unnamed is the service of a span of version 1 that names none, as the
// OpenTelemetry Collector has it: such a span isn't the frontend's.
const unnamed = "unknown-service"

// finish reads what tags say of s.
func finish(s *trace.Span) {
	for _, a := range s.Attrs {
		// Zipkin's tag error marks a failure, whatever its value says.
		if a.Key == "error" && a.Value != "false" && s.Status == trace.StatusUnset {
			s.Status = trace.StatusError
			if a.Value != "true" {
				s.Message = a.Value
			}
		}
	}
	s.ReadStatus()
	s.ReadConventions(0)
}

// address returns an IP address as text in the arena; empty if it is none.
func address(ip []byte, arena *accesslog.Arena) string {
	b := arena.Grow(len("255.255.255.255") + 4*len(ip))
	switch len(ip) {
	case 4:
		for i, c := range ip {
			if i > 0 {
				b = append(b, '.')
			}
			b = strconv.AppendUint(b, uint64(c), 10)
		}
	case 16:
		for i := 0; i < 16; i += 2 {
			if i > 0 {
				b = append(b, ':')
			}
			b = strconv.AppendUint(b, uint64(binary.BigEndian.Uint16(ip[i:])), 16)
		}
	}
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}
