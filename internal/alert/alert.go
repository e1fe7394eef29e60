// Package alert holds what an evaluation finds and how an alert lives: severities
// and states. It reads no clock and does no I/O.
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// A Severity says how soon somebody must act.
type Severity int

// The severities, in the order of urgency.
const (
	None   Severity = iota
	Ticket          // in working hours
	Page            // now
)

func (s Severity) String() string {
	switch s {
	case Page:
		return "page"
	case Ticket:
		return "ticket"
	default:
		return "none"
	}
}

// ParseSeverity returns the severity of that name.
func ParseSeverity(name string) (Severity, error) {
	for _, s := range []Severity{None, Ticket, Page} {
		if s.String() == name {
			return s, nil
		}
	}
	return None, fmt.Errorf("severity %q is neither page nor ticket", name)
}

// A State is where an alert is in its life.
type State string

// The states. Their names are stored.
const (
	Inactive State = "inactive"
	Firing   State = "firing"
	Resolved State = "resolved"
)

// ID returns the short id of an incident: the same for one objective and one
// beginning, whoever computes it.
func ID(slo string, since time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", slo, since.Unix()))
	return hex.EncodeToString(sum[:4])
}
