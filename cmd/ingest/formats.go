package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones for images without them

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/apache"
	"gatewatch/internal/accesslog/envelope"
	"gatewatch/internal/accesslog/envoy"
	"gatewatch/internal/accesslog/mapped"
	"gatewatch/internal/accesslog/nginx"
	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/ingest"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/otlp"
)

// A format is a name that a topic's configuration can give; exactly one of the
// constructors is set.
type format struct {
	name    string
	summary string
	doc     string // the vendor's own description
	entries func(t ingest.TopicConfig, loc *time.Location) (accesslog.Decoder, error)
	spans   func() trace.Decoder
}

// formats returns all formats in the order in which they are listed.
func formats() []format {
	return []format{
		{
			name: "nginx_json", summary: "nginx, JSON with nginx's variable names as keys",
			doc: "https://nginx.org/en/docs/http/ngx_http_log_module.html", entries: withZone(nginx.NewJSON),
		},
		{
			name: "nginx_combined", summary: "nginx, predefined text format combined",
			doc: "https://nginx.org/en/docs/http/ngx_http_log_module.html", entries: text(nginx.NewCombined),
		},
		{
			name: "apache_common", summary: "Apache httpd, Common Log Format",
			doc: "https://httpd.apache.org/docs/current/mod/mod_log_config.html", entries: text(apache.NewCommon),
		},
		{
			name: "apache_combined", summary: "Apache httpd, combined",
			doc: "https://httpd.apache.org/docs/current/mod/mod_log_config.html", entries: text(apache.NewCombined),
		},
		{
			name: "envoy_json", summary: "Envoy, JSON access log (also Istio, Contour, Envoy Gateway)",
			doc: "https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage", entries: withZone(envoy.NewJSON),
		},
		{
			name: "json", summary: "any JSON object, by the topic's mapping",
			doc: "deploy/config/gatewatch.yaml, kafka.topics[].mapping", entries: newMapped,
		},
		{
			name: "otlp_proto", summary: "OpenTelemetry spans, protobuf",
			doc: "https://opentelemetry.io/docs/specs/otlp/", spans: func() trace.Decoder { return otlp.NewProto() },
		},
		{
			name: "otlp_json", summary: "OpenTelemetry spans, JSON",
			doc: "https://opentelemetry.io/docs/specs/otlp/", spans: func() trace.Decoder { return otlp.NewJSON() },
		},
	}
}

// withZone and text fit constructors of decoders into a format.
func withZone[D accesslog.Decoder](newDecoder func(*time.Location) (D, error)) func(ingest.TopicConfig, *time.Location) (accesslog.Decoder, error) {
	return func(_ ingest.TopicConfig, loc *time.Location) (accesslog.Decoder, error) { return newDecoder(loc) }
}

func text[D accesslog.Decoder](newDecoder func(*time.Location) D) func(ingest.TopicConfig, *time.Location) (accesslog.Decoder, error) {
	return func(_ ingest.TopicConfig, loc *time.Location) (accesslog.Decoder, error) { return newDecoder(loc), nil }
}

func newMapped(t ingest.TopicConfig, loc *time.Location) (accesslog.Decoder, error) {
	sources := make(map[string]mapped.Source, len(t.Mapping))
	for field, m := range t.Mapping {
		sources[field] = mapped.Source(m)
	}
	return mapped.New(sources, loc)
}

// findFormat returns the format of that name.
func findFormat(name string) (format, error) {
	fs := formats()
	i := slices.IndexFunc(fs, func(f format) bool { return f.name == name })
	if i >= 0 {
		return fs[i], nil
	}
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.name
	}
	return format{}, fmt.Errorf("format %q is unknown; the formats are %s", name, strings.Join(names, ", "))
}

// decoder reads the messages of one topic: envelope, format, normalising.
type decoder struct {
	entries   accesslog.Decoder
	spans     trace.Decoder
	normalise *normalise.Normaliser // nil keeps entries and spans as logged
	redact    *trace.Redactor
}

// newDecoder returns what reads the messages of topic t. With a nil normaliser
// records come back as they were logged, which only `decode --redact=false` may show.
func newDecoder(t ingest.TopicConfig, n *normalise.Normaliser) (ingest.Decoder, error) {
	f, err := findFormat(t.Format)
	if err != nil {
		return nil, err
	}
	if f.spans != nil {
		d := &decoder{spans: f.spans(), normalise: n}
		if n != nil {
			d.redact = trace.NewRedactor()
		}
		return d, nil
	}
	loc, err := time.LoadLocation(t.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("time_zone: %w", err)
	}
	entries, err := f.entries(t, loc)
	if err != nil {
		return nil, fmt.Errorf("format %s: %w", f.name, err)
	}
	return &decoder{entries: envelope.New(entries), normalise: n}, nil
}

// newNormaliser returns the normaliser of a topic.
func newNormaliser(t ingest.TopicConfig, c ingest.Config, pepper []byte) (*normalise.Normaliser, error) {
	if len(pepper) == 0 {
		return nil, errors.New("a pepper is needed to hash API keys")
	}
	return normalise.New(normalise.Config{
		Peppers: []normalise.Pepper{{Secret: pepper}}, ClientIP: c.ClientIP, QueryAllow: c.QueryAllow,
		Routes: t.Routes, Service: t.Service, Node: t.Node, Region: t.Region,
	})
}

// Decode implements ingest.Decoder.
func (d *decoder) Decode(msg []byte, out *ingest.Records) error {
	if d.spans != nil {
		if err := d.spans.Decode(msg, &out.Spans); err != nil {
			return err
		}
		if d.redact != nil {
			spans := out.Spans.All()
			for i := range spans {
				d.redact.Redact(&spans[i])
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
