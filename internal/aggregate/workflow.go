package aggregate

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/kpi"
)

// A Unit is whose calls make runs: a consumer or key of a tenant's environment.
type Unit struct{ Tenant, Environment, Name string }

// A UnitRun is a run to be stored. Removed takes one back that late calls have
// shown to be none, or somebody else's.
type UnitRun struct {
	*kpi.Run
	At      Unit
	Removed bool
}

// Dirty says what a pass has to look at again.
type Dirty struct {
	// Any is false if nothing has changed and no run is open; else First is the
	// earliest moment of what has.
	Any   bool
	First time.Time
	// Pass is the store's clock before it was asked, in seconds since 1970.
	Pass int64
}

// A WorkflowStore has the calls and the runs of workflows.
type WorkflowStore interface {
	// PublishKPIs stores the definitions and sees to it that calls to the routes
	// of workflows are collected.
	PublishKPIs(ctx context.Context, d *kpi.Definitions, zone string) error
	// SplitCalls takes hours and days in which a key changed apart, where that is due.
	SplitCalls(ctx context.Context) error
	// WorkflowDirty returns what has changed since the last PassDone.
	WorkflowDirty(ctx context.Context, w *kpi.Workflow) (Dirty, error)
	// WorkflowCalls hands over the calls since base, a unit after the other. The list
	// is reused.
	WorkflowCalls(ctx context.Context, w *kpi.Workflow, base time.Time, each func(Unit, []kpi.Call) error) error
	// WorkflowRuns returns the stored runs that began at or after from.
	WorkflowRuns(ctx context.Context, w *kpi.Workflow, from time.Time) (map[Unit][]*kpi.Run, error)
	// StoreRuns stores runs; those of a higher version replace the same of a lower one.
	StoreRuns(ctx context.Context, w *kpi.Workflow, runs []UnitRun, version uint64) error
	// PassDone remembers that everything that was stored before pass is in the runs,
	// up to the event time until.
	PassDone(ctx context.Context, w *kpi.Workflow, pass int64, until time.Time) error
}

// A Workflower keeps the runs of workflows up to date. A pass looks at what has
// come since the last one and makes the runs again from a window before the
// earliest of it: runs that began before that can't be touched by it. So its
// result is that of making all runs from all calls, whatever came late or twice,
// and several instances may do the same at the same time.
type Workflower struct {
	WorkflowDeps
	failures prometheus.Counter
}

// WorkflowDeps is what a Workflower works with.
type WorkflowDeps struct {
	Store       WorkflowStore
	Definitions *kpi.Definitions
	Zone        string        // of days and months, an IANA name
	Interval    time.Duration // between passes
	// Until tells up to which event time nothing is missing.
	Until    func(ctx context.Context) (time.Time, error)
	Now      func() time.Time
	Log      *slog.Logger
	Registry prometheus.Registerer
}

// NewWorkflower returns a Workflower.
func NewWorkflower(d WorkflowDeps) *Workflower {
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatewatch_aggregate_workflow_failures_total", Help: "Passes over the runs of workflows that failed.",
	})
	d.Registry.MustRegister(failures)
	return &Workflower{d, failures}
}

// storeChunk is how many runs are stored at once.
const storeChunk = 50_000

// Run publishes the definitions and makes a pass at every interval until ctx
// ends. A pass that fails is logged and made again at the next interval.
func (p *Workflower) Run(ctx context.Context) error {
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	published := false
	loggedAt := time.Time{}
	for {
		var err error
		if !published {
			err = p.Publish(ctx)
			published = err == nil
		}
		if published {
			err = p.Pass(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.failures.Inc()
			if p.Now().Sub(loggedAt) >= logEvery {
				loggedAt = p.Now()
				p.Log.Error("workflows not up to date", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Publish tells the store what the files define.
func (p *Workflower) Publish(ctx context.Context) error {
	return p.Store.PublishKPIs(ctx, p.Definitions, p.Zone)
}

// Pass brings calls of keys that changed and the runs of all workflows up to date.
func (p *Workflower) Pass(ctx context.Context) error {
	if err := p.Store.SplitCalls(ctx); err != nil {
		return err
	}
	until, err := p.Until(ctx)
	if err != nil {
		return err
	}
	for i := range p.Definitions.Workflows {
		if err := p.pass(ctx, &p.Definitions.Workflows[i], until); err != nil {
			return fmt.Errorf("workflow %s: %w", p.Definitions.Workflows[i].Name, err)
		}
	}
	return nil
}

func (p *Workflower) pass(ctx context.Context, w *kpi.Workflow, until time.Time) error {
	dirty, err := p.Store.WorkflowDirty(ctx, w)
	if err != nil || !dirty.Any {
		return err
	}
	window := time.Duration(w.Window)
	base := dirty.First.Add(-window)
	if w.By == kpi.UnitSession || base.Before(time.UnixMicro(0)) {
		base = time.UnixMicro(0) // where a session begins is known from its begin only
	}
	stored, err := p.Store.WorkflowRuns(ctx, w, base.Add(-window))
	if err != nil {
		return err
	}
	s := &storing{p: p, ctx: ctx, w: w, version: uint64(p.Now().UnixMicro())}
	err = p.Store.WorkflowCalls(ctx, w, base, func(u Unit, calls []kpi.Call) error {
		err := s.unit(u, stored[u], calls, base.UnixMicro(), until.UnixMicro())
		delete(stored, u)
		return err
	})
	if err != nil {
		return err
	}
	for u, runs := range stored { // units without a call since base
		if err := s.unit(u, runs, nil, base.UnixMicro(), until.UnixMicro()); err != nil {
			return err
		}
	}
	if err := s.flush(); err != nil {
		return err
	}
	return p.Store.PassDone(ctx, w, dirty.Pass, until)
}

// begin is the call that began a run.
type begin struct {
	at int64
	id uint16
}

// storing collects what a pass has to store.
type storing struct {
	p       *Workflower
	ctx     context.Context //nolint:containedctx // it lives as long as one pass
	w       *kpi.Workflow
	version uint64
	runs    []UnitRun
}

// unit makes the runs of a unit again from base on and stores those that differ
// from what is stored.
func (s *storing) unit(u Unit, stored []*kpi.Run, calls []kpi.Call, base, until int64) error {
	before := make(map[begin]*kpi.Run, len(stored))
	var open []*kpi.Run
	for _, r := range stored {
		before[begin{r.Start, r.ID}] = r
		if r.Start >= base {
			continue
		}
		if past := s.w.At(r, base); past != nil {
			open = append(open, past)
		} else {
			delete(before, begin{r.Start, r.ID})
		}
	}
	for _, r := range kpi.NewMatcher(s.w, u.Name, open).Match(calls, until) {
		old := before[begin{r.Start, r.ID}]
		delete(before, begin{r.Start, r.ID})
		if old == nil || !old.Equal(r) {
			s.runs = append(s.runs, UnitRun{Run: r, At: u})
		}
	}
	for _, r := range before {
		s.runs = append(s.runs, UnitRun{Run: r, At: u, Removed: true})
	}
	if len(s.runs) >= storeChunk {
		return s.flush()
	}
	return nil
}

func (s *storing) flush() error {
	if len(s.runs) == 0 {
		return nil
	}
	err := s.p.Store.StoreRuns(s.ctx, s.w, s.runs, s.version)
	s.runs = s.runs[:0]
	return err
}
