// Package apisix decodes what Apache APISIX's logging plugins write
// (kafka-logger, http-logger, file-logger and their kin): the default object,
// one by one or in batches, and objects by a user's own log_format.
package apisix

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/nginx"
)

// rules are the fields of the default log entry (apisix/utils/log-util.lua).
// A log_format names its keys as it likes, but most name them after the
// variables of nginx that they hold; those come after these.
var rules = []jsonlog.Rule{
	{Path: "start_time", Field: field.StartTime, Unit: field.Milliseconds},
	{Path: "client_ip", Field: field.ClientIP},
	{Path: "request.method", Field: field.Method},
	{Path: "request.uri", Field: field.Target},
	{Path: "request.url", Field: field.URL},
	{Path: "request.headers.host", Field: field.Authority},
	{Path: "response.status", Field: field.Status},
	{Path: "request.size", Field: field.RequestBytes},
	{Path: "response.size", Field: field.ResponseBytes},
	{Path: "latency", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "upstream_latency", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "apisix_latency", Field: field.GatewayLatency, Unit: field.Milliseconds},
	{Path: "service_name", Field: field.Service},
	{Path: "service_id", Field: field.Service},
	{Path: "route_name", Field: field.Route},
	{Path: "route_id", Field: field.Route},
	{Path: "upstream", Field: field.Upstream},
	{Path: "response.headers.x-apisix-upstream-status", Field: field.UpstreamStatus},
	{Path: "server.hostname", Field: field.Node},
	{Path: "request.headers.user-agent", Field: field.UserAgent},
	{Path: "request.headers.referer", Field: field.Referer},
	{Path: "request.headers.x-forwarded-for", Field: field.ForwardedFor},
	{Path: "request.headers.x-request-id", Field: field.RequestID},
	{Path: "response.headers.x-request-id", Field: field.RequestID},
	{Path: "request.headers.traceparent", Field: field.Traceparent},
	{Path: "opentelemetry_trace_id", Field: field.TraceID},
	{Path: "opentelemetry_span_id", Field: field.SpanID},
	{Path: "request.headers.b3", Field: field.TraceContext},
	{Path: "request.headers.x-amzn-trace-id", Field: field.TraceContext},
	{Path: "request.headers.uber-trace-id", Field: field.TraceContext},
	{Path: "request.headers.x-datadog-trace-id", Field: field.DatadogTraceID},
	{Path: "request.headers.x-datadog-parent-id", Field: field.DatadogSpanID},
	{Path: "request.headers.x-b3-traceid", Field: field.TraceID},
	{Path: "request.headers.x-b3-spanid", Field: field.SpanID},
	{Path: "consumer.username", Field: field.Consumer},
	{Path: "consumer_name", Field: field.Consumer},
	{Path: "request.headers.apikey", Field: field.APIKey},
	{Path: "request.headers.x-api-key", Field: field.APIKey},
	{Path: "request.headers.authorization", Field: field.APIKey},
}

// Formats returns the formats of APISIX.
func Formats() []accesslog.Format {
	const (
		doc   = "https://apisix.apache.org/docs/apisix/plugins/kafka-logger/"
		lacks = "protocol; why the gateway itself answered: told from status, upstream and times"
	)
	return []accesslog.Format{
		{Name: "apisix_json", Summary: "Apache APISIX, JSON of kafka-logger, http-logger and other loggers, default or custom log_format", Doc: doc, Lacks: lacks, New: newJSON},
		{Name: "apisix_json_batch", Summary: "Apache APISIX, the same in batches: a JSON array a message", Doc: doc, Lacks: lacks, New: newJSON},
	}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(jsonlog.Join(rules, nginx.Variables()), jsonlog.Options{Location: o.Location, UpstreamKnown: true, Thin: true})
}
