package logformat

import (
	"strings"

	"gatewatch/internal/accesslog/field"
)

// A Variable is one that a gateway's notation can name.
type Variable struct {
	Name string // as the notation spells it, with its argument
	Kind Kind
	Rule field.Rule
	Skip bool // of no use: its value is passed over
}

// Lookup returns the part for the variable of that name, shown to people as
// label. Of several variables for one field the earliest in vs counts; one that
// isn't there reaches to where the rest of the template fits.
func Lookup(vs []Variable, name, label string) Part {
	p := Part{Name: label}
	for i := range vs {
		if v := &vs[i]; v.Name == name {
			if p.Kind = v.Kind; !v.Skip {
				p.Rule, p.Rank = &v.Rule, i
			}
		}
	}
	return p
}

// Split cuts a format's text into literals and what variable reads behind each
// sigil, a dollar or percent sign.
func Split(text string, sigil byte, variable func(behind string) (parts []Part, rest string, err error)) ([]Part, error) {
	var all []Part
	for text != "" {
		i := strings.IndexByte(text, sigil)
		if i < 0 {
			return append(all, Part{Literal: text}), nil
		}
		if i > 0 {
			all = append(all, Part{Literal: text[:i]})
		}
		parts, rest, err := variable(text[i+1:])
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
		text = rest
	}
	return all, nil
}
