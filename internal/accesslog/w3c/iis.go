package w3c

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
)

// iisColumns are the fields of IIS, and those that sites add under these names.
var iisColumns = []Column{
	{Name: "c-ip", Rule: field.Rule{Field: field.ClientIP}},
	{Name: "c-port", Rule: field.Rule{Field: field.ClientPort}},
	{Name: "cs-method", Rule: field.Rule{Field: field.Method}},
	{Name: "cs-uri", Rule: field.Rule{Field: field.Target}},
	{Name: "cs-uri-stem", Rule: field.Rule{Field: field.Path}, Encoding: Plus},
	{Name: "cs-uri-query", Rule: field.Rule{Field: field.Query}},
	{Name: "cs-host", Rule: field.Rule{Field: field.Authority}},
	{Name: "cs(host)", Rule: field.Rule{Field: field.Authority}},
	{Name: "cs-version", Rule: field.Rule{Field: field.Protocol}},
	{Name: "sc-status", Rule: field.Rule{Field: field.Status}},
	{Name: "cs-bytes", Rule: field.Rule{Field: field.RequestBytes}},
	{Name: "sc-bytes", Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "time-taken", Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "cs-username", Rule: field.Rule{Field: field.Consumer}},
	{Name: "cs(user-agent)", Rule: field.Rule{Field: field.UserAgent}, Encoding: Plus},
	{Name: "cs(referer)", Rule: field.Rule{Field: field.Referer}, Encoding: Plus},
	{Name: "x-forwarded-for", Rule: field.Rule{Field: field.ForwardedFor}, Encoding: Plus},
	{Name: "cs(x-forwarded-for)", Rule: field.Rule{Field: field.ForwardedFor}, Encoding: Plus},
	{Name: "cs(x-request-id)", Rule: field.Rule{Field: field.RequestID}},
	{Name: "cs(traceparent)", Rule: field.Rule{Field: field.Traceparent}},
	{Name: "s-sitename", Rule: field.Rule{Field: field.Service}},
	{Name: "s-computername", Rule: field.Rule{Field: field.Node}},
	{Name: "s-ip", Rule: field.Rule{Field: field.Node}},
}

// Formats returns the format of IIS.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "w3c", Summary: "W3C Extended Log File Format, IIS; columns by #Fields lines, or by log_format",
		Doc:   "https://learn.microsoft.com/en-us/windows/win32/http/w3c-logging",
		Lacks: "upstream: errors are told by status only. #Fields lines must be in each partition; with log_format they need not be there",
		New:   newIIS,
	}}
}

// newIIS starts from the columns that IIS writes by default.
func newIIS(o accesslog.Options) (accesslog.Decoder, error) {
	return New(Options{
		Options: o, Separator: ' ', Columns: iisColumns,
		Fields: "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken",
	})
}
