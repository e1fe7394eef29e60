package normalise

import (
	"strings"
	"unsafe"

	"gatewatch/internal/accesslog"
)

// markValue stands for the value of a parameter that was masked.
const markValue = "*"

func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// maskQuery replaces the values of all parameters that aren't allowed.
func (n *Normaliser) maskQuery(q string, arena *accesslog.Arena) string {
	if q == "" {
		return ""
	}
	b := arena.Grow(2*len(q) + 2)
	for first := true; ; first = false {
		param, rest, more := strings.Cut(q, "&")
		if !first {
			b = append(b, '&')
		}
		name, value, ok := strings.Cut(param, "=")
		switch {
		case param == "":
		case !ok || len(name) > 64 || accesslog.Suspicious(name):
			b = append(b, markValue...)
		case n.allow[name] && !accesslog.Suspicious(value):
			b = append(b, param...)
		default:
			b = append(append(append(b, name...), '='), markValue...)
		}
		if q = rest; !more {
			break
		}
	}
	arena.Keep(b)
	return view(b)
}

// withoutQuery cuts the query and fragment off a referring URL: they are another site's or page's secrets.
func withoutQuery(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		return url[:i]
	}
	return url
}

// join makes the masked target of path and query.
func join(path, query string, arena *accesslog.Arena) string {
	if query == "" {
		return path
	}
	b := append(arena.Grow(len(path)+1+len(query)), path...)
	b = append(append(b, '?'), query...)
	arena.Keep(b)
	return view(b)
}
