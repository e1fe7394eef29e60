package envoy

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
	"gatewatch/internal/accesslog/outcome"
)

// The formats that Envoy and Istio write if nobody says otherwise.
const (
	// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string
	defaultFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
		`%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
		`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"`
	// https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format
	istioFormat = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
		`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ` +
		`%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
		`"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" ` +
		`%UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%`
)

// operators are the command operators, with their argument, that say something of a request. Of several that say the
// same the earliest counts.
var operators = []logformat.Variable{
	{Name: "START_TIME", Kind: logformat.Word, Rule: field.Rule{Field: field.StartTime}},
	{Name: "REQ(:METHOD)", Kind: logformat.Letters, Rule: field.Rule{Field: field.Method}},
	{Name: "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)", Rule: field.Rule{Field: field.Target}},
	{Name: "REQ(X-ENVOY-ORIGINAL-PATH)", Rule: field.Rule{Field: field.Target}},
	{Name: "REQ(:PATH)", Rule: field.Rule{Field: field.Target}},
	{Name: "PATH", Rule: field.Rule{Field: field.Target}},
	{Name: "PROTOCOL", Kind: logformat.Word, Rule: field.Rule{Field: field.Protocol}},
	{Name: "RESPONSE_CODE", Kind: logformat.Number, Rule: field.Rule{Field: field.Status}},
	{Name: "RESPONSE_FLAGS", Kind: logformat.Word, Rule: field.Rule{Field: field.Flags}},
	{Name: "RESPONSE_FLAGS_LONG", Kind: logformat.Word, Rule: field.Rule{Field: field.Flags}},
	{Name: "RESPONSE_CODE_DETAILS", Kind: logformat.Word, Rule: field.Rule{Field: field.Details}},
	{Name: "BYTES_RECEIVED", Kind: logformat.Number, Rule: field.Rule{Field: field.RequestBytes}},
	{Name: "BYTES_SENT", Kind: logformat.Number, Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "DURATION", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)", Kind: logformat.Number, Rule: field.Rule{Field: field.UpstreamLatency, Unit: field.Milliseconds}},
	{Name: "DOWNSTREAM_REMOTE_ADDRESS", Kind: logformat.Word, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Kind: logformat.Word, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Kind: logformat.Word, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "DOWNSTREAM_REMOTE_PORT", Kind: logformat.Number, Rule: field.Rule{Field: field.ClientPort}},
	{Name: "REQ(X-FORWARDED-FOR)", Rule: field.Rule{Field: field.ForwardedFor}},
	{Name: "REQ(USER-AGENT)", Rule: field.Rule{Field: field.UserAgent}},
	{Name: "REQ(REFERER)", Rule: field.Rule{Field: field.Referer}},
	{Name: "REQ(X-REQUEST-ID)", Rule: field.Rule{Field: field.RequestID}},
	{Name: "REQ(TRACEPARENT)", Kind: logformat.Word, Rule: field.Rule{Field: field.Traceparent}},
	{Name: "TRACE_ID", Kind: logformat.Word, Rule: field.Rule{Field: field.TraceID}},
	{Name: "REQ(X-B3-TRACEID)", Kind: logformat.Word, Rule: field.Rule{Field: field.TraceID}},
	{Name: "REQ(X-B3-SPANID)", Kind: logformat.Word, Rule: field.Rule{Field: field.SpanID}},
	{Name: "REQ(:AUTHORITY)", Rule: field.Rule{Field: field.Authority}},
	{Name: "REQ(HOST)", Rule: field.Rule{Field: field.Authority}},
	{Name: "UPSTREAM_HOST", Kind: logformat.Word, Rule: field.Rule{Field: field.Upstream}},
	{Name: "UPSTREAM_REMOTE_ADDRESS", Kind: logformat.Word, Rule: field.Rule{Field: field.Upstream}},
	{Name: "UPSTREAM_CLUSTER", Kind: logformat.Word, Rule: field.Rule{Field: field.Service}},
	{Name: "UPSTREAM_CLUSTER_RAW", Kind: logformat.Word, Rule: field.Rule{Field: field.Service}},
	{Name: "ROUTE_NAME", Kind: logformat.Word, Rule: field.Rule{Field: field.Route}},
	{Name: "UPSTREAM_REQUEST_ATTEMPT_COUNT", Kind: logformat.Number, Rule: field.Rule{Field: field.Tries}},
	{Name: "DOWNSTREAM_PEER_SUBJECT", Rule: field.Rule{Field: field.ClientSubject}},
	{Name: "REQ(X-API-KEY)", Rule: field.Rule{Field: field.APIKey}},
	{Name: "REQ(AUTHORIZATION)", Rule: field.Rule{Field: field.APIKey}},
	{Name: "HOSTNAME", Kind: logformat.Word, Rule: field.Rule{Field: field.Node}},
	{Name: "CONNECTION_TERMINATION_DETAILS", Kind: logformat.Word, Skip: true},
	{Name: "UPSTREAM_LOCAL_ADDRESS", Kind: logformat.Word, Skip: true},
	{Name: "DOWNSTREAM_LOCAL_ADDRESS", Kind: logformat.Word, Skip: true},
	{Name: "REQUESTED_SERVER_NAME", Kind: logformat.Word, Skip: true},
	{Name: "CONNECTION_ID", Kind: logformat.Number, Skip: true},
	{Name: "REQUEST_DURATION", Kind: logformat.Number, Skip: true},
	{Name: "RESPONSE_DURATION", Kind: logformat.Number, Skip: true},
	{Name: "RESPONSE_TX_DURATION", Kind: logformat.Number, Skip: true},
}

// compile reads a format string: text, and %OPERATOR(argument):length%.
func compile(text string) (logformat.Template, error) {
	parts, err := logformat.Split(strings.TrimSuffix(text, `\n`), '%', func(behind string) ([]logformat.Part, string, error) {
		if rest, ok := strings.CutPrefix(behind, "%"); ok {
			return []logformat.Part{{Literal: "%"}}, rest, nil
		}
		name, rest, err := cutOperator(behind)
		if err != nil {
			return nil, "", fmt.Errorf("format %q: %w", "%"+behind, err)
		}
		return []logformat.Part{part(name)}, rest, nil
	})
	return logformat.Template{Parts: parts, Verbatim: true, More: true}, err // Envoy escapes nothing
}

// cutOperator returns the operator that ends at the next % outside its argument.
func cutOperator(s string) (name, rest string, err error) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '%':
			if depth == 0 {
				return s[:i], s[i+1:], nil
			}
		}
	}
	return "", "", errors.New("no % ends the operator")
}

func part(text string) logformat.Part {
	p := logformat.Part{Name: "%" + text + "%"}
	name := strings.ToUpper(text)
	if i := strings.LastIndexByte(name, ':'); i > 0 && strings.Trim(name[i+1:], "0123456789") == "" {
		name = name[:i] // a maximal length
	}
	if strings.HasPrefix(name, "START_TIME(") {
		p.Rule = &field.Rule{Field: field.StartTime}
		return p
	}
	return logformat.Lookup(operators, name, p.Name)
}

// newText returns a decoder of Envoy's or Istio's default format, or of the user's own.
func newText(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	return newLines(o, table)
}

func newLines(o accesslog.Options, table *outcome.Table) (*logformat.Decoder, error) {
	texts := []string{defaultFormat, istioFormat}
	if o.LogFormat != "" {
		texts = []string{o.LogFormat}
	}
	var ts []logformat.Template
	for _, text := range texts {
		t, err := compile(text)
		if err != nil {
			return nil, err
		}
		ts = append(ts, t)
	}
	return logformat.New(logformat.Options{
		Location: o.Location, UpstreamKnown: true,
		Finish: func(e *accesslog.Entry) { e.Outcome = stated(table, e) },
	}, ts...)
}
