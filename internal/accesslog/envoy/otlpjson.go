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
	if entered, err := d.scan.Enter('{'); err != nil || !entered {
		return err
	}
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return err
		}
		if err := d.member(in, key); err != nil {
			return err
		}
	}
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
	if entered, err := d.scan.Enter('['); err != nil || !entered {
		return err
	}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if err := d.element(of); err != nil {
			return err
		}
	}
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
	if entered, err := d.scan.Enter('['); err != nil || !entered {
		return err
	}
	for {
		more, err := d.scan.More(']')
		if err != nil || !more {
			return err
		}
		if err := d.pair(of, depth); err != nil {
			return err
		}
	}
}

// pair reads a KeyValue, whose key may stand behind its value.
func (d *otlpJSON) pair(of owner, depth int) error {
	if entered, err := d.scan.Enter('{'); err != nil || !entered {
		return err
	}
	name, first := "", len(d.records.values)
	for {
		key, ok, err := d.scan.Key()
		if err != nil {
			return err
		}
		if !ok {
			d.records.name(first, name)
			return nil
		}
		switch key {
		case "key":
			v, err := d.scan.Value()
			if err != nil {
				return err
			}
			name = v.Text
		case "value":
			if err := d.any(name, of, depth); err != nil {
				return err
			}
		default:
			if _, err := d.scan.Value(); err != nil {
				return err
			}
		}
	}
}

// any reads the AnyValue of a key.
func (d *otlpJSON) any(name string, of owner, depth int) error {
	if entered, err := d.scan.Enter('{'); err != nil || !entered {
		return err
	}
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return err
		}
		if (key == "kvlistValue" || key == "kvlist_value") && depth < maxRecordDepth && d.scan.Peek() == '{' {
			if err := d.listValue(of.inside(), depth+1); err != nil {
				return err
			}
			continue
		}
		v, err := d.scan.Value()
		if err != nil {
			return err
		}
		if v.Kind == jsonscan.String || v.Kind == jsonscan.Number {
			d.records.take(of, name, v.Text)
		}
	}
}

// listValue reads {"values": [pairs]}.
func (d *otlpJSON) listValue(of owner, depth int) error {
	if err := d.scan.Open('{'); err != nil {
		return err
	}
	for {
		key, ok, err := d.scan.Key()
		if err != nil || !ok {
			return err
		}
		if key == "values" {
			err = d.pairs(of, depth)
		} else {
			_, err = d.scan.Value()
		}
		if err != nil {
			return err
		}
	}
}
