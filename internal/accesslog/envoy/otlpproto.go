package envoy

import (
	"encoding/hex"
	"math"
	"strconv"
	"unsafe"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/trace/wire"
)

// otlpProto reads ExportLogsServiceRequest as protobuf
// (opentelemetry/proto/collector/logs/v1/logs_service.proto). The numbers below
// are those of opentelemetry/proto/{logs,common,resource}/v1.
type otlpProto struct {
	records *records
	arena   *accesslog.Arena
	found   int
}

func newOTLPProto(o accesslog.Options) (accesslog.Decoder, error) {
	r, err := newRecords(o)
	if err != nil {
		return nil, err
	}
	return &otlpProto{records: r}, nil
}

// Decode implements accesslog.Decoder.
func (d *otlpProto) Decode(msg []byte, out *accesslog.Entries) error {
	if len(msg) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	d.arena, d.found = &out.Arena, 0
	request := wire.Read(msg)
	for request.Next() {
		if request.Is(1, wire.Bytes) {
			if err := d.resourceLogs(request.Message(), out); err != nil {
				return err
			}
		}
	}
	if err := request.Err(); err != nil {
		return err
	}
	if d.found == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "no log records"}
	}
	return nil
}

func (d *otlpProto) resourceLogs(logs wire.Fields, out *accesslog.Entries) error {
	start := out.Len()
	for logs.Next() {
		var err error
		switch {
		case logs.Is(1, wire.Bytes):
			err = d.resource(logs.Message())
		case logs.Is(2, wire.Bytes):
			err = d.scopeLogs(logs.Message(), out)
		}
		if err != nil {
			return err
		}
	}
	d.records.finish(out, start)
	return logs.Err()
}

func (d *otlpProto) resource(resource wire.Fields) error {
	for resource.Next() {
		if !resource.Is(1, wire.Bytes) {
			continue
		}
		if err := d.pair(resource.Message(), ofResource, 0); err != nil {
			return err
		}
	}
	return resource.Err()
}

func (d *otlpProto) scopeLogs(logs wire.Fields, out *accesslog.Entries) error {
	for logs.Next() {
		if !logs.Is(2, wire.Bytes) {
			continue
		}
		if err := d.record(logs.Message(), out); err != nil {
			return err
		}
	}
	return logs.Err()
}

func (d *otlpProto) record(record wire.Fields, out *accesslog.Entries) error {
	d.found++
	r := d.records
	r.begin()
	for record.Next() {
		var err error
		switch {
		case record.Is(1, wire.Fixed64) && record.Int != 0 && record.Int <= math.MaxInt64: // time_unix_nano
			r.own(field.StartTime, digits(int64(record.Int), d.arena))
		case record.Is(5, wire.Bytes): // body
			err = d.any(record.Message(), "", ofBody, 0)
		case record.Is(6, wire.Bytes): // attributes
			err = d.pair(record.Message(), ofRecord, 0)
		case record.Is(9, wire.Bytes): // trace_id
			r.own(field.TraceID, d.hex(record.Data))
		case record.Is(10, wire.Bytes): // span_id
			r.own(field.SpanID, d.hex(record.Data))
		}
		if err != nil {
			return err
		}
	}
	if err := record.Err(); err != nil {
		return err
	}
	return r.end(out)
}

// pair reads a KeyValue, whose key may stand behind its value.
func (d *otlpProto) pair(pair wire.Fields, of owner, depth int) error {
	key, first := "", len(d.records.values)
	for pair.Next() {
		switch {
		case pair.Is(1, wire.Bytes):
			key = d.text(&pair)
		case pair.Is(2, wire.Bytes):
			if err := d.any(pair.Message(), key, of, depth); err != nil {
				return err
			}
		}
	}
	d.records.name(first, key)
	return pair.Err()
}

// any reads the AnyValue of a key.
func (d *otlpProto) any(value wire.Fields, key string, of owner, depth int) error {
	for value.Next() {
		switch {
		case value.Is(1, wire.Bytes):
			d.records.take(of, key, d.text(&value))
		case value.Is(3, wire.Varint):
			d.records.take(of, key, digits(int64(value.Int), d.arena))
		case value.Is(4, wire.Fixed64):
			d.records.take(of, key, d.float(value.Double()))
		case value.Is(6, wire.Bytes) && depth < maxRecordDepth:
			list := value.Message()
			for list.Next() {
				if !list.Is(1, wire.Bytes) {
					continue
				}
				if err := d.pair(list.Message(), of.inside(), depth+1); err != nil {
					return err
				}
			}
			if err := list.Err(); err != nil {
				return err
			}
		}
	}
	return value.Err()
}

// text returns a field's text, which must be UTF-8.
func (d *otlpProto) text(f *wire.Fields) string { return accesslog.Clean(f.Text(), d.arena) }

func (d *otlpProto) hex(b []byte) string {
	out := hex.AppendEncode(d.arena.Grow(2*len(b)), b)
	d.arena.Keep(out)
	return unsafe.String(unsafe.SliceData(out), len(out))
}

func (d *otlpProto) float(f float64) string {
	b := strconv.AppendFloat(d.arena.Grow(32), f, 'g', -1, 64)
	d.arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}
