// Package haproxy decodes HAProxy's traffic logs (option httplog, httpslog,
// tcplog, and whatever a user's own log-format writes), and says what its
// termination states mean for the outcome of a request.
package haproxy

import (
	_ "embed"
	"errors"
	"strings"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/logformat"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed outcomes.tsv
var outcomesTSV string

// The predefined formats, as log-format strings (Configuration Manual, 8.2).
const (
	head     = `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq `
	captures = `%hr %hs `
	line     = `%{+Q}r`
	httpLog  = head + captures + line
	httpsLog = httpLog + ` %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc`
	tcpLog   = `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`
)

// Formats returns the formats of HAProxy.
func Formats() []accesslog.Format {
	const doc = "https://docs.haproxy.org/3.0/configuration.html#8.2"
	return []accesslog.Format{
		{
			Name: "haproxy_http", Summary: "HAProxy, option httplog, with or without captures", Doc: doc + ".3",
			Lacks: "host, user agent, names of captured headers; times are without zone (time_zone)", New: predefined(httpLog),
		},
		{
			Name: "haproxy_https", Summary: "HAProxy, option httpslog", Doc: doc + ".4",
			Lacks: "user agent, names of captured headers; times are without zone (time_zone)", New: predefined(httpsLog),
		},
		{
			Name: "haproxy_tcp", Summary: "HAProxy, option tcplog: connections, not requests", Doc: doc + ".2",
			Lacks: "status, method and path: errors are told by termination state only", New: predefined(tcpLog),
		},
		{
			Name: "haproxy_custom", Summary: "HAProxy, text by your own log-format", Doc: doc + ".6", Needs: "log_format",
			Lacks: "what the log-format doesn't name", New: newCustom,
		},
	}
}

func newCustom(o accesslog.Options) (accesslog.Decoder, error) {
	if strings.TrimSpace(o.LogFormat) == "" {
		return nil, errors.New("log_format is missing: the log-format line of HAProxy's configuration")
	}
	return newDecoder(o, o.LogFormat)
}

func predefined(text string) func(accesslog.Options) (accesslog.Decoder, error) {
	return func(o accesslog.Options) (accesslog.Decoder, error) { return newDecoder(o, text) }
}

func newDecoder(o accesslog.Options, text string) (accesslog.Decoder, error) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		return nil, err
	}
	ts, err := compile(text)
	if err != nil {
		return nil, err
	}
	return logformat.New(logformat.Options{
		Location: o.Location, UpstreamKnown: strings.Contains(text, "%s"), Exclusive: true,
		Finish: func(e *accesslog.Entry) { finish(table, e) },
	}, ts...)
}

// finish turns HAProxy's counts and timers into ours: tries are one more than
// retries, and the upstream's time is connecting and waiting for headers, which
// leaves the transfer at the client's pace out.
func finish(table *outcome.Table, e *accesslog.Entry) {
	if e.Upstream == "<NOSRV>" {
		e.Upstream = ""
	}
	if e.Service == "<NOSRV>" {
		e.Service = ""
	}
	if e.Upstream != "" {
		e.Tries++
	}
	connect, wait := e.Latency.Upstream, e.Latency.UpstreamHeaders
	e.Latency.Upstream.OK = connect.OK && wait.OK
	if e.Latency.Upstream.V += wait.V; !e.Latency.Upstream.OK {
		e.Latency.Upstream.V = 0
	}
	e.Outcome = stated(table, e)
}

// stated says what the termination state states. SC without a server is a
// backend that had none to connect to.
func stated(table *outcome.Table, e *accesslog.Entry) accesslog.Outcome {
	o := table.Of(e)
	if o.Class == accesslog.UpstreamConnect && e.Upstream == "" {
		o.Class = accesslog.GatewayNoUpstream
	}
	return o
}
