// Package nginx decodes nginx access logs: JSON by a log_format whose keys are
// nginx's own variable names (deploy/gateways/nginx shows it), and the
// predefined text format `combined`.
package nginx

import (
	"time"

	"gatewatch/internal/accesslog/jsonlog"
)

// jsonRules lists the variables of ngx_http_core_module, ngx_http_log_module
// and ngx_http_upstream_module, and the names that log_formats in the wild give them.
var jsonRules = []jsonlog.Rule{
	{Path: "msec", Field: jsonlog.Timestamp, Unit: jsonlog.Seconds},
	{Path: "time", Field: jsonlog.Timestamp},
	{Path: "time_iso8601", Field: jsonlog.Timestamp},
	{Path: "time_local", Field: jsonlog.Timestamp},
	{Path: "@timestamp", Field: jsonlog.Timestamp},
	{Path: "timestamp", Field: jsonlog.Timestamp},
	{Path: "remote_addr", Field: jsonlog.ClientIP},
	{Path: "client_ip", Field: jsonlog.ClientIP},
	{Path: "clientip", Field: jsonlog.ClientIP},
	{Path: "remote_port", Field: jsonlog.ClientPort},
	{Path: "request_method", Field: jsonlog.Method},
	{Path: "method", Field: jsonlog.Method},
	{Path: "request_uri", Field: jsonlog.Target},
	{Path: "uri", Field: jsonlog.Path},
	{Path: "args", Field: jsonlog.Query},
	{Path: "query_string", Field: jsonlog.Query},
	{Path: "request", Field: jsonlog.RequestLine},
	{Path: "http_host", Field: jsonlog.Authority},
	{Path: "host", Field: jsonlog.Host},
	{Path: "server_name", Field: jsonlog.Host},
	{Path: "server_protocol", Field: jsonlog.Protocol},
	{Path: "protocol", Field: jsonlog.Protocol},
	{Path: "status", Field: jsonlog.Status},
	{Path: "request_length", Field: jsonlog.RequestBytes},
	{Path: "bytes_sent", Field: jsonlog.ResponseBytes},
	{Path: "body_bytes_sent", Field: jsonlog.ResponseBytes},
	{Path: "request_time", Field: jsonlog.Latency, Unit: jsonlog.Seconds},
	{Path: "upstream_response_time", Field: jsonlog.UpstreamLatency, Unit: jsonlog.Seconds},
	{Path: "upstream_addr", Field: jsonlog.Upstream},
	{Path: "upstream_status", Field: jsonlog.UpstreamStatus},
	{Path: "http_user_agent", Field: jsonlog.UserAgent},
	{Path: "user_agent", Field: jsonlog.UserAgent},
	{Path: "http_referer", Field: jsonlog.Referer},
	{Path: "http_referrer", Field: jsonlog.Referer},
	{Path: "referer", Field: jsonlog.Referer},
	{Path: "http_x_forwarded_for", Field: jsonlog.ForwardedFor},
	{Path: "x_forwarded_for", Field: jsonlog.ForwardedFor},
	{Path: "request_id", Field: jsonlog.RequestID},
	{Path: "http_x_request_id", Field: jsonlog.RequestID},
	{Path: "http_traceparent", Field: jsonlog.Traceparent},
	{Path: "traceparent", Field: jsonlog.Traceparent},
	{Path: "otel_trace_id", Field: jsonlog.TraceID},
	{Path: "trace_id", Field: jsonlog.TraceID},
	{Path: "otel_span_id", Field: jsonlog.SpanID},
	{Path: "span_id", Field: jsonlog.SpanID},
	{Path: "service", Field: jsonlog.Service},
	{Path: "proxy_upstream_name", Field: jsonlog.Service},
	{Path: "route", Field: jsonlog.Route},
	{Path: "consumer", Field: jsonlog.Consumer},
	{Path: "remote_user", Field: jsonlog.Consumer},
	{Path: "plan", Field: jsonlog.Plan},
	{Path: "api_key", Field: jsonlog.APIKey},
	{Path: "http_x_api_key", Field: jsonlog.APIKey},
	{Path: "http_authorization", Field: jsonlog.APIKey},
	{Path: "node", Field: jsonlog.Node},
	{Path: "hostname", Field: jsonlog.Node},
	{Path: "region", Field: jsonlog.Region},
	{Path: "api_version", Field: jsonlog.APIVersion},
}

// NewJSON returns a decoder of format nginx_json. Times without a zone are in loc.
func NewJSON(loc *time.Location) (*jsonlog.Decoder, error) {
	return jsonlog.New(jsonRules, jsonlog.Options{Location: loc, UpstreamKnown: true})
}
