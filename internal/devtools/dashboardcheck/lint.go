package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Plugins that answer queries, and the variables that choose among their data sources.
var datasources = map[string]string{"grafana-clickhouse-datasource": "${datasource}", "prometheus": "${prometheus}"}

// units are those that panels may have.
var units = []string{"short", "s", "percentunit", "reqps", "bytes", "rows/s", "ops", "x", "none", ""}

// maxPanels is how many panels a board has at most, besides those of closed rows.
const maxPanels = 20

var (
	macro    = regexp.MustCompile(`\$__(timeGroup|timeFrom|timeTo|interval\b)`)
	relation = regexp.MustCompile(`(?i)\b(?:FROM|JOIN)\s+([a-zA-Z_][a-zA-Z0-9_.]*)`)
	written  = regexp.MustCompile(`(?i)\b(INSERT|ALTER|DROP|TRUNCATE|CREATE|GRANT|SYSTEM|KILL|OPTIMIZE|ATTACH|DETACH|RENAME)\s`)
	use      = regexp.MustCompile(`\$\{([a-z_]+)(?::([a-z]+))?\}|\$([a-z][a-z_]*)\b`)
	comment  = regexp.MustCompile(`--|/\*`)
)

// lint returns what the dashboard linter's rules, as far as they apply, and ours
// find: each fault names the board and the panel.
func (b *board) lint() (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, b.File+": "+fmt.Sprintf(format, args...)) }
	if b.Editable {
		add("it is editable")
	}
	if b.UID == "" || !strings.Contains(b.Title, ": ") || !strings.HasSuffix(b.Title, "?") {
		add("the title %q is no name with a question, or there is no uid", b.Title)
	}
	if b.Refresh != "1m" || !slices.Contains(b.Tags, "gatewatch") {
		add("refresh is %q, tags are %q", b.Refresh, b.Tags)
	}
	if len(b.Links) == 0 || !b.Links[0].KeepTime || !b.Links[0].IncludeVars {
		add("no link to the other boards that keeps range and variables")
	}
	b.lintVariables(add)
	shown, complete := 0, false
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range b.Panels {
		if p.Type != "row" {
			shown++
		}
	}
	if shown > maxPanels {
		add("%d panels, more than %d", shown, maxPanels)
	}
	for _, p := range b.all() {
		if p.ID == 0 || ids[p.ID] || titles[p.Title] {
			add("%s: its id %d or title is taken", p.Title, p.ID)
		}
		ids[p.ID], titles[p.Title] = true, true
		complete = complete || p.Title == "Complete until"
		p.lint(func(format string, args ...any) { add("%s: %s", p.Title, fmt.Sprintf(format, args...)) })
	}
	if !complete {
		add("no panel tells until when the figures are complete")
	}
	return faults
}

func (b *board) lintVariables(add func(string, ...any)) {
	known := map[string]bool{}
	for i := range b.Templating.List {
		v := &b.Templating.List[i]
		known[v.Name] = true
		switch v.Type {
		case "query":
			if v.Refresh != 2 {
				add("variable %s is not asked again when the range changes", v.Name)
			}
			if v.Label == "" || v.Datasource.UID != datasources[v.Datasource.Type] {
				add("variable %s has no label or not the chosen data source", v.Name)
			}
			for _, f := range lintSQL(v.sql()) {
				add("variable %s: %s", v.Name, f)
			}
		case "datasource":
			if v.Name == "datasource" && v.Label != "Data source" {
				add("the data source's label is %q", v.Label)
			}
		}
	}
	if !known["datasource"] {
		add("no variable datasource")
	}
	used := map[string]bool{}
	for _, text := range b.texts() {
		for _, m := range use.FindAllStringSubmatch(text, -1) {
			name := m[1] + m[3]
			if strings.HasPrefix(name, "__") {
				continue
			}
			used[name] = true
			if !known[name] {
				add("%q uses the variable %s, which the board does not have", first(text, 60), name)
			}
		}
	}
	for _, v := range b.Templating.List {
		if v.Type == "query" && !used[v.Name] {
			add("nothing uses the variable %s", v.Name)
		}
	}
}

// texts are all queries of a board, those of variables among them.
func (b *board) texts() (list []string) {
	for _, p := range b.all() {
		for _, t := range p.Targets {
			list = append(list, t.RawSQL)
		}
	}
	for _, a := range b.Annotations.List {
		list = append(list, a.Target.RawSQL)
	}
	for i := range b.Templating.List {
		list = append(list, b.Templating.List[i].sql())
	}
	return list
}

// cause returns what an empty panel says that means, and what to do if there
// never is anything: a figure says that in its description.
func (p *panel) cause() (why, step string) {
	text := p.FieldConfig.Defaults.NoValue
	why, step, _ = strings.Cut(text, ". Never anything? ")
	if p.Type == "stat" {
		_, step, _ = strings.Cut(p.Description, ". Never anything? ")
	}
	return why, step
}

func (p *panel) lint(add func(string, ...any)) {
	if len(p.Description) < 40 {
		add("the description says too little")
	}
	if p.Datasource.UID != datasources[p.Datasource.Type] || len(p.Targets) == 0 {
		add("the data source is %q, and there are %d queries", p.Datasource.UID, len(p.Targets))
	}
	if !slices.Contains(units, p.FieldConfig.Defaults.Unit) {
		add("unit %q", p.FieldConfig.Defaults.Unit)
	}
	if p.Type == "timeseries" && p.FieldConfig.Defaults.Unit == "" {
		add("a curve without a unit")
	}
	if why, step := p.cause(); why == "" || step == "" {
		add("it does not say why it is empty")
	}
	for _, t := range p.Targets {
		for _, f := range lintSQL(t.RawSQL) {
			add("%s", f)
		}
		if p.Type == "table" && t.RawSQL != "" && !strings.Contains(t.RawSQL, "LIMIT") && !single(t.RawSQL) {
			add("a table without LIMIT")
		}
		if t.Format == 0 && t.RawSQL != "" && !strings.Contains(t.RawSQL, "ORDER BY time") {
			add("a curve that is not ordered by time")
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, prop := range o.Properties {
			var unit string
			if prop.ID == "unit" && json.Unmarshal(prop.Value, &unit) == nil && unit != "dateTimeAsIso" && !slices.Contains(units, unit) {
				add("unit %q", unit)
			}
		}
	}
}

// single tells that a query gives one row, or as many as there are capabilities or topics.
func single(sql string) bool {
	return strings.Contains(sql, "FROM v_setup") || strings.Contains(sql, "FROM v_incident WHERE alert_id =") || strings.Contains(sql, "FROM v_slo AS s")
}

// lintSQL returns what is wrong with a query before it is run.
func lintSQL(sql string) (faults []string) {
	if m := macro.FindString(sql); m != "" {
		faults = append(faults, "macro "+m+" does not work in all versions of the plugin")
	}
	if written.MatchString(sql) || comment.MatchString(sql) {
		faults = append(faults, "it changes something, or holds a comment")
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`\b([a-z_]+) AS \(`).FindAllStringSubmatch(sql, -1) {
		named[m[1]] = true
	}
	for _, m := range relation.FindAllStringSubmatch(strings.ReplaceAll(sql, "ARRAY JOIN", ""), -1) {
		if !strings.HasPrefix(m[1], "v_") && !named[m[1]] {
			faults = append(faults, "it reads "+m[1]+", which is no view")
		}
	}
	for _, m := range use.FindAllStringSubmatch(sql, -1) {
		if m[1] != "" && !strings.HasPrefix(m[1], "__") && m[2] != "queryparam" {
			faults = append(faults, "${"+m[1]+"} is not in a form that no value can leave")
		}
	}
	return faults
}
