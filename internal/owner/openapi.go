package owner

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is the part of an OpenAPI document (2.0 to 3.1) that we read.
type document struct {
	OpenAPI string `yaml:"openapi"`
	Swagger string `yaml:"swagger"`
	Info    struct {
		ownerFields `yaml:",inline"`
		Contact     struct {
			Name  yaml.Node `yaml:"name"`
			Email string    `yaml:"email"`
		} `yaml:"contact"`
	} `yaml:"info"`
	ownerFields `yaml:",inline"`

	Service  string `yaml:"x-service"`
	BasePath string `yaml:"basePath"` // 2.0
	Servers  []struct {
		URL       string `yaml:"url"`
		Variables map[string]struct {
			Default string `yaml:"default"`
		} `yaml:"variables"`
	} `yaml:"servers"`
	Paths map[string]yaml.Node `yaml:"paths"`
}

// ownerFields name an owner: a word, or name (or team), email, chat, on-call and hours.
type ownerFields struct {
	Owner yaml.Node `yaml:"x-owner"`
	Team  yaml.Node `yaml:"x-team"`
}

// stated returns the owner that a part of a document names.
func (f *ownerFields) stated(w where) (t Team, field string, line int, err error) {
	for _, c := range []struct {
		field string
		node  *yaml.Node
	}{{"x-owner", &f.Owner}, {"x-team", &f.Team}} {
		switch c.node.Kind {
		case 0:
			continue
		case yaml.ScalarNode:
			t.Name = c.node.Value
		default:
			var m struct {
				Name   string `yaml:"name"`
				Team   string `yaml:"team"`
				Email  string `yaml:"email"`
				Chat   string `yaml:"chat"`
				OnCall string `yaml:"on-call"`
				Hours  string `yaml:"hours"`
			}
			if err := c.node.Decode(&m); err != nil {
				return Team{}, "", 0, fmt.Errorf("%s: %s: want a name, or a map of name, email, chat, on-call and hours", w.at(c.node.Line), c.field)
			}
			t = Team{Name: cmp.Or(m.Name, m.Team), Email: m.Email, Chat: m.Chat, OnCall: m.OnCall, Hours: m.Hours}
		}
		if t.Name == "" {
			return Team{}, "", 0, fmt.Errorf("%s: %s names nobody", w.at(c.node.Line), c.field)
		}
		return t, c.field, c.node.Line, nil
	}
	return Team{}, "", 0, nil
}

// serviceOf returns x-service, or the file's name up to its first dot; of a file
// named openapi or swagger, that of its folder.
func serviceOf(file, stated string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	if dir := path.Base(path.Dir(file)); dir != "." && (name == "openapi" || name == "swagger" || name == "api") {
		name = dir
	}
	return cmp.Or(stated, name)
}

// methods of an OpenAPI path item.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}

// readOpenAPI takes the owners that the document, its paths and operations name.
func (c *Catalog) readOpenAPI(w where, service string, d *document) error {
	for _, f := range []*ownerFields{&d.ownerFields, &d.Info.ownerFields} {
		t, field, line, err := f.stated(w)
		if err != nil {
			return err
		}
		if t.Name != "" {
			t.Email = cmp.Or(t.Email, d.Info.Contact.Email)
			c.claim(service, claim{rankDocument, t, fmt.Sprintf("%s of %s (%s)", field, service, w.at(line))})
		}
	}
	if n := d.Info.Contact.Name; n.Value != "" {
		t := Team{Name: n.Value, Title: n.Value, Email: d.Info.Contact.Email}
		c.claim(service, claim{rankContact, t, fmt.Sprintf("info.contact of %s (%s)", service, w.at(n.Line))})
	}
	prefixes := d.prefixes()
	for _, template := range slices.Sorted(maps.Keys(d.Paths)) {
		node := d.Paths[template]
		if strings.HasPrefix(template, "x-") {
			continue
		}
		if err := c.readPath(w, service, prefixes, template, &node); err != nil {
			return err
		}
	}
	return nil
}

// prefixes are what a gateway may see before the document's paths: nothing, or
// the path of a server's URL.
func (d *document) prefixes() []string {
	list := []string{""}
	bases := []string{d.BasePath}
	for _, s := range d.Servers {
		u := s.URL
		for name, v := range s.Variables {
			u = strings.ReplaceAll(u, "{"+name+"}", v.Default)
		}
		if parsed, err := url.Parse(u); err == nil {
			bases = append(bases, parsed.Path)
		}
	}
	for _, b := range bases {
		if b = strings.TrimRight(b, "/"); !slices.Contains(list, b) {
			list = append(list, b)
		}
	}
	return list
}

func (c *Catalog) readPath(w where, service string, prefixes []string, template string, node *yaml.Node) error {
	var item struct {
		ownerFields `yaml:",inline"`
		Rest        map[string]yaml.Node `yaml:",inline"`
	}
	if err := node.Decode(&item); err != nil {
		return fmt.Errorf("%s: path %s: %w", w.at(node.Line), template, err)
	}
	add := func(method string, f *ownerFields) error {
		t, field, line, err := f.stated(w)
		if err != nil || t.Name == "" {
			return err
		}
		source := fmt.Sprintf("%s of %s (%s)", field, strings.TrimSpace(method+" "+template), w.at(line))
		for _, p := range prefixes {
			key := operationKey(service, method+" "+p+template)
			c.operations[key] = append(c.operations[key], claim{rankOperation, t, source})
		}
		return nil
	}
	if err := add("", &item.ownerFields); err != nil {
		return err
	}
	for _, method := range methods {
		op, ok := item.Rest[method]
		if !ok {
			continue
		}
		var operation struct {
			ownerFields `yaml:",inline"`
		}
		if err := op.Decode(&operation); err != nil {
			return fmt.Errorf("%s: %s %s: %w", w.at(op.Line), method, template, err)
		}
		if err := add(strings.ToUpper(method), &operation.ownerFields); err != nil {
			return err
		}
	}
	return nil
}
