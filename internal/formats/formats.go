// Package formats lists all formats that a topic can hold: access logs of each
// gateway and spans of each tracer.
package formats

import (
	"slices"
	_ "time/tzdata" // time zones for images without them

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/apache"
	"gatewatch/internal/accesslog/apisix"
	"gatewatch/internal/accesslog/aws"
	"gatewatch/internal/accesslog/azure"
	"gatewatch/internal/accesslog/caddy"
	"gatewatch/internal/accesslog/ecs"
	"gatewatch/internal/accesslog/envoy"
	"gatewatch/internal/accesslog/gcp"
	"gatewatch/internal/accesslog/haproxy"
	"gatewatch/internal/accesslog/kong"
	"gatewatch/internal/accesslog/mapped"
	"gatewatch/internal/accesslog/nginx"
	"gatewatch/internal/accesslog/traefik"
	"gatewatch/internal/accesslog/tyk"
	"gatewatch/internal/accesslog/w3c"
	"gatewatch/internal/accesslog/zoraxy"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/jaeger"
	"gatewatch/internal/trace/otlp"
	"gatewatch/internal/trace/zipkin"
)

// A Format is a name that a topic's configuration can give.
type Format struct {
	accesslog.Format
	// Spans returns a decoder of spans; nil for access logs, which New decodes.
	Spans func() trace.Decoder
}

// All returns all formats in the order in which they are listed to people.
func All() []Format {
	var fs []Format
	for _, f := range slices.Concat(
		nginx.Formats(),
		apache.Formats(),
		envoy.Formats(),
		haproxy.Formats(),
		kong.Formats(),
		tyk.Formats(),
		apisix.Formats(),
		traefik.Formats(),
		caddy.Formats(),
		zoraxy.Formats(),
		aws.Formats(),
		gcp.Formats(),
		azure.Formats(),
		w3c.Formats(),
		ecs.Formats(),
		mapped.Formats(),
	) {
		fs = append(fs, Format{Format: f})
	}
	const (
		otlpDoc   = "https://opentelemetry.io/docs/specs/otlp/"
		jaegerDoc = "https://github.com/jaegertracing/jaeger-idl/blob/main/proto/api_v2/model.proto"
		zipkinDoc = "https://github.com/openzipkin/zipkin-api/blob/master/zipkin.proto"
	)
	return append(fs,
		Format{accesslog.Format{Name: "otlp_proto", Summary: "OpenTelemetry spans, protobuf", Doc: otlpDoc}, func() trace.Decoder { return otlp.NewProto() }},
		Format{accesslog.Format{Name: "otlp_json", Summary: "OpenTelemetry spans, JSON", Doc: otlpDoc}, func() trace.Decoder { return otlp.NewJSON() }},
		Format{accesslog.Format{Name: "jaeger_trace_json", Summary: "Jaeger spans, JSON: one, a batch, a trace, or the query API's", Doc: jaegerDoc}, func() trace.Decoder { return jaeger.NewJSON() }},
		Format{accesslog.Format{Name: "jaeger_proto", Summary: "Jaeger spans, protobuf: one, or a batch", Doc: jaegerDoc}, func() trace.Decoder { return jaeger.NewProto() }},
		Format{accesslog.Format{Name: "zipkin_v2_json", Summary: "Zipkin spans, JSON of version 2", Doc: zipkinDoc}, func() trace.Decoder { return zipkin.NewJSON() }},
		Format{accesslog.Format{Name: "zipkin_v1_json", Summary: "Zipkin spans, JSON of version 1", Doc: "https://zipkin.io/zipkin-api/v1.html"}, func() trace.Decoder { return zipkin.NewJSONv1() }},
		Format{accesslog.Format{Name: "zipkin_v2_proto", Summary: "Zipkin spans, protobuf", Doc: zipkinDoc}, func() trace.Decoder { return zipkin.NewProto() }},
	)
}

// Find returns the format of that name.
func Find(name string) (Format, bool) {
	for _, f := range All() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}
