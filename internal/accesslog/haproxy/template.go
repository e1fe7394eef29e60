package haproxy

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

// An alias is one % name of a log-format (Configuration Manual, 8.2.6).
type alias struct {
	name string
	kind logformat.Kind
	rule field.Rule
	skip bool // of no use here
}

const dateLayout = "clf" // 14/Jan/2015:12:48:57.127

// aliases are those whose values gatewatch knows to read or to leave out. Of
// several that say the same the earliest counts.
var aliases = []alias{
	{name: "tr", kind: logformat.Word, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "trl", kind: logformat.Local, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "trg", kind: logformat.Local, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "t", kind: logformat.Word, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "T", kind: logformat.Local, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "Tl", kind: logformat.Local, rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{name: "Ts", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{name: "ci", kind: logformat.Address, rule: field.Rule{Field: field.ClientIP}},
	{name: "cp", kind: logformat.Number, rule: field.Rule{Field: field.ClientPort}},
	{name: "b", kind: logformat.Word, rule: field.Rule{Field: field.Service}},
	{name: "s", kind: logformat.Word, rule: field.Rule{Field: field.Upstream}},
	{name: "si", kind: logformat.Address, rule: field.Rule{Field: field.Upstream}},
	{name: "Ta", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{name: "Tt", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{name: "Tu", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{name: "Tc", kind: logformat.Number, rule: field.Rule{Field: field.UpstreamLatency, Unit: field.Milliseconds}},
	{name: "Tr", kind: logformat.Number, rule: field.Rule{Field: field.UpstreamHeaders, Unit: field.Milliseconds}},
	{name: "Tw", kind: logformat.Number, rule: field.Rule{Field: field.GatewayLatency, Unit: field.Milliseconds}},
	{name: "ST", kind: logformat.Number, rule: field.Rule{Field: field.Status}},
	{name: "B", kind: logformat.Number, rule: field.Rule{Field: field.ResponseBytes}},
	{name: "U", kind: logformat.Number, rule: field.Rule{Field: field.RequestBytes}},
	{name: "tsc", kind: logformat.Word, rule: field.Rule{Field: field.Flags}},
	{name: "ts", kind: logformat.Word, rule: field.Rule{Field: field.Flags}},
	{name: "rc", kind: logformat.Number, rule: field.Rule{Field: field.Tries}},
	{name: "HU", kind: logformat.Any, rule: field.Rule{Field: field.Target}},
	{name: "HP", kind: logformat.Any, rule: field.Rule{Field: field.Path}},
	{name: "HPO", kind: logformat.Any, rule: field.Rule{Field: field.Path}},
	{name: "HQ", kind: logformat.Any, rule: field.Rule{Field: field.Query}},
	{name: "HM", kind: logformat.Letters, rule: field.Rule{Field: field.Method}},
	{name: "HV", kind: logformat.Word, rule: field.Rule{Field: field.Protocol}},
	{name: "r", kind: logformat.Any, rule: field.Rule{Field: field.RequestLine}},
	{name: "ID", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{name: "H", kind: logformat.Word, rule: field.Rule{Field: field.Node}},
	{name: "[ssl_fc_sni]", kind: logformat.Word, rule: field.Rule{Field: field.Host}},
	{name: "[unique-id]", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{name: "[req.hdr(host)]", kind: logformat.Word, rule: field.Rule{Field: field.Authority}},
	{name: "[req.hdr(user-agent)]", kind: logformat.Any, rule: field.Rule{Field: field.UserAgent}},
	{name: "[req.hdr(x-forwarded-for)]", kind: logformat.Any, rule: field.Rule{Field: field.ForwardedFor}},
	{name: "[req.hdr(traceparent)]", kind: logformat.Word, rule: field.Rule{Field: field.Traceparent}},
	{name: "CC", kind: logformat.Word, skip: true},
	{name: "CS", kind: logformat.Word, skip: true},
	{name: "TR", kind: logformat.Number, skip: true},
	{name: "Td", kind: logformat.Number, skip: true},
	{name: "Th", kind: logformat.Number, skip: true},
	{name: "Ti", kind: logformat.Number, skip: true},
	{name: "Tq", kind: logformat.Number, skip: true},
	{name: "ac", kind: logformat.Number, skip: true},
	{name: "bc", kind: logformat.Number, skip: true},
	{name: "bi", kind: logformat.Address, skip: true},
	{name: "bp", kind: logformat.Number, skip: true},
	{name: "bq", kind: logformat.Number, skip: true},
	{name: "f", kind: logformat.Word, skip: true},
	{name: "fc", kind: logformat.Number, skip: true},
	{name: "fi", kind: logformat.Address, skip: true},
	{name: "fp", kind: logformat.Number, skip: true},
	{name: "ft", kind: logformat.Word, skip: true},
	{name: "lc", kind: logformat.Number, skip: true},
	{name: "ms", kind: logformat.Number, skip: true},
	{name: "pid", kind: logformat.Number, skip: true},
	{name: "rt", kind: logformat.Number, skip: true},
	{name: "sc", kind: logformat.Number, skip: true},
	{name: "sp", kind: logformat.Number, skip: true},
	{name: "sq", kind: logformat.Number, skip: true},
	{name: "sslc", kind: logformat.Word, skip: true},
	{name: "sslv", kind: logformat.Word, skip: true},
}

// compile reads a log-format: its text alone, or the directive as it stands in
// a configuration file. Captured headers are there only where a frontend
// captures some, so a format that names them becomes three.
func compile(text string) ([]logformat.Template, error) {
	text = unquote(strings.TrimSpace(text))
	texts := []string{text}
	if strings.Contains(text, captures) {
		texts = []string{
			strings.Replace(text, captures, "", 1),
			strings.Replace(text, captures, "{%hr} ", 1),
			strings.Replace(text, captures, "{%hr} {%hs} ", 1),
		}
	}
	var ts []logformat.Template
	for _, text := range texts {
		t, err := one(text)
		if err != nil {
			return nil, fmt.Errorf("log-format: %w", err)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// unquote takes the text out of `log-format "TEXT"`, and undoes the
// backslashes before spaces and quotes that HAProxy's configuration needs.
func unquote(s string) string {
	s = strings.TrimSpace(strings.TrimPrefix(s, "log-format "))
	if n := len(s); n > 1 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		s = s[1 : n-1]
	}
	return strings.NewReplacer(`\ `, " ", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace(s)
}

func one(text string) (logformat.Template, error) {
	t := logformat.Template{Cut: true}
	for text != "" {
		i := strings.IndexByte(text, '%')
		if i < 0 {
			t.Parts = append(t.Parts, logformat.Part{Literal: text})
			break
		}
		if i > 0 {
			t.Parts = append(t.Parts, logformat.Part{Literal: text[:i]})
		}
		parts, rest, err := percent(text[i+1:])
		if err != nil {
			return t, fmt.Errorf("%q: %w", text[i:], err)
		}
		t.Parts = append(t.Parts, parts...)
		text = rest
	}
	return t, nil
}

// percent reads what follows a %: {flags}, and a name or [expression].
func percent(s string) (parts []logformat.Part, rest string, err error) {
	if strings.HasPrefix(s, "%") {
		return []logformat.Part{{Literal: "%"}}, s[1:], nil
	}
	flags := ""
	if strings.HasPrefix(s, "{") {
		var ok bool
		if flags, s, ok = strings.Cut(s, "}"); !ok {
			return nil, "", errors.New("no } after {")
		}
	}
	name := ""
	if strings.HasPrefix(s, "[") {
		n := closing(s)
		if n < 0 {
			return nil, "", errors.New("no ] after [")
		}
		name, rest = s[:n], s[n:]
	} else {
		n := 0
		for n < len(s) && s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' {
			n++
		}
		name, rest = s[:n], s[n:]
	}
	if name == "" {
		return nil, "", errors.New("no name")
	}
	p := logformat.Part{Name: "%" + name}
	for i := range aliases {
		if a := &aliases[i]; a.name == name {
			if p.Kind = a.kind; !a.skip {
				p.Rule, p.Rank = &a.rule, i
			}
		}
	}
	if strings.Contains(flags, "+Q") {
		return []logformat.Part{{Literal: `"`}, p, {Literal: `"`}}, rest, nil
	}
	return []logformat.Part{p}, rest, nil
}

// closing returns the length of the bracketed expression at the start of s.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
