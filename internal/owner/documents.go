package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"
)

// An APIDocument is an OpenAPI document with the service that it describes.
type APIDocument struct {
	File, Service string
	Text          []byte
}

// Documents returns the OpenAPI documents of fsys, and those that Backstage
// APIs hold as their definition.
func Documents(fsys fs.FS) ([]APIDocument, error) {
	var docs []APIDocument
	err := fs.WalkDir(fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file)) {
			return err
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		more, err := documentsOf(file, data)
		docs = append(docs, more...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read API documents: %w", err)
	}
	return docs, nil
}

func documentsOf(file string, data []byte) ([]APIDocument, error) {
	var docs []APIDocument
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var e entity
		if node.Decode(&e) != nil {
			continue // neither OpenAPI nor Backstage: Load says what is wrong with those
		}
		switch def := &e.Spec.Definition; {
		case e.OpenAPI != "" || e.Swagger != "":
			text, err := yaml.Marshal(&node)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			docs = append(docs, APIDocument{file, serviceOf(file, e.Service), text})
		case e.Kind == "API" && def.Kind == yaml.ScalarNode:
			var doc document
			if yaml.Unmarshal([]byte(def.Value), &doc) != nil || doc.OpenAPI == "" && doc.Swagger == "" {
				continue
			}
			service := e.Metadata.Name
			if s := e.Metadata.Annotations["gatewatch/service"]; s != "" {
				service = s
			}
			docs = append(docs, APIDocument{file, service, []byte(def.Value)})
		}
	}
}
