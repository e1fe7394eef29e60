package owner

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const ownText = `apiVersion: gatewatch/v1
kind: Owners
teams:
  - {name: team-money, title: Money, on-call: https://oncall.example.com/money, hours: Mon-Fri 9-17 Europe/Berlin}
services:
  - service: payments
    owner: team-money
    routes:
      - {route: "POST /v1/refunds/{id}", owner: team-refunds}
      - {route: /v1/all, owner: team-refunds}
`

// TestOwnFile: what gatewatch's own file says goes before other files, down to
// the route, and completes what they say about a team.
func TestOwnFile(t *testing.T) {
	c, err := Load(fstest.MapFS{
		"own.yaml":              {Data: []byte(ownText)},
		"backstage.yaml":        {Data: []byte("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: payments}\nspec: {owner: team-other}\n---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: {name: team-money, annotations: {gatewatch/chat: \"#money\", gatewatch/hours: never}}\nspec: {profile: {email: money@example.com}}\n")},
		"payments.openapi.yaml": {Data: []byte("openapi: 3.1.0\ninfo: {title: P, version: \"1\", x-owner: team-doc}\npaths:\n  /v1/refunds/{refundId}:\n    post: {x-owner: team-doc, responses: {}}\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Answer{Team: Team{Name: "team-money", Title: "Money", OnCall: "https://oncall.example.com/money", Chat: "#money", Email: "money@example.com", Hours: "Mon-Fri 9-17 Europe/Berlin"}, Source: "owners of payments (own.yaml:6)"}
	if d := cmp.Diff(c.Lookup(Question{Service: "payments"}, "x"), want); d != "" {
		t.Errorf("(-got +want):\n%s", d)
	}
	for _, q := range []Question{{Service: "payments", Method: "POST", Route: "/v1/refunds/{x}"}, {Service: "payments", Method: "GET", Route: "/v1/all"}} {
		if a := c.Lookup(q, ""); a.Team.Name != "team-refunds" || !a.Owned() {
			t.Errorf("%+v: %+v", q, a)
		}
	}
	if n := len(c.Conflicts()); n != 3 { // the component, the document and the operation
		t.Errorf("%d conflicts: %v", n, c.Conflicts())
	}
	var unknown []string
	for _, u := range c.UnknownTeams() {
		unknown = append(unknown, u.Name)
	}
	if d := cmp.Diff(unknown, []string{"team-doc", "team-other", "team-refunds"}); d != "" {
		t.Errorf("unknown (-got +want):\n%s", d)
	}
	if d := cmp.Diff(c.Services(), []string{"payments"}); d != "" {
		t.Errorf("services:\n%s", d)
	}
}

func TestOwnFileFaults(t *testing.T) {
	for _, x := range []struct{ from, to, want string }{
		{"    owner: team-money\n", "    ownr: team-money\n", "field ownr not found"},
		{"POST /v1/refunds/{id}", "POST refunds", "own.yaml:9: want a route such as POST /v1/refunds"},
		{"  - service: payments\n", "  - service: \"\"\n", "want a service and its owner"},
		{"name: team-money, ", "", "a team has no name"},
	} {
		_, err := Load(fstest.MapFS{"own.yaml": {Data: []byte(strings.Replace(ownText, x.from, x.to, 1))}})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: error %v, want %q", x.to, err, x.want)
		}
	}
}
