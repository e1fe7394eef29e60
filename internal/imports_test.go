// Package internal holds nothing but the test of the dependency rule that all
// packages of this repository keep (ARCHITECTURE.md, "Dependency rule").
package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A layer is a set of packages that may import the same things.
type layer struct {
	name string
	// packages by path below internal/ ("a/*" is a's children), or "cmd/*".
	packages []string
	// imports of our own that are allowed, in the same notation; layer names are in capitals.
	imports []string
	// libraries by prefix that are allowed beyond the standard library; nil is none, "*" any.
	libraries []string
	// io says that the layer may touch files, the network and the clock.
	io bool
}

const yamlLib = "go.yaml.in/yaml/v3"

// layers is the rule, from the inside out. A package that is not listed fails the test.
var layers = []layer{
	{name: "NOUNS", packages: []string{
		"accesslog", "trace", "consumer", "kpi", "histogram", "rollup", "baseline", "slo", "owner", "runbook", "suspect", "alert",
		"anomaly", "audit", "breaker", "change", "failure", "layer",
	}, imports: []string{"NOUNS"}, libraries: []string{yamlLib}},
	{name: "VERBS", packages: []string{"ingest", "aggregate", "evaluate"}, imports: []string{"NOUNS"}, libraries: []string{
		"github.com/prometheus/client_golang", "golang.org/x/sync", "golang.org/x/time",
	}, io: true},
	{name: "PRODUCTS", packages: []string{"clickhouse", "kafka", "alertmanager", "gatewaystat"}, imports: []string{"NOUNS", "VERBS"}, libraries: []string{"*"}, io: true},
	{name: "DECODERS", packages: []string{"accesslog/*", "trace/*", "consumer/*", "formats"}, imports: []string{"NOUNS", "DECODERS"}, libraries: []string{"*"}},
	{name: "PLUMBING", packages: []string{"daemon", "config"}, imports: []string{"VERBS", "PRODUCTS", "PLUMBING"}, libraries: []string{"*"}, io: true},
	{name: "TESTING", packages: []string{
		"loadgen", "loadgen/*", "devstack", "devstack/*", "devtools/*", "devtools/*/*", "e2e",
		"accesslog/accesslogtest", "clickhouse/clickhousetest", "kafka/kafkatest",
	}, imports: []string{"*"}, libraries: []string{"*"}, io: true},
	{name: "COMMANDS", packages: []string{"cmd/*"}, imports: []string{"NOUNS", "VERBS", "PRODUCTS", "DECODERS", "PLUMBING", "runbooks"}, libraries: []string{"*"}, io: true},
	{name: "EMBEDDED", packages: []string{"runbooks", "."}},
}

// sourcePackage is one folder's non-test code.
type sourcePackage struct {
	path  string // relative to internal/, or cmd/NAME, runbooks …
	layer *layer
	files map[string]*ast.File // by path relative to the repository
}

func TestImports(t *testing.T) {
	fset := token.NewFileSet()
	pkgs := load(t, fset)
	byPath := map[string]*sourcePackage{}
	for _, p := range pkgs {
		byPath[p.path] = p
	}
	for _, p := range pkgs {
		if p.layer == nil {
			t.Errorf("%s is in no layer: name it in the table of this test", p.path)
			continue
		}
		for file, f := range p.files {
			for _, spec := range f.Imports {
				imp, _ := strconv.Unquote(spec.Path.Value)
				if why := forbidden(p, imp, byPath); why != "" {
					t.Errorf("%s: %s imports %s: %s", at(fset, file, spec), p.path, imp, why)
				}
			}
		}
	}
}

// forbidden returns why p must not import imp, or "".
func forbidden(p *sourcePackage, imp string, byPath map[string]*sourcePackage) string {
	own, isOwn := strings.CutPrefix(imp, "gatewatch/")
	if !isOwn {
		if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
			if !p.layer.io && slices.Contains([]string{"net/http", "os", "os/exec", "log", "log/slog", "database/sql"}, imp) {
				return p.layer.name + " do no I/O and do not log"
			}
			return ""
		}
		for _, l := range p.layer.libraries {
			if l == "*" || strings.HasPrefix(imp, l) {
				return ""
			}
		}
		return p.layer.name + " may not use this library"
	}
	target := byPath[strings.TrimPrefix(own, "internal/")]
	if target == nil || target.layer == nil {
		return "it is no package of this repository"
	}
	switch {
	case target.layer.name == "TESTING" && p.layer.name != "TESTING":
		return "code for tests and development is not shipped"
	case strings.HasPrefix(target.path, p.path+"/") && p.layer.name != "TESTING":
		return "a parent never imports its child"
	}
	for _, a := range p.layer.imports {
		if a == "*" || a == target.layer.name || a == target.path {
			return ""
		}
	}
	return fmt.Sprintf("%s may only import %s", p.layer.name, strings.Join(p.layer.imports, ", "))
}

// A verb never imports a verb, a product no product and at most one verb, and a
// noun only nouns that do not come back to it (the compiler's part).
func TestProductsImplementOneVerb(t *testing.T) {
	verbs := slices.DeleteFunc(load(t, token.NewFileSet()), func(p *sourcePackage) bool { return p.layer == nil || p.layer.name != "PRODUCTS" })
	if len(verbs) == 0 {
		t.Fatal("no products found")
	}
	// The store serves all three pipelines, each with a file of its own, and so
	// implements an interface of each; every other product has one.
	for _, p := range verbs {
		var used []string
		for _, f := range p.files {
			for _, spec := range f.Imports {
				if v, ok := strings.CutPrefix(spec.Path.Value, `"gatewatch/internal/`); ok {
					v = strings.TrimSuffix(v, `"`)
					if slices.Contains(layers[1].packages, v) && !slices.Contains(used, v) {
						used = append(used, v)
					}
				}
			}
		}
		if len(used) > 1 && p.path != "clickhouse" {
			t.Errorf("%s imports %v: a product serves one verb", p.path, used)
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range load(t, token.NewFileSet()) {
		documented := false
		for _, f := range p.files {
			documented = documented || f.Doc != nil
		}
		if !documented {
			t.Errorf("%s has no package comment", p.path)
		}
	}
}

// Code below cmd reads no flags and no environment, and nothing ends the
// process or runs before main. Package daemon frames the command line for cmd.
func TestForbiddenCode(t *testing.T) {
	fset := token.NewFileSet()
	for _, p := range load(t, fset) {
		command := strings.HasPrefix(p.path, "cmd/") || strings.HasPrefix(p.path, "devtools/")
		development := p.layer != nil && p.layer.name == "TESTING"
		noun := p.layer != nil && !p.layer.io
		for file, f := range p.files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s: init(); construct it in main", at(fset, file, n))
					}
				case *ast.ImportSpec:
					if n.Path.Value == `"flag"` && !command && !development && p.path != "daemon" {
						t.Errorf("%s: imports flag; only cmd has flags", at(fset, file, n))
					}
				case *ast.SelectorExpr:
					pkg, ok := n.X.(*ast.Ident)
					if !ok {
						return true
					}
					switch call := pkg.Name + "." + n.Sel.Name; call {
					case "os.Exit", "log.Fatal", "log.Fatalf":
						if !command && !development {
							t.Errorf("%s: %s; only main ends the process", at(fset, file, n), call)
						}
					case "os.Getenv", "os.LookupEnv", "os.Environ":
						if !command && !development {
							t.Errorf("%s: %s; the environment is handed in by main", at(fset, file, n), call)
						}
					case "time.Now", "time.Since", "time.Until":
						if noun {
							t.Errorf("%s: %s; the time is handed in", at(fset, file, n), call)
						}
					}
				}
				return true
			})
		}
	}
}

// The limits keep a file one subject and a function one thought.
func TestSizes(t *testing.T) {
	const maxFile, maxFunc = 600, 60
	fset := token.NewFileSet()
	for _, p := range load(t, fset) {
		for file, f := range p.files {
			if n := fset.Position(f.End()).Line; n > maxFile {
				t.Errorf("%s has %d lines, more than %d", file, n, maxFile)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil {
					continue
				}
				if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunc {
					t.Errorf("%s: %s has %d lines, more than %d", at(fset, file, fn), fn.Name.Name, n, maxFunc)
				}
			}
		}
	}
}

func at(fset *token.FileSet, file string, n ast.Node) string {
	return fmt.Sprintf("%s:%d", file, fset.Position(n.Pos()).Line)
}

// load parses the repository's own code, without tests, generated data and nested modules.
func load(t *testing.T, fset *token.FileSet) []*sourcePackage {
	t.Helper()
	pkgs := map[string]*sourcePackage{}
	root := filepath.FromSlash("..")
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (name == "testdata" || name == "node_modules" || strings.HasPrefix(name, ".") || nestedModule(file)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(filepath.ToSlash(file), "../")
		dir := strings.TrimPrefix(path.Dir(rel), "internal/")
		if pkgs[dir] == nil {
			pkgs[dir] = &sourcePackage{path: dir, layer: layerOf(dir), files: map[string]*ast.File{}}
		}
		pkgs[dir].files[rel] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 10 {
		t.Fatalf("only %d packages found below %s", len(pkgs), root)
	}
	list := make([]*sourcePackage, 0, len(pkgs))
	for _, p := range pkgs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *sourcePackage) int { return strings.Compare(a.path, b.path) })
	return list
}

func nestedModule(dir string) bool {
	found, err := filepath.Glob(filepath.Join(dir, "go.mod"))
	return err == nil && len(found) > 0
}

// layerOf finds a package's layer: an exact name before a pattern.
func layerOf(dir string) *layer {
	for i := range layers {
		if slices.Contains(layers[i].packages, dir) {
			return &layers[i]
		}
	}
	for i := range layers {
		for _, pattern := range layers[i].packages {
			if ok, err := path.Match(pattern, dir); err == nil && ok {
				return &layers[i]
			}
		}
	}
	return nil
}
