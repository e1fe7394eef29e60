// Package envoy decodes Envoy access logs, and says what Envoy's response
// flags and response code details mean for the outcome of a request.
package envoy

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

// jsonRules lists the keys of Envoy's default JSON format (Envoy Gateway,
// Contour), Istio's, and the command operators that people name keys after.
var jsonRules = []jsonlog.Rule{
	{Path: "start_time", Field: field.StartTime},
	{Path: "timestamp", Field: field.StartTime},
	{Path: "@timestamp", Field: field.StartTime},
	{Path: "time", Field: field.StartTime},
	{Path: "downstream_remote_address", Field: field.ClientIP},
	{Path: "downstream_remote_address_without_port", Field: field.ClientIP},
	{Path: "client_ip", Field: field.ClientIP},
	{Path: "downstream_direct_remote_address", Field: field.ClientIP},
	{Path: "downstream_remote_port", Field: field.ClientPort},
	{Path: "method", Field: field.Method},
	{Path: ":method", Field: field.Method},
	{Path: "request_method", Field: field.Method},
	{Path: "req_method", Field: field.Method},
	{Path: "x-envoy-origin-path", Field: field.Target},
	{Path: "x-envoy-original-path", Field: field.Target},
	{Path: "x_envoy_origin_path", Field: field.Target},
	{Path: "x_envoy_original_path", Field: field.Target},
	{Path: "original_path", Field: field.Target},
	{Path: "path", Field: field.Target},
	{Path: ":path", Field: field.Target},
	{Path: "request_path", Field: field.Target},
	{Path: "uri_path", Field: field.Target},
	{Path: "uri", Field: field.Target},
	{Path: ":authority", Field: field.Authority},
	{Path: "authority", Field: field.Authority},
	{Path: "host", Field: field.Authority},
	{Path: "protocol", Field: field.Protocol},
	{Path: "response_code", Field: field.Status},
	{Path: "status", Field: field.Status},
	{Path: "status_code", Field: field.Status},
	{Path: "bytes_received", Field: field.RequestBytes},
	{Path: "bytes_sent", Field: field.ResponseBytes},
	{Path: "duration", Field: field.Latency},
	{Path: "duration_ms", Field: field.Latency},
	{Path: "x-envoy-upstream-service-time", Field: field.UpstreamLatency},
	{Path: "x_envoy_upstream_service_time", Field: field.UpstreamLatency},
	{Path: "upstream_service_time", Field: field.UpstreamLatency},
	{Path: "resp_upstream_service_time", Field: field.UpstreamLatency},
	{Path: "service", Field: field.Service},
	{Path: "upstream_cluster", Field: field.Service},
	{Path: "upstream_cluster_name", Field: field.Service},
	{Path: "upstream_cluster_raw", Field: field.Service},
	{Path: "route", Field: field.Route},
	{Path: "route_name", Field: field.Route},
	{Path: "upstream_host", Field: field.Upstream},
	{Path: "upstream_remote_address", Field: field.Upstream},
	{Path: "response_flags", Field: field.Flags},
	{Path: "response_flags_long", Field: field.Flags},
	{Path: "flags", Field: field.Flags},
	{Path: "response_code_details", Field: field.Details},
	{Path: "upstream_request_attempt_count", Field: field.Tries},
	{Path: "user-agent", Field: field.UserAgent},
	{Path: "user_agent", Field: field.UserAgent},
	{Path: "referer", Field: field.Referer},
	{Path: "x-request-id", Field: field.RequestID},
	{Path: "x_request_id", Field: field.RequestID},
	{Path: "request_id", Field: field.RequestID},
	{Path: "traceparent", Field: field.Traceparent},
	{Path: "trace_id", Field: field.TraceID},
	{Path: "x-b3-traceid", Field: field.TraceID},
	{Path: "x_b3_traceid", Field: field.TraceID},
	{Path: "span_id", Field: field.SpanID},
	{Path: "x-b3-spanid", Field: field.SpanID},
	{Path: "b3", Field: field.TraceContext},
	{Path: "x-amzn-trace-id", Field: field.TraceContext},
	{Path: "uber-trace-id", Field: field.TraceContext},
	{Path: "x-datadog-trace-id", Field: field.DatadogTraceID},
	{Path: "x-datadog-parent-id", Field: field.DatadogSpanID},
	{Path: "x-forwarded-for", Field: field.ForwardedFor},
	{Path: "x_forwarded_for", Field: field.ForwardedFor},
	{Path: "forwarded_for", Field: field.ForwardedFor},
	{Path: "consumer", Field: field.Consumer},
	{Path: "downstream_peer_subject", Field: field.ClientSubject},
	{Path: "plan", Field: field.Plan},
	{Path: "x-api-key", Field: field.APIKey},
	{Path: "x_api_key", Field: field.APIKey},
	{Path: "api_key", Field: field.APIKey},
	{Path: "authorization", Field: field.APIKey},
	{Path: "node", Field: field.Node},
	{Path: "node_id", Field: field.Node},
	{Path: "hostname", Field: field.Node},
	{Path: "region", Field: field.Region},
	{Path: "api_version", Field: field.APIVersion},
	{Path: "amount", Field: field.Amount},
}

const (
	doc     = "https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage"
	otlpDoc = "https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/access_loggers/open_telemetry/v3/logs_service.proto"
)

// Formats returns the formats of Envoy.
func Formats() []accesslog.Format {
	return []accesslog.Format{
		{Name: "envoy_json", Summary: "Envoy, JSON access log (also Istio, Contour, Envoy Gateway)", Doc: doc, New: newJSON},
		{
			Name: "envoy_text", Summary: "Envoy, default text; also Istio's default, or your own format string (log_format)", Doc: doc,
			Lacks: "in Envoy's default: service, route, response code details, trace", New: newText,
		},
		{
			Name: "envoy_otlp_als_json", Summary: "Envoy, OpenTelemetry access logger, as JSON", Doc: otlpDoc,
			Lacks: "what neither body nor attributes name", New: newOTLPJSON,
		},
		{
			Name: "envoy_otlp_als_proto", Summary: "Envoy, OpenTelemetry access logger, as protobuf", Doc: otlpDoc,
			Lacks: "what neither body nor attributes name", New: newOTLPProto,
		},
	}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	return newObjects(o, table)
}

func newObjects(o accesslog.Options, table *outcome.Table) (*jsonlog.Decoder, error) {
	return jsonlog.New(jsonRules, jsonlog.Options{
		Location: o.Location, UpstreamKnown: true,
		Finish: func(e *accesslog.Entry) { e.Outcome = stated(table, e) },
	})
}
