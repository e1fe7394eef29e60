package kpi

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the fields in docs/kpi.md")

const (
	page       = "../../docs/kpi.md"
	fieldBegin = "<!-- fields: written by go test ./internal/kpi -update -->\n"
	fieldEnd   = "<!-- fields: end -->\n"
)

// docs/kpi.md has every field of a KPI file with what its declaration says.
func TestReference(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "kpi.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range st.Fields.List {
				for _, name := range field.Names {
					docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
		return true
	})
	var b strings.Builder
	b.WriteString("| field | meaning |\n|---|---|\n")
	describe(t, &b, docs, reflect.TypeFor[Definitions](), "")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), fieldBegin)
	_, after, ok2 := strings.Cut(rest, fieldEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the markers of the fields", page)
	}
	want := before + fieldBegin + b.String() + fieldEnd + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/kpi.md is stale: go test ./internal/kpi -update (-want +got):\n%s", diff)
	}
}

func describe(t *testing.T, b *strings.Builder, docs map[string]string, typ reflect.Type, prefix string) {
	for f := range typ.Fields() {
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		doc := docs[typ.Name()+"."+f.Name]
		if doc == "" {
			t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
		}
		inner, path := f.Type, prefix+name
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
				path += "[]"
			}
			inner = inner.Elem()
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", path, doc)
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Date]() {
			describe(t, b, docs, inner, path+".")
		}
	}
}
