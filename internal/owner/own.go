package owner

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ownFile is a file of gatewatch's own, for those who keep no catalogue, or to
// set right what one says:
//
//	apiVersion: gatewatch/v1
//	kind: Owners
//	teams:
//	  - {name: team-payments, on-call: https://…, chat: "#payments", email: …, hours: Mon-Fri 9-17 Europe/Berlin}
//	services:
//	  - service: payments
//	    owner: team-payments
//	    routes:
//	      - {route: POST /v1/refunds, owner: team-refunds}
type ownFile struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   any    `yaml:"metadata"`
	Teams      []struct {
		Name   yaml.Node `yaml:"name"`
		Title  string    `yaml:"title"`
		OnCall string    `yaml:"on-call"`
		Chat   string    `yaml:"chat"`
		Email  string    `yaml:"email"`
		Hours  string    `yaml:"hours"`
	} `yaml:"teams"`
	Services []struct {
		Service yaml.Node `yaml:"service"`
		Owner   string    `yaml:"owner"`
		Routes  []struct {
			Route yaml.Node `yaml:"route"`
			Owner string    `yaml:"owner"`
		} `yaml:"routes"`
	} `yaml:"services"`
}

// readOwn takes what a document of gatewatch's own says. What it says about a
// team completes what other files say; its owners go before theirs.
func (c *Catalog) readOwn(file string, node *yaml.Node) error {
	text, err := yaml.Marshal(node)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	strict := yaml.NewDecoder(bytes.NewReader(text))
	strict.KnownFields(true)
	var f ownFile
	if err := strict.Decode(&f); err != nil {
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := node.Decode(&f); err != nil { // for the lines
		return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	w := where{file: file}
	for _, t := range f.Teams {
		if t.Name.Value == "" {
			return fmt.Errorf("%s: a team has no name", w.at(node.Line))
		}
		name := teamName(t.Name.Value)
		c.own[name] = Team{Name: name, Title: t.Title, OnCall: t.OnCall, Chat: t.Chat, Email: t.Email, Hours: t.Hours}
	}
	for _, s := range f.Services {
		if s.Service.Value == "" || s.Owner == "" && len(s.Routes) == 0 {
			return fmt.Errorf("%s: want a service and its owner, or routes with theirs", w.at(max(node.Line, s.Service.Line)))
		}
		if s.Owner != "" {
			c.claim(s.Service.Value, claim{rankOwn, Team{Name: s.Owner}, fmt.Sprintf("owners of %s (%s)", s.Service.Value, w.at(s.Service.Line))})
		}
		for _, r := range s.Routes {
			method, template, ok := strings.Cut(r.Route.Value, " ")
			if !ok {
				method, template = "", r.Route.Value
			}
			if !strings.HasPrefix(template, "/") || r.Owner == "" {
				return fmt.Errorf("%s: want a route such as POST /v1/refunds and its owner", w.at(max(node.Line, r.Route.Line)))
			}
			key := operationKey(s.Service.Value, method+" "+template)
			c.operations[key] = append(c.operations[key], claim{rankOwn, Team{Name: r.Owner}, fmt.Sprintf("owners of %s (%s)", r.Route.Value, w.at(r.Route.Line))})
		}
	}
	return nil
}

// An UnknownTeam is an owner of whom no file says who they are.
type UnknownTeam struct{ Name, Source string }

func (u UnknownTeam) String() string {
	return fmt.Sprintf("%s: owner %s is no group, user or team of the catalogue", u.Source, u.Name)
}

// UnknownTeams returns the owners that files name and none describes, where
// any file describes teams at all. Addresses describe themselves.
func (c *Catalog) UnknownTeams() []UnknownTeam {
	if len(c.teams)+len(c.own) == 0 {
		return nil
	}
	var list []UnknownTeam
	seen := map[string]bool{}
	look := func(name, source string, t Team) {
		_, group := c.teams[name]
		_, own := c.own[name]
		if name != "" && !group && !own && !seen[name] && !strings.Contains(name, "@") && !t.Reachable() {
			seen[name] = true
			list = append(list, UnknownTeam{name, source})
		}
	}
	for _, m := range []map[string][]claim{c.services, c.operations} {
		for _, key := range sortedKeys(m) {
			for _, cl := range m[key] {
				look(teamName(cl.team.Name), cl.source, cl.team)
			}
		}
	}
	for _, r := range c.codeowners {
		look(teamName(r.owner), r.source, Team{})
	}
	return list
}
