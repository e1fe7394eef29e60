package normalise

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// openAPI is the part of an OpenAPI document (2.0 to 3.1) that routes come from.
type openAPI struct {
	OpenAPI  string              `yaml:"openapi"`
	Swagger  string              `yaml:"swagger"`
	BasePath string              `yaml:"basePath"` // 2.0
	Servers  []server            `yaml:"servers"`
	Paths    map[string]pathItem `yaml:"paths"`
}

type server struct {
	URL       string `yaml:"url"`
	Variables map[string]struct {
		Default string `yaml:"default"`
	} `yaml:"variables"`
}

type pathItem struct {
	Servers []server   `yaml:"servers"`
	Get     *operation `yaml:"get"`
	Put     *operation `yaml:"put"`
	Post    *operation `yaml:"post"`
	Delete  *operation `yaml:"delete"`
	Options *operation `yaml:"options"`
	Head    *operation `yaml:"head"`
	Patch   *operation `yaml:"patch"`
	Trace   *operation `yaml:"trace"`
}

type operation struct {
	Servers []server `yaml:"servers"`
}

// OpenAPIRoutes returns the routes of an OpenAPI document, in JSON or YAML, as
// Config.Routes takes them: "GET /base/path/{id}". The base is the path of each
// server's URL; servers of an operation replace those of its path, and these the
// document's (OpenAPI 3.1 §4.8.9.1). A path that is written out wins over one
// with parameters (§4.8.8.2): Normalise keeps to that.
func OpenAPIRoutes(text []byte) ([]string, error) {
	var doc openAPI
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("no OpenAPI document: %w", err)
	}
	if doc.OpenAPI == "" && doc.Swagger == "" {
		return nil, fmt.Errorf("no OpenAPI document: neither openapi nor swagger says its version")
	}
	if doc.BasePath != "" && len(doc.Servers) == 0 {
		doc.Servers = []server{{URL: doc.BasePath}}
	}
	var routes []string
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		if !strings.HasPrefix(path, "/") {
			continue // an extension (x-…)
		}
		item := doc.Paths[path]
		for _, o := range []struct {
			method string
			op     *operation
		}{
			{"GET", item.Get},
			{"PUT", item.Put},
			{"POST", item.Post},
			{"DELETE", item.Delete},
			{"OPTIONS", item.Options},
			{"HEAD", item.Head},
			{"PATCH", item.Patch},
			{"TRACE", item.Trace},
		} {
			if o.op == nil {
				continue
			}
			bases, err := basesOf(o.op.Servers, item.Servers, doc.Servers)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", o.method, path, err)
			}
			for _, base := range bases {
				routes = append(routes, o.method+" "+base+path)
			}
		}
	}
	return routes, nil
}

// basesOf returns the paths of the first list of servers that isn't empty.
func basesOf(lists ...[]server) ([]string, error) {
	for _, list := range lists {
		var bases []string
		for _, s := range list {
			text := s.URL
			for name, v := range s.Variables {
				text = strings.ReplaceAll(text, "{"+name+"}", v.Default)
			}
			u, err := url.Parse(text)
			if err != nil {
				return nil, fmt.Errorf("server %q is no URL", s.URL)
			}
			base := strings.TrimRight(u.Path, "/")
			if base != "" && !strings.HasPrefix(base, "/") {
				base = "/" + base
			}
			if !slices.Contains(bases, base) {
				bases = append(bases, base)
			}
		}
		if len(bases) > 0 {
			return bases, nil
		}
	}
	return []string{""}, nil
}
