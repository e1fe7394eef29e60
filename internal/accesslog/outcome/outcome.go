// Package outcome turns a gateway's own words for what happened to a request
// into the vocabulary of package accesslog, by a table that is data: one file a
// gateway, each row with the vendor's definition as its source.
package outcome

import (
	"fmt"
	"strings"

	"gatewatch/internal/accesslog"
)

// A Table is the rows of a file, in its order.
//
// A file has lines of seven fields between tabs, and comment lines that start with #:
//
//	kind        flag: an item of Entry.Flags, which may be a list with commas; details: Entry.Details
//	word        the text, whole, or its beginning if the word ends in *
//	also        another spelling of the word, or empty
//	responder   who answered
//	class       the error class; - by status, as one that the responder made itself; none if it is no error
//	reached     yes, no or unknown: whether an upstream was reached
//	definition  what the vendor says that it means
type Table struct {
	rows     []row
	exact    [kinds]map[string]int // word → row
	prefixes [kinds][]int          // rows whose word is a beginning
}

// The kinds of words.
const (
	flag = iota
	details
	kinds
)

type row struct {
	word     string
	byStatus bool
	outcome  accesslog.Outcome
}

// Parse reads the text of a table. A row that can't be read, or a word that
// comes twice, is an error that names it.
func Parse(tsv string) (*Table, error) {
	t := &Table{exact: [kinds]map[string]int{{}, {}}}
	for line := range strings.Lines(tsv) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(strings.Split(line, "\t")); err != nil {
			return nil, fmt.Errorf("outcomes, row %q: %w", line, err)
		}
	}
	return t, nil
}

func (t *Table) add(f []string) error {
	if len(f) != 7 || f[6] == "" {
		return fmt.Errorf("%d fields, want 7 and the last one not empty", len(f))
	}
	kind := flag
	switch f[0] {
	case "flag":
	case "details":
		kind = details
	default:
		return fmt.Errorf("kind %q is neither flag nor details", f[0])
	}
	r := row{byStatus: f[4] == "-"}
	var ok bool
	if r.outcome.Responder, ok = accesslog.ParseResponder(f[3]); !ok {
		return fmt.Errorf("unknown responder %q", f[3])
	}
	if r.outcome.Class, ok = accesslog.ParseErrorClass(f[4]); !ok && !r.byStatus {
		return fmt.Errorf("unknown class %q", f[4])
	}
	if r.outcome.UpstreamReached, ok = accesslog.ParseReached(f[5]); !ok {
		return fmt.Errorf("unknown answer %q", f[5])
	}
	for _, word := range f[1:3] {
		if word == "" {
			continue
		}
		i := len(t.rows)
		var prefix bool
		if r.word, prefix = strings.CutSuffix(word, "*"); prefix {
			t.prefixes[kind] = append(t.prefixes[kind], i)
		} else {
			if _, twice := t.exact[kind][word]; twice {
				return fmt.Errorf("%q comes twice", word)
			}
			t.exact[kind][word] = i
		}
		t.rows = append(t.rows, r)
	}
	return nil
}

// Of says what e's flags and details state, by the first row that matches. It
// is the zero Outcome, for the normaliser to infer, if they state nothing.
func (t *Table) Of(e *accesslog.Entry) accesslog.Outcome {
	best := len(t.rows)
	for rest := e.Flags; rest != ""; {
		var item string
		item, rest, _ = strings.Cut(rest, ",")
		best = t.find(flag, item, best)
	}
	if e.Details != "" {
		best = t.find(details, e.Details, best)
	}
	if best == len(t.rows) {
		return accesslog.Outcome{}
	}
	return t.rows[best].apply(e)
}

// find returns the first row before best that text matches, else best.
func (t *Table) find(kind int, text string, best int) int {
	if i, ok := t.exact[kind][text]; ok && i < best {
		best = i
	}
	for _, i := range t.prefixes[kind] {
		if i >= best {
			break
		}
		if strings.HasPrefix(text, t.rows[i].word) {
			return i
		}
	}
	return best
}

func (r *row) apply(e *accesslog.Entry) accesslog.Outcome {
	o := r.outcome
	if r.byStatus {
		o.Class = accesslog.ClassOfStatus(e.Status, o.Responder)
	}
	if o.UpstreamReached == accesslog.ReachedUnknown && e.Upstream != "" {
		o.UpstreamReached = accesslog.ReachedYes
	}
	if o.Class != accesslog.ErrorNone {
		o.Evidence = accesslog.EvidenceStated
	}
	return o
}

// Words returns the words of kind flag or details that the table knows,
// beginnings with their *, in its order.
func (t *Table) Words(kind string) []string {
	k := flag
	if kind == "details" {
		k = details
	}
	words := make([]string, len(t.rows))
	for word, i := range t.exact[k] {
		words[i] = word
	}
	for _, i := range t.prefixes[k] {
		words[i] = t.rows[i].word + "*"
	}
	kept := words[:0]
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}
