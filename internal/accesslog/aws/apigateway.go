package aws

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/jsonlog"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed apigateway.tsv
var apiGatewayTSV string

// apiGatewayRules are the variables of $context under their own names, and
// under those that the examples of AWS and others give them.
var apiGatewayRules = []jsonlog.Rule{
	{Path: "requestTimeEpoch", Field: field.StartTime, Unit: field.Milliseconds},
	{Path: "requestTime", Field: field.StartTime},
	{Path: "ip", Field: field.ClientIP},
	{Path: "sourceIp", Field: field.ClientIP},
	{Path: "identity.sourceIp", Field: field.ClientIP},
	{Path: "httpMethod", Field: field.Method},
	{Path: "http.method", Field: field.Method},
	{Path: "path", Field: field.Path},
	{Path: "http.path", Field: field.Path},
	{Path: "resourcePath", Field: field.Route},
	{Path: "routeKey", Field: field.Route},
	{Path: "domainName", Field: field.Host},
	{Path: "protocol", Field: field.Protocol},
	{Path: "http.protocol", Field: field.Protocol},
	{Path: "status", Field: field.Status},
	{Path: "responseLength", Field: field.ResponseBytes},
	{Path: "responseLatency", Field: field.Latency, Unit: field.Milliseconds},
	{Path: "integrationLatency", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "integration.latency", Field: field.UpstreamLatency, Unit: field.Milliseconds},
	{Path: "integrationStatus", Field: field.UpstreamStatus},
	{Path: "integration.integrationStatus", Field: field.UpstreamStatus},
	{Path: "integration.status", Field: field.UpstreamStatus},
	{Path: "errorResponseType", Field: field.Flags},
	{Path: "error.responseType", Field: field.Flags},
	{Path: "integrationErrorMessage", Field: field.Details},
	{Path: "integration.error", Field: field.Details},
	{Path: "errorMessage", Field: field.Details},
	{Path: "error.message", Field: field.Details},
	{Path: "apiName", Field: field.Service},
	{Path: "apiId", Field: field.Service},
	{Path: "stage", Field: field.APIVersion},
	{Path: "userAgent", Field: field.UserAgent},
	{Path: "identity.userAgent", Field: field.UserAgent},
	{Path: "requestId", Field: field.RequestID},
	{Path: "extendedRequestId", Field: field.RequestID},
	{Path: "xrayTraceId", Field: field.TraceContext},
	{Path: "apiKeyId", Field: field.Consumer},
	{Path: "identity.apiKeyId", Field: field.Consumer},
	{Path: "principalId", Field: field.Consumer},
	{Path: "authorizer.principalId", Field: field.Consumer},
	{Path: "user", Field: field.Consumer},
	{Path: "clientCertSubjectDN", Field: field.ClientSubject},
	{Path: "identity.clientCert.subjectDN", Field: field.ClientSubject},
	{Path: "caller", Field: field.Consumer},
	{Path: "apiKey", Field: field.APIKey},
	{Path: "identity.apiKey", Field: field.APIKey},
	{Path: "region", Field: field.Region},
}

func newAPIGateway(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(apiGatewayTSV)
	if err != nil {
		return nil, err
	}
	return jsonlog.New(apiGatewayRules, jsonlog.Options{
		Location: o.Location,
		Finish:   func(e *accesslog.Entry) { e.Outcome = table.Of(e) },
	})
}

// Formats returns the formats of Amazon Web Services.
func Formats() []accesslog.Format {
	const (
		elbDoc        = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html"
		classicDoc    = "https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html"
		standardDoc   = "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logs-reference.html"
		realtimeDoc   = "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/real-time-logs.html"
		apiGatewayDoc = "https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html"
	)
	return []accesslog.Format{
		{Name: "aws_alb", Summary: "AWS Application Load Balancer", Doc: elbDoc, Lacks: "route, consumer", New: newALB},
		{
			Name: "aws_elb_classic", Summary: "AWS Classic Load Balancer", Doc: classicDoc,
			Lacks: "route, consumer, reasons: errors are told from status, target and times", New: newClassic,
		},
		{
			Name: "aws_cloudfront_tsv", Summary: "AWS CloudFront, standard log", Doc: standardDoc,
			Lacks: "the origin's address and time, route", New: newStandard,
		},
		{
			Name: "aws_cloudfront_realtime", Summary: "AWS CloudFront, real-time log; columns by log_format, or all in their default order", Doc: realtimeDoc,
			Lacks: "the origin's address", New: newRealtime,
		},
		{
			Name: "aws_api_gateway_json", Summary: "AWS API Gateway, JSON with $context variables", Doc: apiGatewayDoc,
			Lacks: "what the format doesn't name, sizes of requests, query", New: newAPIGateway,
		},
	}
}
