package evaluate

import (
	"slices"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/baseline"
	"gatewatch/internal/slo"
)

// Readings are what signals are made of: what the store knows at a whole minute.
// Kinds names those that were read for; the others are not judged.
type Readings struct {
	At       time.Time
	Kinds    []alert.Kind
	Traffic  []Traffic
	Errors   []ClassShare
	Breakers []BreakerUse
	Users    []ConsumerUse
	Hours    []ConsumerHours
	Periods  []ConsumerPeriod
	Versions []VersionUse
	Silent   []SilentService
	Topics   []TopicState
	Disks    []DiskState
	Budgets  []BudgetState
	// Deprecated are operations and versions that product managers have declared to end.
	Deprecated []DeprecatedUse
	// Owners are who answers for the consumers above, as far as it is known.
	Owners map[string]string
}

func (r *Readings) has(k alert.Kind) bool { return slices.Contains(r.Kinds, k) }

// Traffic is the requests of a service, or of a node of it.
type Traffic struct {
	Service, Node string // Node empty: the whole service
	// Minutes are the requests of the minutes before At, the newest last; an hour
	// and what is judged.
	Minutes []int64
	// History are the requests by hour of the last weeks, before the hour of At.
	// Empty for nodes.
	History []baseline.Point
}

// ClassShare is a class of client errors at a service, or at one route of it that
// mostly ends so.
type ClassShare struct {
	Service, Class string
	Route          string // METHOD template; empty: the whole service
	// In the last five minutes:
	Requests, Errors int64
	Active, Hit      int64 // consumers, and those of which at least half of all requests end so
	// In the day before:
	UsualRequests, UsualErrors int64
	Since                      time.Time // first minute of the run of minutes with such errors
}

// BreakerUse is the requests that a circuit breaker refused: in the last minute
// where the gateway states it, of one operation; else since it opened, of the
// service, where quick failures follow those of an upstream.
type BreakerUse struct {
	Service, Route    string // Route empty: inferred
	Upstream          string // whose failures opened it, where it is one host
	Requests, Refused int64
	Since             time.Time // of the episode
}

// ConsumerUse is a consumer's requests to a service in the last 15 minutes.
type ConsumerUse struct {
	Service, Consumer, Plan     string
	Requests, Failed            int64
	OthersRequests, OthersFails int64
	Class                       string // of most failures
	Since                       time.Time
}

// ConsumerHours is a consumer's requests by hour of the last weeks; Now is the
// last whole hour.
type ConsumerHours struct {
	Consumer, Plan string
	Hour           time.Time
	Now            int64
	History        []baseline.Point
}

// ConsumerPeriod is a consumer's use since the month began.
type ConsumerPeriod struct {
	Consumer, Plan string
	Quota          int64 // of the plan a month, as product managers have declared it; 0: none
	Used           int64 // since the month began
	LastDay        int64 // in the last 24 h
}

// VersionUse is who still calls a version, or an operation where Version is empty.
type VersionUse struct {
	Service, Version, Route string
	Keys, Requests          int64 // in the last 7 days
}

// DeprecatedUse is who still calls what is declared to end.
type DeprecatedUse struct {
	VersionUse
	Sunset time.Time
}

// DiskState is the space of one disk when it was first and last looked at in the last day.
type DiskState struct {
	Host, Disk             string
	First, Last            time.Time
	FreeFirst, Free, Total uint64
}

// BudgetState is how much an objective has left.
type BudgetState struct {
	SLO, Service string
	Left         float64 // share of the budget
	Low          bool    // nearly spent, and not by chance
	Firing       bool    // it pages or has a ticket already
	Period       slo.Count
	PeriodName   string
	Allowed      float64 // share of requests that may fail
}

// SilentService is one whose traces come and whose access log does not.
type SilentService struct {
	Service string
	Spans   int64     // of requests served, in the last ten minutes
	Newest  int64     // of them in the last three
	Last    time.Time // its last request in an access log
}

// TopicState is how far a topic is read, and what of it can't be.
type TopicState struct {
	Topic          string
	CompleteUntil  time.Time
	CaughtUp       bool
	Lag            int64
	AtRisk         bool          // Kafka will delete messages unread
	Retention      time.Duration // of the topic
	Messages, Dead int64         // in the last ten minutes
	Reason         string
}
