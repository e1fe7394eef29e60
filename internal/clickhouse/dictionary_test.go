package clickhouse_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
)

var update = flag.Bool("update", false, "write docs/dictionary.md")

// The dictionary has every view with its columns, in order; all of them can be
// read and bear their comment in the database; docs/dictionary.md is made from it.
func TestDictionary(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	rows, err := conn.Query(t.Context(), `SELECT table, name, type, comment FROM system.columns
		WHERE database = currentDatabase() AND startsWith(table, 'v_') ORDER BY table, position`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, have := map[string]string{}, map[string][]string{}
	for rows.Next() {
		var view, column, typ, comment string
		if err := rows.Scan(&view, &column, &typ, &comment); err != nil {
			t.Fatal(err)
		}
		if comment == "" {
			t.Errorf("%s.%s has no comment: write it into dictionary.tsv", view, column)
		}
		types[view+"."+column] = typ
		have[view] = append(have[view], column)
	}
	want := map[string][]string{}
	var doc strings.Builder
	doc.WriteString("# Data dictionary\n\nThe views in ClickHouse that people, dashboards and other programs read. They stay when tables change.\nGenerated from internal/clickhouse/dictionary.tsv by `go test ./internal/clickhouse -run TestDictionary -update`.\n")
	for _, v := range clickhouse.Dictionary() {
		fmt.Fprintf(&doc, "\n## %s\n\n%s.\n\n| column | type | meaning |\n|---|---|---|\n", v.Name, strings.ToUpper(v.Comment[:1])+v.Comment[1:])
		for _, c := range v.Columns {
			want[v.Name] = append(want[v.Name], c.Name)
			typ := types[v.Name+"."+c.Name]
			if strings.HasPrefix(typ, "Enum8(") {
				typ = "Enum8"
			}
			fmt.Fprintf(&doc, "| `%s` | %s | %s |\n", c.Name, strings.ReplaceAll(typ, "|", "\\|"), c.Comment)
		}
		if err := conn.Exec(t.Context(), "SELECT * FROM "+v.Name+" FORMAT Null"); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	if diff := gocmp.Diff(have, want); diff != "" {
		t.Errorf("dictionary.tsv (-database +dictionary):\n%s", diff)
	}
	const file = "../../docs/dictionary.md"
	if *update {
		if err := os.WriteFile(file, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != doc.String() {
		t.Errorf("docs/dictionary.md is stale (%v): go test ./internal/clickhouse -run TestDictionary -update", err)
	}
}
