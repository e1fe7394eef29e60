package clickhouse

import (
	_ "embed" // of the dictionary
	"strings"
)

//go:embed dictionary.tsv
var dictionaryText string

// A DictionaryView is a view that people and dashboards read.
type DictionaryView struct {
	Name, Comment string
	Columns       []DictionaryColumn
}

// A DictionaryColumn is a column of a view with what it holds.
type DictionaryColumn struct{ Name, Comment string }

// Dictionary returns all views in the order of their names.
func Dictionary() []DictionaryView {
	columns := map[string]string{}
	var views []DictionaryView
	for line := range strings.Lines(dictionaryText) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case strings.HasPrefix(line, "#"):
		case len(fields) == 3:
			v := DictionaryView{Name: fields[0], Comment: fields[2]}
			for name := range strings.FieldsSeq(fields[1]) {
				v.Columns = append(v.Columns, DictionaryColumn{Name: name})
			}
			views = append(views, v)
		case len(fields) == 2:
			columns[fields[0]] = fields[1]
		}
	}
	for _, v := range views {
		for i := range v.Columns {
			c := &v.Columns[i]
			if c.Comment = columns[v.Name+"."+c.Name]; c.Comment == "" {
				c.Comment = columns[c.Name]
			}
		}
	}
	return views
}

// comments are the statements that put the dictionary into the database, where
// tools show it. A view that is made anew has lost its comments.
func (c Config) comments() []string {
	var list []string
	for _, v := range Dictionary() {
		parts := []string{"MODIFY COMMENT " + quoteString(v.Comment)}
		for _, col := range v.Columns {
			parts = append(parts, "COMMENT COLUMN "+quoteIdent(col.Name)+" "+quoteString(col.Comment))
		}
		list = append(list, "ALTER TABLE "+quoteIdent(c.Database)+"."+v.Name+" "+strings.Join(parts, ", "))
	}
	return list
}
