// Package evaluate asks the store for the counts of each objective, steps the
// pure Evaluator on ticks of ten seconds of event time, and turns what changed
// into pages and tickets with owner, runbook and suspects.
package evaluate

import (
	"context"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// A Querier reads what evaluation needs from the store.
type Querier interface {
	// Watermarks returns the newest measurement of completeness of each topic.
	Watermarks(ctx context.Context) ([]rollup.Watermark, error)
	// Counts returns an objective's counts per window of that grain in [from, to).
	Counts(ctx context.Context, s slo.SLO, g rollup.Grain, from, to time.Time) ([]Point, error)
	// Evidence compares [onset, to) with the hour before onset, over all requests of an objective.
	Evidence(ctx context.Context, s slo.SLO, onset, to time.Time) (Evidence, error)
	// Firing returns the alerts whose last recorded state is firing.
	Firing(ctx context.Context) ([]Restored, error)
	// Record keeps events.
	Record(ctx context.Context, events []Event) error
}

// A Restored is a firing alert as an earlier process recorded it.
type Restored struct {
	SLO, ID  string
	Severity alert.Severity
	Since    time.Time
}

// Evidence is what the store knows about a failure.
type Evidence struct {
	Now, Before     slo.Count
	From, To        time.Time
	Consumers       int64 // that had a bad request
	ActiveConsumers int64
	Cells           []suspect.Cell
	// Of the bad requests:
	Classes    []Portion // error classes, largest first
	Responders []Portion
	Stated     float64 // share whose class the gateway itself stated
}

// A Portion is a part of all bad requests.
type Portion struct {
	Name  string
	Share float64
}

// An Event is a change of an alert's state, as it is recorded.
type Event struct {
	Transition
	AlertID     string
	Owner       string
	Labels      map[string]string
	Annotations map[string]string
	Evidence    string // JSON
	SentAt      time.Time
	SendError   string
}

// An Alert is what is posted to Alertmanager.
type Alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	StartsAt     time.Time
	EndsAt       time.Time
	GeneratorURL string
}

// A Sender posts alerts to all Alertmanagers.
type Sender interface {
	Send(ctx context.Context, alerts []Alert) error
}

// Deps is what a Loop stands on.
type Deps struct {
	Query    Querier
	Send     Sender // nil: nothing is sent
	SLOs     []slo.SLO
	Owners   *owner.Catalog
	Runbooks *runbook.Set
	// Topics are the access-log topics whose completeness counts.
	Topics []string
	Now    func() time.Time
}
