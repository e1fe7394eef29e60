// Package traefik decodes Traefik's access log: JSON, and its extension of the
// Common Log Format.
package traefik

import (
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/logformat"
)

// rules are the fields of pkg/middlewares/accesslog/logdata.go, and headers
// that a configuration keeps. Durations are nanoseconds.
var rules = []jsonlog.Rule{
	{Path: "StartUTC", Field: field.StartTime},
	{Path: "StartLocal", Field: field.StartTime},
	{Path: "time", Field: field.LoggedTime},
	{Path: "ClientHost", Field: field.ClientIP},
	{Path: "ClientAddr", Field: field.ClientIP},
	{Path: "ClientPort", Field: field.ClientPort},
	{Path: "ClientUsername", Field: field.Consumer},
	{Path: "TLSClientSubject", Field: field.ClientSubject},
	{Path: "RequestMethod", Field: field.Method},
	{Path: "RequestPath", Field: field.Target},
	{Path: "RequestHost", Field: field.Host},
	{Path: "RequestAddr", Field: field.Authority},
	{Path: "RequestProtocol", Field: field.Protocol},
	{Path: "RequestContentSize", Field: field.RequestBytes},
	{Path: "DownstreamStatus", Field: field.Status},
	{Path: "OriginStatus", Field: field.UpstreamStatus},
	{Path: "DownstreamContentSize", Field: field.ResponseBytes},
	{Path: "OriginContentSize", Field: field.ResponseBytes},
	{Path: "Duration", Field: field.Latency, Unit: field.Nanoseconds},
	{Path: "OriginDuration", Field: field.UpstreamLatency, Unit: field.Nanoseconds},
	{Path: "Overhead", Field: field.GatewayLatency, Unit: field.Nanoseconds},
	{Path: "RouterName", Field: field.Route},
	{Path: "ServiceName", Field: field.Service},
	{Path: "ServiceAddr", Field: field.Upstream},
	{Path: "RetryAttempts", Field: field.Tries},
	{Path: "TraceId", Field: field.TraceID},
	{Path: "SpanId", Field: field.SpanID},
	{Path: "request_Traceparent", Field: field.Traceparent},
	{Path: "request_B3", Field: field.TraceContext},
	{Path: "request_X-Amzn-Trace-Id", Field: field.TraceContext},
	{Path: "request_Uber-Trace-Id", Field: field.TraceContext},
	{Path: "request_X-B3-Traceid", Field: field.TraceID},
	{Path: "request_X-B3-Spanid", Field: field.SpanID},
	{Path: "request_X-Datadog-Trace-Id", Field: field.DatadogTraceID},
	{Path: "request_X-Datadog-Parent-Id", Field: field.DatadogSpanID},
	{Path: "request_User-Agent", Field: field.UserAgent},
	{Path: "request_Referer", Field: field.Referer},
	{Path: "request_X-Forwarded-For", Field: field.ForwardedFor},
	{Path: "request_X-Request-Id", Field: field.RequestID},
	{Path: "downstream_X-Request-Id", Field: field.RequestID},
	{Path: "origin_X-Request-Id", Field: field.RequestID},
	{Path: "request_X-Api-Key", Field: field.APIKey},
	{Path: "request_Authorization", Field: field.APIKey},
}

// Formats returns the formats of Traefik.
func Formats() []accesslog.Format {
	const doc = "https://doc.traefik.io/traefik/observe/logs-and-access-logs/"
	return []accesslog.Format{
		{
			Name: "traefik_json", Summary: "Traefik, JSON", Doc: doc,
			Lacks: "why Traefik itself answered: told from status and upstream; headers that fields.headers doesn't keep", New: newJSON,
		},
		{
			Name: "traefik_clf", Summary: "Traefik, its extended Common Log Format", Doc: doc,
			Lacks: "host, upstream's status and time: errors are told by status only", New: newCLF,
		},
	}
}

func newJSON(o accesslog.Options) (accesslog.Decoder, error) {
	return jsonlog.New(rules, jsonlog.Options{Location: o.Location, UpstreamKnown: true, Finish: finish})
}

// finish undoes what Traefik logs for requests that it sent to no upstream: an
// origin's status and duration of zero. Tries are one more than retries.
func finish(e *accesslog.Entry) {
	if e.UpstreamStatus == 0 && e.Latency.Upstream.V == 0 {
		e.Latency.Upstream = accesslog.Opt[time.Duration]{}
	}
	if e.Upstream != "" {
		e.Tries++
	}
}

// newCLF reads what commonLogFormatter writes: ip - user [start] "method path
// protocol" status size "referer" "agent" count "router" "server" durationms.
// Referer and agent are quoted as Go does; the request is not, and what is cut
// or garbled behind the agent is left out.
func newCLF(o accesslog.Options) (accesslog.Decoder, error) {
	variable := func(f field.Field, k logformat.Kind) logformat.Part {
		return logformat.Part{Name: f.String(), Kind: k, Rule: &field.Rule{Field: f, Unit: field.Milliseconds}}
	}
	text := func(s string) logformat.Part { return logformat.Part{Literal: s} }
	client := []logformat.Part{
		variable(field.ClientIP, logformat.Word), text(" - "), variable(field.Consumer, logformat.User),
		text(" ["), variable(field.StartTime, logformat.Local), text(`] "`),
	}
	request := []logformat.Part{
		variable(field.Method, logformat.Letters), text(" "), variable(field.Target, logformat.Any),
		text(" "), variable(field.Protocol, logformat.Word),
	}
	numbers := []logformat.Part{
		text(`" `), variable(field.Status, logformat.Number), text(" "), variable(field.ResponseBytes, logformat.Number),
	}
	headers := []logformat.Part{
		text(` "`), variable(field.Referer, logformat.Any), text(`" "`), variable(field.UserAgent, logformat.Any), text(`" `),
	}
	server := []logformat.Part{
		{Name: "count", Kind: logformat.Number},
		text(` "`), variable(field.Route, logformat.Any),
		text(`" "`), variable(field.Upstream, logformat.Any), text(`" `), variable(field.Latency, logformat.Number), text("ms"),
	}
	rest := []logformat.Part{{Name: "rest", Kind: logformat.Any}}
	join := func(groups ...[]logformat.Part) logformat.Template {
		var t logformat.Template
		for _, g := range groups {
			t.Parts = append(t.Parts, g...)
		}
		return t
	}
	line := []logformat.Part{variable(field.RequestLine, logformat.Any)}
	return logformat.New(logformat.Options{Location: o.Location},
		join(client, request, numbers, headers, server), join(client, request, numbers, headers, rest),
		join(client, line, numbers, headers, server), join(client, request, numbers))
}
