package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/formats"
	"gatewatch/internal/ingest"
)

// A topicReport is what probe says about one topic.
type topicReport struct {
	Name       string `json:"name"`
	Verdict    string `json:"verdict"` // one line
	Partitions int    `json:"partitions"`
	Messages   int    `json:"messages"` // read as a sample
	Readable   int    `json:"readable"`
	// ReadableShare is Readable / Messages, 0 to 1.
	ReadableShare float64 `json:"readable_share"`
	Format        string  `json:"format,omitempty"`   // as in the configuration
	Envelope      string  `json:"envelope,omitempty"` // around the format, such as fluent-bit
	Records       int     `json:"records"`
	Spans         bool    `json:"spans,omitempty"`

	Example *probeExample  `json:"example,omitempty"`
	Missing []missingField `json:"missing,omitempty"`
	Reasons []reasonCount  `json:"reasons,omitempty"` // of unreadable messages, most frequent first
	Mapping []guessedField `json:"mapping,omitempty"` // for format json

	// ZoneOffset is set if times look local, such as UTC+2; TimeZone is a name for it.
	ZoneOffset string  `json:"zone_offset,omitempty"`
	TimeZone   string  `json:"time_zone,omitempty"`
	DelayP50MS float64 `json:"delay_p50_ms"` // Kafka time minus event time, zone taken off
	DelayP99MS float64 `json:"delay_p99_ms"`

	PerSecond float64 `json:"messages_per_second"`
	// DiskPerDay is what a day's rows will take, in bytes, by rule of thumb.
	DiskPerDay int64 `json:"disk_bytes_per_day"`
}

// A probeExample is one message, masked, and what was read from it.
type probeExample struct {
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields"`
}

// A missingField is a field that the log lacks, with what that costs.
type missingField struct {
	Field string  `json:"field"`
	Share float64 `json:"share"` // of records that have it, 0 to 1
	Cost  string  `json:"cost"`
}

type reasonCount struct {
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"` // of the first such message
	Count  int    `json:"count"`
}

// A reading is a sample read in one format.
type reading struct {
	format   string
	mapping  []guessedField
	readable int
	records  int
	spans    bool
	wrapped  int // messages that were only readable inside an envelope
	present  map[string]int
	ahead    []time.Duration // event minus Kafka time of each readable message
	traced   int             // records with a trace id
	reasons  map[string]*reasonCount
	example  *probeExample
	wrapper  string // name of the envelope of the first wrapped message
}

// fill is the number of fields in an average record.
func (r *reading) fill() float64 {
	total := 0
	for _, n := range r.present {
		total += n
	}
	return float64(total) / float64(max(r.records, 1))
}

// better prefers what reads more messages, then what finds more in them.
func (r *reading) better(than *reading) bool {
	if than == nil || r.readable != than.readable {
		return than == nil || r.readable > than.readable
	}
	return r.fill() > than.fill()+0.5
}

// judge reads the sample in every format and reports the best reading.
func judge(name string, s *sample) (*topicReport, error) {
	report := &topicReport{Name: name, Partitions: s.partitions, Messages: len(s.messages), PerSecond: s.perSecond}
	if len(s.messages) == 0 {
		report.Verdict = "empty: nothing to say yet"
		return report, nil
	}
	pepper := []byte(rand.Text()) // for hashing keys, which are not shown
	var best *reading
	for _, f := range formats.All() {
		t := ingest.TopicConfig{Name: name, Format: f.Name}
		var guess []guessedField
		switch f.Needs {
		case "mapping":
			if guess = guessMapping(s.messages); len(guess) == 0 {
				continue
			}
			t.Mapping = mappingOf(guess)
		case "log_format":
			continue
		}
		r, err := read(t, f, s.messages, pepper)
		if err != nil {
			return nil, fmt.Errorf("format %s: %w", f.Name, err)
		}
		r.mapping = guess
		if r.better(best) {
			best = r
		}
	}
	best.report(report)
	return report, nil
}

// read decodes the sample in one format, with the code of `run`.
func read(t ingest.TopicConfig, f formats.Format, messages []ingest.Message, pepper []byte) (*reading, error) {
	n, err := newNormaliser(t, ingest.DefaultConfig(), pepper)
	if err != nil {
		return nil, err
	}
	d, err := newDecoder(t, n, nil)
	if err != nil {
		return nil, err
	}
	var bare accesslog.Decoder
	if f.New != nil {
		if bare, err = newEntryDecoder(t, f); err != nil {
			return nil, err
		}
	}
	r := &reading{format: f.Name, spans: f.Spans != nil, present: map[string]int{}, reasons: map[string]*reasonCount{}}
	var found ingest.Records
	var scratch accesslog.Entries
	for _, m := range messages {
		found.Entries.Reset()
		found.Spans.Reset()
		if pe := decodeSafely(d, m.Value, &found); pe != nil {
			r.refuse(pe)
			continue
		}
		if bare != nil {
			scratch.Reset()
			if bare.Decode(m.Value, &scratch) != nil {
				r.wrapped++
				if r.wrapper == "" {
					r.wrapper = envelopeName(m.Value)
				}
			}
		}
		r.accept(&m, &found)
	}
	return r, nil
}

// decodeSafely decodes a message; a panic of a decoder is a reason like others.
func decodeSafely(d ingest.Decoder, msg []byte, out *ingest.Records) (bad *accesslog.ParseError) {
	defer func() {
		if p := recover(); p != nil {
			bad = &accesslog.ParseError{Reason: accesslog.ReasonPanic}
		}
	}()
	if len(bytes.TrimSpace(msg)) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonEmpty}
	}
	if err := d.Decode(msg, out); err != nil {
		return accesslog.AsParseError(err)
	}
	for _, e := range out.Entries.All() {
		if e.Time.IsZero() {
			return &accesslog.ParseError{Reason: accesslog.ReasonMissingTime, Detail: "no event time"}
		}
	}
	return nil
}

func (r *reading) refuse(pe *accesslog.ParseError) {
	c := r.reasons[string(pe.Reason)]
	if c == nil {
		c = &reasonCount{Reason: string(pe.Reason), Detail: pe.Detail}
		r.reasons[string(pe.Reason)] = c
	}
	c.Count++
}

func (r *reading) accept(m *ingest.Message, found *ingest.Records) {
	entries, spans := found.Entries.All(), found.Spans.All()
	if len(entries)+len(spans) == 0 {
		if r.spans {
			r.refuse(&accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "no spans in it"})
			return
		}
	}
	r.readable++
	for i := range entries {
		e := &entries[i]
		p := decodePrinter{}
		p.begin(0)
		p.entry(e)
		r.count(&p, m)
		if e.TraceID != [16]byte{} {
			r.traced++
		}
		if i == 0 {
			r.ahead = append(r.ahead, e.Time.Sub(m.Time))
		}
	}
	for i := range spans {
		p := decodePrinter{}
		p.begin(0)
		p.span(&spans[i])
		r.count(&p, m)
		r.traced++
		if i == 0 {
			r.ahead = append(r.ahead, spans[i].Start.Add(spans[i].Duration).Sub(m.Time))
		}
	}
}

// count notes which fields a record has, as `decode` prints it.
func (r *reading) count(p *decodePrinter, m *ingest.Message) {
	r.records++
	var fields map[string]any
	if err := json.Unmarshal(append(p.row, '}'), &fields); err != nil {
		return
	}
	delete(fields, "message")
	for name := range fields {
		r.present[name]++
	}
	if r.example == nil || len(fields) > len(r.example.Fields) {
		text := map[string]string{}
		for name, v := range fields {
			if s, ok := v.(string); ok {
				text[name] = s
			} else if b, err := json.Marshal(v); err == nil {
				text[name] = string(b)
			}
		}
		r.example = &probeExample{Message: excerpt(m.Value), Fields: text}
	}
}

// excerpt is the beginning of a message, masked, on one line.
func excerpt(b []byte) string {
	const limit = 1200
	cut := ""
	if len(b) > limit {
		b, cut = b[:limit], "…"
	}
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' {
			return fmt.Sprintf("(binary, begins with % x)", b[:min(8, len(b))])
		}
	}
	return maskExcerpt(strings.ToValidUTF8(strings.Join(strings.Fields(string(b)), " "), "\uFFFD")) + cut
}

// bytesPerRow is about what a row takes on disk, without and with trace ids.
const bytesPerRow, bytesPerTracedRow = 15, 40

func (r *reading) report(t *topicReport) {
	t.Readable, t.Records = r.readable, r.records
	t.ReadableShare = float64(r.readable) / float64(t.Messages)
	t.Reasons = slices.SortedFunc(func(yield func(reasonCount) bool) {
		for c := range maps.Values(r.reasons) {
			if !yield(*c) {
				return
			}
		}
	}, func(a, b reasonCount) int { return b.Count - a.Count })
	if r.readable == 0 {
		t.Verdict = "not readable"
		if len(t.Reasons) > 0 {
			t.Verdict += ": " + strings.TrimSuffix(t.Reasons[0].Reason+": "+t.Reasons[0].Detail, ": ")
		}
		return
	}
	t.Format, t.Spans, t.Example = r.format, r.spans, r.example
	if r.format == "json" {
		t.Mapping = r.mapping
	}
	if r.wrapped > r.readable/2 {
		t.Envelope = r.wrapper
	}
	what := "gateway logs"
	if r.spans {
		what = "spans"
	}
	t.Verdict = fmt.Sprintf("%s, %s", what, r.format)
	if t.Envelope != "" {
		t.Verdict += " in an envelope of " + t.Envelope
	}
	t.Verdict += fmt.Sprintf(", %.4g %% readable", 100*t.ReadableShare)
	if !r.spans {
		t.Missing = r.missing()
	}
	r.timing(t)
	row := float64(bytesPerRow)
	if r.traced > r.records/2 {
		row = bytesPerTracedRow
	}
	t.DiskPerDay = int64(t.PerSecond * float64(r.records) / float64(t.Messages) * row * 86400)
}
