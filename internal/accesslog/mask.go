package accesslog

import (
	"strings"
	"unsafe"
)

// Marks that stand for what was masked.
const (
	markEmail = "{email}"
	markToken = "{token}"
)

// secretPrefixes begin tokens of well-known issuers: JSON Web Tokens (RFC 7519;
// base64 of `{"`), Stripe, GitHub, GitLab, Slack, AWS, Google.
var secretPrefixes = [...]string{"eyJ", "sk_live_", "sk_test_", "rk_live_", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "AKIA", "AIza"}

// telling are the bytes at which suspicious looks closer.
var telling = [256]bool{'@': true, '%': true, '=': true, 'J': true, '_': true, '-': true, 'K': true, 'z': true, 'x': true}

// Suspicious reports whether MaskText may have something to do: a quick look
// that nearly all texts end with.
func Suspicious(s string) bool {
	for i := range len(s) {
		if telling[s[i]] && tells(s[:i], s[i:]) {
			return true
		}
	}
	return false
}

// tells looks at what is before and after a telling byte.
func tells(before, from string) bool {
	switch from[0] {
	case '@':
		return true
	case '%':
		return strings.HasPrefix(from, "%40")
	case '=':
		return strings.HasSuffix(before, "sessionid")
	case 'J':
		return strings.HasSuffix(before, "ey")
	case '_': // sk_ rk_ ghp_ gho_ ghs_ github_pat_
		return strings.HasSuffix(before, "k") || strings.HasSuffix(before, "pat") || len(before) >= 3 && before[len(before)-3:len(before)-1] == "gh"
	case '-':
		return strings.HasSuffix(before, "glpat")
	case 'K':
		return strings.HasPrefix(from, "KIA")
	case 'z':
		return strings.HasSuffix(before, "AI")
	}
	return strings.HasPrefix(from, "xox")
}

// MaskText replaces e-mail addresses, credentials in URLs and tokens in s.
func MaskText(s string, arena *Arena) string {
	if !Suspicious(s) {
		return s
	}
	// A mark is at most 7 bytes longer than the word that it replaces.
	b := arena.Grow(8 * (len(s) + 1))
	for len(s) > 0 {
		n := wordLen(s)
		word := s[:n]
		switch {
		case strings.IndexByte(word, '@') > 0 || strings.Contains(word, "%40"):
			b = append(b, markEmail...)
		case isSecret(word) || sessionID(b) && word != "":
			b = append(b, markToken...)
		default:
			b = append(b, word...)
		}
		s = s[n:]
		if len(s) > 0 {
			b = append(b, s[0])
			s = s[1:]
		}
	}
	arena.Keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// wordLen returns the length of the text before the next separator.
func wordLen(s string) int {
	if i := strings.IndexAny(s, "/ ,;()<>\"'=&?\n\t"); i >= 0 {
		return i
	}
	return len(s)
}

func isSecret(word string) bool {
	for _, p := range secretPrefixes {
		if i := strings.Index(word, p); i >= 0 && len(word)-i >= 16 {
			return true
		}
	}
	return false
}

// sessionID reports whether what was written so far ends with a session's name, as in ;jsessionid=…..
func sessionID(b []byte) bool {
	return strings.HasSuffix(unsafe.String(unsafe.SliceData(b), len(b)), "sessionid=")
}
