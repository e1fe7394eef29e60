// Package aws decodes the access logs of Elastic Load Balancing (application
// and classic), CloudFront and API Gateway, and says what their reasons mean
// for the outcome of a request.
package aws

import (
	_ "embed"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
	"gatewatch/internal/accesslog/outcome"
)

//go:embed alb.tsv
var albTSV string

func variable(f field.Field, k logformat.Kind, u field.Unit) logformat.Part {
	return logformat.Part{Name: f.String(), Kind: k, Rule: &field.Rule{Field: f, Unit: u}}
}

func skipped(name string, k logformat.Kind) logformat.Part {
	return logformat.Part{Name: name, Kind: k}
}

func literal(s string) logformat.Part { return logformat.Part{Literal: s} }

// spaced joins parts with spaces.
func spaced(parts ...logformat.Part) []logformat.Part {
	var all []logformat.Part
	for i, p := range parts {
		if i > 0 {
			all = append(all, literal(" "))
		}
		all = append(all, p)
	}
	return all
}

func template(groups ...[]logformat.Part) logformat.Template {
	t := logformat.Template{More: true}
	for _, g := range groups {
		t.Parts = append(t.Parts, g...)
	}
	return t
}

// The part that both load balancers share: address and port, times, statuses,
// sizes. A target that isn't known is a dash; times that aren't are -1.
func common() []logformat.Part {
	client := []logformat.Part{
		variable(field.ClientIP, logformat.Address, 0), literal(":"), variable(field.ClientPort, logformat.Number, 0), literal(" "),
	}
	return append(client, spaced(
		variable(field.Upstream, logformat.Word, 0),
		variable(field.GatewayLatency, logformat.Number, field.Seconds), // request_processing_time
		variable(field.UpstreamLatency, logformat.Number, field.Seconds),
		variable(field.UpstreamHeaders, logformat.Number, field.Seconds), // response_processing_time
		variable(field.Status, logformat.Number, 0),
		variable(field.UpstreamStatus, logformat.Number, 0),
		variable(field.RequestBytes, logformat.Number, 0),
		variable(field.ResponseBytes, logformat.Number, 0),
	)...)
}

// request is "METHOD URL PROTOCOL" in quotes, with dashes for what a malformed request lacks.
func request() []logformat.Part {
	return []logformat.Part{
		literal(` "`), variable(field.Method, logformat.Letters, 0), literal(" "), variable(field.URL, logformat.Any, 0),
		literal(" "), variable(field.Protocol, logformat.Word, 0), literal(`"`),
	}
}

// malformed is a request that isn't one.
func malformed() []logformat.Part {
	return []logformat.Part{literal(` "`), variable(field.RequestLine, logformat.Any, 0), literal(`"`)}
}

func newALB(o accesslog.Options) (accesslog.Decoder, error) {
	table, err := outcome.Parse(albTSV)
	if err != nil {
		return nil, err
	}
	head := append(spaced(skipped("type", logformat.Word), variable(field.Timestamp, logformat.Word, 0), variable(field.Node, logformat.Word, 0)), literal(" "))
	agent := []logformat.Part{literal(` "`), variable(field.UserAgent, logformat.Any, 0), literal(`"`)}
	quoted := func(p logformat.Part) []logformat.Part { return []logformat.Part{literal(` "`), p, literal(`"`)} }
	tail := template(
		quoted(variable(field.UserAgent, logformat.Any, 0)),
		[]logformat.Part{
			literal(" "), skipped("ssl_cipher", logformat.Word), literal(" "), skipped("ssl_protocol", logformat.Word),
			literal(" "), variable(field.Service, logformat.Word, 0),
		},
		quoted(variable(field.TraceContext, logformat.Any, 0)),
		quoted(skipped("domain_name", logformat.Any)),
		quoted(skipped("chosen_cert_arn", logformat.Any)),
		[]logformat.Part{
			literal(" "), skipped("matched_rule_priority", logformat.Number), literal(" "), variable(field.StartTime, logformat.Word, 0),
		},
		quoted(variable(field.Flags, logformat.Any, 0)),
		quoted(skipped("redirect_url", logformat.Any)),
		quoted(variable(field.Details, logformat.Any, 0)),
	).Parts
	return logformat.New(logformat.Options{
		Location: o.Location, UpstreamKnown: true,
		Finish: func(e *accesslog.Entry) { finishALB(table, e) },
	}, template(head, common(), request(), tail), template(head, common(), malformed(), tail),
		template(head, common(), request(), agent), template(head, common(), malformed(), agent)) // before 2018 lines ended earlier
}

func newClassic(o accesslog.Options) (accesslog.Decoder, error) {
	head := append(spaced(variable(field.Timestamp, logformat.Word, 0), variable(field.Node, logformat.Word, 0)), literal(" "))
	agent := []logformat.Part{literal(` "`), variable(field.UserAgent, logformat.Any, 0), literal(`"`)}
	return logformat.New(logformat.Options{Location: o.Location, UpstreamKnown: true, Finish: finishTimes},
		template(head, common(), request(), agent), template(head, common(), request()),
		template(head, common(), malformed(), agent), template(head, common(), malformed()))
}

// finishTimes adds the three processing times up, which are the whole where
// all are known. Without them the total is the time from the request's creation
// to the response, where both are logged.
func finishTimes(e *accesslog.Entry) {
	l := &e.Latency
	if l.Gateway.OK && l.Upstream.OK && l.UpstreamHeaders.OK {
		l.Total = accesslog.Some(l.Gateway.V + l.Upstream.V + l.UpstreamHeaders.V)
		l.Gateway = accesslog.Some(l.Gateway.V + l.UpstreamHeaders.V)
	} else {
		l.Gateway = accesslog.Opt[time.Duration]{}
	}
	l.UpstreamHeaders = accesslog.Opt[time.Duration]{}
}

func finishALB(table *outcome.Table, e *accesslog.Entry) {
	finishTimes(e)
	e.Service = targetGroup(e.Service)
	last := *e
	if i := strings.LastIndexByte(e.Flags, ','); i >= 0 {
		last.Flags = e.Flags[i+1:] // what it did in the end
	}
	e.Outcome = table.Of(&last)
}

// targetGroup returns the name in arn:aws:elasticloadbalancing:…:targetgroup/NAME/ID.
func targetGroup(arn string) string {
	_, rest, ok := strings.Cut(arn, ":targetgroup/")
	if !ok {
		return arn
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}
