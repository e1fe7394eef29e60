package trace

import (
	"net/netip"
	"strings"

	"gatewatch/internal/accesslog"
)

// A Redactor removes secrets and personal data from spans before they are
// stored: credentials and cookies are dropped, values in URLs and literals in
// queries are masked, addresses of clients are truncated to /24 and /48.
type Redactor struct{ arena *accesslog.Arena }

// NewRedactor returns a redactor.
func NewRedactor() *Redactor { return &Redactor{} }

// Redact masks s in place. Rewritten text goes to the arena.
func (r *Redactor) Redact(s *Span, arena *accesslog.Arena) {
	r.arena = arena
	s.Name = accesslog.MaskText(s.Name, arena)
	if s.DBQuery != "" {
		s.DBQuery = maskLiterals(s.DBQuery)
	}
	s.Message = accesslog.MaskText(s.Message, arena)
	s.Attrs = r.attrs(s.Attrs)
	for i := range s.Events {
		e := &s.Events[i]
		e.Name = accesslog.MaskText(e.Name, arena)
		e.Attrs = r.attrs(e.Attrs)
	}
	for i := range s.Links {
		s.Links[i].Attrs = r.attrs(s.Links[i].Attrs)
	}
}

// attrs masks attributes in place and returns those that may be stored.
func (r *Redactor) attrs(attrs []Attr) []Attr {
	kept := attrs[:0]
	for _, a := range attrs {
		if v, keep := r.attr(a.Key, a.Value); keep {
			kept = append(kept, Attr{a.Key, v})
		}
	}
	return kept
}

// attr returns what may be stored of an attribute (OpenTelemetry semantic conventions, attribute registry).
func (r *Redactor) attr(key, value string) (string, bool) {
	switch key {
	case "url.full", "http.url", "http.target", "url.original":
		return accesslog.MaskText(maskURL(value), r.arena), true
	case "url.query", "enduser.id", "enduser.pseudo.id", "user.email", "user.full_name", "user.name", "url.fragment":
		return "", false
	case "db.statement", "db.query.text", "db.query.parameter":
		return maskLiterals(value), true
	case "client.address", "client.socket.address", "net.peer.ip", "http.client_ip", "network.peer.address", "net.sock.peer.addr", "source.address":
		return truncateAddr(value), true
	}
	if strings.HasPrefix(key, "http.request.header.") || strings.HasPrefix(key, "http.response.header.") ||
		strings.HasPrefix(key, "db.query.parameter.") || secretName(key) {
		return "", false
	}
	return accesslog.MaskText(value, r.arena), true
}

// secretName reports whether an attribute is named after a credential.
func secretName(key string) bool {
	k := strings.ToLower(key)
	for _, word := range []string{"password", "passwd", "secret", "token", "authorization", "cookie", "api_key", "apikey", "api-key"} {
		if strings.Contains(k, word) {
			return true
		}
	}
	return false
}

// maskURL cuts query and fragment off, and a user's name and password out.
func maskURL(u string) string {
	if i := strings.IndexAny(u, "?#"); i >= 0 {
		u = u[:i]
	}
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		return u
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return scheme + "://" + authority[i+1:] + "/" + path
	}
	return u
}

// maskLiterals replaces quoted strings and numbers of a query by question marks.
func maskLiterals(q string) string {
	if !strings.ContainsAny(q, "'\"0123456789") {
		return q
	}
	var b strings.Builder
	for i := 0; i < len(q); {
		c := q[i]
		switch {
		case c == '\'' || c == '"':
			i = literalEnd(q, i)
			b.WriteByte('?')
		case digit(c) && (i == 0 || !word(q[i-1])):
			for i < len(q) && (word(q[i]) || q[i] == '.') {
				i++
			}
			b.WriteByte('?')
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// literalEnd returns where the literal that starts at i ends; a doubled quote and one after a backslash are inside.
func literalEnd(q string, i int) int {
	quote := q[i]
	for i++; i < len(q); i++ {
		switch {
		case q[i] == '\\':
			i++
		case q[i] == quote && i+1 < len(q) && q[i+1] == quote:
			i++
		case q[i] == quote:
			return i + 1
		}
	}
	return len(q)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func word(c byte) bool {
	return digit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
}

func truncateAddr(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return s
	}
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.Prefix(bits) // no error: the length fits
	return prefix.Addr().String()
}
