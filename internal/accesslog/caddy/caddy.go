// Package caddy decodes Caddy's access log in JSON.
package caddy

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
)

// rules are the fields of modules/caddyhttp/server.go and marshalers.go; header
// values are arrays, of which the first counts. Before 2.5 the client was remote_addr.
var rules = []jsonlog.Rule{
	{Path: "ts", Field: field.Timestamp},
	{Path: "request.client_ip", Field: field.ClientIP},
	{Path: "request.remote_ip", Field: field.ClientIP},
	{Path: "request.remote_addr", Field: field.ClientIP},
	{Path: "request.remote_port", Field: field.ClientPort},
	{Path: "request.method", Field: field.Method},
	{Path: "request.uri", Field: field.Target},
	{Path: "request.host", Field: field.Authority},
	{Path: "request.proto", Field: field.Protocol},
	{Path: "status", Field: field.Status},
	{Path: "bytes_read", Field: field.RequestBytes},
	{Path: "size", Field: field.ResponseBytes},
	{Path: "duration", Field: field.Latency, Unit: field.Seconds},
	{Path: "duration_ms", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "upstream_latency_ms", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "upstream_hostport", Field: field.Upstream},
	{Path: "upstream_status", Field: field.UpstreamStatus},
	{Path: "service", Field: field.Service},
	{Path: "route", Field: field.Route},
	{Path: "user_id", Field: field.Consumer},
	{Path: "request.tls.client_common_name", Field: field.ClientSubject},
	{Path: "uuid", Field: field.RequestID},
	{Path: "resp_headers.X-Request-Id", Field: field.RequestID},
	{Path: "request.headers.X-Request-Id", Field: field.RequestID},
	{Path: "request.headers.Traceparent", Field: field.Traceparent},
	{Path: "request.headers.B3", Field: field.TraceContext},
	{Path: "request.headers.X-Amzn-Trace-Id", Field: field.TraceContext},
	{Path: "request.headers.Uber-Trace-Id", Field: field.TraceContext},
	{Path: "request.headers.X-B3-Traceid", Field: field.TraceID},
	{Path: "request.headers.X-B3-Spanid", Field: field.SpanID},
	{Path: "request.headers.X-Datadog-Trace-Id", Field: field.DatadogTraceID},
	{Path: "request.headers.X-Datadog-Parent-Id", Field: field.DatadogSpanID},
	{Path: "traceID", Field: field.TraceID},
	{Path: "spanID", Field: field.SpanID},
	{Path: "request.headers.User-Agent", Field: field.UserAgent},
	{Path: "request.headers.Referer", Field: field.Referer},
	{Path: "request.headers.X-Forwarded-For", Field: field.ForwardedFor},
	{Path: "request.headers.X-Api-Key", Field: field.APIKey},
	{Path: "request.headers.Authorization", Field: field.APIKey},
}

// Formats returns the format of Caddy.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "caddy_json", Summary: "Caddy 2, JSON",
		Doc:   "https://caddyserver.com/docs/caddyfile/directives/log",
		Lacks: "upstream, unless log_append adds upstream_hostport, upstream_latency_ms, upstream_status: errors are told by status only",
		New:   newJSON,
	}}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(rules, jsonlog.Options{Location: o.Location})
}
