// Package ecs decodes requests of HTTP servers in the Elastic Common Schema,
// nested or with dotted keys.
package ecs

import (
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
)

// nested are the fields of the schema. Of several that say the same the earliest counts.
var nested = []jsonlog.Rule{
	{Path: "event.end", Field: field.Timestamp},
	{Path: "event.start", Field: field.StartTime},
	{Path: "@timestamp", Field: field.LoggedTime},
	{Path: "client.ip", Field: field.ClientIP},
	{Path: "source.ip", Field: field.ClientIP},
	{Path: "client.address", Field: field.ClientIP},
	{Path: "source.address", Field: field.ClientIP},
	{Path: "client.port", Field: field.ClientPort},
	{Path: "source.port", Field: field.ClientPort},
	{Path: "http.request.method", Field: field.Method},
	{Path: "url.original", Field: field.Target},
	{Path: "url.path", Field: field.Path},
	{Path: "url.query", Field: field.Query},
	{Path: "url.full", Field: field.URL},
	{Path: "url.domain", Field: field.Host},
	{Path: "destination.domain", Field: field.Host},
	{Path: "http.version", Field: field.Protocol},
	{Path: "http.response.status_code", Field: field.Status},
	{Path: "http.request.bytes", Field: field.RequestBytes},
	{Path: "http.request.body.bytes", Field: field.RequestBytes},
	{Path: "http.response.bytes", Field: field.ResponseBytes},
	{Path: "http.response.body.bytes", Field: field.ResponseBytes},
	{Path: "event.duration", Field: field.Latency, Unit: field.Nanoseconds},
	{Path: "service.name", Field: field.Service},
	{Path: "service.version", Field: field.APIVersion},
	{Path: "service.node.name", Field: field.Node},
	{Path: "host.name", Field: field.Node},
	{Path: "host.hostname", Field: field.Node},
	{Path: "cloud.region", Field: field.Region},
	{Path: "destination.address", Field: field.Upstream},
	{Path: "user_agent.original", Field: field.UserAgent},
	{Path: "http.request.referrer", Field: field.Referer},
	{Path: "network.forwarded_ip", Field: field.ForwardedFor},
	{Path: "http.request.id", Field: field.RequestID},
	{Path: "event.id", Field: field.RequestID},
	{Path: "trace.id", Field: field.TraceID},
	{Path: "span.id", Field: field.SpanID},
	{Path: "transaction.id", Field: field.SpanID},
	{Path: "user.id", Field: field.Consumer},
	{Path: "user.name", Field: field.Consumer},
}

// rules are the fields nested, and with dotted keys as loggers of the schema may write them.
func rules() []jsonlog.Rule {
	all := append([]jsonlog.Rule(nil), nested...)
	for _, r := range nested {
		if strings.Contains(r.Path, ".") {
			r.Path = strings.ReplaceAll(r.Path, ".", `\.`)
			all = append(all, r)
		}
	}
	return all
}

// Formats returns the format of the schema.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "ecs_json", Summary: "Elastic Common Schema, JSON of an HTTP server",
		Doc:   "https://www.elastic.co/docs/reference/ecs/ecs-http",
		Lacks: "the upstream's status and time: errors are told by status only; without event.start or event.end, @timestamp is taken for the end",
		New:   newJSON,
	}}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(rules(), jsonlog.Options{Location: o.Location})
}
