package apache

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

// directives are what one % letter, or % {name in lower case} letter, writes: those of mod_log_config and mod_logio, and the headers, notes
// and variables of mod_proxy_balancer and mod_unique_id that people log. Of
// several that say the same the earliest counts.
var directives = []logformat.Variable{
	{Name: "{end:sec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.Timestamp, Unit: field.Seconds}},
	{Name: "{end:msec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.Timestamp, Unit: field.Milliseconds}},
	{Name: "{end:usec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.Timestamp, Unit: field.Microseconds}},
	{Name: "{usec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Microseconds}},
	{Name: "{begin:usec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Microseconds}},
	{Name: "{msec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Milliseconds}},
	{Name: "{begin:msec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Milliseconds}},
	{Name: "{sec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{Name: "{begin:sec}t", Kind: logformat.Number, Rule: field.Rule{Field: field.StartTime, Unit: field.Seconds}},
	{Name: "a", Kind: logformat.Address, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "h", Kind: logformat.Word, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "{c}a", Kind: logformat.Address, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "{c}h", Kind: logformat.Word, Rule: field.Rule{Field: field.ClientIP}},
	{Name: "{remote}p", Kind: logformat.Number, Rule: field.Rule{Field: field.ClientPort}},
	{Name: "r", Kind: logformat.Any, Rule: field.Rule{Field: field.RequestLine}},
	{Name: "m", Kind: logformat.Letters, Rule: field.Rule{Field: field.Method}},
	{Name: "U", Kind: logformat.Any, Rule: field.Rule{Field: field.Path}},
	{Name: "q", Kind: logformat.Any, Rule: field.Rule{Field: field.Query}},
	{Name: "H", Kind: logformat.Word, Rule: field.Rule{Field: field.Protocol}},
	{Name: "s", Kind: logformat.Status, Rule: field.Rule{Field: field.Status}},
	{Name: "O", Kind: logformat.Number, Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "B", Kind: logformat.Number, Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "b", Kind: logformat.Number, Rule: field.Rule{Field: field.ResponseBytes}},
	{Name: "I", Kind: logformat.Number, Rule: field.Rule{Field: field.RequestBytes}},
	{Name: "D", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Microseconds}},
	{Name: "{us}T", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Microseconds}},
	{Name: "{ms}T", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Milliseconds}},
	{Name: "{s}T", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Seconds}},
	{Name: "T", Kind: logformat.Number, Rule: field.Rule{Field: field.Latency, Unit: field.Seconds}},
	{Name: "u", Kind: logformat.User, Rule: field.Rule{Field: field.Consumer}},
	{Name: "v", Kind: logformat.Word, Rule: field.Rule{Field: field.Host}},
	{Name: "V", Kind: logformat.Word, Rule: field.Rule{Field: field.Host}},
	{Name: "{host}i", Kind: logformat.Word, Rule: field.Rule{Field: field.Authority}},
	{Name: "{referer}i", Kind: logformat.Any, Rule: field.Rule{Field: field.Referer}},
	{Name: "{user-agent}i", Kind: logformat.Any, Rule: field.Rule{Field: field.UserAgent}},
	{Name: "{x-forwarded-for}i", Kind: logformat.Any, Rule: field.Rule{Field: field.ForwardedFor}},
	{Name: "{x-request-id}i", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "{x-request-id}o", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "{unique_id}e", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "L", Kind: logformat.Word, Rule: field.Rule{Field: field.RequestID}},
	{Name: "{traceparent}i", Kind: logformat.Word, Rule: field.Rule{Field: field.Traceparent}},
	{Name: "{x-api-key}i", Kind: logformat.Any, Rule: field.Rule{Field: field.APIKey}},
	{Name: "{authorization}i", Kind: logformat.Any, Rule: field.Rule{Field: field.APIKey}},
	{Name: "{ssl_client_s_dn}x", Kind: logformat.Any, Rule: field.Rule{Field: field.ClientSubject}},
	{Name: "{balancer_worker_name}e", Kind: logformat.Word, Rule: field.Rule{Field: field.Upstream}},
	{Name: "{balancer_name}e", Kind: logformat.Word, Rule: field.Rule{Field: field.Service}},
	{Name: "A", Kind: logformat.Word, Skip: true},
	{Name: "k", Kind: logformat.Number, Skip: true},
	{Name: "l", Kind: logformat.Word, Skip: true},
	{Name: "p", Kind: logformat.Number, Skip: true},
	{Name: "{local}p", Kind: logformat.Number, Skip: true},
	{Name: "{canonical}p", Kind: logformat.Number, Skip: true},
	{Name: "P", Kind: logformat.Number, Skip: true},
	{Name: "S", Kind: logformat.Number, Skip: true},
	{Name: "X", Kind: logformat.Word, Skip: true},
	{Name: "{msec_frac}t", Kind: logformat.Number, Skip: true},
	{Name: "{usec_frac}t", Kind: logformat.Number, Skip: true},
}

// compile reads the format of Apache's directive LogFormat: its text alone, or
// the directive as it stands in a configuration file.
func compile(text string) (logformat.Template, error) {
	var t logformat.Template
	text, err := unquote(strings.TrimSpace(text))
	if err != nil {
		return t, err
	}
	t.Parts, err = logformat.Split(text, '%', percent)
	if err != nil {
		return t, fmt.Errorf("LogFormat: %w", err)
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
	p := logformat.Lookup(directives, strings.ToLower(name)+string(letter), "%"+name+string(letter))
	if original && letter == 's' {
		p.Rule = nil
	}
	if letter == 't' && p.Rule == nil && p.Kind == logformat.Any {
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
