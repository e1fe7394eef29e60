package apache

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

// A directive is what one % letter, or % {name} letter, of a LogFormat writes.
type directive struct {
	spelling string // the letter, or {name in lower case} and the letter
	kind     logformat.Kind
	rule     field.Rule
	skip     bool // of no use
}

// directives are those of mod_log_config and mod_logio, and the headers, notes
// and variables of mod_proxy_balancer and mod_unique_id that people log. Of
// several that say the same the earliest counts.
var directives = []directive{
	{spelling: "{end:sec}t", kind: logformat.Number, rule: field.Rule{Field: field.Timestamp, Unit: field.Seconds}},
	{spelling: "{end:msec}t", kind: logformat.Number, rule: field.Rule{Field: field.Timestamp, Unit: field.Milliseconds}},
	{spelling: "{end:usec}t", kind: logformat.Number, rule: field.Rule{Field: field.Timestamp, Unit: field.Microseconds}},
	{spelling: "{usec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Microseconds}},
	{spelling: "{begin:usec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Microseconds}},
	{spelling: "{msec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Milliseconds}},
	{spelling: "{begin:msec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Milliseconds}},
	{spelling: "{sec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{spelling: "{begin:sec}t", kind: logformat.Number, rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{spelling: "a", kind: logformat.Address, rule: field.Rule{Field: field.ClientIP}},
	{spelling: "h", kind: logformat.Word, rule: field.Rule{Field: field.ClientIP}},
	{spelling: "{c}a", kind: logformat.Address, rule: field.Rule{Field: field.ClientIP}},
	{spelling: "{c}h", kind: logformat.Word, rule: field.Rule{Field: field.ClientIP}},
	{spelling: "{remote}p", kind: logformat.Number, rule: field.Rule{Field: field.ClientPort}},
	{spelling: "r", kind: logformat.Any, rule: field.Rule{Field: field.RequestLine}},
	{spelling: "m", kind: logformat.Letters, rule: field.Rule{Field: field.Method}},
	{spelling: "U", kind: logformat.Any, rule: field.Rule{Field: field.Path}},
	{spelling: "q", kind: logformat.Any, rule: field.Rule{Field: field.Query}},
	{spelling: "H", kind: logformat.Word, rule: field.Rule{Field: field.Protocol}},
	{spelling: "s", kind: logformat.Number, rule: field.Rule{Field: field.Status}},
	{spelling: "O", kind: logformat.Number, rule: field.Rule{Field: field.ResponseBytes}},
	{spelling: "B", kind: logformat.Number, rule: field.Rule{Field: field.ResponseBytes}},
	{spelling: "b", kind: logformat.Number, rule: field.Rule{Field: field.ResponseBytes}},
	{spelling: "I", kind: logformat.Number, rule: field.Rule{Field: field.RequestBytes}},
	{spelling: "D", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Microseconds}},
	{spelling: "{us}T", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Microseconds}},
	{spelling: "{ms}T", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{spelling: "{s}T", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Seconds}},
	{spelling: "T", kind: logformat.Number, rule: field.Rule{Field: field.Latency, Unit: field.Seconds}},
	{spelling: "u", kind: logformat.User, rule: field.Rule{Field: field.Consumer}},
	{spelling: "v", kind: logformat.Word, rule: field.Rule{Field: field.Host}},
	{spelling: "V", kind: logformat.Word, rule: field.Rule{Field: field.Host}},
	{spelling: "{host}i", kind: logformat.Word, rule: field.Rule{Field: field.Authority}},
	{spelling: "{referer}i", kind: logformat.Any, rule: field.Rule{Field: field.Referer}},
	{spelling: "{user-agent}i", kind: logformat.Any, rule: field.Rule{Field: field.UserAgent}},
	{spelling: "{x-forwarded-for}i", kind: logformat.Any, rule: field.Rule{Field: field.ForwardedFor}},
	{spelling: "{x-request-id}i", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{spelling: "{x-request-id}o", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{spelling: "{unique_id}e", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{spelling: "L", kind: logformat.Word, rule: field.Rule{Field: field.RequestID}},
	{spelling: "{traceparent}i", kind: logformat.Word, rule: field.Rule{Field: field.Traceparent}},
	{spelling: "{x-api-key}i", kind: logformat.Any, rule: field.Rule{Field: field.APIKey}},
	{spelling: "{authorization}i", kind: logformat.Any, rule: field.Rule{Field: field.APIKey}},
	{spelling: "{balancer_worker_name}e", kind: logformat.Word, rule: field.Rule{Field: field.Upstream}},
	{spelling: "{balancer_name}e", kind: logformat.Word, rule: field.Rule{Field: field.Service}},
	{spelling: "A", kind: logformat.Word, skip: true},
	{spelling: "k", kind: logformat.Number, skip: true},
	{spelling: "l", kind: logformat.Word, skip: true},
	{spelling: "p", kind: logformat.Number, skip: true},
	{spelling: "{local}p", kind: logformat.Number, skip: true},
	{spelling: "{canonical}p", kind: logformat.Number, skip: true},
	{spelling: "P", kind: logformat.Number, skip: true},
	{spelling: "S", kind: logformat.Number, skip: true},
	{spelling: "X", kind: logformat.Word, skip: true},
	{spelling: "{msec_frac}t", kind: logformat.Number, skip: true},
	{spelling: "{usec_frac}t", kind: logformat.Number, skip: true},
}

// compile reads the format of Apache's directive LogFormat: its text alone, or
// the directive as it stands in a configuration file.
func compile(text string) (logformat.Template, error) {
	var t logformat.Template
	text, err := unquote(strings.TrimSpace(text))
	if err != nil {
		return t, err
	}
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
			return t, fmt.Errorf("LogFormat: %q: %w", text[i:], err)
		}
		t.Parts = append(t.Parts, parts...)
		text = rest
	}
	return t, nil
}

// unquote takes the text out of `LogFormat "TEXT" nickname`, and undoes the
// backslashes of the configuration file.
func unquote(s string) (string, error) {
	const word = "logformat"
	inside := false
	if len(s) > len(word) && strings.EqualFold(s[:len(word)], word) && (s[len(word)] == ' ' || s[len(word)] == '\t') {
		s = strings.TrimSpace(s[len(word):])
		if !strings.HasPrefix(s, `"`) {
			return "", errors.New(`LogFormat: want LogFormat "TEXT" [nickname]`)
		}
		s, inside = s[1:], true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			default:
				b.WriteByte(s[i])
			}
		case s[i] == '"' && inside:
			return b.String(), nil
		default:
			b.WriteByte(s[i])
		}
	}
	if inside {
		return "", errors.New("LogFormat: the quote has no end")
	}
	return b.String(), nil
}

// percent reads what follows a %: conditions on the status, < or >, {name}, letter.
func percent(s string) (parts []logformat.Part, rest string, err error) {
	if strings.HasPrefix(s, "%") {
		return []logformat.Part{{Literal: "%"}}, s[1:], nil
	}
	original := false
	name := ""
	for s != "" {
		switch c := s[0]; {
		case c == '<':
			original = true
		case c == '>', c == '!', c == ',', c-'0' <= 9:
		case c == '{':
			var ok bool
			if name, s, ok = strings.Cut(s, "}"); !ok {
				return nil, "", errors.New("no } after {")
			}
			name += "}"
			continue
		case c == '^' && len(s) >= 3: // ^ti, ^to: trailers
			return []logformat.Part{{Name: "%" + name + s[:3]}}, s[3:], nil
		default:
			return one(name, c, original), s[1:], nil
		}
		s = s[1:]
	}
	return nil, "", errors.New("ends without a letter")
}

// one returns the parts of one directive.
func one(name string, letter byte, original bool) []logformat.Part {
	if letter == 't' && name == "" {
		return []logformat.Part{
			{Literal: "["},
			{Name: "%t", Kind: logformat.Local, Rank: len(directives), Rule: &field.Rule{Field: field.StartTime, Layout: "clf"}},
			{Literal: "]"},
		}
	}
	spelling := strings.ToLower(name) + string(letter)
	p := logformat.Part{Name: "%" + name + string(letter)}
	for i := range directives {
		d := &directives[i]
		if d.spelling != spelling {
			continue
		}
		if p.Kind = d.kind; !d.skip && (!original || letter != 's') {
			p.Rule, p.Rank = &d.rule, i
		}
		return []logformat.Part{p}
	}
	if letter == 't' {
		if rule, ok := strftime(strings.Trim(name, "{}")); ok {
			p.Rule, p.Rank = rule, len(directives)
		}
	}
	return []logformat.Part{p}
}

// conversions are those of strftime(3) that make a time, as layouts of Go's package time.
var conversions = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'p': "PM", 'M': "04", 'S': "05", 'z': "-0700", 'Z': "MST",
	'T': "15:04:05", 'R': "15:04", 'F': "2006-01-02", 'D': "01/02/06", 'n': "\n", 't': "\t", '%': "%",
}

// strftime returns the rule for a time in that format, if it can be read.
func strftime(format string) (*field.Rule, bool) {
	rule := &field.Rule{Field: field.StartTime}
	if rest, ok := strings.CutPrefix(format, "end:"); ok {
		rule.Field, format = field.Timestamp, rest
	}
	format = strings.TrimPrefix(format, "begin:")
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := conversions[format[i]]
		if !ok {
			return nil, false
		}
		b.WriteString(layout)
	}
	rule.Layout = b.String()
	return rule, rule.Layout != ""
}
