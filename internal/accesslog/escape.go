package accesslog

import (
	"strings"
	"unicode/utf8"
	"unsafe"
)

// Unescape undoes what nginx (ngx_http_log_module; escape=default: \xXX,
// escape=json: \", \\, \n and the like, \u00XX) and Apache (mod_log_config: \",
// \\, \n and the like, \xhh) write for bytes that a log can't hold. Where the result is no text it returns s as logged.
func Unescape(s string, arena *Arena) string {
	if strings.IndexByte(s, '\\') < 0 {
		return Clean(s, arena)
	}
	b := arena.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, c)
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'v':
			b = append(b, '\v')
		case 'x':
			v, ok := hexByte(s[i+1:])
			if !ok {
				b = append(b, '\\', 'x')
				continue
			}
			b = append(b, v)
			i += 2
		case 'u':
			hi, ok1 := hexByte(s[i+1:])
			lo, ok2 := hexByte(s[min(i+3, len(s)):])
			if !ok1 || !ok2 {
				b = append(b, '\\', 'u')
				continue
			}
			b = utf8.AppendRune(b, rune(hi)<<8|rune(lo))
			i += 4
		default:
			b = append(b, '\\', c)
		}
	}
	if !utf8.Valid(b) {
		return Clean(s, arena)
	}
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func hexByte(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, ok1 := hexDigit(s[0])
	lo, ok2 := hexDigit(s[1])
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// Clean replaces bytes that are no UTF-8 by U+FFFD.
func Clean(s string, arena *Arena) string {
	if utf8.ValidString(s) {
		return s
	}
	b := arena.Grow(3 * len(s))
	for _, r := range s {
		b = utf8.AppendRune(b, r)
	}
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}
