// Package runbook reads runbooks, Markdown files with a head of YAML, and finds
// the one that fits a signal best, with the reason for the choice.
//
// A file NAME.md begins with a head between two lines "---": title, owner,
// severity, match, priority, reviewed, dashboard. Its sections are the headings "## …"; a
// section may narrow the match with a comment under its heading,
// <!-- match: reach=one_upstream -->. The first numbered list of a section is
// what to do now; a section without one takes that of the section Mitigation.
package runbook

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Signal is what a runbook is asked for. Empty fields are not known.
type Signal struct {
	Kind       string // slo_burn, data_incomplete …
	Service    string
	Route      string
	ErrorClass string // the one with the largest share
	Responder  string
	Layer      string // gateway, service, database or external
	Tier       string // of the consumer concerned
	Severity   string // page or ticket
	Window     string // length of the long window, such as 1h
	Reach      string // as package suspect names it: one_client, one_route, …, gateway or everyone
	Change     string // kind of the change near the onset: deploy, gateway_config, flag, key_policy …
	Traffic    string // surge or drop against the hour before
}

// A Match says which signals an entry is for: per field the values that fit. A
// field that is not named fits any value.
type Match map[string][]string

// fields are what a Match can name, in the order in which reasons list them.
var fields = [...]struct {
	name string
	get  func(*Signal) string
}{
	{"kind", func(s *Signal) string { return s.Kind }},
	{"service", func(s *Signal) string { return s.Service }},
	{"route", func(s *Signal) string { return s.Route }},
	{"error_class", func(s *Signal) string { return s.ErrorClass }},
	{"responder", func(s *Signal) string { return s.Responder }},
	{"layer", func(s *Signal) string { return s.Layer }},
	{"tier", func(s *Signal) string { return s.Tier }},
	{"severity", func(s *Signal) string { return s.Severity }},
	{"window", func(s *Signal) string { return s.Window }},
	{"reach", func(s *Signal) string { return s.Reach }},
	{"change", func(s *Signal) string { return s.Change }},
	{"traffic", func(s *Signal) string { return s.Traffic }},
}

// fits tells whether s fits m, and names the fields that m constrains.
func (m Match) fits(s *Signal) (constrained []string, ok bool) {
	for _, f := range fields {
		allowed := m[f.name]
		if len(allowed) == 0 {
			continue
		}
		if !slices.Contains(allowed, f.get(s)) {
			return nil, false
		}
		constrained = append(constrained, f.name)
	}
	return constrained, true
}

// A Runbook is one file.
type Runbook struct {
	Name     string // file name without .md
	Title    string
	Owner    string // who keeps the text right
	Severity string // page, ticket or empty for both: said to people, not matched
	Match    Match
	// Priority decides between entries that constrain equally many fields; higher wins.
	Priority int
	Reviewed time.Time // when somebody last checked the text
	// Dashboard shows what the text is about: the uid of one of gatewatch's, or the
	// URL of another. Optional.
	Dashboard string
	Version   string // of the text: 8 hexadecimal digits
	Sections  []Section

	names map[string]bool // variables that the text names
}

// A Section is a part of a runbook under a heading of the second level.
type Section struct {
	Title  string
	Anchor string // as Markdown renderers make it from the title
	Match  Match
	Steps  []string // what to do now, in order; may be empty
}

// A Set is all runbooks.
type Set struct {
	books []*Runbook // by name
	text  map[string][]byte
}

// Load reads every NAME.md at the top of fsys, but README.md. Its error joins
// all faults, each with file and line.
func Load(fsys fs.FS) (*Set, error) {
	names, err := fs.Glob(fsys, "*.md")
	if err != nil {
		return nil, fmt.Errorf("list runbooks: %w", err)
	}
	s := &Set{text: map[string][]byte{}}
	var faults []error
	for _, file := range names {
		if strings.EqualFold(file, "README.md") {
			continue
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read runbook: %w", err)
		}
		r, err := parse(file, data)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s.books = append(s.books, r)
		s.text[r.Name] = data
	}
	return s, errors.Join(faults...)
}

// Runbooks returns all of them, by name.
func (s *Set) Runbooks() []*Runbook { return s.books }

// Find returns the runbook of that name.
func (s *Set) Find(name string) (*Runbook, bool) {
	for _, r := range s.books {
		if r.Name == name {
			return r, true
		}
	}
	return nil, false
}

// Found is the answer of Match.
type Found struct {
	Runbook *Runbook
	Section *Section
	Reason  string // such as "matched by kind + error_class; section by reach"
	// Others fit too and were less specific, the next best first.
	Others []Other

	steps []string
}

// An Other is a runbook that fits a signal but was not chosen.
type Other struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Match returns the most specific runbook for s and its most specific section.
// More constrained fields win, then the higher priority, then the name.
func (s *Set) Match(sig Signal) (Found, bool) {
	type candidate struct {
		book *Runbook
		why  []string
	}
	var fit []candidate
	for _, r := range s.books {
		if why, ok := r.Match.fits(&sig); ok {
			fit = append(fit, candidate{r, why})
		}
	}
	if len(fit) == 0 {
		return Found{}, false
	}
	slices.SortStableFunc(fit, func(a, b candidate) int {
		return cmp.Or(-cmp.Compare(len(a.why), len(b.why)), -cmp.Compare(a.book.Priority, b.book.Priority), cmp.Compare(a.book.Name, b.book.Name))
	})
	found := fit[0].book.found(&sig, reason(fit[0].why))
	for _, c := range fit[1:] {
		found.Others = append(found.Others, Other{c.book.Name, reason(c.why)})
	}
	return found, true
}

func reason(constrained []string) string {
	if len(constrained) == 0 {
		return "fallback for every signal"
	}
	return "matched by " + strings.Join(constrained, " + ")
}

// Fallback reports whether the runbook is for every signal.
func (r *Runbook) Fallback() bool { return len(r.Match) == 0 }

// Named returns the runbook of that name for s, as an SLO may state it.
func (s *Set) Named(name string, sig Signal) (Found, bool) {
	r, ok := s.Find(name)
	if !ok {
		return Found{}, false
	}
	return r.found(&sig, "named by the SLO"), true
}

// found chooses the section.
func (r *Runbook) found(sig *Signal, reason string) Found {
	f := Found{Runbook: r, Reason: reason}
	var why []string
	for i := range r.Sections {
		sec := &r.Sections[i]
		if len(sec.Match) == 0 {
			if sec.Title == mitigation {
				if f.Section == nil {
					f.Section = sec
				}
				f.steps = sec.Steps
			}
			continue
		}
		if c, ok := sec.Match.fits(sig); ok && len(c) > len(why) {
			f.Section, why = sec, c
		}
	}
	if len(why) > 0 {
		f.Reason += "; section by " + strings.Join(why, " + ")
		if len(f.Section.Steps) > 0 {
			f.steps = f.Section.Steps
		}
	}
	return f
}

// URL is where people read the section, below base.
func (f Found) URL(base string) string {
	u := strings.TrimSuffix(base, "/") + "/" + f.Runbook.Name
	if f.Section != nil {
		u += "#" + f.Section.Anchor
	}
	return u
}

// head is the YAML at the beginning of a file.
type head struct {
	Title    string               `yaml:"title"`
	Owner    string               `yaml:"owner"`
	Severity string               `yaml:"severity"`
	Match    map[string]yaml.Node `yaml:"match"`
	Priority int                  `yaml:"priority"`
	Reviewed string               `yaml:"reviewed"`
	// Dashboard as in Runbook.
	Dashboard string `yaml:"dashboard"`
}

// mitigation is the section whose steps serve where no better one is found.
const mitigation = "Mitigation"

// required are the sections that every runbook has.
var required = [...]string{"Meaning", "Impact", "Diagnosis", mitigation}

func parse(file string, data []byte) (*Runbook, error) {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(data, []byte("---\n"))
	top, body, ok2 := bytes.Cut(rest, []byte("\n---\n"))
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s:1: a runbook begins with a head between two lines ---", file)
	}
	var h head
	dec := yaml.NewDecoder(bytes.NewReader(top))
	dec.KnownFields(true)
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("%s: head: %w", file, err)
	}
	r := &Runbook{Name: strings.TrimSuffix(path.Base(file), ".md"), Title: h.Title, Owner: h.Owner, Severity: h.Severity, Priority: h.Priority, Dashboard: h.Dashboard, Match: Match{}}
	var faults []error
	fault := func(line int, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
	}
	if h.Title == "" || h.Owner == "" {
		fault(1, "title and owner are needed in the head")
	}
	if !slices.Contains([]string{"", "page", "ticket"}, h.Severity) {
		fault(1, "severity %q: want page or ticket", h.Severity)
	}
	reviewed, err := time.Parse(time.DateOnly, h.Reviewed)
	if err != nil {
		fault(1, "reviewed %q: want the day of the last review, such as 2026-01-31", h.Reviewed)
	}
	r.Reviewed = reviewed
	for name, node := range h.Match {
		var values []string
		if node.Kind == yaml.ScalarNode {
			values = []string{node.Value}
		} else if err := node.Decode(&values); err != nil {
			fault(node.Line+1, "match.%s: want a word or a list of words", name)
		}
		if !isField(name) {
			fault(node.Line+1, "match: unknown field %q; known: %s", name, fieldNames())
		}
		r.Match[name] = values
	}
	r.Version = fmt.Sprintf("%x", sha256.Sum256(data))[:8]
	r.names = namesIn(string(body))
	quotedPlaces(body, bytes.Count(top, []byte("\n"))+4, fault)
	r.Sections = sections(body, bytes.Count(top, []byte("\n"))+4, fault)
	for _, title := range required {
		if !slices.ContainsFunc(r.Sections, func(s Section) bool { return s.Title == title }) {
			fault(1, "section %q is missing", "## "+title)
		}
	}
	if i := slices.IndexFunc(r.Sections, func(s Section) bool { return s.Title == mitigation }); i >= 0 && len(r.Sections[i].Steps) == 0 {
		fault(1, "section %q needs a numbered list: the steps that a page shows", "## "+mitigation)
	}
	return r, errors.Join(faults...)
}

func isField(name string) bool {
	for _, f := range fields {
		if f.name == name {
			return true
		}
	}
	return false
}

func fieldNames() string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}
