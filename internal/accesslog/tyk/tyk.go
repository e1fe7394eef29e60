// Package tyk decodes the access log of Tyk Gateway, and the analytics records
// that Tyk Pump writes to Kafka and other stores.
package tyk

import (
	_ "embed"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed outcomes.tsv
var outcomesTSV string

// accessRules are the fields of the gateway's record (internal/httputil/accesslog).
var accessRules = []jsonlog.Rule{
	{Path: "time", Field: field.Timestamp},
	{Path: "client_ip", Field: field.ClientIP},
	{Path: "remote_addr", Field: field.ClientIP},
	{Path: "method", Field: field.Method},
	{Path: "original_path", Field: field.Path},
	{Path: "path", Field: field.Path},
	{Path: "host", Field: field.Authority},
	{Path: "protocol", Field: field.Protocol},
	{Path: "status", Field: field.Status},
	{Path: "latency_total", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "upstream_latency", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "latency_gateway", Field: field.GatewayLatency, Unit: field.Milliseconds},
	{Path: "api_name", Field: field.Service},
	{Path: "api_id", Field: field.Service},
	{Path: "api_version", Field: field.APIVersion},
	{Path: "upstream_addr", Field: field.Upstream},
	{Path: "upstream_status", Field: field.UpstreamStatus},
	{Path: "response_flag", Field: field.Flags},
	{Path: "response_code_details", Field: field.Details},
	{Path: "user_agent", Field: field.UserAgent},
	{Path: "trace_id", Field: field.TraceID},
	{Path: "api_key", Field: field.APIKey},
}

// pumpRules are the fields of an AnalyticsRecord (analytics/analytics.go), and
// those that the Kafka pump names otherwise (pumps/kafka.go).
var pumpRules = []jsonlog.Rule{
	{Path: "timestamp", Field: field.Timestamp},
	{Path: "ip_address", Field: field.ClientIP},
	{Path: "method", Field: field.Method},
	{Path: "original_path", Field: field.Target},
	{Path: "raw_path", Field: field.Target},
	{Path: "path", Field: field.Path},
	{Path: "host", Field: field.Authority},
	{Path: "response_code", Field: field.Status},
	{Path: "content_length", Field: field.RequestBytes},
	{Path: "latency.total", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "request_time_ms", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "request_time", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "latency.upstream", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "latency.gateway", Field: field.GatewayLatency, Unit: field.Milliseconds},
	{Path: "api_name", Field: field.Service},
	{Path: "api_id", Field: field.Service},
	{Path: "api_version", Field: field.APIVersion},
	{Path: "user_agent", Field: field.UserAgent},
	{Path: "alias", Field: field.Consumer},
	{Path: "oauth_id", Field: field.Consumer},
	{Path: "api_key", Field: field.APIKey},
}

// Formats returns the formats of Tyk.
func Formats() []accesslog.Format {
	return []accesslog.Format{
		{
			Name: "tyk_json", Summary: "Tyk Gateway 5.8 and later, access log in JSON", Doc: "https://tyk.io/docs/api-management/logs/access-logs",
			Lacks: "query, sizes; keys are masked unless hash_keys is on, so calls count per API, not per key", New: newAccess,
		},
		{
			Name: "tyk_pump_json", Summary: "Tyk Pump, analytics records of the Kafka pump and others", Doc: "https://tyk.io/docs/api-management/tyk-pump",
			Lacks: "protocol, upstream; errors are told by status only, and upstream time is there only where the pump writes latency", New: newPump,
		},
	}
}

func newAccess(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	return jsonlog.New(accessRules, jsonlog.Options{Location: o.Location, Finish: func(e *accesslog.Entry) {
		e.Upstream = authority(e.Upstream)
		e.Outcome = table.Of(e)
	}})
}

func newPump(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(pumpRules, jsonlog.Options{Location: o.Location})
}

// authority returns host and port of a URL.
func authority(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		url = rest
	}
	host, _, _ := strings.Cut(url, "/")
	return host
}
