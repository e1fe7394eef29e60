package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/envelope"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/audit"
	"gatewatch/internal/config"
	"gatewatch/internal/formats"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
)

// findFormat returns the format of that name; the error says which name is near.
func findFormat(name string) (formats.Format, error) {
	f, ok := formats.Find(name)
	if ok {
		return f, nil
	}
	names := append([]string{formatAuto}, eventFormats()...)
	for _, f := range formats.All() {
		names = append(names, f.Name)
	}
	if near := config.Nearest(name, names); near != "" {
		return f, fmt.Errorf("format %q is unknown; did you mean %q?", name, near)
	}
	return f, fmt.Errorf("format %q is unknown; `gatewatch-ingest decode --formats` lists the names", name)
}

// newEntryDecoder returns a decoder of f for what t says.
func newEntryDecoder(t ingest.TopicConfig, f formats.Format) (accesslog.Decoder, error) {
	loc, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time_zone: %w", err)
	}
	o := accesslog.Options{Location: loc, LogFormat: t.LogFormat, Mapping: make(map[string]accesslog.Source, len(t.Mapping))}
	for field, m := range t.Mapping {
		o.Mapping[field] = accesslog.Source(m)
	}
	d, err := f.New(o)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", f.Name, err)
	}
	return d, nil
}

// decoder reads the messages of one topic: envelope, format, normalising.
type decoder struct {
	entries   accesslog.Decoder
	spans     trace.Decoder
	inflate   envelope.Inflater
	normalise *normalise.Normaliser // nil keeps entries and spans as logged
	redact    *trace.Redactor
	weight    float64 // of spans that don't state their sampling rate; 0 is 1
}

// newDecoder returns what reads the messages of topic t. With a nil normaliser
// records come back as they were logged, which only `decode --redact=false` may
// show. report hears which format auto has settled on.
func newDecoder(t ingest.TopicConfig, n *normalise.Normaliser, report func(format, why string)) (ingest.Decoder, error) {
	switch t.Format {
	case formatAuto:
		return newAutoDecoder(t, n, report)
	case formatKeyEvents:
		return &keyDecoder{normalise: n}, nil
	case formatChangeEvents:
		return changeDecoder{}, nil
	}
	if slices.Contains(audit.Formats(), t.Format) {
		return &auditDecoder{format: t.Format, normalise: n}, nil
	}
	f, err := findFormat(t.Format)
	if err != nil {
		return nil, err
	}
	if f.Spans != nil {
		d := &decoder{spans: f.Spans(), normalise: n}
		if t.SamplingRate > 0 {
			d.weight = 1 / t.SamplingRate
		}
		if n != nil {
			d.redact = trace.NewRedactor()
		}
		return d, nil
	}
	entries, err := newEntryDecoder(t, f)
	if err != nil {
		return nil, err
	}
	return &decoder{entries: envelope.New(entries), normalise: n}, nil
}

// newNormaliser returns the normaliser of a topic.
func newNormaliser(t ingest.TopicConfig, c ingest.Config, pepper []byte) (*normalise.Normaliser, error) {
	if len(pepper) == 0 {
		return nil, errors.New("a pepper is needed to hash API keys")
	}
	peppers, err := parsePeppers(string(pepper))
	if err != nil {
		return nil, err
	}
	routes := slices.Clone(t.Routes)
	for _, file := range t.OpenAPI {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("openapi: %w", err)
		}
		more, err := normalise.OpenAPIRoutes(text)
		if err != nil {
			return nil, fmt.Errorf("openapi: %s: %w", file, err)
		}
		routes = append(routes, more...)
	}
	return normalise.New(normalise.Config{
		Peppers: peppers, ClientIP: c.ClientIP, QueryAllow: c.QueryAllow,
		Routes: routes, Service: t.Service, Node: t.Node, Region: t.Region,
	})
}

// Decode implements ingest.Decoder.
func (d *decoder) Decode(msg []byte, out *ingest.Records) error {
	arena := &out.Entries.Arena
	if d.spans != nil {
		arena = &out.Spans.Arena
	}
	msg, err := d.inflate.Inflate(msg, arena)
	if err != nil {
		return err
	}
	if d.spans != nil {
		out.Spans.Weight = d.weight
		if err := d.spans.Decode(msg, &out.Spans); err != nil {
			return err
		}
		if d.redact != nil {
			spans := out.Spans.All()
			for i := range spans {
				d.redact.Redact(&spans[i], arena)
			}
		}
		return nil
	}
	if err := d.entries.Decode(msg, &out.Entries); err != nil {
		return err
	}
	if d.normalise != nil {
		entries := out.Entries.All()
		for i := range entries {
			d.normalise.Normalise(&entries[i], &out.Entries.Arena)
		}
	}
	return nil
}
