// Package consumer holds what the system that hands API keys out says about
// them: made, changed, revoked, and whose they are.
package consumer

import "time"

// An Action is what happened to a key.
type Action uint8

// The actions. Their numbers are stored: append only.
const (
	Created Action = iota + 1
	Updated
	Revoked
	// Renamed says that a consumer has another name now, or belongs to another one
	// (a merger): what it did under its former name counts for the new one.
	Renamed
)

var actionNames = [...]string{"unspecified", "created", "updated", "revoked", "renamed"}

func (a Action) String() string { return actionNames[a] }

// ParseAction returns the action of that name.
func ParseAction(name string) (Action, bool) {
	for i, n := range actionNames {
		if n == name && i > 0 {
			return Action(i), true
		}
	}
	return 0, false
}

// An Event is one thing that happened to a key. Empty texts say nothing new.
type Event struct {
	Time   time.Time // zero: when the message was produced
	Action Action
	// Key is the key itself, as the owner's system may send it. It is turned into
	// KeyID and emptied: it must not be stored, logged or measured.
	Key      string
	KeyID    [16]byte // as accesslog.Consumer has it; zero if the event names a consumer only
	Consumer string   // who owns the key
	Former   string   // of Renamed: the consumer's name before
	Plan     string   // commercial plan
	Tier     string   // of service
	Owner    string   // who is to be asked about it
}
