package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"gatewatch/internal/devstack/panelcheck"
)

var placeholder = regexp.MustCompile(`\$\{([^}:]+)(?::([a-z]+))?\}`)

// follow does what Grafana does when a link is clicked in a row of a frame under a
// selection: it returns the uid of the board that opens, and its selection.
func follow(l link, f *data.Frame, row int, vars panelcheck.Vars) (uid string, next panelcheck.Vars, err error) {
	filled := placeholder.ReplaceAllStringFunc(l.URL, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		name, form := m[1], m[2]
		var value string
		switch {
		case name == "__url_time_range":
			return "from=now-1h&to=now"
		case name == "__field.labels.series":
			for _, x := range f.Fields {
				if v, ok := x.Labels["series"]; ok {
					value = v
				}
			}
		case strings.HasPrefix(name, "__data.fields."):
			x, _ := f.FieldByName(strings.TrimPrefix(name, "__data.fields."))
			if x == nil {
				err = fmt.Errorf("the link %q takes %s, which is no column", l.Title, name)
				return ""
			}
			if v, ok := x.ConcreteAt(row); ok {
				value = fmt.Sprint(v)
			}
		default:
			if form != "queryparam" {
				err = fmt.Errorf("the link %q puts %s into an address as it is", l.Title, name)
			}
			return panelcheck.QueryParam(name, vars[name])
		}
		if form == "percentencode" {
			value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
		}
		return value
	})
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(filled)
	if err != nil {
		return "", nil, fmt.Errorf("the link %q: %w", l.Title, err)
	}
	uid, ok := strings.CutPrefix(u.Path, "/d/")
	if !ok {
		return "", nil, nil // to somewhere else
	}
	next = panelcheck.Vars{}
	for name, values := range u.Query() {
		if v, ok := strings.CutPrefix(name, "var-"); ok && values[0] != "$__all" {
			next[v] = values
		}
	}
	return uid, next, nil
}
