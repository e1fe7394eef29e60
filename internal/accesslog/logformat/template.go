// Package logformat reads lines of text by a template: the text and variables
// of a gateway's own log format, such as nginx's log_format or Apache's
// LogFormat. A gateway's package compiles its notation into parts; matching,
// escapes and the filling of entries are here, alike for all.
package logformat

import (
	"errors"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog/field"
)

// A Template is the parts of a line, in their order: literals and variables in turn.
type Template struct {
	Parts []Part
	// Verbatim says that values are logged without escapes, as nginx's escape=none does.
	Verbatim bool
	// Cut allows lines that end inside the last quoted value, as loggers with a
	// limit on a line's length leave them.
	Cut bool
	// More allows further values behind the last part: checked for balanced quotes, and left out.
	More bool
}

// A Part is a literal or a variable.
type Part struct {
	Literal string // text that stands in each line; empty for a variable
	Name    string // of the variable, for messages
	Kind    Kind
	// Rule says what the variable fills; without it the value is left out.
	Rule *field.Rule
	Rank int // where several variables fill one field the lowest rank wins
}

// A Kind says how far a variable's value reaches.
type Kind uint8

// The kinds.
const (
	Any     Kind = iota // to where the rest of the template fits; between quotes to the closing one
	Word                // no space, nor the text that follows
	Address             // an IP address, a Unix socket or a dash; maybe followed by a colon and the port
	User                // a name, maybe with spaces, but no dash behind one: that is an absent name behind something else
	Letters             // letters, dash and underscore: a method
	Status              // three digits, or a dash
	Number              // digits, sign, point; or a dash
	List                // words, a comma or " : " between them, as nginx writes the tries of a request
	Local               // 02/Jan/2006:15:04:05 -0700
	quoted              // Any between quotes that values escape
)

// compile checks a template and completes its kinds.
func compile(t Template) (Template, error) {
	parts := merge(t.Parts)
	if len(parts) == 0 {
		return t, errors.New("empty")
	}
	request := false
	for i := range parts {
		p := &parts[i]
		if p.Literal != "" {
			continue
		}
		request = request || p.Rule != nil && p.Rule.Field.Essential()
		if i > 0 && parts[i-1].Literal == "" {
			return t, fmt.Errorf("no text between %s and %s: their values can't be told apart", parts[i-1].Name, p.Name)
		}
		between := i > 0 && i+1 < len(parts) && strings.HasSuffix(parts[i-1].Literal, `"`) && parts[i+1].Literal[0] == '"'
		if p.Kind == Any && between && !t.Verbatim {
			p.Kind = quoted
		}
	}
	if !request {
		return t, errors.New("neither request nor status nor time spent: no access log")
	}
	t.Parts = parts
	return t, nil
}

// merge joins neighbouring literals, and drops white space at the ends: lines come without.
func merge(parts []Part) []Part {
	var out []Part
	for _, p := range parts {
		if n := len(out); p.Literal != "" && n > 0 && out[n-1].Literal != "" {
			out[n-1].Literal += p.Literal
			continue
		}
		out = append(out, p)
	}
	const space = " \t\r\n"
	if n := len(out); n > 0 && out[n-1].Literal != "" {
		if out[n-1].Literal = strings.TrimRight(out[n-1].Literal, space); out[n-1].Literal == "" {
			out = out[:n-1]
		}
	}
	if len(out) > 0 && out[0].Literal != "" {
		if out[0].Literal = strings.TrimLeft(out[0].Literal, space); out[0].Literal == "" {
			out = out[1:]
		}
	}
	return out
}
