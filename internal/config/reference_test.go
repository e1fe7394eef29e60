package config

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
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// docs/configuration.md is up to date; -update writes it.
func TestReference(t *testing.T) {
	const file = "../../docs/configuration.md"
	want, err := writeReference("../..")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(want) {
		if strings.HasSuffix(line, "|  |\n") {
			t.Errorf("a field without a comment: %s", line)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is stale: go test ./internal/config -update (-want +got):\n%s", diff)
	}
}

// writeReference writes every field with its default and the comment that its
// declaration bears. root is the repository's folder.
func writeReference(root string) (string, error) {
	r := reference{root: root, docs: map[string]map[string]string{}}
	r.text.WriteString(`# gatewatch.yaml, field by field

Generated from the source by ` + "`go test ./internal/config -update`" + `. Durations are such as
90s, 1h30m, 14d or 2y; sizes are bytes or such as 128MiB. An unknown key is an error. Relative paths
are relative to the file. ` + "`gatewatch-ingest check`" + ` validates a file.

| field | default | meaning |
|---|---|---|
`)
	if err := r.rows(reflect.ValueOf(DefaultConfig()), ""); err != nil {
		return "", err
	}
	return r.text.String(), nil
}

type reference struct {
	root string
	text strings.Builder
	docs map[string]map[string]string // type → field → comment
}

// rows writes the fields of struct v, whose path in the file is prefix.
func (r *reference) rows(v reflect.Value, prefix string) error {
	docs, err := r.comments(v.Type())
	if err != nil {
		return err
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, inline := tag(f)
		value := v.Field(i)
		path := join(prefix, name)
		switch {
		case inline:
			err = r.rows(value, prefix)
		case name == "":
		case value.Kind() == reflect.Struct:
			err = r.rows(value, path)
		case value.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			r.row(path, "", docs[f.Name])
			err = r.rows(reflect.Zero(f.Type.Elem()), path+"[]")
		case value.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
			r.row(path, "", docs[f.Name])
			err = r.rows(reflect.Zero(f.Type.Elem()), path+".*")
		default:
			r.row(path, plainDefault(value), docs[f.Name])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reference) row(path, value, doc string) {
	if value != "" {
		value = "`" + value + "`"
	}
	fmt.Fprintf(&r.text, "| `%s` | %s | %s |\n", path, value, strings.ReplaceAll(doc, "|", "\\|"))
}

// plainDefault is a default as it is written in the file; "" if there is none.
func plainDefault(v reflect.Value) string {
	if v.Type() == durationType {
		if v.Int() == 0 {
			return ""
		}
		return FormatDuration(time.Duration(v.Int()))
	}
	if v.IsZero() {
		return ""
	}
	return strings.TrimSpace(defaultText(v))
}

// comments returns the comments of a struct type's fields, from its source.
func (r *reference) comments(t reflect.Type) (map[string]string, error) {
	key := t.PkgPath() + "." + t.Name()
	if found, ok := r.docs[key]; ok {
		return found, nil
	}
	dir := r.root + "/" + strings.TrimPrefix(t.PkgPath(), "gatewatch/")
	pkgs, err := parser.ParseDir(token.NewFileSet(), dir, nil, parser.ParseComments) //nolint:staticcheck // types are not needed, so neither is go/packages
	if err != nil {
		return nil, fmt.Errorf("read the comments of %s: %w", key, err)
	}
	found := map[string]string{}
	for _, pkg := range pkgs {
		for _, file := range pkg.Files {
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok || spec.Name.Name != t.Name() {
					return true
				}
				if s, ok := spec.Type.(*ast.StructType); ok {
					fieldComments(s, found)
				}
				return false
			})
		}
	}
	r.docs[key] = found
	return found, nil
}

// fieldComments takes the comment above a field, or beside it; fields in one
// paragraph share the comment of the first.
func fieldComments(s *ast.StructType, into map[string]string) {
	above := "" // the comment above the paragraph that a field is in
	for _, f := range s.Fields.List {
		doc := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
		if f.Doc != nil {
			above = doc
		} else if doc == "" {
			doc = above
		}
		for _, n := range f.Names {
			into[n.Name] = doc
		}
	}
}
