package logformat

import "strings"

// matcher finds the values of a template's variables in a line.
type matcher struct {
	values []string // by part
	budget int      // attempts left for variables whose end is uncertain
	far    int      // the furthest part that was tried
}

// match reports whether line is of the template.
func (m *matcher) match(t *Template, line string) bool {
	for len(m.values) < len(t.Parts) {
		m.values = append(m.values, "")
	}
	m.budget = 4 * len(line)
	m.far = 0
	return m.from(t, 0, line)
}

// from matches the parts from i on with s, what is left of the line.
func (m *matcher) from(t *Template, i int, s string) bool {
	for ; i < len(t.Parts); i++ {
		p := &t.Parts[i]
		m.far = max(m.far, i)
		if p.Literal != "" {
			if s == "" || s[0] != p.Literal[0] || len(p.Literal) > 1 && !strings.HasPrefix(s, p.Literal) {
				return false
			}
			s = s[len(p.Literal):]
			continue
		}
		next := ""
		if i+1 < len(t.Parts) {
			next = t.Parts[i+1].Literal
		}
		if (p.Kind == Any || p.Kind == Address || p.Kind == User) && next != "" {
			return m.search(t, i, s, next)
		}
		n := extent(p.Kind, s, next)
		if n < 0 && t.Cut && p.Kind == quoted && i+2 == len(t.Parts) && s != "" {
			m.values[i] = s
			return true
		}
		if n < 0 {
			return false
		}
		m.values[i], s = s[:n], s[n:]
	}
	return s == "" || t.More && balanced(s)
}

// search tries each place where next stands for the end of variable i.
func (m *matcher) search(t *Template, i int, s, next string) bool {
	for at := 0; ; at++ {
		n := strings.Index(s[at:], next)
		if n < 0 || m.budget <= 0 {
			return false
		}
		m.budget--
		at += n
		if t.Parts[i].Kind == Address && !isAddress(s[:at]) {
			return false
		}
		if t.Parts[i].Kind == User && strings.HasSuffix(s[:at], " -") {
			continue
		}
		if m.from(t, i+1, s[at:]) {
			m.values[i] = s[:at]
			return true
		}
	}
}

// extent returns how long a value at the start of s is, -1 if there is none.
// next is the text that follows; empty at the end of the line.
func extent(k Kind, s, next string) int {
	switch k {
	case Any:
		return len(s)
	case quoted:
		return closing(s)
	case Local:
		if strings.HasPrefix(s, "-") {
			return 1
		}
		if len(s) < 26 {
			return -1
		}
		return 26
	case Letters:
		n := 0
		for n < len(s) && (s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z' || s[n] == '-' || s[n] == '_') {
			n++
		}
		return n
	case Status:
		if strings.HasPrefix(s, "-") {
			return 1
		}
		if len(s) < 3 || s[0]-'0' > 9 || s[1]-'0' > 9 || s[2]-'0' > 9 {
			return -1
		}
		return 3
	case Number:
		n := 0
		for n < len(s) && (s[n]-'0' <= 9 || s[n] == '.' || s[n] == '-' || s[n] == '+') {
			n++
		}
		return n
	case List:
		return list(s, next)
	}
	return word(s, next)
}

// word ends at white space, or at the text that follows it.
func word(s, next string) int {
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		end = len(s)
	}
	if next != "" && next[0] != ' ' {
		if n := strings.Index(s[:min(end+len(next), len(s))], next); n >= 0 {
			return n
		}
	}
	return end
}

// isAddress reports whether s may be an IP address, a Unix socket or a dash.
func isAddress(s string) bool {
	if strings.HasPrefix(s, "unix:") {
		return strings.IndexByte(s, ' ') < 0
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'f', c == '.', c == ':', c == '%', c == '[', c == ']', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// list ends where a word has neither comma nor " : " behind it.
func list(s, next string) int {
	for at := 0; ; {
		n := word(s[at:], next)
		at += n
		switch {
		case n > 0 && s[at-1] == ',' && strings.HasPrefix(s[at:], " "):
			at++
		case strings.HasPrefix(s[at:], " : "):
			at += 3
		default:
			return at
		}
	}
}

// closing returns where the next quote without a backslash is, -1 if nowhere.
func closing(s string) int {
	end := strings.IndexByte(s, '"')
	if end <= 0 || s[end-1] != '\\' && strings.IndexByte(s[:end], '\\') < 0 {
		return end
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return -1
}

// balanced reports whether s is further values: each after a space, bare,
// quoted or in brackets, and none with a quote inside.
func balanced(s string) bool {
	for s != "" {
		if s[0] != ' ' {
			return false
		}
		s = strings.TrimLeft(s, " ")
		var end int
		switch {
		case strings.HasPrefix(s, `"`):
			if end = closing(s[1:]); end < 0 {
				return false
			}
			end += 2
		case strings.HasPrefix(s, `[`):
			if end = strings.IndexByte(s, ']'); end < 0 {
				return false
			}
			end++
		default:
			if end = strings.IndexByte(s, ' '); end < 0 {
				end = len(s)
			}
			if strings.IndexByte(s[:end], '"') >= 0 {
				return false
			}
		}
		s = s[end:]
	}
	return true
}
