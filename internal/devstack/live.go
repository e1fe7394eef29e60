package devstack

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/histogram"
)

// A Snapshot is what the live view shows at one moment.
type Snapshot struct {
	At            time.Time
	PerSecond     float64
	P50, P95, P99 time.Duration
	Errors        float64 // share of requests with an error class
	Classes       []Share // error classes, most frequent first
	Routes        []RouteFigures
	Lag           int64
	CompleteUntil time.Time
	Budgets       []Budget
	Alerts        []clickhouse.AlertState
}

// A Share is a part of all requests.
type Share struct {
	Name  string
	Share float64
}

// RouteFigures are the figures of one operation.
type RouteFigures struct {
	Name      string
	PerSecond float64
	P99       time.Duration
	Errors    float64
}

// A Budget is what is left of an SLO's error budget.
type Budget struct {
	SLO       string
	Remaining float64 // share; negative when overspent
	Burn      float64 // in the last hour; NaN if unknown
}

// viewWindow is how much traffic the figures cover.
const viewWindow = 30 * time.Second

// Snapshot reads the figures of the last complete windows.
func (s *Stack) Snapshot(ctx context.Context) (Snapshot, error) {
	snap := Snapshot{At: time.Now().UTC()}
	marks, err := s.Store.Watermarks(ctx)
	if err != nil {
		return snap, err
	}
	for _, w := range marks {
		snap.Lag += w.Lag
		if snap.CompleteUntil.IsZero() || w.CompleteUntil.Before(snap.CompleteUntil) {
			snap.CompleteUntil = w.CompleteUntil.UTC()
		}
	}
	if !snap.CompleteUntil.IsZero() {
		to := snap.CompleteUntil.Truncate(10 * time.Second)
		traffic, err := s.Store.Traffic(ctx, to.Add(-viewWindow), to)
		if err != nil {
			return snap, err
		}
		snap.sum(traffic)
	}
	if s.config.WithoutAlert {
		return snap, nil
	}
	if snap.Alerts, err = s.Store.AlertStates(ctx, snap.At.Add(-time.Hour)); err != nil {
		return snap, err
	}
	snap.Budgets, err = s.budgets(ctx)
	return snap, err
}

// sum adds up the traffic of viewWindow.
func (snap *Snapshot) sum(traffic []clickhouse.Traffic) {
	all, classes := histogram.Histogram{}, map[string]int64{}
	type route struct {
		n, failed int64
		latency   histogram.Histogram
	}
	routes := map[string]*route{}
	var n int64
	for _, t := range traffic {
		name := t.Service + " " + t.Method + " " + t.Route
		r := routes[name]
		if r == nil {
			r = &route{latency: histogram.Histogram{}}
			routes[name] = r
		}
		r.n += t.Requests
		n += t.Requests
		if t.ErrorClass != "none" {
			classes[t.ErrorClass] += t.Requests
			r.failed += t.Requests
		}
		r.latency.Merge(t.Histogram)
		all.Merge(t.Histogram)
	}
	if n == 0 {
		return
	}
	snap.PerSecond = float64(n) / viewWindow.Seconds()
	snap.P50, snap.P95, snap.P99 = quantile(all, 0.5), quantile(all, 0.95), quantile(all, 0.99)
	for c, k := range classes {
		snap.Classes = append(snap.Classes, Share{c, float64(k) / float64(n)})
		snap.Errors += float64(k) / float64(n)
	}
	slices.SortFunc(snap.Classes, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name))
	})
	for name, r := range routes {
		snap.Routes = append(snap.Routes, RouteFigures{name, float64(r.n) / viewWindow.Seconds(), quantile(r.latency, 0.99), float64(r.failed) / float64(r.n)})
	}
	slices.SortFunc(snap.Routes, func(a, b RouteFigures) int {
		return cmp.Or(cmp.Compare(b.PerSecond, a.PerSecond), cmp.Compare(a.Name, b.Name))
	})
}

// quantile returns a latency of which a share p of the requests was at most.
func quantile(h histogram.Histogram, p float64) time.Duration {
	us, _ := h.Quantile(p)
	return time.Duration(us * float64(time.Microsecond))
}

// Names of the metrics of alert that the view reads.
const (
	budgetMetric = "gatewatch_alert_error_budget_remaining_ratio"
	burnMetric   = "gatewatch_alert_burn_rate"
)

// budgets reads what alert says about the error budgets.
func (s *Stack) budgets(ctx context.Context) ([]Budget, error) {
	families, err := Scrape(ctx, s.Alert)
	if err != nil {
		return nil, err
	}
	burns := map[string]float64{}
	for _, m := range families[burnMetric].GetMetric() {
		if label(m, "window") == "1h" {
			burns[label(m, "slo")] = m.GetGauge().GetValue()
		}
	}
	var list []Budget
	for _, m := range families[budgetMetric].GetMetric() {
		b := Budget{SLO: label(m, "slo"), Remaining: m.GetGauge().GetValue(), Burn: math.NaN()}
		if v, ok := burns[b.SLO]; ok {
			b.Burn = v
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b Budget) int { return strings.Compare(a.SLO, b.SLO) })
	return list, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// Scrape reads /metrics at addr.
func Scrape(ctx context.Context, addr string) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics of %s: %w", addr, err)
	}
	return families, nil
}
