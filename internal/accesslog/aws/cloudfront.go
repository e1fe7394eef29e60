package aws

import (
	_ "embed"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/outcome"
	"gatewatch/internal/accesslog/w3c"
)

//go:embed cloudfront.tsv
var cloudfrontTSV string

// The columns of standard logs, and of real-time logs, in their default order.
const (
	standardFields = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) " +
		"cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for " +
		"ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port " +
		"time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end"
	realtimeFields = "timestamp c-ip time-to-first-byte sc-status sc-bytes cs-method cs-protocol cs-host cs-uri-stem cs-bytes " +
		"x-edge-location x-edge-request-id x-host-header time-taken cs-protocol-version c-ip-version cs-user-agent cs-referer cs-cookie " +
		"cs-uri-query x-edge-response-result-type x-forwarded-for ssl-protocol ssl-cipher x-edge-result-type fle-encrypted-fields fle-status " +
		"sc-content-type sc-content-len sc-range-start sc-range-end c-port x-edge-detailed-result-type c-country cs-accept-encoding cs-accept " +
		"cache-behavior-path-pattern cs-headers cs-header-names cs-headers-count origin-fbl origin-lbl asn"
)

// columns returns those of both; a stem is a path in the one, path and query in the other.
func columns(stem field.Field) []w3c.Column {
	return []w3c.Column{
		{Name: "timestamp", Rule: field.Rule{Field: field.Timestamp, Layout: "epoch"}},
		{Name: "c-ip", Rule: field.Rule{Field: field.ClientIP}},
		{Name: "c-port", Rule: field.Rule{Field: field.ClientPort}},
		{Name: "cs-method", Rule: field.Rule{Field: field.Method}},
		{Name: "cs-uri-stem", Rule: field.Rule{Field: stem}},
		{Name: "cs-uri-query", Rule: field.Rule{Field: field.Query}},
		{Name: "x-host-header", Rule: field.Rule{Field: field.Host}},
		{Name: "cs(host)", Rule: field.Rule{Field: field.Host}},
		{Name: "cs-host", Rule: field.Rule{Field: field.Host}},
		{Name: "cs-protocol-version", Rule: field.Rule{Field: field.Protocol}},
		{Name: "sc-status", Rule: field.Rule{Field: field.Status}},
		{Name: "cs-bytes", Rule: field.Rule{Field: field.RequestBytes}},
		{Name: "sc-bytes", Rule: field.Rule{Field: field.ResponseBytes}},
		{Name: "time-taken", Rule: field.Rule{Field: field.Latency, Unit: field.Seconds}},
		{Name: "origin-lbl", Rule: field.Rule{Field: field.UpstreamLatency, Unit: field.Seconds}},
		{Name: "origin-fbl", Rule: field.Rule{Field: field.UpstreamHeaders, Unit: field.Seconds}},
		{Name: "cache-behavior-path-pattern", Rule: field.Rule{Field: field.Route}},
		{Name: "x-edge-location", Rule: field.Rule{Field: field.Node}},
		{Name: "x-edge-request-id", Rule: field.Rule{Field: field.RequestID}},
		{Name: "x-edge-result-type", Rule: field.Rule{Field: field.Flags}},
		{Name: "x-edge-detailed-result-type", Rule: field.Rule{Field: field.Details}},
		{Name: "cs(user-agent)", Rule: field.Rule{Field: field.UserAgent}, Encoding: w3c.Percent},
		{Name: "cs-user-agent", Rule: field.Rule{Field: field.UserAgent}, Encoding: w3c.Percent},
		{Name: "cs(referer)", Rule: field.Rule{Field: field.Referer}, Encoding: w3c.Percent},
		{Name: "cs-referer", Rule: field.Rule{Field: field.Referer}, Encoding: w3c.Percent},
		{Name: "x-forwarded-for", Rule: field.Rule{Field: field.ForwardedFor}, Encoding: w3c.Percent},
	}
}

func newStandard(o accesslog.Options) (accesslog.Decoder, error) {
	return newCloudFront(o, field.Path, standardFields)
}

func newRealtime(o accesslog.Options) (accesslog.Decoder, error) {
	return newCloudFront(o, field.Target, realtimeFields)
}

func newCloudFront(o accesslog.Options, stem field.Field, fields string) (accesslog.Decoder, error) {
	table, err := outcome.Parse(cloudfrontTSV)
	if err != nil {
		return nil, err
	}
	return w3c.New(w3c.Options{
		Options: o, Separator: '\t', Columns: columns(stem), Fields: fields, Loose: true,
		Finish: func(e *accesslog.Entry) { e.Outcome = table.Of(e) },
	})
}
