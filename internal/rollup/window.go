// Package rollup is the arithmetic of time buckets: windows, grains and how
// far data is complete. It reads no clock and does no I/O.
package rollup

import "time"

// A Grain is the width of the windows of a series.
type Grain time.Duration

// The grains that are stored.
const (
	Grain10s Grain = Grain(10 * time.Second)
	Grain1m  Grain = Grain(time.Minute)
	Grain1h  Grain = Grain(time.Hour)
	Grain1d  Grain = Grain(24 * time.Hour)
)

// A Window is the half-open interval [Start, Start+Width) in UTC.
type Window struct {
	Start time.Time
	Width time.Duration
}

// End returns the first moment after the window.
func (w Window) End() time.Time { return w.Start.Add(w.Width) }

// Window returns the window of grain g that holds t.
func (g Grain) Window(t time.Time) Window {
	return Window{Start: t.UTC().Truncate(time.Duration(g)), Width: time.Duration(g)}
}

// A Watermark says how far a topic is complete (DESIGN D4). Times are Kafka
// times; subtract the shipping delay (grace or lateness) for event times.
type Watermark struct {
	Topic string
	// CompleteUntil: everything that Kafka stamped before it is in the store.
	CompleteUntil time.Time
	// MeasuredAt is when the end offsets were asked for.
	MeasuredAt time.Time
	// Lag is how many messages are not in the ledger yet.
	Lag int64
	// CaughtUp is true once the topic has been read to its end for the first time.
	CaughtUp bool
	// EventDelay is the 99.9th percentile of Kafka time minus event time, lately.
	EventDelay time.Duration
	// Retention is how long Kafka keeps the topic's messages; 0: for ever, or not known.
	Retention time.Duration
}

// AtRisk reports whether messages that are not stored have lived for more than
// half of their topic's retention: Kafka will delete them unread.
func (w Watermark) AtRisk() bool {
	return w.Retention > 0 && w.Lag > 0 && w.MeasuredAt.Sub(w.CompleteUntil) > w.Retention/2
}

// Final returns the event time up to which windows will normally not change any more.
func (w Watermark) Final(lateness time.Duration) time.Time { return w.CompleteUntil.Add(-lateness) }
