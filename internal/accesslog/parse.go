package accesslog

import (
	"math"
	"strconv"
	"strings"
)

// ParseDecimal returns s times 10^exp10, rounded, for a decimal such as 0.123.
// It is exact within int64; an exponent or more digits go through float64.
func ParseDecimal(s string, exp10 int) (int64, bool) {
	neg := strings.HasPrefix(s, "-")
	t := strings.TrimPrefix(s, "-")
	var v int64
	digits, point := 0, -1
	for i := range len(t) {
		c := t[i]
		if c == '.' && point < 0 {
			point = digits
			continue
		}
		if c-'0' > 9 || v > (math.MaxInt64-int64(c-'0'))/10 {
			return parseFloat(s, exp10)
		}
		v = v*10 + int64(c-'0')
		digits++
	}
	if digits == 0 {
		return 0, false
	}
	scale := exp10
	if point >= 0 {
		scale -= digits - point
	}
	if scale < -18 { // more than a divisor can hold
		return parseFloat(s, exp10)
	}
	for ; scale > 0; scale-- {
		if v > math.MaxInt64/10 {
			return 0, false
		}
		v *= 10
	}
	if scale < 0 {
		div := int64(1)
		for ; scale < 0; scale++ {
			div *= 10
		}
		v = (v + div/2) / div
	}
	if neg {
		v = -v
	}
	return v, true
}

func parseFloat(s string, exp10 int) (int64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if f *= math.Pow10(exp10); err != nil || math.IsNaN(f) || math.Abs(f) >= 1<<62 {
		return 0, false
	}
	return int64(math.Round(f)), true
}

// SetTarget sets the request target and what follows from it: path and query,
// and the host of an absolute target.
func (e *Entry) SetTarget(target string) {
	e.Target = target
	rest := target
	if i := strings.Index(target, "://"); i > 0 && !strings.ContainsAny(target[:i], "/?") {
		rest = target[i+3:]
		slash := strings.IndexAny(rest, "/?")
		if slash < 0 {
			slash = len(rest)
		}
		if e.Authority == "" {
			e.SetAuthority(rest[:slash])
		}
		rest = rest[slash:]
	}
	e.Path, e.Query, _ = strings.Cut(rest, "?")
	if !strings.HasPrefix(e.Path, "/") && e.Path != "*" {
		e.Path = "" // a CONNECT's host and port, or no target at all
	}
}

// SetAuthority sets the authority and the host without its port.
func (e *Entry) SetAuthority(a string) {
	e.Authority = a
	e.Host = a
	if host, port, ok := cutPort(a); ok && port != "" {
		e.Host = host
	}
}

// SetClient sets client address and port from host, host:port or [v6]:port.
func (e *Entry) SetClient(addr string) {
	e.ClientIP = addr
	if host, port, ok := cutPort(addr); ok {
		e.ClientIP = host
		if n, ok := ParseDecimal(port, 0); ok && n > 0 && n <= math.MaxUint16 {
			e.ClientPort = int(n)
		}
	}
}

// cutPort splits a port off; an IPv6 address without brackets has none.
func cutPort(a string) (host, port string, ok bool) {
	if strings.HasPrefix(a, "[") {
		host, port, ok = strings.Cut(a[1:], "]")
		return host, strings.TrimPrefix(port, ":"), ok
	}
	i := strings.LastIndexByte(a, ':')
	if i < 0 || strings.IndexByte(a, ':') != i {
		return a, "", false
	}
	return a[:i], a[i+1:], true
}

// SetRequestLine reads "METHOD TARGET PROTOCOL", or "METHOD /TARGET" as HTTP/0.9
// has it. What is neither is kept as it is in RequestLine.
func (e *Entry) SetRequestLine(line string) {
	method, rest, ok := strings.Cut(line, " ")
	if !ok || !isToken(method) {
		e.RequestLine = line
		return
	}
	target := rest
	if i := strings.LastIndexByte(rest, ' '); i >= 0 && strings.HasPrefix(rest[i+1:], "HTTP/") {
		target, e.Protocol = rest[:i], rest[i+1:]
	}
	if target == "" || e.Protocol == "" && (target[0] != '/' || strings.IndexByte(target, ' ') >= 0) {
		e.Protocol, e.RequestLine = "", line
		return
	}
	e.Method = method
	e.SetTarget(target)
}

// isToken reports whether s is a method as RFC 9110 §9.1 allows, and in upper case as all registered ones are.
func isToken(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
