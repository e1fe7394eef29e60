package normalise

import (
	"fmt"
	"strings"

	"gatewatch/internal/accesslog"
)

// OverflowRoute is the route of a request whose template is one too many for its service.
const OverflowRoute = "{other}"

// maxServices bounds for how many services templates are learned.
const maxServices = 1000

// routes finds the template of a path: a declared one, else a learned one.
type routes struct {
	declared *segment
	learned  map[string]map[string]string // service → template → itself
	limit    int
	scratch  []byte
}

// segment is a node of the trie of declared templates.
type segment struct {
	static    map[string]*segment
	parameter *segment
	templates []declared // that end here
	rest      []declared // that go on with anything (/*)
}

type declared struct{ method, template string }

func newRoutes(templates []string, limit int) (*routes, error) {
	r := &routes{learned: map[string]map[string]string{}, limit: limit}
	for _, t := range templates {
		method, path, ok := strings.Cut(t, " ")
		if !ok {
			method, path = "", t
		}
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("route %q: the template doesn't start with a slash", t)
		}
		if r.declared == nil {
			r.declared = &segment{}
		}
		r.declared.add(path[1:], declared{method, path})
	}
	return r, nil
}

func (s *segment) add(path string, d declared) {
	name, rest, more := strings.Cut(path, "/")
	if !more && (name == "*" || name == "**" || strings.HasPrefix(name, "{") && strings.HasSuffix(name, "*}")) {
		s.rest = append(s.rest, d)
		return
	}
	next := s.child(name)
	if !more {
		next.templates = append(next.templates, d)
		return
	}
	next.add(rest, d)
}

func (s *segment) child(name string) *segment {
	if strings.Contains(name, "{") || strings.HasPrefix(name, ":") || name == "*" {
		if s.parameter == nil {
			s.parameter = &segment{}
		}
		return s.parameter
	}
	if s.static == nil {
		s.static = map[string]*segment{}
	}
	if s.static[name] == nil {
		s.static[name] = &segment{}
	}
	return s.static[name]
}

// match returns the template for path, the most literal one first.
func (s *segment) match(method, path string) string {
	name, rest, more := strings.Cut(path, "/")
	for _, next := range [...]*segment{s.static[name], s.parameter} {
		if next == nil || next == s.parameter && name == "" {
			continue
		}
		found := ""
		if more {
			found = next.match(method, rest)
		} else {
			found = pick(next.templates, method)
		}
		if found != "" {
			return found
		}
	}
	return pick(s.rest, method)
}

// pick prefers the template that names the method over one for all methods.
func pick(ds []declared, method string) string {
	found := ""
	for _, d := range ds {
		if d.method == method {
			return d.template
		}
		if d.method == "" {
			found = d.template
		}
	}
	return found
}

func (r *routes) route(e *accesslog.Entry) string {
	if r.declared != nil && e.Path[0] == '/' {
		if t := r.declared.match(e.Method, e.Path[1:]); t != "" {
			return t
		}
	}
	return r.learn(e)
}

// learn replaces what looks like an identifier in the path. New templates come
// only from requests that some route answered: scanners mostly get 404 and 400.
func (r *routes) learn(e *accesslog.Entry) string {
	r.scratch = appendTemplate(r.scratch[:0], e.Path)
	known := r.learned[e.Service]
	if t, ok := known[string(r.scratch)]; ok {
		return t
	}
	if unanswered(e) {
		return OverflowRoute
	}
	if len(known) >= r.limit || known == nil && len(r.learned) >= maxServices {
		return OverflowRoute
	}
	if known == nil {
		known = map[string]string{}
		r.learned[strings.Clone(e.Service)] = known
	}
	t := string(r.scratch)
	known[t] = t
	return t
}

// maxSegments bounds a learned template.
const maxSegments = 12

func appendTemplate(b []byte, path string) []byte {
	for n := 0; path != ""; n++ {
		if path[0] == '/' {
			b = append(b, '/')
			path = path[1:]
		}
		if n == maxSegments {
			return append(b, '*')
		}
		end := strings.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		b = appendSegment(b, path[:end])
		path = path[end:]
	}
	return b
}

// appendSegment appends a segment of a path, or {id} for one that names a thing:
// numbers, UUIDs, hashes, dates, addresses, long or encoded words.
func appendSegment(b []byte, s string) []byte {
	digits, letters, other, upper := 0, 0, 0, 0
	hex := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters++
			if c <= 'Z' {
				upper++
			}
			hex = hex && c|0x20 <= 'f'
		case c == '-' || c == '_' || c == '.':
		default:
			other++
		}
	}
	version := len(s) <= 4 && len(s) >= 2 && s[0] == 'v' && letters == 1
	switch {
	case version || s == "":
		return append(b, s...)
	case other > 0, len(s) > 40, accesslog.Suspicious(s),
		digits > 0 && letters == 0,
		hex && digits > 0 && len(s) >= 8,
		digits >= 4,
		digits >= 2 && upper > 0 && len(s) >= 10,
		digits*3 >= len(s) && len(s) >= 4:
		return append(b, "{id}"...)
	}
	return append(b, s...)
}
