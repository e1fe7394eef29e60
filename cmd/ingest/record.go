package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/consumer"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// decodePrinter prints messages' records as JSON objects.
type decodePrinter struct {
	decoder    ingest.Decoder
	normaliser *normalise.Normaliser
	raw        bool // show values as logged

	found ingest.Records
	row   []byte

	messages, records, unreadable int
}

// print prints the records of one message; bad, if set, is why it has no bytes.
func (p *decodePrinter) print(w *bufio.Writer, msg []byte, bad *accesslog.ParseError) error {
	n := p.messages
	p.messages++
	if bad == nil {
		bad = p.decode(msg)
	}
	if bad != nil {
		p.unreadable++
		p.begin(n)
		p.row = append(p.row, `,"parse_error":true`...)
		p.text("reason", string(bad.Reason))
		p.text("detail", bad.Detail)
		return p.end(w)
	}
	entries := p.found.Entries.All()
	for i := range entries {
		p.begin(n)
		p.entry(&entries[i])
		if err := p.end(w); err != nil {
			return err
		}
	}
	spans := p.found.Spans.All()
	for i := range spans {
		p.begin(n)
		p.span(&spans[i])
		if err := p.end(w); err != nil {
			return err
		}
	}
	for i := range p.found.KeyEvents {
		p.begin(n)
		p.keyEvent(&p.found.KeyEvents[i])
		if err := p.end(w); err != nil {
			return err
		}
	}
	if err := p.events(n, w); err != nil {
		return err
	}
	p.records += len(entries) + len(spans) + p.found.Events()
	return nil
}

// decode reads a message; a defect in the decoder becomes an error, as in `run`.
func (p *decodePrinter) decode(msg []byte) (bad *accesslog.ParseError) {
	defer func() {
		if r := recover(); r != nil {
			bad = &accesslog.ParseError{Reason: accesslog.ReasonPanic, Detail: fmt.Sprint(r)}
		}
	}()
	p.found.Reset()
	if len(bytes.TrimSpace(msg)) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	if err := p.decoder.Decode(msg, &p.found); err != nil {
		return accesslog.AsParseError(err)
	}
	return nil
}

func (p *decodePrinter) begin(message int) {
	p.row = append(p.row[:0], `{"message":`...)
	p.row = strconv.AppendInt(p.row, int64(message), 10)
}

func (p *decodePrinter) end(w *bufio.Writer) error {
	p.row = append(p.row, "}\n"...)
	_, err := w.Write(p.row)
	return err
}

func (p *decodePrinter) key(name string) {
	p.row = append(append(append(p.row, `,"`...), name...), `":`...)
}

// text prints a string that is present.
func (p *decodePrinter) text(name, value string) {
	if value == "" {
		return
	}
	p.key(name)
	p.row = appendJSONString(p.row, value)
}

func appendJSONString(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return append(b, bytes.TrimRight(buf.Bytes(), "\n")...)
}

func (p *decodePrinter) number(name string, n int64) {
	p.key(name)
	p.row = strconv.AppendInt(p.row, n, 10)
}

// positive prints a number of which zero is absent.
func (p *decodePrinter) positive(name string, n int) {
	if n != 0 {
		p.number(name, int64(n))
	}
}

func (p *decodePrinter) size(name string, n accesslog.Opt[int64]) {
	if n.OK {
		p.number(name, n.V)
	}
}

func (p *decodePrinter) millis(name string, d accesslog.Opt[time.Duration]) {
	if !d.OK {
		return
	}
	p.key(name)
	ms := math.Round(float64(d.V)/1e3) / 1e3
	p.row = strconv.AppendFloat(p.row, ms, 'f', -1, 64)
}

func (p *decodePrinter) time(name string, t time.Time) {
	if !t.IsZero() {
		p.text(name, t.Format(time.RFC3339Nano))
	}
}

func (p *decodePrinter) id(name string, id []byte) {
	for _, b := range id {
		if b != 0 {
			p.text(name, hex.EncodeToString(id))
			return
		}
	}
}

// entry prints an access-log entry. As logged, the values are those of the
// entry; what is derived comes from a normalised copy.
func (p *decodePrinter) entry(e *accesslog.Entry) {
	done := *e
	if p.raw {
		p.normaliser.Normalise(&done, &p.found.Entries.Arena)
	}
	p.time("timestamp", e.Time)
	if p.raw && !done.Time.Equal(e.Time) {
		p.time("event_time", done.Time)
	}
	p.client(e)
	p.text("method", e.Method)
	p.text("path", e.Path)
	p.text("target", e.Target)
	p.text("query", e.Query)
	if p.raw {
		p.logged(e)
	}
	p.text("request_line", e.RequestLine)
	p.text("host", e.Host)
	p.text("authority", e.Authority)
	p.text("protocol", e.Protocol)
	p.positive("status", e.Status)
	if e.NoResponse {
		p.number("status", 0)
	}
	p.measured(e, &done)
	p.text("service", e.Service)
	p.text("route", e.Route)
	if e.Route == "" {
		p.text("route_learned", done.Route)
	}
	p.text("upstream_addr", e.Upstream)
	p.positive("upstream_status", e.UpstreamStatus)
	p.positive("tries", e.Tries)
	p.text("response_flags", e.Flags)
	p.text("response_details", e.Details)
	p.text("user_agent", e.UserAgent)
	p.text("referer", e.Referer)
	p.text("request_id", e.RequestID)
	if p.raw && e.TraceHeader != "" {
		p.text("trace_id", e.TraceHeader)
	} else {
		p.id("trace_id", e.TraceID[:])
	}
	p.id("span_id", e.SpanID[:])
	p.text("consumer", e.Consumer.ID)
	p.text("plan", e.Consumer.Plan)
	p.id("key_id", done.Consumer.KeyID[:])
	p.text("x_forwarded_for", e.ForwardedFor)
	p.text("node", e.Node)
	p.text("region", e.Region)
	p.text("api_version", e.APIVersion)
	p.outcome(&done)
}

// measured prints sizes, what the call is worth, and times.
func (p *decodePrinter) measured(e, done *accesslog.Entry) {
	p.size("request_bytes", e.RequestBytes)
	p.size("response_bytes", e.ResponseBytes)
	if e.Amount.OK {
		p.key("amount")
		p.row = strconv.AppendFloat(p.row, float64(e.Amount.V)/1e6, 'f', -1, 64)
	}
	p.millis("latency_ms", e.Latency.Total)
	p.millis("upstream_latency_ms", e.Latency.Upstream)
	p.millis("gateway_latency_ms", done.Latency.Gateway)
}

// logged prints what is shown but not stored.
func (p *decodePrinter) logged(e *accesslog.Entry) {
	if e.Path != "" && e.Query != "" {
		p.text("path_and_query", e.Path+"?"+e.Query)
	} else {
		p.text("path_and_query", e.Path)
	}
	switch {
	case e.URL != "":
		p.text("url", e.URL)
	case strings.Contains(e.Target, "://"):
		p.text("url", e.Target)
	}
	p.millis("upstream_response_ms", e.Latency.UpstreamHeaders)
}

func (p *decodePrinter) client(e *accesslog.Entry) {
	switch {
	case e.ClientIP != "":
		p.text("client_ip", strings.Trim(e.ClientIP, "[]"))
	case e.ClientAddr.IsValid():
		p.text("client_ip", e.ClientAddr.String())
	}
	p.positive("client_port", e.ClientPort)
}

// outcome prints who answered and how it failed, unless the log tells neither.
func (p *decodePrinter) outcome(e *accesslog.Entry) {
	if e.Status == 0 && e.Outcome.Evidence != accesslog.EvidenceStated {
		return
	}
	p.text("error_class", e.Outcome.Class.String())
	p.text("responder", e.Outcome.Responder.String())
	p.text("upstream_reached", e.Outcome.UpstreamReached.String())
	p.text("error_evidence", e.Outcome.Evidence.String())
}

func (p *decodePrinter) keyEvent(e *consumer.Event) {
	p.text("event", e.Action.String())
	if !e.Time.IsZero() {
		p.time("timestamp", e.Time)
	}
	p.id("key_id", e.KeyID[:])
	p.text("consumer", e.Consumer)
	p.text("former", e.Former)
	p.text("plan", e.Plan)
	p.text("tier", e.Tier)
	p.text("owner", e.Owner)
}

func (p *decodePrinter) span(s *trace.Span) {
	p.text("trace_id", hex.EncodeToString(s.TraceID[:]))
	p.text("span_id", hex.EncodeToString(s.SpanID[:]))
	if s.ParentID.IsZero() {
		p.key("root")
		p.row = append(p.row, "true"...)
	} else {
		p.text("parent_span_id", hex.EncodeToString(s.ParentID[:]))
	}
	p.text("name", s.Name)
	p.text("kind", strings.ToUpper(s.Kind.String()))
	p.text("service", s.Service)
	p.text("node", s.Node)
	start := int64(0)
	if !s.Start.IsZero() {
		start = s.Start.UnixNano()
	}
	p.text("start_unix_nano", strconv.FormatInt(start, 10))
	p.number("duration_ns", s.Duration.Nanoseconds())
	p.text("status", strings.ToUpper(s.Status.String()))
	p.text("status_message", s.Message)
	p.text("http_method", s.HTTPMethod)
	p.text("http_route", s.HTTPRoute)
	p.positive("http_status", s.HTTPStatus)
	p.text("db_system", s.DBSystem)
	p.text("db_query", s.DBQuery)
	p.text("peer", s.Peer)
	p.key("weight")
	p.row = strconv.AppendFloat(p.row, s.Weight, 'f', -1, 64)
	if len(s.Attrs) > 0 {
		attributes := make(map[string]string, len(s.Attrs))
		for _, a := range s.Attrs {
			attributes[a.Key] = a.Value
		}
		b, _ := json.Marshal(attributes) // strings always encode
		p.key("attributes")
		p.row = append(p.row, b...)
	}
	if len(s.Events) > 0 {
		p.key("events")
		p.row = s.AppendEvents(p.row)
	}
	if len(s.Links) > 0 {
		p.key("links")
		p.row = s.AppendLinks(p.row)
	}
}
