package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

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
		Definition yaml.Node `yaml:"definition"`
	} `yaml:"spec"`

	document `yaml:",inline"`
}

// readYAML reads a file of one or more documents; what is neither a Backstage
// entity nor OpenAPI is passed over.
func (c *Catalog) readYAML(file string, data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(node.Content) == 0 || node.Content[0].Kind != yaml.MappingNode {
			continue
		}
		var kind struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			OpenAPI    string `yaml:"openapi"`
			Swagger    string `yaml:"swagger"`
		}
		if node.Decode(&kind) == nil && kind.APIVersion == "gatewatch/v1" && kind.Kind == "Owners" {
			if err := c.readOwn(file, &node); err != nil {
				return err
			}
			continue
		}
		isOurs := node.Decode(&kind) == nil && (kind.OpenAPI != "" || kind.Swagger != "" || strings.HasPrefix(kind.APIVersion, "backstage.io/"))
		if !isOurs {
			continue
		}
		var e entity
		if err := node.Decode(&e); err != nil {
			return fmt.Errorf("%s:%d: %s", file, node.Line, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if kind.OpenAPI != "" || kind.Swagger != "" {
			err = c.readOpenAPI(where{file: file}, serviceOf(file, e.Service), &e.document)
		} else {
			err = c.readBackstage(file, &e)
		}
		if err != nil {
			return err
		}
	}
}

// where turns lines of a document into places in its file.
type where struct {
	file  string
	above int // lines of the file above the document
}

func (w where) at(line int) string { return fmt.Sprintf("%s:%d", w.file, w.above+line) }

// readBackstage takes a Component's or API's owner, an API's definition where it
// is OpenAPI, and a Group's or User's contacts: its profile and the annotations
// gatewatch/on-call, gatewatch/chat and gatewatch/hours.
func (c *Catalog) readBackstage(file string, e *entity) error {
	if e.Metadata.Name == "" {
		return fmt.Errorf("%s: a %s has no metadata.name", file, e.Kind)
	}
	switch e.Kind {
	case "Group", "User":
		if _, taken := c.teams[e.Metadata.Name]; taken && e.Kind == "User" {
			return nil // a group of that name is meant more often
		}
		c.teams[e.Metadata.Name] = Team{
			Name: e.Metadata.Name, Title: e.Spec.Profile.DisplayName, Email: e.Spec.Profile.Email,
			OnCall: e.Metadata.Annotations["gatewatch/on-call"], Chat: e.Metadata.Annotations["gatewatch/chat"], Hours: e.Metadata.Annotations["gatewatch/hours"],
		}
	case "Component", "API":
		return c.readOwned(file, e)
	}
	return nil
}

func (c *Catalog) readOwned(file string, e *entity) error {
	owner := e.Spec.Owner
	if owner.Value == "" {
		return fmt.Errorf("%s: %s %s has no spec.owner", file, e.Kind, e.Metadata.Name)
	}
	service := e.Metadata.Name
	if s := e.Metadata.Annotations["gatewatch/service"]; s != "" {
		service = s
	}
	r := rankComponent
	if e.Kind == "API" {
		r = rankAPI
	}
	c.claim(service, claim{r, Team{Name: owner.Value}, fmt.Sprintf("spec.owner of %s %s (%s:%d)", e.Kind, e.Metadata.Name, file, owner.Line)})
	// A definition may also be a reference ($text), or in another language.
	var doc document
	def := &e.Spec.Definition
	if def.Kind != yaml.ScalarNode || yaml.Unmarshal([]byte(def.Value), &doc) != nil || doc.OpenAPI == "" && doc.Swagger == "" {
		return nil
	}
	return c.readOpenAPI(where{file, def.Line}, service, &doc)
}

func (c *Catalog) claim(service string, cl claim) {
	c.services[service] = append(c.services[service], cl)
}
