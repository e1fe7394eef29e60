// Package zoraxy decodes the traffic log of the Zoraxy reverse proxy.
package zoraxy

import (
	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

// Formats returns the format of Zoraxy.
func Formats() []accesslog.Format {
	return []accesslog.Format{{
		Name: "zoraxy", Summary: "Zoraxy, traffic log",
		Doc:   "https://github.com/tobychui/zoraxy/blob/main/src/mod/info/logger/trafficlog.go",
		Lacks: "time spent, sizes, protocol, upstream: no latency, and errors are told by status only; times are without zone (time_zone)",
		New:   newText,
	}}
}

func newText(o accesslog.Options) (accesslog.Decoder, error) {
	variable := func(f field.Field, k logformat.Kind) logformat.Part {
		return logformat.Part{Name: f.String(), Kind: k, Rule: &field.Rule{Field: f}}
	}
	text := func(s string) logformat.Part { return logformat.Part{Literal: s} }
	line := []logformat.Part{
		text("["), variable(field.Timestamp, logformat.Any),
		text("] [router:"), variable(field.Flags, logformat.Any),
		text("] [origin:"), variable(field.Authority, logformat.Any),
		text("] [client: "), variable(field.ClientIP, logformat.Any),
		text("] [useragent: "), variable(field.UserAgent, logformat.Any),
		text("] "), variable(field.Method, logformat.Letters),
		text(" "), variable(field.Target, logformat.Any),
		text(" "), variable(field.Status, logformat.Number),
	}
	// Its logger writes the time of day a second time before each line.
	stamped := append([]logformat.Part{{Name: "logger's time", Kind: logformat.Any}, text(" ")}, line...)
	return logformat.New(logformat.Options{Location: o.Location},
		logformat.Template{Parts: stamped, Verbatim: true}, logformat.Template{Parts: line, Verbatim: true})
}
