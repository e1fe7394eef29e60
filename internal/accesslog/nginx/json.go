package nginx

import (
	"slices"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
)

// jsonRules lists the variables of ngx_http_core_module, ngx_http_log_module
// and ngx_http_upstream_module, and the names that log_formats in the wild give them.
var jsonRules = []jsonlog.Rule{
	{Path: "msec", Field: field.Timestamp, Unit: field.Seconds},
	{Path: "time", Field: field.Timestamp},
	{Path: "time_iso8601", Field: field.Timestamp},
	{Path: "time_local", Field: field.Timestamp},
	{Path: "@timestamp", Field: field.Timestamp},
	{Path: "timestamp", Field: field.Timestamp},
	{Path: "remote_addr", Field: field.ClientIP},
	{Path: "client_ip", Field: field.ClientIP},
	{Path: "clientip", Field: field.ClientIP},
	{Path: "remote_port", Field: field.ClientPort},
	{Path: "request_method", Field: field.Method},
	{Path: "method", Field: field.Method},
	{Path: "request_uri", Field: field.Target},
	{Path: "uri", Field: field.Path},
	{Path: "args", Field: field.Query},
	{Path: "query_string", Field: field.Query},
	{Path: "request", Field: field.RequestLine},
	{Path: "http_host", Field: field.Authority},
	{Path: "host", Field: field.Host},
	{Path: "server_name", Field: field.Host},
	{Path: "server_protocol", Field: field.Protocol},
	{Path: "protocol", Field: field.Protocol},
	{Path: "status", Field: field.Status},
	{Path: "request_length", Field: field.RequestBytes},
	{Path: "bytes_sent", Field: field.ResponseBytes},
	{Path: "body_bytes_sent", Field: field.ResponseBytes},
	{Path: "request_time", Field: field.Latency, Unit: field.Seconds},
	{Path: "upstream_header_time", Field: field.UpstreamHeaders, Unit: field.Seconds},
	{Path: "upstream_response_time", Field: field.UpstreamLatency, Unit: field.Seconds},
	{Path: "upstream_addr", Field: field.Upstream},
	{Path: "upstream_status", Field: field.UpstreamStatus},
	{Path: "http_user_agent", Field: field.UserAgent},
	{Path: "user_agent", Field: field.UserAgent},
	{Path: "http_referer", Field: field.Referer},
	{Path: "http_referrer", Field: field.Referer},
	{Path: "referer", Field: field.Referer},
	{Path: "http_x_forwarded_for", Field: field.ForwardedFor},
	{Path: "x_forwarded_for", Field: field.ForwardedFor},
	{Path: "request_id", Field: field.RequestID},
	{Path: "req_id", Field: field.RequestID},
	{Path: "http_x_request_id", Field: field.RequestID},
	{Path: "http_traceparent", Field: field.Traceparent},
	{Path: "traceparent", Field: field.Traceparent},
	{Path: "http_b3", Field: field.TraceContext},
	{Path: "http_x_amzn_trace_id", Field: field.TraceContext},
	{Path: "http_uber_trace_id", Field: field.TraceContext},
	{Path: "http_x_b3_traceid", Field: field.TraceID},
	{Path: "http_x_b3_spanid", Field: field.SpanID},
	{Path: "http_x_datadog_trace_id", Field: field.DatadogTraceID},
	{Path: "http_x_datadog_parent_id", Field: field.DatadogSpanID},
	{Path: "otel_trace_id", Field: field.TraceID},
	{Path: "trace_id", Field: field.TraceID},
	{Path: "otel_span_id", Field: field.SpanID},
	{Path: "span_id", Field: field.SpanID},
	{Path: "service", Field: field.Service},
	{Path: "proxy_upstream_name", Field: field.Service},
	{Path: "route", Field: field.Route},
	{Path: "consumer", Field: field.Consumer},
	{Path: "remote_user", Field: field.Consumer},
	{Path: "ssl_client_s_dn", Field: field.ClientSubject},
	{Path: "plan", Field: field.Plan},
	{Path: "api_key", Field: field.APIKey},
	{Path: "http_x_api_key", Field: field.APIKey},
	{Path: "http_authorization", Field: field.APIKey},
	{Path: "node", Field: field.Node},
	{Path: "hostname", Field: field.Node},
	{Path: "region", Field: field.Region},
	{Path: "api_version", Field: field.APIVersion},
	{Path: "amount", Field: field.Amount},
}

// Variables returns the rules of nginx's variables, for gateways that build on nginx.
func Variables() []jsonlog.Rule { return slices.Clone(jsonRules) }

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(jsonRules, jsonlog.Options{Location: o.Location, UpstreamKnown: true})
}
