// Package layer tells in which layer time or errors were added: the gateway, the
// service itself, its database, or other systems that it calls. Pure arithmetic
// on two windows.
package layer

import (
	"fmt"
	"math"

	"gatewatch/internal/histogram"
)

// Names of the layers in the order of a request's way. Upstream is what the
// gateway waited for: service, database and external together, from the logs
// and so for all requests.
const (
	Gateway  = "gateway"
	Upstream = "upstream"
	Service  = "service"
	Database = "database"
	External = "external"
)

// Names returns the layers, upstream included.
func Names() []string { return []string{Gateway, Upstream, Service, Database, External} }

// Figures are what a layer did in a window, weighted for sampling.
type Figures struct {
	// Requests of the service; Measured are those with a time in this layer.
	Requests, Measured int64
	// Traces that the figures rest on; 0 where they come from the logs of all requests.
	Traces int64
	// Errors that began in this layer.
	Errors int64
	// TimeUS is the sum of times in microseconds, Time their histogram.
	TimeUS int64
	Time   histogram.Histogram
}

// Add adds o to f.
func (f *Figures) Add(o Figures) {
	f.Requests += o.Requests
	f.Measured += o.Measured
	f.Traces += o.Traces
	f.Errors += o.Errors
	f.TimeUS += o.TimeUS
	if f.Time == nil {
		f.Time = histogram.Histogram{}
	}
	f.Time.Merge(o.Time)
}

// quantile is that which is compared.
const quantile = 0.95

// P95 returns the 95th percentile in microseconds, and false without any time.
func (f Figures) P95() (float64, bool) { return f.Time.Quantile(quantile) }

// Mean returns the time a request of the service, in microseconds.
func (f Figures) Mean() float64 { return float64(f.TimeUS) / float64(max(1, f.Requests)) }

// ErrorRatio returns the share of requests with an error of this layer.
func (f Figures) ErrorRatio() float64 { return float64(f.Errors) / float64(max(1, f.Requests)) }

// A Change is what one layer added between two windows.
type Change struct {
	Layer       string
	Now, Before Figures
	// P95US and MeanUS were added, in microseconds; Errors to the share of requests
	// that fail. They are negative where the layer became better.
	P95US, MeanUS, Errors float64
}

// A Verdict says which layer a rise is in.
type Verdict struct {
	// Latency and Errors are a layer's name, or empty: no rise, or no layer that
	// has most of it.
	Latency, Errors string
	// Why says what it rests on, for people.
	Why     string
	Changes []Change
}

const (
	minTraces   = 20     // on either side, for a statement from spans
	minRiseUS   = 10_000 // of p95; less is noise
	minRise     = 0.2    // of the upstream's and gateway's p95 before
	minErrors   = 0.005  // more of the requests
	minErrorsUp = 2.0    // times
	blame       = 0.5    // share of the rise that makes it one layer's
)

// Compare says what each layer added. A layer that is missing on one side had no requests there.
func Compare(now, before map[string]Figures) Verdict {
	var v Verdict
	by := map[string]Change{}
	for _, name := range Names() {
		c := Change{Layer: name, Now: now[name], Before: before[name]}
		n, _ := c.Now.P95()
		b, _ := c.Before.P95()
		c.P95US, c.MeanUS, c.Errors = n-b, c.Now.Mean()-c.Before.Mean(), c.Now.ErrorRatio()-c.Before.ErrorRatio()
		by[name] = c
		v.Changes = append(v.Changes, c)
	}
	traced := by[Service].Now.Traces >= minTraces && by[Service].Before.Traces >= minTraces
	v.Latency = latency(by, traced)
	v.Errors = errors(by, traced)
	switch {
	case v.Latency != "" && v.Errors != "":
		v.Why = fmt.Sprintf("%s; errors in %s", by[v.Latency].slower(), v.Errors)
	case v.Latency != "":
		v.Why = by[v.Latency].slower()
	case v.Errors != "":
		c := by[v.Errors]
		v.Why = fmt.Sprintf("%s fails %.1f %% of requests, %.1f %% before", v.Errors, 100*c.Now.ErrorRatio(), 100*c.Before.ErrorRatio())
	default:
		v.Why = "no layer became notably slower or failed more"
	}
	if !traced {
		v.Why += fmt.Sprintf("; fewer than %d traces on one side, so service, database and external are not told apart", minTraces)
	}
	return v
}

func (c Change) slower() string {
	n, _ := c.Now.P95()
	b, _ := c.Before.P95()
	return fmt.Sprintf("%s p95 %.0f ms, %.0f ms before", c.Layer, n/1000, b/1000)
}

// latency names the layer that most of the rise is in.
func latency(by map[string]Change, traced bool) string {
	rise := func(name string) float64 { return max(0, by[name].P95US) }
	b, _ := by[Upstream].Before.P95()
	g, _ := by[Gateway].Before.P95()
	floor := max(minRiseUS, minRise*(b+g))
	gateway, upstream := rise(Gateway), rise(Upstream)
	if gateway >= upstream && gateway >= floor {
		return Gateway
	}
	// What spans of some traces say has to show in what the gateway waited for all.
	if upstream < floor {
		return ""
	}
	if !traced {
		return Upstream
	}
	below := map[string]float64{Service: rise(Service), Database: rise(Database), External: rise(External)}
	all := below[Service] + below[Database] + below[External]
	// What the gateway waits longer for, and no span explains, is the service's:
	// it did not answer, so it told nothing.
	if all < floor || all < blame*upstream {
		return Service
	}
	best, most := "", 0.0
	for _, name := range []string{Service, Database, External} {
		if below[name] > most {
			best, most = name, below[name]
		}
	}
	if most >= blame*all {
		return best
	}
	return ""
}

// errors names the layer in which most of the added errors began.
func errors(by map[string]Change, traced bool) string {
	rose := func(name string) bool {
		c := by[name]
		return c.Errors >= minErrors && c.Now.ErrorRatio() >= minErrorsUp*c.Before.ErrorRatio()
	}
	gateway, upstream := by[Gateway].Errors, by[Upstream].Errors
	switch {
	case rose(Gateway) && gateway >= upstream:
		return Gateway
	case !rose(Upstream):
		return ""
	case !traced:
		return Upstream
	}
	best, most := Service, 0.0
	for _, name := range []string{Database, External, Service} {
		if e := by[name].Errors; rose(name) && e > most {
			best, most = name, e
		}
	}
	// Failures that no span tells of are the service's.
	if most < blame*upstream && math.Abs(upstream) > 0 && best != Service {
		return Service
	}
	return best
}
