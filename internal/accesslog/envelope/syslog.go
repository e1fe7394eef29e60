package envelope

import (
	"strings"
)

// syslogHead reports whether s starts as syslog messages do, and lines of no
// format: with a priority in angle brackets, or with the month and day of RFC 3164.
func syslogHead(s string) bool {
	return len(s) > 16 && (s[0] == '<' && s[1]-'0' <= 9 || stamp3164(s))
}

// stamp3164 reports whether s starts with a time such as "Oct  9 22:33:20 " (RFC 3164 §4.1.2).
func stamp3164(s string) bool {
	return len(s) > 16 && s[3] == ' ' && s[6] == ' ' && s[9] == ':' && s[12] == ':' && s[15] == ' ' &&
		strings.Contains("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec ", s[:4])
}

// syslogLine takes the header off a syslog message: RFC 5424's, RFC 3164's with
// or without priority and host, and the one with an RFC 3339 time that rsyslog
// writes to files. Without such a header line is empty.
func syslogLine(s string) (line, host string) {
	if s[0] == '<' {
		priority, rest, ok := strings.Cut(s[1:], ">")
		if !ok || len(priority) == 0 || len(priority) > 3 {
			return "", ""
		}
		if s = rest; strings.HasPrefix(s, "1 ") {
			return line5424(s[2:])
		}
	}
	switch {
	case stamp3164(s):
		s = s[16:]
	case len(s) > 20 && s[4] == '-' && s[7] == '-' && s[10] == 'T':
		var ok bool
		if _, s, ok = strings.Cut(s, " "); !ok {
			return "", ""
		}
	default:
		return "", ""
	}
	// The host may be left out, as HAProxy does when it logs to a local socket.
	name, rest, ok := strings.Cut(s, " ")
	if ok && !strings.HasSuffix(name, ":") {
		host, s = name, rest
		if name, rest, ok = strings.Cut(s, " "); !strings.HasSuffix(name, ":") {
			return "", ""
		}
	}
	if !ok {
		return "", ""
	}
	return strings.TrimLeft(rest, " "), host
}

// line5424 reads what follows the version: TIMESTAMP HOSTNAME APP-NAME PROCID
// MSGID STRUCTURED-DATA MSG (RFC 5424 §6).
func line5424(s string) (line, host string) {
	for i := range 5 {
		field, rest, ok := strings.Cut(s, " ")
		if !ok {
			return "", ""
		}
		if i == 1 && field != "-" {
			host = field
		}
		s = rest
	}
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		s = rest
	}
	for strings.HasPrefix(s, "[") {
		n := element(s)
		if n < 0 {
			return "", ""
		}
		s = s[n:]
	}
	return strings.TrimPrefix(strings.TrimLeft(s, " "), "\ufeff"), host
}

// element returns the length of the SD-ELEMENT at the start of s; in its values
// a backslash keeps a quote or bracket from being one (RFC 5424 §6.3.3).
func element(s string) int {
	inside := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			inside = !inside
		case ']':
			if !inside {
				return i + 1
			}
		}
	}
	return -1
}
