package runbook

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Known is what the rest of the system knows, to check runbooks against.
type Known struct {
	// Owner tells whether there is a team of that name; nil knows all.
	Owner func(name string) bool
	// Values are the values that a field of Match can have, such as those of
	// error_class. A field that is not named here can have any.
	Values map[string][]string
	// Dashboards are the uids of those that there are; without any all are known.
	Dashboards []string
	// Today is compared with the day of the last review.
	Today time.Time
}

// maxReviewAge is how old a review may be.
const maxReviewAge = 365 * 24 * time.Hour

// Check reports what is wrong with runbooks that can be read: links that lead
// nowhere, unknown owners and dashboards, reviews older than a year, entries and sections that
// can never match, and the lack of a fallback. Faults are in the order of names.
func (s *Set) Check(k Known) []error {
	var faults []error
	fallback := false
	for _, r := range s.books {
		fault := func(line int, format string, args ...any) {
			faults = append(faults, fmt.Errorf("%s.md:%d: %s", r.Name, line, fmt.Sprintf(format, args...)))
		}
		fallback = fallback || len(r.Match) == 0
		if k.Owner != nil && !k.Owner(r.Owner) {
			fault(1, "owner %s is in no catalogue", r.Owner)
		}
		if age := k.Today.Sub(r.Reviewed); age > maxReviewAge {
			fault(1, "the last review is %d days old: read it again and set reviewed", int(age.Hours()/24))
		}
		if len(k.Dashboards) > 0 && r.Dashboard != "" && !IsURL(r.Dashboard) && !slices.Contains(k.Dashboards, r.Dashboard) {
			fault(1, "dashboard %s is unknown: want a whole URL or one of %s", r.Dashboard, strings.Join(k.Dashboards, ", "))
		}
		for _, why := range r.Match.impossible(k.Values) {
			fault(1, "never matches: %s", why)
		}
		for _, sec := range r.Sections {
			for _, why := range sec.Match.impossible(k.Values) {
				fault(1, "section %s never matches: %s", sec.Title, why)
			}
			if why := sec.Match.contradicts(r.Match); why != "" {
				fault(1, "section %s never matches: %s", sec.Title, why)
			}
		}
		if by := s.shadow(r); by != "" {
			fault(1, "never chosen: %s matches the same and comes first", by)
		}
		s.links(r, fault)
	}
	if !fallback {
		faults = append(faults, fmt.Errorf("no runbook has an empty match: signals without one of their own would have none"))
	}
	return faults
}

// IsURL tells the URL of a dashboard from a uid.
func IsURL(dashboard string) bool { return strings.Contains(dashboard, "://") }

// impossible names the values that a field can never have.
func (m Match) impossible(known map[string][]string) []string {
	var faults []string
	for _, f := range fields {
		all := known[f.name]
		for _, v := range m[f.name] {
			if len(all) > 0 && !slices.Contains(all, v) {
				faults = append(faults, fmt.Sprintf("%s is never %q", f.name, v))
			}
		}
	}
	return faults
}

// contradicts names a field of which a section and its runbook share no value.
func (m Match) contradicts(outer Match) string {
	for _, f := range fields {
		if len(m[f.name]) == 0 || len(outer[f.name]) == 0 {
			continue
		}
		if !slices.ContainsFunc(m[f.name], func(v string) bool { return slices.Contains(outer[f.name], v) }) {
			return fmt.Sprintf("%s is %s for the whole runbook", f.name, strings.Join(outer[f.name], " or "))
		}
	}
	return ""
}

// shadow returns the runbook that takes every signal of r: one with the same
// fields and at least r's values, preferred by priority or name.
func (s *Set) shadow(r *Runbook) string {
	for _, o := range s.books {
		if o == r || o.Priority < r.Priority || o.Priority == r.Priority && o.Name > r.Name {
			continue
		}
		covers := true
		for _, f := range fields {
			mine, theirs := r.Match[f.name], o.Match[f.name]
			if (len(mine) == 0) != (len(theirs) == 0) || slices.ContainsFunc(mine, func(v string) bool { return !slices.Contains(theirs, v) }) {
				covers = false
				break
			}
		}
		if covers {
			return o.Name
		}
	}
	return ""
}

// links checks those to sections and to other runbooks; others are not followed.
func (s *Set) links(r *Runbook, fault func(line int, format string, args ...any)) {
	code := false
	for i, line := range bytes.Split(s.text[r.Name], []byte("\n")) {
		if _, ok := fenceLine(string(line)); ok {
			code = !code
		}
		if code {
			continue
		}
		for rest := string(line); ; {
			_, after, ok := strings.Cut(rest, "](")
			if !ok {
				break
			}
			target, next, ok := strings.Cut(after, ")")
			if !ok {
				break
			}
			rest = next
			if why := s.deadLink(r, target); why != "" {
				fault(i+1, "link %s: %s", target, why)
			}
		}
	}
}

func (s *Set) deadLink(r *Runbook, target string) string {
	if strings.Contains(target, ":") || strings.HasPrefix(target, "/") {
		return ""
	}
	file, fragment, _ := strings.Cut(target, "#")
	if file != "" {
		name, isRunbook := strings.CutSuffix(path.Clean(file), ".md")
		if !isRunbook {
			return "want a runbook (NAME.md), a section (#…) or a whole URL"
		}
		var ok bool
		if r, ok = s.Find(name); !ok {
			return "there is no such runbook"
		}
	}
	if fragment != "" && !slices.ContainsFunc(r.Sections, func(sec Section) bool { return sec.Anchor == fragment }) {
		return fmt.Sprintf("%s has no section #%s", r.Name, fragment)
	}
	return ""
}
