package envoy

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonscan"
)

// otlpJSON reads ExportLogsServiceRequest in the JSON encoding of OTLP
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
type otlpJSON struct {
	scan    jsonscan.Scanner
	records *records
	out     *accesslog.Entries
	found   int
}

func newOTLPJSON(o accesslog.Options) (accesslog.Decoder, error) {
	r, err := newRecords(o)
	if err != nil {
		return nil, err
	}
	return &otlpJSON{records: r}, nil
}

// Decode implements accesslog.Decoder.
func (d *otlpJSON) Decode(msg []byte, out *accesslog.Entries) error {
	d.scan.Reset(msg, &out.Arena)
	d.out, d.found = out, 0
	if d.scan.Peek() != '{' {
		return &accesslog.ParseError{Reason: accesslog.ReasonSyntax, Detail: "no object"}
	}
	if err := d.object(inRequest); err != nil {
		return err
	}
	if err := d.scan.End(); err != nil {
		return err
	}
	if d.found == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "no resourceLogs with log records"}
	}
	return nil
}

// A place is an object or list of the request.
type place uint8

const (
	inRequest place = iota
	inResourceLogs
	inResource
	inScopeLogs
	inRecord
)

// object reads an object; keys that don't matter are skipped.
func (d *otlpJSON) object(in place) error {
	return d.scan.Members(func(key string) error { return d.member(in, key) })
}

func (d *otlpJSON) member(in place, key string) error {
	switch {
	case in == inRequest && (key == "resourceLogs" || key == "resource_logs"):
		return d.list(inResourceLogs)
	case in == inResourceLogs && key == "resource":
		return d.object(inResource)
	case in == inResource && key == "attributes":
		return d.pairs(ofResource, 0)
	case in == inResourceLogs && (key == "scopeLogs" || key == "scope_logs"):
		return d.list(inScopeLogs)
	case in == inScopeLogs && (key == "logRecords" || key == "log_records"):
		return d.list(inRecord)
	case in == inRecord:
		return d.recordMember(key)
	}
	_, err := d.scan.Value()
	return err
}

// list reads a list of objects.
func (d *otlpJSON) list(of place) error {
	return d.scan.List(func() error { return d.element(of) })
}

func (d *otlpJSON) element(of place) error {
	switch of {
	case inResourceLogs:
		start := d.out.Len()
		err := d.object(of)
		d.records.finish(d.out, start)
		return err
	case inRecord:
		d.found++
		d.records.begin()
		if err := d.object(of); err != nil {
			return err
		}
		return d.records.end(d.out)
	}
	return d.object(of)
}

func (d *otlpJSON) recordMember(key string) error {
	switch key {
	case "body":
		return d.any("", ofBody, 0)
	case "attributes":
		return d.pairs(ofRecord, 0)
	}
	v, err := d.scan.Value()
	if err != nil || v.Kind != jsonscan.String && v.Kind != jsonscan.Number || v.Text == "0" {
		return err
	}
	switch key {
	case "timeUnixNano", "time_unix_nano":
		d.records.own(field.StartTime, v.Text)
	case "traceId", "trace_id":
		d.records.own(field.TraceID, v.Text)
	case "spanId", "span_id":
		d.records.own(field.SpanID, v.Text)
	}
	return nil
}

// pairs reads a list of {"key": …, "value": {…}}.
func (d *otlpJSON) pairs(of owner, depth int) error {
	return d.scan.List(func() error { return d.pair(of, depth) })
}

// pair reads a KeyValue, whose key may stand behind its value.
func (d *otlpJSON) pair(of owner, depth int) error {
	name, first := "", len(d.records.values)
	err := d.scan.Members(func(key string) error {
		if key == "value" {
			return d.any(name, of, depth)
		}
		v, err := d.scan.Value()
		if key == "key" {
			name = v.Text
		}
		return err
	})
	d.records.name(first, name)
	return err
}

// any reads the AnyValue of a key.
func (d *otlpJSON) any(name string, of owner, depth int) error {
	return d.scan.Members(func(key string) error {
		if (key == "kvlistValue" || key == "kvlist_value") && depth < maxRecordDepth {
			return d.listValue(of.inside(), depth+1)
		}
		v, err := d.scan.Value()
		if err == nil && (v.Kind == jsonscan.String || v.Kind == jsonscan.Number) {
			d.records.take(of, name, v.Text)
		}
		return err
	})
}

// listValue reads {"values": [pairs]}.
func (d *otlpJSON) listValue(of owner, depth int) error {
	return d.scan.Members(func(key string) error {
		if key == "values" {
			return d.pairs(of, depth)
		}
		_, err := d.scan.Value()
		return err
	})
}
