package owner

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestLookupShipped(t *testing.T) {
	c, err := Load(os.DirFS("../../deploy/catalog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct {
		Question
		team, source string
	}{
		{Question{Service: "payments", Method: "POST", Route: "/v1/charges"}, "team-payments", "spec.owner of Component payments (teams.yaml:"},
		{Question{Stated: "team-money", Service: "payments"}, "team-money", "stated by the SLO"},
		{Question{Service: "catalog", Method: "GET", Route: "/v1/search"}, "team-search", "x-owner of GET /v1/search (catalog.openapi.yaml:9)"},
		{Question{Service: "catalog", Method: "GET", Route: "/v1/products/{id}"}, "team-storefront", "x-owner of catalog (catalog.openapi.yaml:4)"},
		{Question{Service: "shipping"}, "team-logistics", "CODEOWNERS:2"},
		{Question{Service: "unheard-of"}, "platform", "default_owner"},
	} {
		a := c.Lookup(q.Question, "platform")
		if a.Team.Name != q.team || !strings.HasPrefix(a.Source, q.source) {
			t.Errorf("%+v: %s (%s), want %s (%s…)", q.Question, a.Team.Name, a.Source, q.team, q.source)
		}
	}
	if x := c.Conflicts(); len(x) > 0 {
		t.Errorf("conflicts %v", x)
	}
	want := Team{Name: "team-payments", Title: "Payments", OnCall: "https://oncall.example.com/team-payments", Chat: "#payments", Email: "payments@example.com"}
	if d := cmp.Diff(want, c.Lookup(Question{Service: "payments"}, "").Team); d != "" {
		t.Errorf("team (-want +got):\n%s", d)
	}
	if a := c.Lookup(Question{Service: "unheard-of"}, ""); a != (Answer{}) {
		t.Errorf("no default: %+v", a)
	}
}

// Every SLO that is shipped has an owner whom a page can reach.
func TestShippedServicesAreOwned(t *testing.T) {
	c, err := Load(os.DirFS("../../deploy/catalog"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("../../deploy/slo")
	if err != nil || len(files) == 0 {
		t.Fatalf("deploy/slo: %v", err)
	}
	for _, f := range files {
		service := strings.TrimSuffix(f.Name(), ".yaml")
		if a := c.Lookup(Question{Service: service}, ""); a.Team.OnCall == "" || a.Team.Chat == "" || a.Team.Email == "" {
			t.Errorf("%s: nobody to call: %+v", service, a)
		}
	}
}

func TestPathOwnerAndParameters(t *testing.T) {
	c, err := Load(fstest.MapFS{"api/shop.yaml": {Data: []byte(`{"openapi":"3.0.0","x-service":"orders","paths":{"/v1/orders/{orderId}":{"x-owner":"@org/path-team","parameters":[],"delete":{"x-owner":"group:default/op-team"}}}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{"GET": "path-team", "DELETE": "op-team"} {
		if a := c.Lookup(Question{Service: "orders", Method: method, Route: "/v1/orders/{id}"}, ""); a.Team.Name != want {
			t.Errorf("%s: %+v, want %s", method, a, want)
		}
	}
}

func TestCodeowners(t *testing.T) {
	c, err := Load(fstest.MapFS{"CODEOWNERS": {Data: []byte("# all\n* @org/everyone # default\n/services/pay*/** @org/pay @someone\n[Section]\napps/orders/ @org/orders\napps/orphan/\n")}})
	if err != nil {
		t.Fatal(err)
	}
	for service, want := range map[string]string{"payments": "pay", "orders": "orders", "users": "everyone", "orphan": ""} {
		if a := c.Lookup(Question{Service: service}, ""); a.Team.Name != want {
			t.Errorf("%s: %+v, want %q", service, a, want)
		}
	}
}

func TestLoadFaults(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"no owner":  {"a.yaml", "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: x}\n", "a.yaml: Component x has no spec.owner"},
		"no name":   {"a.yaml", "apiVersion: backstage.io/v1alpha1\nkind: Group\n", "has no metadata.name"},
		"no YAML":   {"a.yml", "a: [\n", "a.yml: "},
		"bad paths": {"a.yaml", "openapi: 3.1.0\npaths:\n  /x: [1]\n", "a.yaml:3: path /x"},
		"bad glob":  {"CODEOWNERS", "a\n[x @b\n/z[ @c\n", "CODEOWNERS:3: pattern"},
	} {
		if _, err := Load(fstest.MapFS{c.file: {Data: []byte(c.text)}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: {owner: y}\n"))
	f.Add([]byte("openapi: 3.1.0\npaths:\n  /x: {get: {x-owner: z}}\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		c, err := Load(fstest.MapFS{"a.yaml": {Data: data}, "CODEOWNERS": {Data: data}})
		if err == nil {
			c.Lookup(Question{Service: "x", Method: "GET", Route: "/x"}, "")
		}
	})
}
