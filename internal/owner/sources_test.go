package owner

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog/accesslogtest"
)

// files makes a folder of names and texts, in turn.
func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func mustLoad(t *testing.T, fsys fs.FS) *Catalog {
	t.Helper()
	c, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const component = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: pets}\nspec: {type: service, owner: team-b}\n"

// Each source alone, then all of them: the most specific wins.
func TestPrecedence(t *testing.T) {
	operation := `{"openapi": "3.1.0", "info": {"title": "Pets"}, "servers": [{"url": "https://{env}.example.com/{base}", "variables": {"env": {"default": "api"}, "base": {"default": "v1"}}}],
		"paths": {"/pets/{petId}": {"x-team": "team-path", "get": {"x-owner": {"team": "team-op", "email": "op@example.com", "chat": "#op", "on-call": "https://rota"}}}}}`
	steps := []struct{ file, text, team, source string }{
		{"api/pets/openapi.yaml", "openapi: 3.1.0\ninfo:\n  title: Pets\n  contact: {name: Pet people, email: pets@example.com, url: https://example.com}\n", "Pet people", "info.contact of pets (api/pets/openapi.yaml:4)"},
		{".github/CODEOWNERS", "/services/pets/ @org/team-code\n/docs/pets/ @org/writers\n", "team-code", ".github/CODEOWNERS:1"},
		{"api.yaml", strings.ReplaceAll(strings.Replace(component, "Component", "API", 1), "team-b", "team-a"), "team-a", "spec.owner of API pets (api.yaml:4)"},
		{"component.yaml", component, "team-b", "spec.owner of Component pets (component.yaml:4)"},
		{"pets.yml", "swagger: '2.0'\nx-owner: team-doc\ninfo: {}\n", "team-doc", "x-owner of pets (pets.yml:2)"},
		{"pets.json", operation, "team-op", "x-owner of GET /pets/{petId} (pets.json:2)"},
	}
	together := fstest.MapFS{}
	for _, s := range steps {
		together[s.file] = &fstest.MapFile{Data: []byte(s.text)}
		for name, fsys := range map[string]fstest.MapFS{"alone": files(s.file, s.text), "together": together} {
			a := mustLoad(t, fsys).Lookup(Question{Service: "pets", Method: "GET", Route: "/v1/pets/{id}"}, "platform")
			if a.Team.Name != s.team || a.Source != s.source {
				t.Errorf("%s %s: %s (%s), want %s (%s)", s.file, name, a.Team.Name, a.Source, s.team, s.source)
			}
		}
	}
	c := mustLoad(t, together)
	for route, want := range map[string]string{"/v1/pets/{id}": "team-path", "/pets/{x}": "team-path", "/v2/pets/{id}": "team-doc"} {
		if a := c.Lookup(Question{Service: "pets", Method: "DELETE", Route: route}, ""); a.Team.Name != want {
			t.Errorf("DELETE %s: %+v, want %s", route, a, want)
		}
	}
	want := Team{Name: "team-op", Email: "op@example.com", Chat: "#op", OnCall: "https://rota"}
	if d := cmp.Diff(want, c.Lookup(Question{Service: "pets", Method: "GET", Route: "/pets/{petId}"}, "").Team); d != "" {
		t.Errorf("contacts (-want +got):\n%s", d)
	}
	var got []string
	for _, x := range c.Conflicts() {
		got = append(got, x.String())
	}
	if d := cmp.Diff([]string{
		"service pets: owner team-doc by x-owner of pets (pets.yml:2); team-b by spec.owner of Component pets (component.yaml:4) is passed over",
		"service pets: owner team-doc by x-owner of pets (pets.yml:2); team-a by spec.owner of API pets (api.yaml:4) is passed over",
		"service pets: owner team-doc by x-owner of pets (pets.yml:2); team-code by .github/CODEOWNERS:1 is passed over",
	}, got); d != "" {
		t.Errorf("conflicts (-want +got):\n%s", d)
	}
}

func TestDefinitionInsideAPI(t *testing.T) {
	c := mustLoad(t, files("catalog-info.yaml", `apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: pets-api, annotations: {gatewatch/service: pets}}
spec:
  type: openapi
  owner: group:default/team-a
  definition: |
    openapi: "3.0.0"
    paths:
      /pets:
        post: {x-owner: team-writers}
---
apiVersion: backstage.io/v1alpha1
kind: API
metadata: {name: events}
spec: {type: asyncapi, owner: User:jane, definition: {$text: ./events.yaml}}
---
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {name: jane}
spec: {profile: {displayName: Jane, email: jane@example.com}, memberOf: [team-a]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: 5}
`))
	for _, q := range []struct {
		Question
		team, source string
	}{
		{Question{Service: "pets", Method: "POST", Route: "/pets"}, "team-writers", "x-owner of POST /pets (catalog-info.yaml:11)"},
		{Question{Service: "pets", Method: "GET", Route: "/pets"}, "team-a", "spec.owner of API pets-api (catalog-info.yaml:6)"},
		{Question{Service: "events"}, "jane", "spec.owner of API events (catalog-info.yaml:16)"},
	} {
		if a := c.Lookup(q.Question, ""); a.Team.Name != q.team || a.Source != q.source {
			t.Errorf("%+v: %+v", q.Question, a)
		}
	}
	if got := c.Team("jane"); got.Email != "jane@example.com" || got.Title != "Jane" {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]bool{"team-a": true, "@org/team-writers": true, "jane": true, "nobody": false, "": false} {
		if c.Knows(name) != want {
			t.Errorf("Knows(%q) is not %v", name, want)
		}
	}
}

func TestCodeownersNamesAnAddress(t *testing.T) {
	c := mustLoad(t, files("CODEOWNERS", "* @org/all\nservices/pets docs@example.com\n"))
	if a := c.Lookup(Question{Service: "pets"}, ""); a.Team.Email != "docs@example.com" {
		t.Errorf("%+v", a)
	}
	if x := c.Conflicts(); len(x) != 0 {
		t.Errorf("conflicts %v", x)
	}
}

func TestSourceFaults(t *testing.T) {
	for want, text := range map[string]string{
		"a.yaml:2: x-owner names nobody":       "openapi: 3.1.0\nx-owner: ''\n",
		"a.yaml:2: x-owner: want a name":       "openapi: 3.1.0\nx-owner: [a]\n",
		"a.yaml:4: x-team names nobody":        "openapi: 3.1.0\npaths:\n  /x:\n    x-team: {email: e}\n",
		"a.yaml:4: get /x":                     "openapi: 3.1.0\npaths:\n  /x:\n    get: [1]\n",
		"a.yaml: API x has no spec.owner":      "apiVersion: backstage.io/v1beta1\nkind: API\nmetadata: {name: x}\n",
		"a.yaml: line 3: mapping values are n": "openapi: 3.1.0\npaths:\n  a: b: c\n",
	} {
		if _, err := Load(files("a.yaml", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// A whole OpenAPI file as a project publishes it, without a word on owners.
func TestRealDocument(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(accesslogtest.CorpusDir(t), "alertmanager-v2-openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := mustLoad(t, files("alertmanager.yaml", string(b)))
	if a := c.Lookup(Question{Service: "alertmanager", Method: "GET", Route: "/api/v2/status"}, ""); a != (Answer{}) {
		t.Errorf("%+v", a)
	}
	owned := strings.Replace(string(b), "  /status:\n    get:\n", "  /status:\n    get:\n      x-owner: team-alerts\n", 1)
	c = mustLoad(t, files("alertmanager.yaml", owned))
	if a := c.Lookup(Question{Service: "alertmanager", Method: "GET", Route: "/api/v2/status"}, ""); a.Team.Name != "team-alerts" {
		t.Errorf("below basePath: %+v", a)
	}
}
