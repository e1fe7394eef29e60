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
	SLO, ID             string
	Severity            alert.Severity
	Since               time.Time
	Labels, Annotations map[string]string
	Sent                bool // an Alertmanager took it
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
	// FirstSeen are API versions that had no requests in the time before.
	FirstSeen []FirstSeen
	// Layers are those of the traces, and the gateway's own part of all requests.
	Layers  []Layer
	Traces  int64   // that Layers rests on, since the onset
	Sampled float64 // share of all requests that has a trace
	// TraceID is of one bad request that has a trace, as 32 hexadecimal digits.
	TraceID string
}

// FirstSeen is a value that was new at a moment.
type FirstSeen struct {
	Dimension, Value string
	At               time.Time
}

// A Layer is the 95th percentile of the time that requests spend in a layer itself.
type Layer struct {
	Name        string // gateway, service or database
	Now, Before time.Duration
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
	Evidence    string    // JSON
	SentAt      time.Time // zero: not sent
	SendError   string    // why not

	quiet bool // nobody was told of the beginning, so nobody is of the end
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

// Deps is what a Loop stands on. A Loop sends nothing until every topic has been
// read to its end once (catching up), nor about data that is long past.
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
