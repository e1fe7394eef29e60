package runbook

import (
	"strings"
	"unicode"
)

// sections cuts body, whose first line is line number first of its file.
func sections(body []byte, first int, fault func(line int, format string, args ...any)) []Section {
	var all []Section
	var listed, listEnded, code bool
	for i, line := range strings.Split(string(body), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			continue
		}
		if code {
			continue
		}
		if title, ok := strings.CutPrefix(line, "## "); ok {
			title = strings.TrimSpace(title)
			all = append(all, Section{Title: title, Anchor: anchor(title)})
			listed, listEnded = false, false
			continue
		}
		if len(all) == 0 {
			continue
		}
		sec := &all[len(all)-1]
		if m, ok := strings.CutPrefix(line, "<!-- match:"); ok {
			sec.Match = matchComment(strings.TrimSuffix(strings.TrimSpace(m), "-->"), func(format string, args ...any) { fault(first+i, format, args...) })
			continue
		}
		item, isItem := numbered(line)
		switch {
		case isItem && !listEnded:
			sec.Steps = append(sec.Steps, item)
			listed = true
		case listed && !listEnded && strings.HasPrefix(line, "   ") && strings.TrimSpace(line) != "":
			sec.Steps[len(sec.Steps)-1] += " " + strings.TrimSpace(line)
		case listed:
			listEnded = true
		}
	}
	return all
}

// matchComment reads "reach=one_upstream,one_node kind=slo_burn".
func matchComment(s string, fault func(format string, args ...any)) Match {
	m := Match{}
	for term := range strings.FieldsSeq(s) {
		name, values, ok := strings.Cut(term, "=")
		if !ok || !isField(name) || values == "" {
			fault("match comment: %q: want FIELD=VALUE, with a field of %s", term, fieldNames())
			continue
		}
		m[name] = strings.Split(values, ",")
	}
	return m
}

// numbered returns the text of a line "1. text".
func numbered(line string) (string, bool) {
	digits := 0
	for digits < len(line) && line[digits] >= '0' && line[digits] <= '9' {
		digits++
	}
	text, ok := strings.CutPrefix(line[digits:], ". ")
	return strings.TrimSpace(text), ok && digits > 0
}

// anchor is a heading's fragment, as Markdown renderers make it.
func anchor(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}
