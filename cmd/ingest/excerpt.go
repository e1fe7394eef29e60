package main

import "regexp"

// secretName matches a name that speaks of a secret, up to its value.
const secretName = `(?i)([\w.-]*(?:key|token|secret|passw(?:or)?d|authori[sz]ation|cookie|session|signature|credential)[\w-]*\\?"?\s*[:=]\s*)`

// excerptRules say what is taken out of a raw message before anybody sees a
// part of it, in this order. They would rather take too much: nothing is known
// about such a message, not even whether it can be read.
var excerptRules = [...]struct {
	what *regexp.Regexp
	by   string
}{
	// Values with a name that speaks of a secret, in JSON, headers and forms.
	{regexp.MustCompile(secretName + `\\?"(?:[^"\\]|\\[^"])*(?:\\?"|$)`), `${1}"***"`},
	{regexp.MustCompile(secretName + `(?:(?:bearer|basic)\s+)?[^\s,;&}"\\]+`), `${1}***`},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[^\s",]+`), `$1 ***`},
	// E-mail addresses.
	{regexp.MustCompile(`[^\s"'<>=,;:/?&{}()]+(?:@|%40)[^\s"'<>=,;:/?&{}()]+`), `***@***`},
	// Query values.
	{regexp.MustCompile(`([?&][^=&\s"]{1,64}=)[^&\s"#]*`), `$1***`},
	// Addresses of people: the last byte of IPv4, all of IPv6.
	{regexp.MustCompile(`\b(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}\b`), `$1.0`},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){4,7}`), `***`},
	// Whatever looks like a credential or an id by its length.
	{regexp.MustCompile(`[A-Za-z0-9_-]{20,}`), `***`},
}

// maskExcerpt removes secrets and personal data from a part of a raw message.
func maskExcerpt(s string) string {
	for _, r := range excerptRules {
		s = r.what.ReplaceAllString(s, r.by)
	}
	return s
}
