package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/baseline"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/kpi"
)

// funnelRow is one step of a workflow.
type funnelRow struct {
	Workflow string  `json:"workflow" title:"workflow"`
	Step     string  `json:"step" title:"step"`
	TopError string  `json:"top_drop_reason" title:"most are kept by"`
	Number   int     `json:"number" title:"no."`
	Reached  int64   `json:"reached" title:"runs"`
	OfAll    float64 `json:"share_of_started" title:"of started" show:"share"`
	OfLast   float64 `json:"share_of_previous" title:"of previous" show:"share"`
	Dropped  int64   `json:"dropped_before" title:"dropped before it"`
	Open     int64   `json:"open_before" title:"still open"`
	// Reasons are the runs that were dropped before this step by the class of the
	// last failed call to it; "" is without any.
	Reasons map[string]int64 `json:"drop_reasons"`
	Failed  map[string]int64 `json:"failed_calls"`
	Stray   int64            `json:"calls_without_run" title:"without a run"`
}

// A funnel is a workflow with its runs in the window.
type funnel struct {
	*kpi.Workflow
	counts []clickhouse.RunCount
}

func (p *product) funnelOf(ctx context.Context, w *kpi.Workflow, window clickhouse.ProductWindow) (funnel, error) {
	counts, err := p.store.RunCounts(ctx, window, w)
	return funnel{w, counts}, err
}

// reached counts the runs that have done at least n steps.
func (f *funnel) reached(n int) (runs int64) {
	for _, c := range f.counts {
		if int(c.Done) >= n {
			runs += c.Runs
		}
	}
	return runs
}

// conversion is the share of runs with at least n steps done that were
// completed, of those that have ended.
func (f *funnel) conversion(n int) float64 {
	var ended, completed int64
	for _, c := range f.counts {
		if int(c.Done) >= n && c.State != kpi.Open.String() {
			ended += c.Runs
			if c.State == kpi.Completed.String() {
				completed += c.Runs
			}
		}
	}
	return ratio(completed, ended)
}

// meanAmount is what a completed run is worth, in units of the currency.
func (f *funnel) meanAmount() float64 {
	if f.Value == nil {
		return 0
	}
	var runs, amount int64
	for _, c := range f.counts {
		if c.State == kpi.Completed.String() {
			runs, amount = runs+c.Runs, amount+c.Amount
		}
	}
	if runs == 0 {
		return f.Value.Amount.Float()
	}
	return kpi.Money(amount).Float() / float64(runs)
}

func (p *product) funnel(ctx context.Context) error {
	rows := []funnelRow{}
	for i := range p.kpis.Workflows {
		f, err := p.funnelOf(ctx, &p.kpis.Workflows[i], p.window)
		if err != nil {
			return err
		}
		calls, err := p.store.StepCounts(ctx, p.window, f.Workflow)
		if err != nil {
			return err
		}
		done, err := p.store.StepsDone(ctx, p.window, f.Workflow)
		if err != nil {
			return err
		}
		if f.reached(1) > 0 || len(calls) > 0 {
			rows = append(rows, f.rows(calls, done)...)
		}
	}
	p.add("funnel", "Runs that began in the window", p.noWorkflows("no calls to the steps of a workflow in this window"), rows)
	p.note("a call advances the oldest run that waits for its step; a call that no run waits for counts as one without a run; a run is dropped when its window ends")
	return nil
}

func (p *product) noWorkflows(otherwise string) string {
	if len(p.kpis.Workflows) == 0 {
		return "no workflows are declared: see aggregate.kpi and deploy/kpi/shop.yaml"
	}
	return otherwise
}

func (f *funnel) rows(calls []clickhouse.StepCount, done []int64) []funnelRow {
	rows := make([]funnelRow, len(f.Steps))
	for i := range f.Steps {
		r := &rows[i]
		*r = funnelRow{Workflow: f.Name, Step: f.Steps[i].Title(), Number: i + 1, Reached: f.reached(i + 1), Reasons: map[string]int64{}, Failed: map[string]int64{}}
		if f.Unordered {
			r.Step = fmt.Sprintf("any %d of %s", i+1, strings.Join(f.titles(), ", "))
		}
		r.OfAll, r.OfLast = ratio(r.Reached, rows[0].Reached), 1
		if i > 0 {
			r.OfLast = ratio(r.Reached, rows[i-1].Reached)
		}
		if i < len(done) {
			r.Stray = -done[i]
		}
	}
	for _, c := range f.counts {
		if int(c.Done) >= len(rows) {
			continue
		}
		switch r := &rows[c.Done]; c.State {
		case kpi.Dropped.String():
			r.Dropped += c.Runs
			r.Reasons[c.Failed] += c.Runs
		case kpi.Open.String():
			r.Open += c.Runs
		}
	}
	for _, c := range calls {
		if r := &rows[c.Step]; c.Done {
			r.Stray += c.Calls
		} else {
			r.Failed[c.Class] += c.Calls
		}
	}
	for i := range rows {
		rows[i].TopError = topReason(rows[i].Reasons)
	}
	return rows
}

func (f *funnel) titles() (list []string) {
	for i := range f.Steps {
		list = append(list, f.Steps[i].Title())
	}
	return list
}

// topReason names the class that kept most, beside those who just left.
func topReason(reasons map[string]int64) string {
	best := ""
	for _, class := range slices.Sorted(maps.Keys(reasons)) {
		if class != "" && (best == "" || reasons[class] > reasons[best]) {
			best = class
		}
	}
	if best == "" {
		return ""
	}
	return best + " " + grouped(reasons[best])
}

// valueRow is what a workflow was worth in the window, and in the last full hour.
type valueRow struct {
	Workflow  string  `json:"workflow" title:"workflow"`
	Currency  string  `json:"currency" title:"currency"`
	Baseline  string  `json:"baseline" title:"baseline"`
	Completed int64   `json:"completed" title:"completed"`
	Amount    float64 `json:"amount" title:"value" show:"amount"`
	Before    float64 `json:"amount_before" title:"window before" show:"amount"`
	// Of the last full hour: what was completed, what is usual, and what is missing
	// of it, with the interval in which it lies in 90 of 100 cases.
	Hour     time.Time `json:"hour" title:"last hour"`
	Actual   float64   `json:"hour_amount" title:"value in it" show:"amount"`
	Expected *float64  `json:"hour_expected" title:"expected" show:"amount"`
	AtRisk   *float64  `json:"at_risk" title:"at risk" show:"amount"`
	Low      *float64  `json:"at_risk_low" title:"from" show:"amount"`
	High     *float64  `json:"at_risk_high" title:"to" show:"amount"`
}

const (
	// baselineWeeks is the history that tells what is usual.
	baselineWeeks = 6
	// ninety is how many standard deviations hold 90 of 100 values.
	ninety = 1.645
)

func (p *product) value(ctx context.Context) error {
	rows, shares := []valueRow{}, []concentrationRow{}
	for i := range p.kpis.Workflows {
		w := &p.kpis.Workflows[i]
		row, err := p.valueOf(ctx, w)
		if err != nil {
			return err
		}
		rows = append(rows, row)
		if w.Value == nil {
			continue
		}
		by, err := p.store.ValueBy(ctx, p.window, w)
		if err != nil {
			return err
		}
		amounts := make([]float64, len(by))
		for i, b := range by {
			amounts[i] = kpi.Money(b.Amount).Float()
		}
		if len(by) > 0 {
			shares = append(shares, concentration("value of "+w.Name+" in "+w.Value.Currency, amounts))
		}
	}
	p.add("value", "Completed workflows", p.noWorkflows(""), rows)
	p.add("concentration", "Concentration", "nothing of value was completed", shares)
	p.note("at risk: what is usual for the hour of the week less what came, of the last full hour; \"no baseline yet\" before two weeks of history")
	p.note("amounts of different currencies are never added up")
	return nil
}

func (p *product) valueOf(ctx context.Context, w *kpi.Workflow) (valueRow, error) {
	row := valueRow{Workflow: w.Name, Currency: "runs"}
	amount := func(h *clickhouse.ValueHour) float64 { return float64(h.Runs) }
	if w.Value != nil {
		row.Currency = w.Value.Currency
		amount = func(h *clickhouse.ValueHour) float64 { return kpi.Money(h.Amount).Float() }
	}
	last := p.lastHour()
	long := p.window
	long.From = min2(last.Add(-baselineWeeks*7*24*time.Hour), p.window.Before().From)
	hours, err := p.store.Completed(ctx, long, w)
	if err != nil {
		return row, err
	}
	row.Hour = last
	var points []baseline.Point
	var micros, before int64
	for i := range hours {
		h := &hours[i]
		switch {
		case h.Time.Equal(last):
			row.Actual = amount(h)
		case h.Time.Before(last) && !h.Time.Before(last.Add(-baselineWeeks*7*24*time.Hour)):
			points = append(points, baseline.Point{Time: h.Time, Value: amount(h)})
		}
		switch {
		case !h.Time.Before(p.window.From):
			row.Completed += h.Runs
			micros += h.Amount
		case !h.Time.Before(p.window.Before().From):
			before += h.Amount
		}
	}
	row.Amount, row.Before = kpi.Money(micros).Float(), kpi.Money(before).Float()
	if w.Value == nil {
		row.Amount, row.Before = float64(row.Completed), 0
	}
	row.risk(points, last, amount, hours)
	return row, nil
}

// risk compares the last hour with what is usual for it.
func (r *valueRow) risk(points []baseline.Point, last time.Time, amount func(*clickhouse.ValueHour) float64, hours []clickhouse.ValueHour) {
	r.Baseline = "no baseline yet"
	if len(points) == 0 {
		return
	}
	first := slices.MinFunc(points, func(a, b baseline.Point) int { return a.Time.Compare(b.Time) }).Time
	var total float64
	var runs int64
	for i := range hours {
		total, runs = total+amount(&hours[i]), runs+hours[i].Runs
	}
	each := total / float64(max(1, runs)) // chance is in the number of runs
	usual, ok := baseline.New(baseline.Zeros(points, first, last), func(median float64) float64 {
		return each * baseline.Counts(median/max(each, 1e-9))
	}).Expected(last)
	if !ok {
		return
	}
	low, high := usual.Interval(ninety)
	atRisk, from, to := max(0, usual.Median-r.Actual), max(0, low-r.Actual), max(0, high-r.Actual)
	r.Baseline = fmt.Sprintf("%d weeks", usual.Weeks)
	r.Expected, r.AtRisk, r.Low, r.High = &usual.Median, &atRisk, &from, &to
}

// lastHour is the begin of the last hour that is complete and over.
func (p *product) lastHour() time.Time {
	end := min2(p.window.To, p.now)
	if p.result.CompleteUntil != nil {
		end = min2(end, *p.result.CompleteUntil)
	}
	return end.Truncate(time.Hour).Add(-time.Hour).UTC()
}

func min2(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// fixRow is a way to fail at a route, with what it costs.
type fixRow struct {
	Service   string  `json:"service" title:"service"`
	Operation string  `json:"operation" title:"operation"`
	Class     string  `json:"error_class" title:"error class"`
	Owner     string  `json:"owner" title:"owner"`
	Lost      string  `json:"value_lost" title:"value lost"`
	Amounts   []money `json:"amounts"`
	Consumers uint64  `json:"consumers" title:"consumers hit"`
	Blocked   int     `json:"new_consumers_blocked" title:"new ones blocked"`
	Calls     int64   `json:"failed_calls" title:"failed calls"`
	Before    int64   `json:"failed_calls_before"`
	Trend     string  `json:"trend" title:"trend"`

	weight float64 // share of the completed value, over all workflows: comparable between currencies
}

// money is an amount with its currency.
type money struct {
	Currency string  `json:"currency"`
	Amount   float64 `json:"amount"`
}

// operation names a route and a way to fail at it.
type failedCall struct{ service, method, template, class string }

func (p *product) fixes(ctx context.Context) error {
	rows, err := p.fixRows(ctx)
	if err != nil {
		return err
	}
	p.add("fixes", "What to fix first", "no call failed in this window", limited(p, "fixes", rows))
	p.note("value lost: runs that were dropped after this failure, times the share of runs at that step that are completed, times what one is worth")
	p.note("ranked by the share that this is of the workflow's completed value, so that currencies compare; then new consumers blocked, consumers hit, failed calls")
	return nil
}

func (p *product) fixRows(ctx context.Context) ([]fixRow, error) {
	failures, err := p.store.Failures(ctx, p.window)
	if err != nil {
		return nil, err
	}
	blockers, err := p.findBlockers(ctx)
	if err != nil {
		return nil, err
	}
	blocked := map[failedCall]int{}
	for _, b := range blockers {
		blocked[failedCall{b.service, b.method, kpi.Template(b.route), b.class}]++
	}
	lost, weight, err := p.lostValue(ctx)
	if err != nil {
		return nil, err
	}
	rows := []fixRow{}
	for _, f := range failures {
		key := failedCall{f.Service, f.Method, kpi.Template(f.Route), f.Class}
		r := fixRow{
			Service: f.Service, Operation: f.Method + " " + f.Route, Class: f.Class, Owner: p.ownerOf(f.Service, f.Method, f.Route),
			Consumers: f.Consumers, Blocked: blocked[key], Calls: f.Calls, Before: f.Before, Trend: trend(f.Calls, f.Before), Amounts: []money{},
		}
		// A step without a service takes any.
		for _, k := range []failedCall{key, {"", key.method, key.template, key.class}} {
			r.weight += weight[k]
			for _, currency := range slices.Sorted(maps.Keys(lost[k])) {
				r.Amounts = append(r.Amounts, money{currency, lost[k][currency]})
				r.Lost = strings.TrimPrefix(fmt.Sprintf("%s, %.2f %s", r.Lost, lost[k][currency], currency), ", ")
			}
		}
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b fixRow) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(b.Blocked, a.Blocked), cmp.Compare(b.Consumers, a.Consumers), cmp.Compare(b.Calls, a.Calls))
	})
	return rows, nil
}

// lostValue returns, by failure, what dropped runs would have been worth, by
// currency, and as a share of the workflow's completed value.
func (p *product) lostValue(ctx context.Context) (lost map[failedCall]map[string]float64, weight map[failedCall]float64, err error) {
	lost, weight = map[failedCall]map[string]float64{}, map[failedCall]float64{}
	for i := range p.kpis.Workflows {
		f, err := p.funnelOf(ctx, &p.kpis.Workflows[i], p.window)
		if err != nil {
			return nil, nil, err
		}
		if f.Value == nil {
			continue
		}
		completed := f.meanAmount() * float64(max(1, f.reached(len(f.Steps))))
		for _, c := range f.counts {
			if c.State != kpi.Dropped.String() || c.Failed == "" {
				continue
			}
			s := &f.Steps[c.FailedStep]
			key := failedCall{s.Service, s.Method, kpi.Template(s.Route), c.Failed}
			amount := float64(c.Runs) * f.meanAmount() * f.conversion(int(c.Done))
			if lost[key] == nil {
				lost[key] = map[string]float64{}
			}
			lost[key][f.Value.Currency] += amount
			weight[key] += amount / completed
		}
	}
	return lost, weight, nil
}

// trend says how a number has changed against the window before.
func trend(now, before int64) string {
	switch {
	case before == 0 && now == 0:
		return "none"
	case before == 0:
		return "new"
	}
	return fmt.Sprintf("%+.0f %%", 100*(float64(now)/float64(before)-1))
}
