package nginx

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
	"gatewatch/internal/accesslog/logformat"
)

// kinds are the variables whose values reach no further than a space, by
// ngx_http_core_module, ngx_http_log_module and ngx_http_upstream_module.
// Others may hold anything that a client sent.
var kinds = map[string]logformat.Kind{
	"time_local":   logformat.Local,
	"time_iso8601": logformat.Word,
	"msec":         logformat.Number,

	"body_bytes_sent":     logformat.Number,
	"bytes_sent":          logformat.Number,
	"connection":          logformat.Number,
	"connection_requests": logformat.Number,
	"gzip_ratio":          logformat.Number,
	"pid":                 logformat.Number,
	"remote_port":         logformat.Number,
	"request_length":      logformat.Number,
	"request_time":        logformat.Number,
	"server_port":         logformat.Number,
	"status":              logformat.Status,

	"upstream_addr":            logformat.List,
	"upstream_bytes_received":  logformat.List,
	"upstream_bytes_sent":      logformat.List,
	"upstream_connect_time":    logformat.List,
	"upstream_header_time":     logformat.List,
	"upstream_queue_time":      logformat.List,
	"upstream_response_length": logformat.List,
	"upstream_response_time":   logformat.List,
	"upstream_status":          logformat.List,

	"remote_user":           logformat.User,
	"remote_addr":           logformat.Address,
	"realip_remote_addr":    logformat.Address,
	"host":                  logformat.Word,
	"http_host":             logformat.Word,
	"hostname":              logformat.Word,
	"pipe":                  logformat.Word,
	"proxy_upstream_name":   logformat.Word,
	"req_id":                logformat.Word,
	"request_id":            logformat.Word,
	"request_method":        logformat.Letters,
	"scheme":                logformat.Word,
	"server_addr":           logformat.Word,
	"server_name":           logformat.Word,
	"server_protocol":       logformat.Word,
	"ssl_cipher":            logformat.Word,
	"ssl_protocol":          logformat.Word,
	"upstream_cache_status": logformat.Word,
}

// compile reads the format of nginx's directive log_format: its text alone, or
// the directive as it stands in a configuration file, with name, escape=, quoted
// pieces and semicolon.
func compile(text string) (logformat.Template, error) {
	var t logformat.Template
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "log_format"); ok && rest != "" && strings.ContainsAny(rest[:1], " \t\n") {
		var err error
		if text, t.Verbatim, err = directive(rest); err != nil {
			return t, fmt.Errorf("log_format: %w", err)
		}
	}
	var err error
	t.Parts, err = logformat.Split(text, '$', func(behind string) ([]logformat.Part, string, error) {
		name, rest := variable(behind)
		if name == "" {
			return nil, "", errors.New("log_format: a $ without a variable's name")
		}
		return []logformat.Part{part(name)}, rest, nil
	})
	return t, err
}

// variable cuts name or {name} off.
func variable(s string) (name, rest string) {
	if strings.HasPrefix(s, "{") {
		name, rest, _ = strings.Cut(s[1:], "}")
		return name, rest
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n]-'0' <= 9 || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	return s[:n], s[n:]
}

func part(name string) logformat.Part {
	p := logformat.Part{Name: "$" + name, Kind: kinds[name]}
	for i := range jsonRules {
		if r := &jsonRules[i]; r.Path == name {
			p.Rule, p.Rank = &field.Rule{Field: r.Field, Unit: r.Unit}, i
		}
	}
	return p
}

// directive reads what follows the word log_format: name, parameters, and the
// pieces of the text, which nginx joins.
func directive(s string) (text string, verbatim bool, err error) {
	var b strings.Builder
	for i := 0; ; i++ {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" || s[0] == ';' {
			break
		}
		token, rest, err := token(s)
		if err != nil {
			return "", false, err
		}
		s = rest
		switch {
		case i == 0: // its name
		case i == 1 && strings.HasPrefix(token, "escape="):
			switch token {
			case "escape=none":
				verbatim = true
			case "escape=default", "escape=json":
			default:
				return "", false, fmt.Errorf("%s is none of default, json, none", token)
			}
		default:
			b.WriteString(token)
		}
	}
	if b.Len() == 0 {
		return "", false, errors.New("want NAME [escape=default|json|none] 'TEXT'…;")
	}
	return b.String(), verbatim, nil
}

// token reads one word of nginx's configuration: quoted, or up to white space.
func token(s string) (word, rest string, err error) {
	quote := s[0]
	if quote != '\'' && quote != '"' {
		n := strings.IndexAny(s, " \t\r\n;")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			switch s[i] {
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'n':
				b.WriteByte('\n')
			case '\\', '"', '\'':
				b.WriteByte(s[i])
			default:
				b.WriteString(s[i-1 : i+1])
			}
		case s[i] == quote:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", fmt.Errorf("a quote (%c) has no end", quote)
}
