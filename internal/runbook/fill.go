package runbook

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// variables are what a text may name in braces.
var variables = [...]string{
	"service", "route", "method", "upstream", "node", "region", "consumer", "key", "plan", "version", "error_class", "topic", "objective", "since", "slo", "alert", "trace",
}

// Variables returns what a text may name in braces.
func Variables() []string { return slices.Clone(variables[:]) }

// maxSteps is how many steps fit into a page.
const maxSteps = 3

// maxValue is how many bytes of a value a text takes. A longer one is cut in
// prose; a command that needs it is left out.
const maxValue = 200

// Steps returns the first steps to take, with {name} replaced by vars[name]. A
// step that names something unknown is left out.
//
// Values come from traffic, so whoever sends requests may choose them. In code
// (between backticks) they are quoted: as SQL where the code begins with SELECT
// or WITH, else for a shell. Control characters become spaces everywhere.
func (f Found) Steps(vars map[string]string) []string {
	var out []string
	for _, s := range f.steps {
		if s, ok := fillStep(s, vars); ok {
			out = append(out, s)
		}
		if len(out) == maxSteps {
			break
		}
	}
	return out
}

// Link is URL with the version of the text and the values that it names, so
// that whoever serves it can fill them in (see Filled).
func (f Found) Link(base string, vars map[string]string) string {
	u, fragment, _ := strings.Cut(f.URL(base), "#")
	q := url.Values{"v": {f.Runbook.Version}}
	for _, name := range variables {
		if v := vars[name]; v != "" && f.Runbook.names[name] {
			q.Set(name, clean(v))
		}
	}
	u += "?" + q.Encode()
	if fragment != "" {
		u += "#" + fragment
	}
	return u
}

// Filled returns a runbook's text without its head, with the values of vars in
// their places: quoted as SQL in code blocks marked sql, for a shell in other
// code, escaped for Markdown in prose. What vars lacks stays as it is written.
func (s *Set) Filled(name string, vars map[string]string) ([]byte, bool) {
	text, ok := s.text[name]
	if !ok {
		return nil, false
	}
	_, body, _ := bytes.Cut(text, []byte("\n---\n"))
	var out strings.Builder
	fence := quoting(nil)
	for line := range strings.Lines(string(body)) {
		if lang, ok := fenceLine(line); ok {
			switch {
			case fence != nil:
				fence = nil
			case lang == "sql":
				fence = sqlQuote
			default:
				fence = shellQuote
			}
			out.WriteString(line)
			continue
		}
		filled, _ := fill(line, vars, fence, markdown)
		out.WriteString(filled)
	}
	return []byte(out.String()), true
}

// fenceLine tells whether a line begins or ends a code block, and its language.
func fenceLine(line string) (lang string, ok bool) {
	lang, ok = strings.CutPrefix(strings.TrimSpace(line), "```")
	return strings.TrimSpace(lang), ok
}

// A quoting makes a value harmless in some language; before is the text in front of it.
type quoting func(value, before string) (string, bool)

func sqlQuote(v, _ string) (string, bool) {
	if len(v) > maxValue {
		return "", false
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'", true
}

func shellQuote(v, before string) (string, bool) {
	// No quoting keeps a word that begins with a dash from being an option.
	if len(v) > maxValue || strings.HasPrefix(v, "-") && (before == "" || strings.HasSuffix(before, " ")) {
		return "", false
	}
	if !strings.ContainsFunc(v, func(r rune) bool {
		return r >= unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-./:@%+=,", r)
	}) {
		return v, true
	}
	return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'", true
}

func prose(v, _ string) (string, bool) {
	v = strings.ReplaceAll(v, "`", "'")
	if len(v) > maxValue {
		v = strings.ToValidUTF8(v[:maxValue], "") + "…"
	}
	return v, true
}

// markdown is prose in which nothing is a link or HTML.
func markdown(v, before string) (string, bool) {
	v, ok := prose(v, before)
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "<", `\<`, "*", `\*`).Replace(v), ok
}

// clean takes away what could forge a line or hide text: control and format
// characters.
func clean(v string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, v))
}

// fillStep fills one step; {{ stands for a brace.
func fillStep(s string, vars map[string]string) (string, bool) {
	const brace = "\x00"
	s, ok := fill(strings.ReplaceAll(s, "{{", brace), vars, nil, prose)
	if !ok {
		return "", false
	}
	return strings.ReplaceAll(s, brace, "{"), true
}

// fill replaces {name} by vars[name] and reports whether it could everywhere.
// What it can't replace stays. In a code block quote is the block's quoting;
// outside it is nil, text between backticks is quoted after its kind and other
// text as plain says.
func fill(s string, vars map[string]string, quote, plain quoting) (string, bool) {
	all := true
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		q := quote
		if q == nil {
			if i > 0 {
				b.WriteByte('`')
			}
			q = plain
			if i%2 == 1 {
				q = inline(part)
			}
		} else if i > 0 {
			b.WriteByte('`')
		}
		all = fillPart(&b, part, vars, q) && all
	}
	return b.String(), all
}

// inline returns the quoting of code within a line.
func inline(code string) quoting {
	if word, _, _ := strings.Cut(strings.TrimSpace(code), " "); strings.EqualFold(word, "SELECT") || strings.EqualFold(word, "WITH") {
		return sqlQuote
	}
	return shellQuote
}

func fillPart(b *strings.Builder, s string, vars map[string]string, quote quoting) bool {
	all := true
	for {
		before, rest, ok := strings.Cut(s, "{")
		b.WriteString(before)
		if !ok {
			return all
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := "", false
		if v := clean(vars[name]); closed && v != "" {
			value, known = quote(v, before)
		}
		if !known {
			all = false
			b.WriteByte('{')
			s = rest
			continue
		}
		b.WriteString(value)
		s = after
	}
}

// namesIn returns the variables that a text names.
func namesIn(text string) map[string]bool {
	found := map[string]bool{}
	for _, v := range variables {
		if strings.Contains(text, "{"+v+"}") {
			found[v] = true
		}
	}
	return found
}

// quotedPlaces reports placeholders that stand between quotes: their values are
// quoted already, and a second pair of quotes would undo that.
func quotedPlaces(body []byte, first int, fault func(line int, format string, args ...any)) {
	block := false
	for i, line := range strings.Split(string(body), "\n") {
		if _, ok := fenceLine(line); ok {
			block = !block
			continue
		}
		parts := []string{line}
		if !block {
			parts = parts[:0]
			for k, p := range strings.Split(line, "`") {
				if k%2 == 1 {
					parts = append(parts, p)
				}
			}
		}
		for _, code := range parts {
			if name := insideQuotes(code); name != "" {
				fault(first+i, "{%s} stands between quotes; write it without, its value is quoted when it is filled in", name)
			}
		}
	}
}

// insideQuotes returns a variable that code names between quotes.
func insideQuotes(code string) string {
	open := byte(0)
	for i := 0; i < len(code); i++ {
		switch c := code[i]; {
		case c == '\\':
			i++
		case open != 0 && c == open:
			open = 0
		case open == 0 && (c == '\'' || c == '"'):
			open = c
		case c == '{' && open != 0:
			if name, _, ok := strings.Cut(code[i+1:], "}"); ok && slices.Contains(variables[:], name) {
				return name
			}
		}
	}
	return ""
}
