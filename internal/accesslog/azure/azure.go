// Package azure decodes the access logs of Azure Application Gateway and Azure
// Front Door, as diagnostic settings export them.
package azure

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed appgw.tsv
var appGatewayTSV string

//go:embed frontdoor.tsv
var frontDoorTSV string

// appGatewayRules are the fields of ApplicationGatewayAccessLog of version 2,
// whose times are seconds; an event hub's own names in capitals come second.
var appGatewayRules = []jsonlog.Rule{
	{Path: "timeStamp", Field: field.Timestamp},
	{Path: "time", Field: field.Timestamp},
	{Path: "properties.clientIP", Field: field.ClientIP},
	{Path: "properties.clientPort", Field: field.ClientPort},
	{Path: "properties.httpMethod", Field: field.Method},
	{Path: "properties.originalRequestUriWithArgs", Field: field.Target},
	{Path: "properties.requestUri", Field: field.Path},
	{Path: "properties.requestQuery", Field: field.Query},
	{Path: "properties.originalHost", Field: field.Authority},
	{Path: "properties.host", Field: field.Authority},
	{Path: "properties.httpVersion", Field: field.Protocol},
	{Path: "properties.httpStatus", Field: field.Status},
	{Path: "properties.receivedBytes", Field: field.RequestBytes},
	{Path: "properties.sentBytes", Field: field.ResponseBytes},
	{Path: "properties.timeTaken", Field: field.Latency, Unit: field.Seconds},
	{Path: "properties.serverResponseLatency", Field: field.UpstreamLatency, Unit: field.Seconds},
	{Path: "properties.serverStatus", Field: field.UpstreamStatus},
	{Path: "properties.serverRouted", Field: field.Upstream},
	{Path: "backendPoolName", Field: field.Service},
	{Path: "properties.backendPoolName", Field: field.Service},
	{Path: "ruleName", Field: field.Route},
	{Path: "listenerName", Field: field.Route},
	{Path: "properties.instanceId", Field: field.Node},
	{Path: "properties.error_info", Field: field.Flags},
	{Path: "properties.userAgent", Field: field.UserAgent},
	{Path: "properties.transactionId", Field: field.RequestID},
}

// frontDoorRules are the fields of FrontDoorAccessLog.
var frontDoorRules = []jsonlog.Rule{
	{Path: "time", Field: field.Timestamp},
	{Path: "properties.clientIp", Field: field.ClientIP},
	{Path: "properties.socketIp", Field: field.ClientIP},
	{Path: "properties.clientPort", Field: field.ClientPort},
	{Path: "properties.httpMethod", Field: field.Method},
	{Path: "properties.requestUri", Field: field.URL},
	{Path: "properties.hostName", Field: field.Authority},
	{Path: "properties.sni", Field: field.Host},
	{Path: "properties.httpVersion", Field: field.Protocol},
	{Path: "properties.httpStatusCode", Field: field.Status},
	{Path: "properties.requestBytes", Field: field.RequestBytes},
	{Path: "properties.responseBytes", Field: field.ResponseBytes},
	{Path: "properties.timeTaken", Field: field.Latency, Unit: field.Seconds},
	{Path: "properties.timeToFirstByte", Field: field.UpstreamHeaders, Unit: field.Seconds},
	{Path: "properties.originStatusCode", Field: field.UpstreamStatus},
	{Path: "properties.originIp", Field: field.Upstream},
	{Path: "properties.originName", Field: field.Service},
	{Path: "properties.routingRuleName", Field: field.Route},
	{Path: "properties.pop", Field: field.Node},
	{Path: "properties.errorInfo", Field: field.Flags},
	{Path: "properties.ErrorInfo", Field: field.Flags},
	{Path: "properties.httpStatusDetails", Field: field.Details},
	{Path: "properties.userAgent", Field: field.UserAgent},
	{Path: "properties.referer", Field: field.Referer},
	{Path: "properties.trackingReference", Field: field.RequestID},
}

// Formats returns the formats of Azure.
func Formats() []accesslog.Format {
	return []accesslog.Format{
		{
			Name: "azure_appgw_json", Summary: "Azure Application Gateway v2, JSON",
			Doc:   "https://learn.microsoft.com/en-us/azure/application-gateway/monitor-application-gateway-reference",
			Lacks: "consumer, trace", New: decoderOf(appGatewayRules, &appGatewayTSV),
		},
		{
			Name: "azure_frontdoor_json", Summary: "Azure Front Door Standard and Premium, JSON",
			Doc:   "https://learn.microsoft.com/en-us/azure/frontdoor/monitor-front-door",
			Lacks: "the origin's share of the time, consumer, trace", New: decoderOf(frontDoorRules, &frontDoorTSV),
		},
	}
}

// known empties what Azure writes for a request that reached no origin.
func known(s string) string {
	if s == "N/A" {
		return ""
	}
	return s
}

func decoderOf(rules []jsonlog.Rule, tsv *string) func(accesslog.Options) (accesslog.Decoder, error) {
	return func(o accesslog.Options) (accesslog.Decoder, error) {
		table, err := outcome.Parse(*tsv)
		if err != nil {
			return nil, err
		}
		inner, err := jsonlog.New(rules, jsonlog.Options{
			Location: o.Location, UpstreamKnown: true,
			Finish: func(e *accesslog.Entry) {
				e.Upstream, e.Service = known(e.Upstream), known(e.Service)
				e.Outcome = table.Of(e)
			},
		})
		if err != nil {
			return nil, err
		}
		return &decoder{inner: inner}, nil
	}
}
