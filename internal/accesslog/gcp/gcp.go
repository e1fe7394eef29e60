// Package gcp decodes the request log of Google Cloud's HTTP(S) load balancers,
// as Cloud Logging exports it.
package gcp

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed outcomes.tsv
var outcomesTSV string

// rules are the fields of a LogEntry with an HttpRequest, and those that the
// load balancer adds as jsonPayload and resource labels.
var rules = []jsonlog.Rule{
	{Path: "timestamp", Field: field.StartTime},
	{Path: "receiveTimestamp", Field: field.LoggedTime},
	{Path: "httpRequest.remoteIp", Field: field.ClientIP},
	{Path: "jsonPayload.remoteIp", Field: field.ClientIP},
	{Path: "httpRequest.requestMethod", Field: field.Method},
	{Path: "httpRequest.requestUrl", Field: field.URL},
	{Path: "httpRequest.protocol", Field: field.Protocol},
	{Path: "httpRequest.status", Field: field.Status},
	{Path: "httpRequest.requestSize", Field: field.RequestBytes},
	{Path: "httpRequest.responseSize", Field: field.ResponseBytes},
	{Path: "httpRequest.latency", Field: field.Latency, Unit: field.Seconds},
	{Path: "httpRequest.serverIp", Field: field.Upstream},
	{Path: "httpRequest.userAgent", Field: field.UserAgent},
	{Path: "httpRequest.referer", Field: field.Referer},
	{Path: "resource.labels.backend_service_name", Field: field.Service},
	{Path: "resource.labels.backend_target_name", Field: field.Service},
	{Path: "resource.labels.matched_url_path_rule", Field: field.Route},
	{Path: "resource.labels.forwarding_rule_name", Field: field.Node},
	{Path: "resource.labels.region", Field: field.Region},
	{Path: "jsonPayload.statusDetails", Field: field.Flags},
	{Path: "jsonPayload.proxyStatus", Field: field.Details},
	{Path: "insertId", Field: field.RequestID},
	{Path: "trace", Field: field.TraceContext},
	{Path: "spanId", Field: field.SpanID},
}

// Formats returns the format of Google Cloud.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "gcp_lb_json", Summary: "Google Cloud HTTP(S) load balancer, LogEntry in JSON",
		Doc:   "https://cloud.google.com/load-balancing/docs/https/https-logging-monitoring",
		Lacks: "the backend's share of the time, its own status, consumer", New: newJSON,
	}}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	return jsonlog.New(rules, jsonlog.Options{
		Location: o.Location,
		Finish:   func(e *accesslog.Entry) { e.Outcome = table.Of(e) },
	})
}
