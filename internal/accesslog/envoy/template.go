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

// An operator is one command operator of a format string.
type operator struct {
	name string // with its argument
	kind logformat.Kind
	rule field.Rule
	skip bool // of no use here
}

// operators are those that say something of a request. Of several that say the
// same the earliest counts.
var operators = []operator{
	{name: "START_TIME", kind: logformat.Word, rule: field.Rule{Field: field.StartTime}},
	{name: "REQ(:METHOD)", kind: logformat.Letters, rule: field.Rule{Field: field.Method}},
	{name: "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)", rule: field.Rule{Field: field.Target}},
	{name: "REQ(X-ENVOY-ORIGINAL-PATH)", rule: field.Rule{Field: field.Target}},
	{name: "REQ(:PATH)", rule: field.Rule{Field: field.Target}},
	{name: "PATH", rule: field.Rule{Field: field.Target}},
	{name: "PROTOCOL", kind: logformat.Word, rule: field.Rule{Field: field.Protocol}},
	{name: "RESPONSE_CODE", kind: logformat.Number, rule: field.Rule{Field: field.Status}},
	{name: "RESPONSE_FLAGS", kind: logformat.Word, rule: field.Rule{Field: field.Flags}},
	{name: "RESPONSE_FLAGS_LONG", kind: logformat.Word, rule: field.Rule{Field: field.Flags}},
	{name: "RESPONSE_CODE_DETAILS", kind: logformat.Word, rule: field.Rule{Field: field.Details}},
	{name: "BYTES_RECEIVED", kind: logformat.Number, rule: field.Rule{Field: field.RequestBytes}},
	{name: "BYTES_SENT", kind: logformat.Number, rule: field.Rule{Field: field.ResponseBytes}},
	{name: "DURATION", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{name: "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)", kind: logformat.Number, rule: field.Rule{Field: field.UpstreamLatency, Unit: field.Milliseconds}},
	{name: "DOWNSTREAM_REMOTE_ADDRESS", kind: logformat.Word, rule: field.Rule{Field: field.ClientIP}},
	{name: "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", kind: logformat.Word, rule: field.Rule{Field: field.ClientIP}},
	{name: "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", kind: logformat.Word, rule: field.Rule{Field: field.ClientIP}},
	{name: "DOWNSTREAM_REMOTE_PORT", kind: logformat.Number, rule: field.Rule{Field: field.ClientPort}},
	{name: "REQ(X-FORWARDED-FOR)", rule: field.Rule{Field: field.ForwardedFor}},
	{name: "REQ(USER-AGENT)", rule: field.Rule{Field: field.UserAgent}},
	{name: "REQ(REFERER)", rule: field.Rule{Field: field.Referer}},
	{name: "REQ(X-REQUEST-ID)", rule: field.Rule{Field: field.RequestID}},
	{name: "REQ(TRACEPARENT)", kind: logformat.Word, rule: field.Rule{Field: field.Traceparent}},
	{name: "TRACE_ID", kind: logformat.Word, rule: field.Rule{Field: field.TraceID}},
	{name: "REQ(X-B3-TRACEID)", kind: logformat.Word, rule: field.Rule{Field: field.TraceID}},
	{name: "REQ(X-B3-SPANID)", kind: logformat.Word, rule: field.Rule{Field: field.SpanID}},
	{name: "REQ(:AUTHORITY)", rule: field.Rule{Field: field.Authority}},
	{name: "REQ(HOST)", rule: field.Rule{Field: field.Authority}},
	{name: "UPSTREAM_HOST", kind: logformat.Word, rule: field.Rule{Field: field.Upstream}},
	{name: "UPSTREAM_REMOTE_ADDRESS", kind: logformat.Word, rule: field.Rule{Field: field.Upstream}},
	{name: "UPSTREAM_CLUSTER", kind: logformat.Word, rule: field.Rule{Field: field.Service}},
	{name: "UPSTREAM_CLUSTER_RAW", kind: logformat.Word, rule: field.Rule{Field: field.Service}},
	{name: "ROUTE_NAME", kind: logformat.Word, rule: field.Rule{Field: field.Route}},
	{name: "UPSTREAM_REQUEST_ATTEMPT_COUNT", kind: logformat.Number, rule: field.Rule{Field: field.Tries}},
	{name: "REQ(X-API-KEY)", rule: field.Rule{Field: field.APIKey}},
	{name: "REQ(AUTHORIZATION)", rule: field.Rule{Field: field.APIKey}},
	{name: "HOSTNAME", kind: logformat.Word, rule: field.Rule{Field: field.Node}},
	{name: "CONNECTION_TERMINATION_DETAILS", kind: logformat.Word, skip: true},
	{name: "UPSTREAM_LOCAL_ADDRESS", kind: logformat.Word, skip: true},
	{name: "DOWNSTREAM_LOCAL_ADDRESS", kind: logformat.Word, skip: true},
	{name: "REQUESTED_SERVER_NAME", kind: logformat.Word, skip: true},
	{name: "CONNECTION_ID", kind: logformat.Number, skip: true},
	{name: "REQUEST_DURATION", kind: logformat.Number, skip: true},
	{name: "RESPONSE_DURATION", kind: logformat.Number, skip: true},
	{name: "RESPONSE_TX_DURATION", kind: logformat.Number, skip: true},
}

// compile reads a format string: text, and %OPERATOR(argument):length%.
func compile(text string) (logformat.Template, error) {
	t := logformat.Template{Verbatim: true} // Envoy escapes nothing
	text = strings.TrimSuffix(text, `\n`)
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			t.Parts = append(t.Parts, logformat.Part{Literal: text})
			break
		}
		if i > 0 {
			t.Parts = append(t.Parts, logformat.Part{Literal: text[:i]})
		}
		if rest, ok := strings.CutPrefix(text[i:], "%%"); ok {
			t.Parts = append(t.Parts, logformat.Part{Literal: "%"})
			text = rest
			continue
		}
		name, rest, err := cutOperator(text[i+1:])
		if err != nil {
			return t, fmt.Errorf("format %q: %w", text[i:], err)
		}
		t.Parts = append(t.Parts, part(name))
		text = rest
	}
	return t, nil
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
	for i := range operators {
		if o := &operators[i]; o.name == name {
			if p.Kind = o.kind; !o.skip {
				p.Rule, p.Rank = &o.rule, i
			}
		}
	}
	return p
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
