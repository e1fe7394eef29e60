package jsonlog

import (
	"strings"
	"unicode/utf8"

	"gatewatch/internal/accesslog/jsonscan"
)

// text returns a scalar's text; ok is false if the value is absent: null, an
// object, an empty string or a dash, as gateways write what they don't have.
func text(v jsonscan.Value) (string, bool) {
	switch v.Kind {
	case jsonscan.String:
		return v.Text, v.Text != "" && v.Text != "-"
	case jsonscan.Number:
		return v.Text, true
	case jsonscan.True:
		return "true", true
	case jsonscan.False:
		return "false", true
	case jsonscan.Array:
		return firstOf(v.Text)
	}
	return "", false
}

// firstOf returns the first string of an array, as loggers of header values
// write them. One with escapes or bad UTF-8 is left out: its text would need rewriting.
func firstOf(array string) (string, bool) {
	rest := strings.TrimLeft(array[1:], " \t\r\n")
	if !strings.HasPrefix(rest, `"`) {
		return "", false
	}
	s, _, ok := strings.Cut(rest[1:], `"`)
	return s, ok && s != "" && s != "-" && strings.IndexByte(s, '\\') < 0 && utf8.ValidString(s)
}
