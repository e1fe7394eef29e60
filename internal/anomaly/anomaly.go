// Package anomaly tells unusual traffic: an hour of a service, route or key
// against the same hour of the weeks before, and shapes of abuse. It is pure:
// hours and activities are handed in, findings with evidence and score come out.
package anomaly

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"gatewatch/internal/baseline"
	"gatewatch/internal/histogram"
	"gatewatch/internal/slo"
)

// A Subject is what may be unusual.
type Subject struct {
	// Kind is service, route, key or client.
	Kind string
	// Name of it: the service's, "METHOD route", the key's id, the client's address.
	Name            string
	Tenant, Service string
}

// A Finding is one unusual thing. Of an abuse Expected, Low and High are zero.
type Finding struct {
	// Kind is rate_high, rate_low, latency, errors, route_mix, region_mix,
	// client_mix, credential_stuffing, enumeration or scraping.
	Kind string
	Subject
	Value, Expected, Low, High float64
	// Score is how many standard deviations Value is from Expected; of an abuse how
	// many times over its limit. Never negative.
	Score float64
	// Weeks of history that Expected rests on.
	Weeks    int
	Evidence string
}

// An Hour is what a subject did in an hour.
type Hour struct {
	Time     time.Time
	Requests int64
	// Errors by class; what is no error is not in it.
	Errors  map[string]int64
	Latency histogram.Histogram
}

func (h Hour) failed() int64 {
	var n int64
	for _, c := range h.Errors {
		n += c
	}
	return n
}

// What must hold besides the score, so that small things are not reported.
const (
	Limit       = 5.0 // standard deviations
	minRequests = 20  // for ratios
	minTimed    = 50  // for quantiles
	minChange   = 0.3 // of the rate
	minCount    = 20  // requests more or less
	minSlower   = 1.5 // times
	minSlowerUS = 10_000
	minRatio    = 0.02 // more errors
	chance      = 1e-6 // of so many errors
)

// Judge compares an hour with the same hour of the week in history, which
// reaches back to began. Hours that are missing in history had no requests. It
// returns false without a baseline (less than two weeks).
func Judge(s Subject, history []Hour, began time.Time, now Hour) ([]Finding, bool) {
	var counts, latencies, errors []baseline.Point
	for _, h := range history {
		counts = append(counts, baseline.Point{Time: h.Time, Value: float64(h.Requests)})
		if h.Requests < minRequests {
			continue
		}
		errors = append(errors, baseline.Point{Time: h.Time, Value: float64(h.failed()) / float64(h.Requests)})
		if us, ok := h.Latency.Quantile(quantile); ok && h.Requests >= minTimed {
			latencies = append(latencies, baseline.Point{Time: h.Time, Value: us})
		}
	}
	expected := func(points []baseline.Point, noise baseline.Noise) (baseline.Expectation, bool) {
		return baseline.Over(points, began, now.Time, noise).Expected(now.Time)
	}
	e, ok := expected(counts, func(m float64) float64 { return max(baseline.Counts(m), 0.05*m) })
	if !ok {
		return nil, false
	}
	var list []Finding
	if f, ok := s.rate(e, now); ok {
		list = append(list, f)
	}
	if now.Requests < minRequests {
		return list, true
	}
	if e, ok := expected(errors, func(m float64) float64 {
		return max(0.005, math.Sqrt(m*(1-m)/float64(now.Requests)))
	}); ok {
		if f, ok := s.errors(e, history, now); ok {
			list = append(list, f)
		}
	}
	if e, ok := expected(latencies, baseline.Share(0.1, 1000)); ok {
		if f, ok := s.latency(e, now); ok {
			list = append(list, f)
		}
	}
	return list, true
}

// quantile is that of latency that is judged.
const quantile = 0.95

func (s Subject) finding(kind string, e baseline.Expectation, v float64) Finding {
	low, high := e.Interval(Limit)
	return Finding{Kind: kind, Subject: s, Value: v, Expected: e.Median, Low: low, High: high, Score: math.Abs(e.Score(v)), Weeks: e.Weeks}
}

func (s Subject) rate(e baseline.Expectation, now Hour) (Finding, bool) {
	v := float64(now.Requests)
	kind := "rate_high"
	if v < e.Median {
		kind = "rate_low"
	}
	f := s.finding(kind, e, v)
	f.Evidence = fmt.Sprintf("%d requests in the hour, usual are %.0f (%.0f to %.0f, %d weeks)", now.Requests, e.Median, f.Low, f.High, e.Weeks)
	return f, f.Score >= Limit && math.Abs(v-e.Median) >= max(minCount, minChange*e.Median)
}

func (s Subject) errors(e baseline.Expectation, history []Hour, now Hour) (Finding, bool) {
	v := float64(now.failed()) / float64(now.Requests)
	f := s.finding("errors", e, v)
	// The class that rose most against its share before.
	var all int64
	before := map[string]int64{}
	for _, h := range history {
		all += h.Requests
		for c, n := range h.Errors {
			before[c] += n
		}
	}
	class, most := "", math.Inf(-1)
	for _, c := range slices.Sorted(maps.Keys(now.Errors)) {
		if rise := float64(now.Errors[c])/float64(now.Requests) - float64(before[c])/float64(max(1, all)); rise > most {
			class, most = c, rise
		}
	}
	f.Evidence = fmt.Sprintf("%.1f %% fail, usual are %.1f %%; most of it %s (%d of %d requests)", 100*v, 100*e.Median, class, now.Errors[class], now.Requests)
	// Few errors are not spread as the normal distribution has it.
	byChance := slo.AtLeast(now.failed(), now.Requests, 1.5*max(e.Median, 0.005))
	return f, f.Score >= Limit && v-e.Median >= minRatio && byChance < chance
}

func (s Subject) latency(e baseline.Expectation, now Hour) (Finding, bool) {
	v, ok := now.Latency.Quantile(quantile)
	if !ok || now.Requests < minTimed {
		return Finding{}, false
	}
	f := s.finding("latency", e, v)
	f.Evidence = fmt.Sprintf("p95 is %.0f ms, usual are %.0f ms (n = %d)", v/1000, e.Median/1000, now.Latency.Count())
	return f, f.Score >= Limit && v >= minSlower*e.Median && v-e.Median >= minSlowerUS
}

// A Mix is how a key's requests spread over the values of a dimension, in the
// hour that is judged and in the same hour one and two weeks before.
type Mix struct {
	// Dimension is route, region or client.
	Dimension       string
	Now, Last, Past map[string]int64
}

// What makes a mix unusual: how far it has moved, beyond how far it moves anyway.
const (
	minMoved   = 0.4
	mixNoise   = 0.06 // of the distance of two mixes, beside chance
	minSampled = 20
)

// JudgeMix compares mixes by the share of requests that would have to move to
// make one out of the other (total variation distance).
func JudgeMix(s Subject, m Mix) (Finding, bool) {
	n, last, past := sum(m.Now), sum(m.Last), sum(m.Past)
	if n < minSampled || last < minSampled || past < minSampled {
		return Finding{}, false
	}
	moved, before := min(distance(m.Now, m.Last), distance(m.Now, m.Past)), distance(m.Last, m.Past)
	// Two samples of one mix of k values are that far apart by chance.
	k := float64(len(m.Now) + len(m.Last))
	chance := math.Sqrt(k / (2 * math.Pi) * (1/float64(n) + 1/float64(last)) / 2)
	spread := mixNoise + chance/2
	f := Finding{
		Kind: m.Dimension + "_mix", Subject: s, Value: moved, Expected: max(before, chance), Score: (moved - max(before, chance)) / spread, Weeks: 2,
	}
	f.High = f.Expected + Limit*spread
	if f.Score < Limit || moved < minMoved {
		return Finding{}, false
	}
	name, rise := "", 0.0
	for _, v := range slices.Sorted(maps.Keys(m.Now)) {
		if r := float64(m.Now[v])/float64(n) - float64(m.Last[v])/float64(last); r > rise {
			name, rise = v, r
		}
	}
	f.Evidence = fmt.Sprintf("%.0f %% of its requests go elsewhere than in the weeks before (usual are %.0f %%); %s %s has %.0f %% instead of %.0f %%",
		100*moved, 100*f.Expected, m.Dimension, name, 100*float64(m.Now[name])/float64(n), 100*float64(m.Last[name])/float64(last))
	return f, true
}

func sum(m map[string]int64) (n int64) {
	for _, c := range m {
		n += c
	}
	return n
}

func distance(a, b map[string]int64) float64 {
	na, nb := float64(sum(a)), float64(sum(b))
	var d float64
	for v, n := range a {
		d += math.Abs(float64(n)/na - float64(b[v])/nb)
	}
	for v, n := range b {
		if _, ok := a[v]; !ok {
			d += float64(n) / nb
		}
	}
	return d / 2
}
