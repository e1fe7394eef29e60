package trace

import (
	"encoding/hex"
	"encoding/json"
	"time"
)

// AppendEvents appends s's events as a JSON array of objects with time, name and attributes.
func (s *Span) AppendEvents(b []byte) []byte {
	b = append(b, '[')
	for i := range s.Events {
		e := &s.Events[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if !e.Time.IsZero() {
			b = e.Time.UTC().AppendFormat(append(b, `"time":"`...), time.RFC3339Nano)
			b = append(b, `",`...)
		}
		b = appendText(append(b, `"name":`...), e.Name)
		b = append(appendAttrs(b, e.Attrs), '}')
	}
	return append(b, ']')
}

// AppendLinks appends s's links as a JSON array of objects with trace_id, span_id and attributes.
func (s *Span) AppendLinks(b []byte) []byte {
	b = append(b, '[')
	for i := range s.Links {
		l := &s.Links[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(append(b, `{"trace_id":"`...), l.TraceID[:])
		b = hex.AppendEncode(append(b, `","span_id":"`...), l.SpanID[:])
		b = append(appendAttrs(append(b, '"'), l.Attrs), '}')
	}
	return append(b, ']')
}

func appendAttrs(b []byte, attrs []Attr) []byte {
	if len(attrs) == 0 {
		return b
	}
	b = append(b, `,"attributes":{`...)
	for i, a := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(appendText(b, a.Key), ':'), a.Value)
	}
	return append(b, '}')
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	text, _ := json.Marshal(s) // strings always encode
	return append(b, text...)
}
