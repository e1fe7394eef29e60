// Package owner says who answers for a service or a route. It reads what teams
// keep anyway: Backstage entities (spec.owner, and groups with their contacts),
// OpenAPI documents (x-owner) and CODEOWNERS.
package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Team answers for services. Only Name is always there.
type Team struct {
	Name   string // such as team-payments
	Title  string
	OnCall string // URL of the rota
	Chat   string // channel, such as #payments
	Email  string
}

// A Question is what an owner is asked for.
type Question struct {
	// Stated is the owner that the SLO names in its annotation gatewatch/owner; it wins.
	Stated  string
	Service string
	// Method and Route (a template such as /v1/orders/{id}) may be empty.
	Method, Route string
}

// An Answer is a team with the reason why it was chosen. Its Team is zero if
// nobody was found.
type Answer struct {
	Team   Team
	Source string // such as "x-owner of POST /v1/charges (payments.openapi.yaml:12)"
}

// A claim says that an owner answers for something.
type claim struct {
	owner  string
	source string
}

// A Catalog is what a folder of ownership files says.
type Catalog struct {
	teams      map[string]Team
	operations map[string]claim // service + "\x00" + "METHOD template", or method empty for a path
	documents  map[string]claim // service → x-owner of its whole document
	components map[string]claim // service → Backstage spec.owner
	codeowners []codeownerRule
}

// Load reads all *.yaml and *.yml files of fsys and its CODEOWNERS. Its error
// joins all faults, each with file and line.
func Load(fsys fs.FS) (*Catalog, error) {
	c := &Catalog{teams: map[string]Team{}, operations: map[string]claim{}, documents: map[string]claim{}, components: map[string]claim{}}
	var faults []error
	err := fs.WalkDir(fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		switch base := path.Base(file); {
		case base == "CODEOWNERS":
			faults = append(faults, c.readCodeowners(file, data))
		case path.Ext(base) == ".yaml" || path.Ext(base) == ".yml":
			faults = append(faults, c.readYAML(file, data))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read ownership files: %w", err)
	}
	return c, errors.Join(faults...)
}

// Team returns what is known about the team of that name, at least its name.
func (c *Catalog) Team(name string) Team {
	name = teamName(name)
	if t, ok := c.teams[name]; ok {
		return t
	}
	return Team{Name: name}
}

// Knows tells whether any file speaks of that team or person.
func (c *Catalog) Knows(name string) bool {
	name = teamName(name)
	if _, ok := c.teams[name]; ok {
		return true
	}
	for _, m := range []map[string]claim{c.operations, c.documents, c.components} {
		for _, cl := range m {
			if teamName(cl.owner) == name {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.codeowners, func(r codeownerRule) bool { return teamName(r.owner) == name })
}

// Lookup returns the owner: the one that the SLO states, else the OpenAPI
// operation's, path's or document's x-owner, else the Backstage component's
// owner, else CODEOWNERS (services/NAME), else fallback.
func (c *Catalog) Lookup(q Question, fallback string) Answer {
	if q.Stated != "" {
		return Answer{c.Team(q.Stated), "stated by the SLO"}
	}
	if q.Route != "" {
		for _, op := range []string{q.Method + " " + q.Route, " " + q.Route} {
			if cl, ok := c.operations[q.Service+"\x00"+sameTemplate(op)]; ok {
				return Answer{c.Team(cl.owner), cl.source}
			}
		}
	}
	for _, m := range []map[string]claim{c.documents, c.components} {
		if cl, ok := m[q.Service]; ok {
			return Answer{c.Team(cl.owner), cl.source}
		}
	}
	if cl, ok := c.codeowner(q.Service); ok {
		return Answer{c.Team(cl.owner), cl.source}
	}
	if fallback != "" {
		return Answer{c.Team(fallback), "default_owner"}
	}
	return Answer{}
}

// parameter matches a template's parameter, whatever its name.
var parameter = regexp.MustCompile(`\{[^}/]*\}`)

func sameTemplate(op string) string { return parameter.ReplaceAllString(op, "{}") }

// teamName takes Backstage's and CODEOWNERS' decorations off a name.
func teamName(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "@")
	if kind, rest, ok := strings.Cut(s, ":"); ok && (kind == "group" || kind == "user") {
		s = rest
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	return s
}

// entity is the part of a Backstage entity or OpenAPI document that we read.
type entity struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Title       string            `yaml:"title"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		Owner   yaml.Node `yaml:"owner"`
		Profile struct {
			DisplayName string `yaml:"displayName"`
			Email       string `yaml:"email"`
		} `yaml:"profile"`
	} `yaml:"spec"`

	OpenAPI string `yaml:"openapi"`
	Swagger string `yaml:"swagger"`
	Info    struct {
		Title string    `yaml:"title"`
		Owner yaml.Node `yaml:"x-owner"`
	} `yaml:"info"`
	Owner   yaml.Node            `yaml:"x-owner"`
	Service string               `yaml:"x-service"`
	Paths   map[string]yaml.Node `yaml:"paths"`
}

func (c *Catalog) readYAML(file string, data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var e entity
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		switch {
		case e.OpenAPI != "" || e.Swagger != "":
			err = c.readOpenAPI(file, &e)
		case strings.HasPrefix(e.APIVersion, "backstage.io/"):
			err = c.readBackstage(file, &e)
		}
		if err != nil {
			return err
		}
	}
}

// readBackstage takes a Component's or API's owner, and a Group's contacts: its
// profile and the annotations gatewatch/on-call and gatewatch/chat.
func (c *Catalog) readBackstage(file string, e *entity) error {
	if e.Metadata.Name == "" {
		return fmt.Errorf("%s: a %s has no metadata.name", file, e.Kind)
	}
	switch e.Kind {
	case "Group", "User":
		c.teams[e.Metadata.Name] = Team{
			Name: e.Metadata.Name, Title: e.Spec.Profile.DisplayName, Email: e.Spec.Profile.Email,
			OnCall: e.Metadata.Annotations["gatewatch/on-call"], Chat: e.Metadata.Annotations["gatewatch/chat"],
		}
	case "Component", "API":
		owner := e.Spec.Owner
		if owner.Value == "" {
			return fmt.Errorf("%s: %s %s has no spec.owner", file, e.Kind, e.Metadata.Name)
		}
		service := e.Metadata.Name
		if s := e.Metadata.Annotations["gatewatch/service"]; s != "" {
			service = s
		}
		if _, taken := c.components[service]; taken && e.Kind == "API" {
			return nil // the component that provides the API is nearer
		}
		c.components[service] = claim{owner.Value, fmt.Sprintf("spec.owner of %s %s (%s:%d)", e.Kind, e.Metadata.Name, file, owner.Line)}
	}
	return nil
}

// methods of an OpenAPI path item.
var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// readOpenAPI takes x-owner of the document, its paths and operations. The
// service is x-service, or the file's name up to its first dot.
func (c *Catalog) readOpenAPI(file string, e *entity) error {
	service := e.Service
	if service == "" {
		service, _, _ = strings.Cut(path.Base(file), ".")
	}
	for _, o := range []yaml.Node{e.Info.Owner, e.Owner} {
		if o.Value != "" {
			c.documents[service] = claim{o.Value, fmt.Sprintf("x-owner of %s (%s:%d)", service, file, o.Line)}
		}
	}
	for template, node := range e.Paths {
		var item map[string]yaml.Node
		if err := node.Decode(&item); err != nil {
			return fmt.Errorf("%s:%d: path %s: %w", file, node.Line, template, err)
		}
		if o := item["x-owner"]; o.Value != "" {
			c.claimOperation(service, "", template, file, &o)
		}
		for method, op := range item {
			if !slices.Contains(methods, method) {
				continue
			}
			var operation struct {
				Owner yaml.Node `yaml:"x-owner"`
			}
			if err := op.Decode(&operation); err != nil {
				return fmt.Errorf("%s:%d: %s %s: %w", file, op.Line, method, template, err)
			}
			if operation.Owner.Value != "" {
				c.claimOperation(service, strings.ToUpper(method), template, file, &operation.Owner)
			}
		}
	}
	return nil
}

func (c *Catalog) claimOperation(service, method, template, file string, o *yaml.Node) {
	op := method + " " + template
	c.operations[service+"\x00"+sameTemplate(op)] = claim{o.Value, fmt.Sprintf("x-owner of %s (%s:%d)", strings.TrimSpace(op), file, o.Line)}
}
