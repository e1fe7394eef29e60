package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/formats"
	"gatewatch/internal/ingest"
)

// formatAuto is the name under which a topic asks for its format to be found out.
const formatAuto = "auto"

// clearly is how many fields more a format must find to be preferred to one
// that reads some field differently.
const clearly = 4

// autoAfter is how many messages one format must have read best before auto settles on it.
const autoAfter = 20

// autoDecoder finds out the format of a topic from its first messages. Until it
// has settled it reads each message in every format that it may still be:
// where two that find as much read a field differently, it refuses the message
// rather than guess.
type autoDecoder struct {
	topic      ingest.TopicConfig
	normaliser *normalise.Normaliser
	report     func(format, why string)

	candidates []*candidate
	chosen     ingest.Decoder // nil until settled
	found      ingest.Records // scratch
}

// A candidate is a format that the topic may have.
type candidate struct {
	name    string
	bare    ingest.Decoder // as logged, for comparison
	decoder ingest.Decoder
	best    int // messages that it read best
	fields  map[string]any
}

func newAutoDecoder(t ingest.TopicConfig, n *normalise.Normaliser, report func(format, why string)) (ingest.Decoder, error) {
	d := &autoDecoder{topic: t, normaliser: n, report: report}
	for _, f := range formats.All() {
		if f.Needs != "" {
			continue
		}
		t.Format = f.Name
		bare, err := newDecoder(t, nil, report)
		if err != nil {
			return nil, err
		}
		decoder, err := newDecoder(t, n, report)
		if err != nil {
			return nil, err
		}
		d.candidates = append(d.candidates, &candidate{name: f.Name, bare: bare, decoder: decoder})
	}
	return d, nil
}

// Decode implements ingest.Decoder.
func (d *autoDecoder) Decode(msg []byte, out *ingest.Records) error {
	if d.chosen != nil {
		return d.chosen.Decode(msg, out)
	}
	readers := d.readers(msg)
	if len(readers) == 0 {
		return &accesslog.ParseError{Reason: accesslog.ReasonWrongFormat, Detail: "auto: of no format that is told by its look; set format"}
	}
	best := readers[0]
	for _, c := range readers[1:] {
		if len(c.fields) > len(best.fields) {
			best = c
		}
	}
	for _, c := range readers {
		if field := differs(best.fields, c.fields); field != "" && len(best.fields) < len(c.fields)+clearly {
			return &accesslog.ParseError{
				Reason: accesslog.ReasonWrongFormat,
				Detail: fmt.Sprintf("auto: %s or %s, which read %s differently; set format", best.name, c.name, field),
			}
		}
	}
	best.best++
	if best.best >= autoAfter {
		d.settle(best, len(readers)-1)
	}
	return best.decoder.Decode(msg, out)
}

// settle takes a format for good.
func (d *autoDecoder) settle(c *candidate, others int) {
	why := fmt.Sprintf("read %d messages, and no other format reads them", c.best)
	if others > 0 {
		why = fmt.Sprintf("read most in %d messages; %d other formats find less in the last, or the same", c.best, others)
	}
	d.report(c.name, why)
	d.chosen, d.candidates = c.decoder, nil
}

// readers returns the candidates that read msg, with what each found in its records.
func (d *autoDecoder) readers(msg []byte) []*candidate {
	var readers []*candidate
	for _, c := range d.candidates {
		d.found.Entries.Reset()
		d.found.Spans.Reset()
		if decodeSafely(c.bare, msg, &d.found) != nil {
			continue
		}
		if c.fields = fieldsOf(&d.found); len(c.fields) > 0 {
			readers = append(readers, c)
		}
	}
	return readers
}

// fieldsOf returns the fields of all records as `decode` prints them, by record and name.
func fieldsOf(found *ingest.Records) map[string]any {
	all := map[string]any{}
	add := func(record int, p *decodePrinter) {
		var fields map[string]any
		if json.Unmarshal(append(p.row, '}'), &fields) != nil {
			return
		}
		delete(fields, "message")
		for name, v := range fields {
			all[fmt.Sprintf("%s of record %d", name, record+1)] = v
		}
	}
	for i, e := range found.Entries.All() {
		e.Outcome = accesslog.Outcome{} // it follows from the fields
		p := decodePrinter{}
		p.begin(0)
		p.entry(&e)
		add(i, &p)
	}
	for i := range found.Spans.All() {
		p := decodePrinter{}
		p.begin(0)
		p.span(&found.Spans.All()[i])
		add(i, &p)
	}
	return all
}

// differs names a field that both have with different values; empty if there is none.
func differs(a, b map[string]any) string {
	for name, v := range b {
		if w, ok := a[name]; ok && fmt.Sprint(v) != fmt.Sprint(w) {
			return strings.TrimSuffix(name, " of record 1")
		}
	}
	return ""
}
