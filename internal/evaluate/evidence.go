package evaluate

import (
	"time"

	"gatewatch/internal/baseline"
	"gatewatch/internal/change"
	"gatewatch/internal/layer"
	"gatewatch/internal/slo"
	"gatewatch/internal/suspect"
)

// Evidence is what the store knows about a failure. What could not be read is zero.
type Evidence struct {
	From, To time.Time // what Now counts: the newest part of the failure
	// Before is the hour before the onset, WeekAgo the same clock time as Now a week earlier.
	Now, Before, WeekAgo slo.Count
	BeforeMinutes        int // of that hour that have requests

	Consumers       int64 // that had a bad request
	ActiveConsumers int64
	Plans           []PlanHit
	// Cells are of one dimension, and of two where pairs may explain better.
	Cells []suspect.Cell
	// Services are all that have requests now, by the default indicator.
	Services []ServiceCount
	// Of the bad requests:
	Classes    []Portion // error classes, largest first
	Responders []Portion
	Stated     float64 // share whose class the gateway itself stated

	Changes   []change.Event // of the half hour before the onset
	FirstSeen []FirstSeen    // values that were not there before
	// LayersNow and LayersBefore are by the name of the layer.
	LayersNow, LayersBefore map[string]layer.Figures
	Worth                   []Worth
	// ConsumerOwners are who answers for consumers that may be suspects.
	ConsumerOwners map[string]string
}

// A PlanHit is how many consumers of a plan had a bad request.
type PlanHit struct {
	Name             string
	Affected, Active int64
}

// A ServiceCount is a service's requests now and in the hour before the onset.
type ServiceCount struct {
	Name        string
	Now, Before slo.Count
}

// FirstSeen is a value that was new at a moment.
type FirstSeen struct {
	Dimension, Value string
	At               time.Time
}

// A Portion is a part of all bad requests.
type Portion struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// Worth is what a workflow brings in by the hour.
type Worth struct {
	Workflow, Currency string
	Steps              []Operation
	Each               float64          // of a completed run
	Hours              []baseline.Point // of the last weeks, before the onset
}

// An Operation is what a step of a workflow calls. Service may be empty: any.
type Operation struct{ Service, Method, Template string }
