// Package evaluate asks the store for the counts of each objective, steps the
// pure Evaluator on ticks of ten seconds of event time, and turns what changed
// into pages and tickets with owner, runbook and suspects.
package evaluate

import (
	"context"
	"fmt"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
)

// A Counter reads counts.
type Counter interface {
	// Counts returns for each feed its counts per window of that grain in [from, to),
	// in the order of time and group.
	Counts(ctx context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error)
}

// A Querier reads what evaluation needs from the store.
type Querier interface {
	Counter
	// Watermarks returns the newest measurement of completeness of each topic.
	Watermarks(ctx context.Context) ([]rollup.Watermark, error)
	// Changed returns what has been stored after a time of the store's clock.
	Changed(ctx context.Context, topics []string, after time.Time) (Change, error)
	// Evidence compares the newest part of [onset, to) with the hour before onset,
	// over all requests of a feed, or of one group of it.
	Evidence(ctx context.Context, f slo.Feed, group string, onset, to time.Time) (Evidence, error)
	// Signals reads what signals beyond objectives are made of, up to a whole minute.
	Signals(ctx context.Context, at time.Time) (Readings, error)
}

// A Journal keeps what an evaluation decides.
type Journal interface {
	// Firing returns the alerts whose last recorded state is firing.
	Firing(ctx context.Context) ([]Restored, error)
	// Record keeps events. Recorded twice they are there once.
	Record(ctx context.Context, events []Event) error
	// Recorded returns the keys of the events after a tick.
	Recorded(ctx context.Context, after time.Time) (map[string]bool, error)
	// Keep keeps a checkpoint, Kept returns the newest, false if there is none.
	Keep(ctx context.Context, c Checkpoint) error
	Kept(ctx context.Context) (Checkpoint, bool, error)
	// RecordDelivered keeps what Alertmanager did with alerts at a time.
	RecordDelivered(ctx context.Context, at time.Time, list []Delivered) error
}

// A Change says which event times new rows have.
type Change struct {
	From, To time.Time // zero: nothing is new
	Seen     time.Time // when the newest of them was stored, by the store's clock
}

// A Restored is a firing alert as an earlier process recorded it.
type Restored struct {
	SLO, Group, ID      string
	Severity            alert.Severity
	Since               time.Time
	Labels, Annotations map[string]string
	Sent                bool      // an Alertmanager took it
	At                  time.Time // tick of the last change
}

func (r Restored) raised() time.Time { return r.At }

// An Event is a change of an alert's state, as it is recorded.
type Event struct {
	Transition
	AlertID     string
	Owner       string
	Labels      map[string]string
	Annotations map[string]string
	Evidence    string    // JSON
	SentAt      time.Time // zero: not sent
	SendError   string    // why not

	quiet bool // nobody was told of the beginning, so nobody is of the end
}

// Key is the identity of an event: whoever decides it comes to the same.
func (e *Event) Key() string { return eventKey(e.AlertID, e.At, e.Status.State, e.Status.Severity) }

func eventKey(id string, at time.Time, state alert.State, severity alert.Severity) string {
	return fmt.Sprintf("%s %d %s %s", id, at.Unix(), state, severity)
}

// Key is that of the event that a transition becomes.
func (t *Transition) Key() string {
	if t.Status.State == alert.Firing {
		return eventKey(t.Status.ID, t.At, t.Status.State, t.Status.Severity)
	}
	return eventKey(t.ResolvedID, t.At, t.Status.State, t.Status.Severity)
}

// An Alert is what is posted to Alertmanager.
type Alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	StartsAt     time.Time
	EndsAt       time.Time // zero while it fires
	GeneratorURL string
}

// A Sender posts alerts to all Alertmanagers.
type Sender interface {
	Send(ctx context.Context, alerts []Alert) error
}

// Delivered is what Alertmanager does with an alert.
type Delivered struct {
	AlertID string
	State   string // active, suppressed or unprocessed
	// Why it is suppressed: ids of silences and of alerts, names of time intervals.
	SilencedBy, InhibitedBy, MutedBy []string
	Receivers                        []string
}

// An Observer reads back what becomes of alerts.
type Observer interface {
	States(ctx context.Context) ([]Delivered, error)
}

// Deps is what a Loop stands on. A Loop sends nothing until every topic has been
// read to its end once (catching up), nor about data that is long past.
type Deps struct {
	Query    Querier
	Journal  Journal
	Send     Sender   // nil: nothing is sent
	Observe  Observer // nil: nothing is read back
	Set      *slo.Set
	Owners   *owner.Catalog
	Runbooks *runbook.Set
	// Topics are the access-log topics whose completeness counts.
	Topics []string
	Now    func() time.Time
	// Elapsed is a clock that nobody sets: how long the process has been running.
	Elapsed func() time.Duration
	// Fine and Minutes are how long windows of ten seconds and of a minute are
	// kept; 0 is for ever.
	Fine, Minutes time.Duration
}

// reach returns since when counts are kept.
func (d Deps) reach(now time.Time) (r Reach) {
	if d.Fine > 0 {
		r.Fine = now.Add(-d.Fine)
	}
	if d.Minutes > 0 {
		r.Minutes = now.Add(-d.Minutes)
	}
	return r
}
