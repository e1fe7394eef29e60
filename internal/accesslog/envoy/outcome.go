package envoy

import (
	_ "embed"
	"fmt"
	"strings"

	"gatewatch/internal/accesslog"
)

//go:embed outcomes.tsv
var outcomesTSV string

// meaning is a row of outcomes.tsv.
type meaning struct {
	flag     bool
	word     string
	long     string // the flag as %RESPONSE_FLAGS_LONG% writes it
	byStatus bool   // the class follows from the status
	outcome  accesslog.Outcome
}

// table is outcomes.tsv, in its order.
type table []meaning

func newTable() (table, error) {
	var t table
	for line := range strings.Lines(outcomesTSV) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 7 || f[6] == "" {
			return nil, fmt.Errorf("envoy outcomes: %q has %d fields, want 7", line, len(f))
		}
		m := meaning{flag: f[0] == "flag", word: f[1], long: f[2], byStatus: f[4] == "-"}
		var ok bool
		if m.outcome.Class, ok = accesslog.ParseErrorClass(f[4]); !ok && !m.byStatus {
			return nil, fmt.Errorf("envoy outcomes: %s: unknown class %q", f[1], f[4])
		}
		if m.outcome.Responder, ok = accesslog.ParseResponder(f[3]); !ok {
			return nil, fmt.Errorf("envoy outcomes: %s: unknown responder %q", f[1], f[3])
		}
		if m.outcome.UpstreamReached, ok = accesslog.ParseReached(f[5]); !ok {
			return nil, fmt.Errorf("envoy outcomes: %s: unknown answer %q", f[1], f[5])
		}
		t = append(t, m)
	}
	return t, nil
}

// outcome says what e's flags and details state. It is the zero Outcome, for
// the normaliser to infer, if they state nothing.
func (t table) outcome(e *accesslog.Entry) accesslog.Outcome {
	if e.Flags == "" && e.Details == "via_upstream" && e.Status > 0 && e.Status < 400 {
		return accesslog.Outcome{Responder: accesslog.ResponderUpstream, UpstreamReached: accesslog.ReachedYes}
	}
	if e.Flags == "" && e.Details == "" {
		return accesslog.Outcome{}
	}
	for i := range t {
		if m := &t[i]; m.matches(e) {
			return m.apply(e)
		}
	}
	return accesslog.Outcome{}
}

func (m *meaning) matches(e *accesslog.Entry) bool {
	if !m.flag {
		return strings.HasPrefix(e.Details, m.word)
	}
	rest := e.Flags
	for rest != "" {
		var item string
		item, rest, _ = strings.Cut(rest, ",")
		if item == m.word || item == m.long {
			return true
		}
	}
	return false
}

func (m *meaning) apply(e *accesslog.Entry) accesslog.Outcome {
	o := m.outcome
	if m.byStatus {
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
