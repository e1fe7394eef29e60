package logformat_test

import (
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

func variable(f field.Field, k logformat.Kind) logformat.Part {
	return logformat.Part{Name: f.String(), Kind: k, Rule: &field.Rule{Field: f, Unit: field.Milliseconds}}
}

func text(s string) logformat.Part { return logformat.Part{Literal: s} }

func decode(t *testing.T, o logformat.Options, line string, templates ...logformat.Template) (accesslog.Entry, error) {
	t.Helper()
	d, err := logformat.New(o, templates...)
	if err != nil {
		t.Fatal(err)
	}
	var out accesslog.Entries
	if err := d.Decode([]byte(line), &out); err != nil {
		return accesslog.Entry{}, err
	}
	return out.All()[0], nil
}

// A value without quotes ends where the rest of the template fits.
func TestValuesWithoutQuotes(t *testing.T) {
	line := logformat.Template{Parts: []logformat.Part{
		variable(field.RequestLine, logformat.Any), text(" "), variable(field.Status, logformat.Status),
		text(" "), variable(field.UserAgent, logformat.Any), text(" "), variable(field.Latency, logformat.Number),
	}}
	e, err := decode(t, logformat.Options{}, "GET /a 7 b HTTP/1.1 200 curl 8 9 12", line)
	if err != nil || e.Target != "/a 7 b" || e.Status != 200 || e.UserAgent != "curl 8 9" || e.Latency.Total.V != 12*time.Millisecond {
		t.Errorf("%v %+v", err, e)
	}
}

// Quotes inside are told from the closing one by their backslash; verbatim
// formats have none, and their values end where the rest fits.
func TestQuotes(t *testing.T) {
	parts := []logformat.Part{text(`"`), variable(field.UserAgent, logformat.Any), text(`" "`), variable(field.Referer, logformat.Any), text(`" `), variable(field.Status, logformat.Number)}
	e, err := decode(t, logformat.Options{}, `"a \"x\" \x41\\" "r" 200`, logformat.Template{Parts: parts})
	if err != nil || e.UserAgent != `a "x" A\` || e.Referer != "r" {
		t.Errorf("%v %+v", err, e)
	}
	e, err = decode(t, logformat.Options{}, `"a "x" \x41" "r" 200`, logformat.Template{Parts: parts, Verbatim: true})
	if err != nil || e.UserAgent != `a "x" \x41` || e.Referer != "r" {
		t.Errorf("verbatim: %v %+v", err, e)
	}
	if _, err := decode(t, logformat.Options{}, `"a "x"" "r" 200`, logformat.Template{Parts: parts}); err == nil {
		t.Error("a bare quote inside a value is read")
	}
}

// Lists of tries, addresses with colons, names with spaces.
func TestKinds(t *testing.T) {
	line := logformat.Template{Parts: []logformat.Part{
		variable(field.ClientIP, logformat.Address), text(":"), variable(field.ClientPort, logformat.Number), text(" - "),
		variable(field.Consumer, logformat.User), text(" ["), variable(field.Timestamp, logformat.Local), text("] "),
		variable(field.Method, logformat.Letters), text(" "), variable(field.Upstream, logformat.List), text(" "), variable(field.UpstreamStatus, logformat.List),
	}}
	e, err := decode(t, logformat.Options{}, "2001:db8::7:443 - john doe [23/Nov/2026:10:15:00 +0000] GET 10.0.0.1:80, 10.0.0.2:80 : unix:/a 502, - : 200", line)
	if err != nil || e.ClientIP != "2001:db8::7" || e.ClientPort != 443 || e.Consumer.ID != "john doe" || e.Upstream != "unix:/a" || e.Tries != 3 || e.UpstreamStatus != 200 {
		t.Errorf("%v %+v", err, e)
	}
	for _, bad := range []string{
		"host.example:443 - - [23/Nov/2026:10:15:00 +0000] GET - -", // no address
		"192.0.2.1:443 - id - [23/Nov/2026:10:15:00 +0000] GET - -", // more than a name
		"192.0.2.1:443 - - [23/Nov/2026:10:15:00 +0000] G=T - -",    // no method
		"192.0.2.1:443 - - [99/Nov/2026:10:15:00 +0000] GET - -",    // no time
		"192.0.2.1:443 - - [23/Nov/2026:10:15:00 +0000] GET - - more",
	} {
		if e, err := decode(t, logformat.Options{}, bad, line); err == nil {
			t.Errorf("%q is read as %+v", bad, e)
		}
	}
}

func TestMoreAndCut(t *testing.T) {
	parts := []logformat.Part{variable(field.Status, logformat.Number), text(` "`), variable(field.RequestLine, logformat.Any), text(`"`)}
	for line, ok := range map[string]bool{
		`200 "GET / HTTP/1.1" x "y \" z" [a b] -`: true,
		`200 "GET / HTTP/1.1" x"y`:                false,
		`200 "GET / HTTP/1.1" "y`:                 false,
	} {
		if _, err := decode(t, logformat.Options{}, line, logformat.Template{Parts: parts, More: true}); (err == nil) != ok {
			t.Errorf("%q: %v, want read %v", line, err, ok)
		}
	}
	if e, err := decode(t, logformat.Options{}, `200 "GET /lon`, logformat.Template{Parts: parts, Cut: true}); err != nil || e.Target != "/lon" {
		t.Errorf("cut: %v %+v", err, e)
	}
}

// What can't be told apart, or is no access log, is refused when it is compiled.
func TestTemplateFaults(t *testing.T) {
	for want, parts := range map[string][]logformat.Part{
		"empty":                    {},
		"can't be told apart":      {variable(field.Status, logformat.Number), variable(field.Method, logformat.Letters)},
		"no access log":            {variable(field.ClientIP, logformat.Address)},
		"no access log, text only": {text("x")},
	} {
		want, _, _ = strings.Cut(want, ",")
		if _, err := logformat.New(logformat.Options{}, logformat.Template{Parts: parts}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A line made to be tried in every way costs no more than its length allows.
func TestHostileBacktracking(t *testing.T) {
	var parts []logformat.Part
	for range 12 {
		parts = append(parts, variable(field.UserAgent, logformat.Any), text(" "))
	}
	parts = append(parts, variable(field.Status, logformat.Number), text("!"))
	begin := time.Now()
	if _, err := decode(t, logformat.Options{}, strings.Repeat("a ", 5000)+"?", logformat.Template{Parts: parts}); err == nil {
		t.Error("read")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
