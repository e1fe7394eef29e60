// Package kong decodes what Kong's logging plugins write: http-log, file-log,
// kafka-log, tcp-log and their kin share one serialiser.
package kong

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed outcomes.tsv
var outcomesTSV string

// rules are the fields of the serialiser (kong/pdk/log.lua), 2.x and 3.x, and
// headers that clients, plugins and upstreams set.
var rules = []jsonlog.Rule{
	{Path: "started_at", Field: field.StartTime, Unit: field.Milliseconds},
	{Path: "client_ip", Field: field.ClientIP},
	{Path: "request.method", Field: field.Method},
	{Path: "request.uri", Field: field.Target},
	{Path: "request.url", Field: field.URL},
	{Path: "request.headers.host", Field: field.Authority},
	{Path: "response.status", Field: field.Status},
	{Path: "request.size", Field: field.RequestBytes},
	{Path: "response.size", Field: field.ResponseBytes},
	{Path: "latencies.request", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "latencies.proxy", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "latencies.kong", Field: field.GatewayLatency, Unit: field.Milliseconds},
	{Path: "service.name", Field: field.Service},
	{Path: "service.host", Field: field.Service},
	{Path: "service.id", Field: field.Service},
	{Path: "route.name", Field: field.Route},
	{Path: "route.id", Field: field.Route},
	{Path: "tries", Field: field.Tries},
	{Path: "tries.ip", Field: field.Upstream},
	{Path: "tries.port", Field: field.UpstreamPort},
	{Path: "upstream_status", Field: field.UpstreamStatus},
	{Path: "source", Field: field.Flags},
	{Path: "response_source", Field: field.Details},
	{Path: "request.headers.user-agent", Field: field.UserAgent},
	{Path: "request.headers.referer", Field: field.Referer},
	{Path: "request.headers.x-forwarded-for", Field: field.ForwardedFor},
	{Path: "request.id", Field: field.RequestID},
	{Path: "request.headers.x-request-id", Field: field.RequestID},
	{Path: "request.headers.kong-request-id", Field: field.RequestID},
	{Path: "correlation_id", Field: field.RequestID},
	{Path: "request.headers.traceparent", Field: field.Traceparent},
	{Path: "trace_id.w3c", Field: field.TraceID},
	{Path: "trace_id.b3", Field: field.TraceID},
	{Path: "request.headers.b3", Field: field.TraceContext},
	{Path: "request.headers.x-amzn-trace-id", Field: field.TraceContext},
	{Path: "request.headers.uber-trace-id", Field: field.TraceContext},
	{Path: "request.headers.x-datadog-trace-id", Field: field.DatadogTraceID},
	{Path: "request.headers.x-datadog-parent-id", Field: field.DatadogSpanID},
	{Path: "request.headers.x-b3-traceid", Field: field.TraceID},
	{Path: "request.headers.x-b3-spanid", Field: field.SpanID},
	{Path: "consumer.username", Field: field.Consumer},
	{Path: "consumer.custom_id", Field: field.Consumer},
	{Path: "consumer.id", Field: field.Consumer},
	{Path: "authenticated_entity.consumer_id", Field: field.Consumer},
	{Path: "authenticated_entity.id", Field: field.Consumer},
	{Path: "request.headers.apikey", Field: field.APIKey},
	{Path: "request.headers.x-api-key", Field: field.APIKey},
	{Path: "request.headers.authorization", Field: field.APIKey},
}

// Formats returns the format of Kong.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "kong_json", Summary: "Kong 2.x and 3.x, JSON of http-log, file-log, kafka-log and other logging plugins",
		Doc:   "https://developer.konghq.com/plugins/http-log/",
		Lacks: "protocol version; a breaker's or a balancer's reason for an error of its own is told from times and status",
		New:   newJSON,
	}}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	return jsonlog.New(rules, jsonlog.Options{
		Location: o.Location, UpstreamKnown: true,
		Finish: func(e *accesslog.Entry) { e.Outcome = table.Of(e) },
	})
}
