// Package owner says who answers for a service or a route. It reads what teams
// keep anyway: Backstage entities (spec.owner, and groups and users with their
// contacts), OpenAPI documents (x-owner or x-team, info.contact), CODEOWNERS, and
// files of gatewatch's own.
package owner

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A Team answers for services. Only Name is always there.
type Team struct {
	Name   string // such as team-payments
	Title  string
	OnCall string // URL of the rota
	Chat   string // channel, such as #payments
	Email  string
	Hours  string // when they answer, such as Mon-Fri 9-17 Europe/Berlin
}

// Contacts are the ways to reach a team, the most urgent first.
func (t Team) Contacts() []string {
	var list []string
	for _, s := range []string{t.OnCall, t.Chat, t.Email} {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

// Reachable reports whether anything says how to reach the team.
func (t Team) Reachable() bool { return len(t.Contacts()) > 0 }

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
	Then   string // who comes after them; may be empty
}

// byDefault is the source of who answers because nobody else does.
const byDefault = "default_owner"

// Owned reports whether somebody was named as the owner, not only the default.
func (a Answer) Owned() bool { return a.Team.Name != "" && a.Source != byDefault }

// A claim says that an owner answers for something.
type claim struct {
	rank   rank
	team   Team // Name as the file writes it, with the contacts that the file gives
	source string
}

// A rank orders claims about one service; the lowest wins.
type rank uint8

const (
	rankOwn       rank = iota // a file of gatewatch's own
	rankOperation             // x-owner of an OpenAPI operation or path
	rankDocument              // x-owner of an OpenAPI document
	rankComponent             // spec.owner of a Backstage Component
	rankAPI                   // spec.owner of a Backstage API
	rankCodeowners
	rankContact // info.contact of an OpenAPI document
)

// A Catalog is what a folder of ownership files says.
type Catalog struct {
	teams      map[string]Team    // of Backstage
	own        map[string]Team    // of files of gatewatch's own
	operations map[string][]claim // service + "\x00" + "METHOD template", or method empty for a path
	services   map[string][]claim // all but operations and CODEOWNERS
	codeowners []codeownerRule
}

// Load reads all *.yaml, *.yml and *.json files of fsys and its CODEOWNERS. Its
// error joins all faults, each with file and line.
func Load(fsys fs.FS) (*Catalog, error) {
	c := &Catalog{teams: map[string]Team{}, own: map[string]Team{}, operations: map[string][]claim{}, services: map[string][]claim{}}
	var faults []error
	err := fs.WalkDir(fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		isCodeowners := path.Base(file) == "CODEOWNERS"
		if !isCodeowners && !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(file)) {
			return nil
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		if isCodeowners {
			faults = append(faults, c.readCodeowners(file, data))
		} else {
			faults = append(faults, c.readYAML(file, data))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read ownership files: %w", err)
	}
	for _, m := range []map[string][]claim{c.operations, c.services} {
		for _, claims := range m {
			slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(a.rank, b.rank) })
		}
	}
	return c, errors.Join(faults...)
}

// Team returns what is known about the team of that name, at least its name.
func (c *Catalog) Team(name string) Team { return c.known(Team{Name: name}) }

// known completes a team by what files of gatewatch's own say, which win, and
// its Backstage entity.
func (c *Catalog) known(t Team) Team {
	t.Name = teamName(t.Name)
	k, o := c.teams[t.Name], c.own[t.Name]
	t.Title, t.OnCall = cmp.Or(o.Title, k.Title, t.Title), cmp.Or(o.OnCall, k.OnCall, t.OnCall)
	t.Chat, t.Email = cmp.Or(o.Chat, k.Chat, t.Chat), cmp.Or(o.Email, k.Email, t.Email)
	t.Hours = cmp.Or(o.Hours, k.Hours, t.Hours)
	if t.Email == "" && strings.Contains(t.Name, "@") {
		t.Email = t.Name // CODEOWNERS may name an address
	}
	return t
}

// Knows tells whether any file speaks of that team or person.
func (c *Catalog) Knows(name string) bool {
	name = teamName(name)
	_, group := c.teams[name]
	if _, own := c.own[name]; own || group {
		return true
	}
	for _, m := range []map[string][]claim{c.operations, c.services} {
		for _, claims := range m {
			if slices.ContainsFunc(claims, func(cl claim) bool { return teamName(cl.team.Name) == name }) {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.codeowners, func(r codeownerRule) bool { return r.owner != "" && teamName(r.owner) == name })
}

// Lookup returns the owner: the one that the SLO states, else that of a file of
// gatewatch's own, else the OpenAPI
// operation's, path's or document's x-owner, else the Backstage component's or
// API's owner, else CODEOWNERS (services/NAME), else the OpenAPI document's
// info.contact, else fallback.
func (c *Catalog) Lookup(q Question, fallback string) Answer {
	if q.Stated != "" {
		return Answer{Team: c.Team(q.Stated), Source: "stated by the SLO"}
	}
	if q.Route != "" {
		for _, op := range []string{q.Method + " " + q.Route, " " + q.Route} {
			if claims := c.operations[operationKey(q.Service, op)]; len(claims) > 0 {
				return c.answer(claims[0])
			}
		}
	}
	claims := c.services[q.Service]
	if len(claims) > 0 && claims[0].rank < rankCodeowners {
		return c.answer(claims[0])
	}
	if cl, _, ok := c.codeowner(q.Service); ok {
		return c.answer(cl)
	}
	if len(claims) > 0 {
		return c.answer(claims[0])
	}
	if fallback != "" {
		return Answer{Team: c.Team(fallback), Source: byDefault}
	}
	return Answer{}
}

func (c *Catalog) answer(cl claim) Answer { return Answer{Team: c.known(cl.team), Source: cl.source} }

// Services returns the services that any file but CODEOWNERS speaks of, sorted.
func (c *Catalog) Services() []string {
	names := map[string]bool{}
	for s := range c.services {
		names[s] = true
	}
	for key := range c.operations {
		service, _, _ := strings.Cut(key, "\x00")
		names[service] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Operations returns the "METHOD template" of a service that have an owner of their own.
func (c *Catalog) Operations(service string) []string {
	var list []string
	for _, key := range slices.Sorted(maps.Keys(c.operations)) {
		if s, op, _ := strings.Cut(key, "\x00"); s == service && !strings.HasPrefix(op, " ") {
			list = append(list, op)
		}
	}
	return list
}

// A Conflict is two files that name different owners for the same thing.
type Conflict struct {
	About          string // such as "service payments" or "payments POST /v1/charges"
	Chosen, Passed Answer
}

func (c Conflict) String() string {
	return fmt.Sprintf("%s: owner %s by %s; %s by %s is passed over", c.About, c.Chosen.Team.Name, c.Chosen.Source, c.Passed.Team.Name, c.Passed.Source)
}

// Conflicts returns where files contradict each other, in the order of what they
// are about. Owners of single operations within a service, rules of CODEOWNERS
// for everything and contacts contradict nobody.
func (c *Catalog) Conflicts() []Conflict {
	var all []Conflict
	add := func(about string, claims []claim) {
		for _, cl := range claims[1:] {
			if teamName(cl.team.Name) != teamName(claims[0].team.Name) {
				all = append(all, Conflict{about, c.answer(claims[0]), c.answer(cl)})
			}
		}
	}
	for _, service := range slices.Sorted(maps.Keys(c.services)) {
		claims := slices.DeleteFunc(slices.Clone(c.services[service]), func(cl claim) bool { return cl.rank == rankContact })
		if cl, all, ok := c.codeowner(service); ok && !all {
			claims = append(claims, cl)
		}
		if len(claims) > 0 {
			add("service "+service, claims)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.operations)) {
		service, op, _ := strings.Cut(key, "\x00")
		add(service+" "+strings.TrimSpace(op), c.operations[key])
	}
	return all
}

// parameter matches a template's parameter, whatever its name.
var parameter = regexp.MustCompile(`\{[^}/]*\}`)

// operationKey is the key of "METHOD template": names of parameters don't count.
func operationKey(service, op string) string {
	return service + "\x00" + parameter.ReplaceAllString(op, "{}")
}

func sortedKeys(m map[string][]claim) []string { return slices.Sorted(maps.Keys(m)) }

// teamName takes Backstage's and CODEOWNERS' decorations off a name.
func teamName(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "@")
	if kind, rest, ok := strings.Cut(s, ":"); ok && (strings.EqualFold(kind, "group") || strings.EqualFold(kind, "user")) {
		s = rest
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	return s
}
