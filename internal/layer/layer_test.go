package layer

import (
	"strings"
	"testing"

	"gatewatch/internal/histogram"
)

// window makes the figures of 1000 requests, 100 of them traced, that take us in each layer.
func window(gateway, service, database uint64, change func(map[string]Figures)) map[string]Figures {
	of := func(us uint64, traces int64) Figures {
		f := Figures{Requests: 1000, Measured: 1000, Traces: traces, Time: histogram.Histogram{}}
		for i := range uint64(1000) {
			v := us * (90 + i%20) / 100
			f.Time.Observe(v)
			f.TimeUS += int64(v)
		}
		return f
	}
	w := map[string]Figures{Gateway: of(gateway, 0), Upstream: of(service+database, 0), Service: of(service, 100), Database: of(database, 100)}
	if change != nil {
		change(w)
	}
	return w
}

func TestCompare(t *testing.T) {
	before := window(2000, 20_000, 30_000, nil)
	errors := func(names ...string) func(map[string]Figures) {
		return func(w map[string]Figures) {
			for _, n := range names {
				f := w[n]
				f.Errors = 200
				w[n] = f
			}
		}
	}
	untraced := func(w map[string]Figures) { delete(w, Service); delete(w, Database) }
	for _, c := range []struct {
		name            string
		now             map[string]Figures
		latency, errors string
	}{
		{"as before", window(2000, 20_000, 30_000, nil), "", ""},
		{"gateway", window(80_000, 20_000, 30_000, nil), Gateway, ""},
		{"service", window(2000, 200_000, 30_000, nil), Service, ""},
		{"database", window(2000, 20_000, 300_000, nil), Database, ""},
		{"a little", window(2000, 20_000, 33_000, nil), "", ""},
		{"gateway fails", window(2000, 20_000, 30_000, errors(Gateway)), "", Gateway},
		{"service fails", window(2000, 20_000, 30_000, errors(Upstream, Service)), "", Service},
		{"database fails", window(2000, 20_000, 30_000, errors(Upstream, Database)), "", Database},
		{"the service is silent", window(2000, 20_000, 30_000, func(w map[string]Figures) {
			w[Upstream] = window(2000, 1_000_000, 1_000_000, nil)[Upstream]
		}), Service, ""},
		{"spans of few say so, the logs of all do not", window(2000, 20_000, 300_000, func(w map[string]Figures) {
			w[Upstream] = window(2000, 20_000, 30_000, nil)[Upstream]
		}), "", ""},
		{"no traces", window(2000, 200_000, 30_000, untraced), Upstream, ""},
	} {
		v := Compare(c.now, before)
		if v.Latency != c.latency || v.Errors != c.errors || len(v.Changes) != len(Names()) {
			t.Errorf("%s: %q %q (%s)", c.name, v.Latency, v.Errors, v.Why)
		}
		if told := strings.Contains(v.Why, "fewer than 20 traces"); told != (c.name == "no traces") {
			t.Errorf("%s: %s", c.name, v.Why)
		}
	}
	// Windows without any data are empty, not zero.
	if v := Compare(nil, nil); v.Latency != "" || v.Errors != "" {
		t.Errorf("nothing: %+v", v)
	}
	if _, ok := (Figures{}).P95(); ok {
		t.Error("no requests have a p95")
	}
}
