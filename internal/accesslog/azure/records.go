package azure

import (
	"bytes"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/jsonscan"
)

// A decoder reads one record a message, as files and other tools have them, or
// {"records": […]}, as diagnostic settings stream them to Event Hubs:
// https://docs.microsoft.com/en-us/azure/azure-monitor/platform/resource-logs-stream-event-hubs
type decoder struct {
	inner *jsonlog.Decoder
	scan  jsonscan.Scanner
}

// Decode implements accesslog.Decoder.
func (d *decoder) Decode(msg []byte, out *accesslog.Entries) error {
	d.scan.Reset(msg, &out.Arena)
	if d.onlyRecords() {
		msg = msg[bytes.IndexByte(msg, '[') : bytes.LastIndexByte(msg, ']')+1]
	}
	return d.inner.Decode(msg, out)
}

// onlyRecords reports whether the message is an object whose only member is an
// array called records.
func (d *decoder) onlyRecords() bool {
	if d.scan.Peek() != '{' || d.scan.Open('{') != nil {
		return false
	}
	if key, ok, err := d.scan.Key(); err != nil || !ok || key != "records" || d.scan.Peek() != '[' {
		return false
	}
	if _, err := d.scan.Value(); err != nil {
		return false
	}
	_, more, err := d.scan.Key()
	return err == nil && !more && d.scan.End() == nil
}
