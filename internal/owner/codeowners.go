package owner

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A codeownerRule is one line of CODEOWNERS.
type codeownerRule struct {
	pattern string
	owner   string // the first one named; empty takes ownership away
	source  string
}

// readCodeowners reads the common syntax: pattern and owners, one rule a line,
// the last one that fits wins. Section lines of GitLab ([Name]) are passed over.
func (c *Catalog) readCodeowners(file string, data []byte) error {
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "[") || strings.HasPrefix(words[0], "^[") {
			continue
		}
		pattern := strings.Trim(words[0], "/")
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%s:%d: pattern %q: %w", file, i+1, words[0], err)
		}
		r := codeownerRule{pattern: pattern, source: fmt.Sprintf("%s:%d", file, i+1)}
		if len(words) > 1 {
			r.owner = words[1]
		}
		c.codeowners = append(c.codeowners, r)
	}
	return nil
}

// besides are folders whose sub-folders are about services, not services.
var besides = map[string]bool{"docs": true, "doc": true, "test": true, "tests": true, ".github": true, ".changeset": true}

// codeowner finds the owner of the folder named like the service, wherever it
// is (services/payments, apps/payments, payments), else the owner of "*". It
// tells whether the rule is one for everything.
func (c *Catalog) codeowner(service string) (cl claim, all, ok bool) {
	for _, r := range slices.Backward(c.codeowners) {
		first, _, _ := strings.Cut(r.pattern, "/")
		base := path.Base(strings.TrimSuffix(strings.TrimSuffix(r.pattern, "/**"), "/*"))
		fits, err := path.Match(base, service)
		if err != nil || !fits || besides[first] {
			continue
		}
		if r.owner == "" {
			return claim{}, false, false
		}
		return claim{rankCodeowners, Team{Name: r.owner}, r.source}, base == "*" || base == "**", true
	}
	return claim{}, false, false
}
