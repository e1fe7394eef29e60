// Package envoy decodes Envoy access logs, and says what Envoy's response
// flags and response code details mean for the outcome of a request.
package envoy

import (
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonlog"
)

// jsonRules lists the keys of Envoy's default JSON format (Envoy Gateway,
// Contour), Istio's, and the command operators that people name keys after.
var jsonRules = []jsonlog.Rule{
	{Path: "start_time", Field: jsonlog.StartTime},
	{Path: "timestamp", Field: jsonlog.StartTime},
	{Path: "@timestamp", Field: jsonlog.StartTime},
	{Path: "time", Field: jsonlog.StartTime},
	{Path: "downstream_remote_address", Field: jsonlog.ClientIP},
	{Path: "downstream_remote_address_without_port", Field: jsonlog.ClientIP},
	{Path: "client_ip", Field: jsonlog.ClientIP},
	{Path: "downstream_direct_remote_address", Field: jsonlog.ClientIP},
	{Path: "downstream_remote_port", Field: jsonlog.ClientPort},
	{Path: "method", Field: jsonlog.Method},
	{Path: ":method", Field: jsonlog.Method},
	{Path: "request_method", Field: jsonlog.Method},
	{Path: "req_method", Field: jsonlog.Method},
	{Path: "x-envoy-origin-path", Field: jsonlog.Target},
	{Path: "x-envoy-original-path", Field: jsonlog.Target},
	{Path: "x_envoy_origin_path", Field: jsonlog.Target},
	{Path: "x_envoy_original_path", Field: jsonlog.Target},
	{Path: "original_path", Field: jsonlog.Target},
	{Path: "path", Field: jsonlog.Target},
	{Path: ":path", Field: jsonlog.Target},
	{Path: "request_path", Field: jsonlog.Target},
	{Path: "uri_path", Field: jsonlog.Target},
	{Path: "uri", Field: jsonlog.Target},
	{Path: ":authority", Field: jsonlog.Authority},
	{Path: "authority", Field: jsonlog.Authority},
	{Path: "host", Field: jsonlog.Authority},
	{Path: "protocol", Field: jsonlog.Protocol},
	{Path: "response_code", Field: jsonlog.Status},
	{Path: "status", Field: jsonlog.Status},
	{Path: "status_code", Field: jsonlog.Status},
	{Path: "bytes_received", Field: jsonlog.RequestBytes},
	{Path: "bytes_sent", Field: jsonlog.ResponseBytes},
	{Path: "duration", Field: jsonlog.Latency},
	{Path: "duration_ms", Field: jsonlog.Latency},
	{Path: "x-envoy-upstream-service-time", Field: jsonlog.UpstreamLatency},
	{Path: "x_envoy_upstream_service_time", Field: jsonlog.UpstreamLatency},
	{Path: "upstream_service_time", Field: jsonlog.UpstreamLatency},
	{Path: "resp_upstream_service_time", Field: jsonlog.UpstreamLatency},
	{Path: "service", Field: jsonlog.Service},
	{Path: "upstream_cluster", Field: jsonlog.Service},
	{Path: "upstream_cluster_name", Field: jsonlog.Service},
	{Path: "upstream_cluster_raw", Field: jsonlog.Service},
	{Path: "route", Field: jsonlog.Route},
	{Path: "route_name", Field: jsonlog.Route},
	{Path: "upstream_host", Field: jsonlog.Upstream},
	{Path: "upstream_remote_address", Field: jsonlog.Upstream},
	{Path: "response_flags", Field: jsonlog.Flags},
	{Path: "response_flags_long", Field: jsonlog.Flags},
	{Path: "flags", Field: jsonlog.Flags},
	{Path: "response_code_details", Field: jsonlog.Details},
	{Path: "upstream_request_attempt_count", Field: jsonlog.Tries},
	{Path: "user-agent", Field: jsonlog.UserAgent},
	{Path: "user_agent", Field: jsonlog.UserAgent},
	{Path: "referer", Field: jsonlog.Referer},
	{Path: "x-request-id", Field: jsonlog.RequestID},
	{Path: "x_request_id", Field: jsonlog.RequestID},
	{Path: "request_id", Field: jsonlog.RequestID},
	{Path: "traceparent", Field: jsonlog.Traceparent},
	{Path: "trace_id", Field: jsonlog.TraceID},
	{Path: "x-b3-traceid", Field: jsonlog.TraceID},
	{Path: "x_b3_traceid", Field: jsonlog.TraceID},
	{Path: "span_id", Field: jsonlog.SpanID},
	{Path: "x-b3-spanid", Field: jsonlog.SpanID},
	{Path: "x-forwarded-for", Field: jsonlog.ForwardedFor},
	{Path: "x_forwarded_for", Field: jsonlog.ForwardedFor},
	{Path: "forwarded_for", Field: jsonlog.ForwardedFor},
	{Path: "consumer", Field: jsonlog.Consumer},
	{Path: "plan", Field: jsonlog.Plan},
	{Path: "x-api-key", Field: jsonlog.APIKey},
	{Path: "x_api_key", Field: jsonlog.APIKey},
	{Path: "api_key", Field: jsonlog.APIKey},
	{Path: "authorization", Field: jsonlog.APIKey},
	{Path: "node", Field: jsonlog.Node},
	{Path: "node_id", Field: jsonlog.Node},
	{Path: "hostname", Field: jsonlog.Node},
	{Path: "region", Field: jsonlog.Region},
	{Path: "api_version", Field: jsonlog.APIVersion},
}

// NewJSON returns a decoder of format envoy_json. Times without a zone are in loc.
func NewJSON(loc *time.Location) (*jsonlog.Decoder, error) {
	table, err := newTable()
	if err != nil {
		return nil, err
	}
	return jsonlog.New(jsonRules, jsonlog.Options{
		Location: loc, UpstreamKnown: true,
		Finish: func(e *accesslog.Entry) { e.Outcome = table.outcome(e) },
	})
}
