package haproxy

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

const dateLayout = "clf" // 14/Jan/2015:12:48:57.127

// aliases are the % names of a log-format (Configuration Manual, 8.2.6) whose values gatewatch knows to read or to leave out. Of
// several that say the same the earliest counts.
var aliases = []logformat.Variable{
	{Name: "tr", Kind: logformat.Word, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "trl", Kind: logformat.Local, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "trg", Kind: logformat.Local, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "t", Kind: logformat.Word, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "T", Kind: logformat.Local, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "Tl", Kind: logformat.Local, Rule: field.Rule{Field: field.StartTime, Layout: dateLayout}},
	{Name: "Ts", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{Name: "ci", Kind: logformat.Address, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "cp", Kind: logformat.Number, Rule: field.Rule{Field: field.ClientPort}},
	{Name: "b", Kind: logformat.Word, Rule: field.Rule{Field: field.Service}},
	{Name: "s", Kind: logformat.Word, Rule: field.Rule{Field: field.Upstream}},
	{Name: "si", Kind: logformat.Address, Rule: field.Rule{Field: field.Upstream}},
	{Name: "Ta", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "Tt", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "Tu", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "Tc", Kind: logformat.Number, Rule: field.Rule{Field: field.UpstreamLatency, Unit: field.Milliseconds}},
	{Name: "Tr", Kind: logformat.Number, Rule: field.Rule{Field: field.UpstreamHeaders, Unit: field.Milliseconds}},
	{Name: "Tw", Kind: logformat.Number, Rule: field.Rule{Field: field.GatewayLatency, Unit: field.Milliseconds}},
	{Name: "ST", Kind: logformat.Number, Rule: field.Rule{Field: field.Status}},
	{Name: "B", Kind: logformat.Number, Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "U", Kind: logformat.Number, Rule: field.Rule{Field: field.RequestBytes}},
	{Name: "tsc", Kind: logformat.Word, Rule: field.Rule{Field: field.Flags}},
	{Name: "ts", Kind: logformat.Word, Rule: field.Rule{Field: field.Flags}},
	{Name: "rc", Kind: logformat.Number, Rule: field.Rule{Field: field.Tries}},
	{Name: "HU", Kind: logformat.Any, Rule: field.Rule{Field: field.Target}},
	{Name: "HP", Kind: logformat.Any, Rule: field.Rule{Field: field.Path}},
	{Name: "HPO", Kind: logformat.Any, Rule: field.Rule{Field: field.Path}},
	{Name: "HQ", Kind: logformat.Any, Rule: field.Rule{Field: field.Query}},
	{Name: "HM", Kind: logformat.Letters, Rule: field.Rule{Field: field.Method}},
	{Name: "HV", Kind: logformat.Word, Rule: field.Rule{Field: field.Protocol}},
	{Name: "r", Kind: logformat.Any, Rule: field.Rule{Field: field.RequestLine}},
	{Name: "ID", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "H", Kind: logformat.Word, Rule: field.Rule{Field: field.Node}},
	{Name: "[ssl_c_s_dn]", Kind: logformat.Any, Rule: field.Rule{Field: field.ClientSubject}},
	{Name: "[ssl_c_s_dn(cn)]", Kind: logformat.Any, Rule: field.Rule{Field: field.ClientSubject}},
	{Name: "[ssl_fc_sni]", Kind: logformat.Word, Rule: field.Rule{Field: field.Host}},
	{Name: "[unique-id]", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "[req.hdr(host)]", Kind: logformat.Word, Rule: field.Rule{Field: field.Authority}},
	{Name: "[req.hdr(user-agent)]", Kind: logformat.Any, Rule: field.Rule{Field: field.UserAgent}},
	{Name: "[req.hdr(x-forwarded-for)]", Kind: logformat.Any, Rule: field.Rule{Field: field.ForwardedFor}},
	{Name: "[req.hdr(traceparent)]", Kind: logformat.Word, Rule: field.Rule{Field: field.Traceparent}},
	{Name: "CC", Kind: logformat.Word, Skip: true},
	{Name: "CS", Kind: logformat.Word, Skip: true},
	{Name: "TR", Kind: logformat.Number, Skip: true},
	{Name: "Td", Kind: logformat.Number, Skip: true},
	{Name: "Th", Kind: logformat.Number, Skip: true},
	{Name: "Ti", Kind: logformat.Number, Skip: true},
	{Name: "Tq", Kind: logformat.Number, Skip: true},
	{Name: "ac", Kind: logformat.Number, Skip: true},
	{Name: "bc", Kind: logformat.Number, Skip: true},
	{Name: "bi", Kind: logformat.Address, Skip: true},
	{Name: "bp", Kind: logformat.Number, Skip: true},
	{Name: "bq", Kind: logformat.Number, Skip: true},
	{Name: "f", Kind: logformat.Word, Skip: true},
	{Name: "fc", Kind: logformat.Number, Skip: true},
	{Name: "fi", Kind: logformat.Address, Skip: true},
	{Name: "fp", Kind: logformat.Number, Skip: true},
	{Name: "ft", Kind: logformat.Word, Skip: true},
	{Name: "lc", Kind: logformat.Number, Skip: true},
	{Name: "ms", Kind: logformat.Number, Skip: true},
	{Name: "pid", Kind: logformat.Number, Skip: true},
	{Name: "rt", Kind: logformat.Number, Skip: true},
	{Name: "sc", Kind: logformat.Number, Skip: true},
	{Name: "sp", Kind: logformat.Number, Skip: true},
	{Name: "sq", Kind: logformat.Number, Skip: true},
	{Name: "sslc", Kind: logformat.Word, Skip: true},
	{Name: "sslv", Kind: logformat.Word, Skip: true},
}

// compile reads a log-format: its text alone, or the directive as it stands in
// a configuration file. Captured headers are there only where a frontend
// captures some, so a format that names them becomes two; they are left out, so
// those of requests and of responses need not be told apart.
func compile(text string) ([]logformat.Template, error) {
	text = unquote(strings.TrimSpace(text))
	texts := []string{text}
	if strings.Contains(text, captures) {
		texts = []string{
			strings.Replace(text, captures, "", 1),
			strings.Replace(text, captures, "{%hr} ", 1),
		}
	}
	var ts []logformat.Template
	for _, text := range texts {
		parts, err := logformat.Split(text, '%', percent)
		if err != nil {
			return nil, fmt.Errorf("log-format: %w", err)
		}
		ts = append(ts, logformat.Template{Parts: parts, Cut: true})
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
	p := logformat.Lookup(aliases, name, "%"+name)
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
