package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/leash"
)

const (
	root       = "../../.."
	dashboards = root + "/dashboards"
)

func TestMain(m *testing.M) {
	leash.Main()
	os.Exit(m.Run())
}

func read(t *testing.T) []board {
	t.Helper()
	boards, err := readBoards(dashboards)
	if err != nil {
		t.Fatal(err)
	}
	return boards
}

// The dashboards come from these sources: whoever edits either without
// `make dashboards` is told.
func TestManifest(t *testing.T) {
	var m struct{ Sources, Dashboards map[string]string }
	b, err := os.ReadFile(dashboards + "/generate/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	sums := func(patterns ...string) map[string]string {
		found := map[string]string{}
		for _, p := range patterns {
			files, err := filepath.Glob(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				found[filepath.Base(f)] = fmt.Sprintf("%x", sha256.Sum256(text))
			}
		}
		return found
	}
	if diff := cmp.Diff(sums(dashboards+"/generate/*.go", dashboards+"/generate/go.*"), m.Sources); diff != "" {
		t.Errorf("the generator was changed since: make dashboards (-here +manifest):\n%s", diff)
	}
	if diff := cmp.Diff(sums(dashboards+"/*.json"), m.Dashboards); diff != "" {
		t.Errorf("dashboards were changed by hand: make dashboards (-here +manifest):\n%s", diff)
	}
}

func TestLint(t *testing.T) {
	boards := read(t)
	uids := map[string]bool{}
	for i := range boards {
		for _, f := range boards[i].lint() {
			t.Error(f)
		}
		if uids[boards[i].UID] {
			t.Errorf("two boards have the uid %s", boards[i].UID)
		}
		uids[boards[i].UID] = true
	}
}

// The linter itself finds what it is for.
func TestLintFinds(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT 1 FROM access_log":                           "no view",
		"SELECT 1 FROM v_request WHERE service = '$service'": "",
		"SELECT ${service:singlequote}":                      "no value can leave",
		"SELECT ${service}":                                  "no value can leave",
		"DROP TABLE v_request":                               "changes something",
		"SELECT 1 -- $__fromTime":                            "holds a comment",
		"SELECT $__timeGroup(ts, 60)":                        "does not work",
		"WITH x AS (SELECT 1 FROM v_slo) SELECT 1 FROM x":    "",
	} {
		got := strings.Join(lintSQL(sql), "; ")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

func TestSchema(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(accesslogtest.CorpusDir(t), "grafana", "dashboard.jsonschema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	// "Any" was exported as object.
	for _, at := range [][2]string{{"DynamicConfigValue", "value"}, {"MatcherConfig", "options"}, {"VariableModel", "query"}} {
		def := schema["definitions"].(map[string]any)[at[0]].(map[string]any)
		def["properties"].(map[string]any)[at[1]] = map[string]any{}
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("dashboard.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, board := range read(t) {
		text, err := os.ReadFile(filepath.Join(dashboards, board.File))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(v); err != nil {
			t.Errorf("%s: %v", board.File, err)
		}
	}
}

// Every column of every view is shown by some dashboard, or listed with a reason why not.
func TestColumns(t *testing.T) {
	hidden := map[string]bool{}
	b, err := os.ReadFile("testdata/not_shown.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		view, rest, _ := strings.Cut(strings.TrimSpace(line), "\t")
		columns, why, ok := strings.Cut(rest, "\t")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !ok || why == "" {
			t.Errorf("no reason in %q", line)
		}
		for c := range strings.FieldsSeq(columns) {
			hidden[view+"."+c] = true
		}
	}
	var queries []string
	for _, b := range read(t) {
		queries = append(queries, b.texts()...)
	}
	for _, v := range clickhouse.Dictionary() {
		for _, c := range v.Columns {
			name := v.Name + "." + c.Name
			used := slices.ContainsFunc(queries, func(q string) bool { return word(q, v.Name) && word(q, c.Name) })
			if used && hidden[name] {
				t.Errorf("%s is shown: take it off testdata/not_shown.tsv", name)
			}
			if !used && !hidden[name] {
				t.Errorf("no dashboard shows %s", name)
			}
			delete(hidden, name)
		}
	}
	for name := range hidden {
		t.Errorf("testdata/not_shown.tsv names %s, which is no column of a view", name)
	}
}

// word reports whether a query has a name as a whole word.
func word(query, name string) bool {
	letter := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for i := 0; ; {
		j := strings.Index(query[i:], name)
		if j < 0 {
			return false
		}
		begin, end := i+j, i+j+len(name)
		if (begin == 0 || !letter(query[begin-1])) && (end == len(query) || !letter(query[end])) {
			return true
		}
		i = end
	}
}

// expressions returns all PromQL of the dashboards and of the rules in deploy/prometheus.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, b := range read(t) {
		for _, p := range b.all() {
			for i, target := range p.Targets {
				if target.Expr != "" {
					found[fmt.Sprintf("%s: %s %d", b.File, p.Title, i)] = target.Expr
				}
			}
		}
	}
	for name, expr := range rules(t) {
		found["rule "+name] = expr
	}
	return found
}

// metricNames returns the metrics that a PromQL expression reads.
func metricNames(expr string) (names []string, err error) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil, err
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && v.Name != "" {
			names = append(names, v.Name)
		}
		return nil
	})
	return names, nil
}
