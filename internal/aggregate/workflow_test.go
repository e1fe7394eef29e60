package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gatewatch/internal/kpi"
)

// memory is a store of calls and runs as ClickHouse is one: newest versions win.
type memory struct {
	calls     map[Unit][]kpi.Call
	runs      map[string]UnitRun
	first     int64 // earliest of what came since the last pass; -1 is nothing
	fail      error
	published int
}

func (m *memory) PublishKPIs(context.Context, *kpi.Definitions, string) error {
	m.published++
	return m.fail
}
func (m *memory) SplitCalls(context.Context) error { return nil }

func (m *memory) WorkflowDirty(context.Context, *kpi.Workflow) (Dirty, error) {
	d := Dirty{Any: m.first >= 0, First: time.UnixMicro(m.first)}
	for _, r := range m.runs {
		if at := time.UnixMicro(r.Start); r.State == kpi.Open && (!d.Any || at.Before(d.First)) {
			d.Any, d.First = true, at
		}
	}
	return d, nil
}

func (m *memory) WorkflowCalls(_ context.Context, _ *kpi.Workflow, base time.Time, each func(Unit, []kpi.Call) error) error {
	for u, calls := range m.calls {
		list := slices.DeleteFunc(slices.Clone(calls), func(c kpi.Call) bool { return c.At < base.UnixMicro() })
		if len(list) == 0 {
			continue
		}
		if err := each(u, list); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) WorkflowRuns(_ context.Context, _ *kpi.Workflow, from time.Time) (map[Unit][]*kpi.Run, error) {
	all := map[Unit][]*kpi.Run{}
	for _, r := range m.runs {
		if r.Start >= from.UnixMicro() {
			run := *r.Run
			run.Times = slices.Clone(r.Times)
			all[r.At] = append(all[r.At], &run)
		}
	}
	return all, nil
}

func (m *memory) StoreRuns(_ context.Context, _ *kpi.Workflow, runs []UnitRun, _ uint64) error {
	for _, r := range runs {
		key := fmt.Sprint(r.At, r.Start, r.ID)
		delete(m.runs, key)
		if !r.Removed {
			run := *r.Run
			run.Times = slices.Clone(r.Times)
			r.Run = &run
			m.runs[key] = r
		}
	}
	return nil
}

func (m *memory) PassDone(context.Context, *kpi.Workflow, int64, time.Time) error {
	m.first = -1
	return nil
}

func (m *memory) add(u Unit, c kpi.Call) {
	m.calls[u] = append(m.calls[u], c)
	if m.first < 0 || c.At < m.first {
		m.first = c.At
	}
}

func (m *memory) show() string {
	var lines []string
	for _, r := range m.runs {
		lines = append(lines, fmt.Sprint(r.At.Name, r.Start, r.Times, r.State, r.Failed, r.FailedStep))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func newMemory() *memory {
	return &memory{calls: map[Unit][]kpi.Call{}, runs: map[string]UnitRun{}, first: -1}
}

func newTestWorkflower(t *testing.T, m *memory, more string, until int64) *Workflower {
	t.Helper()
	d, err := kpi.Parse("w.yaml", []byte("workflows:\n  - name: w\n    window: 10s\n    steps: [{method: GET, route: /a}, {method: GET, route: /b}, {method: GET, route: /c}]\n"+more))
	if err != nil {
		t.Fatal(err)
	}
	return NewWorkflower(WorkflowDeps{
		Store: m, Definitions: d, Zone: "UTC", Interval: 10 * time.Millisecond, Now: time.Now, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		Until: func(context.Context) (time.Time, error) { return time.UnixMicro(until), nil },
	})
}

// Whatever comes in whatever order over whatever number of passes, the runs are
// those of one pass over everything, also when calls move to another unit.
func TestPassesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		more := []string{"", "    unordered: true\n", "    by: session\n    session_gap: 4s\n"}[round%3]
		const until = 90_000_000
		some, whole := newMemory(), newMemory()
		w := newTestWorkflower(t, some, more, until)
		for i := range 80 {
			u := Unit{Name: fmt.Sprint("c", r.IntN(2))}
			c := kpi.Call{At: int64(r.IntN(100))*1_000_000 + int64(i), ID: uint16(i), Step: r.IntN(3), Done: r.IntN(4) > 0}
			if !c.Done {
				c.Class = "upstream_5xx"
			}
			some.add(u, c)
			if r.IntN(10) == 0 {
				if err := w.Pass(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if round%4 == 0 { // c1 is taken over by c0: its calls count from the begin
			some.calls[Unit{Name: "c0"}] = append(some.calls[Unit{Name: "c0"}], some.calls[Unit{Name: "c1"}]...)
			delete(some.calls, Unit{Name: "c1"})
			some.first = 0
		}
		for u, calls := range some.calls {
			for _, c := range calls {
				whole.add(u, c)
			}
		}
		for range 2 {
			if err := w.Pass(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := newTestWorkflower(t, whole, more, until).Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := some.show(), whole.show(); got != want {
			t.Fatalf("round %d: got\n%s\nwant\n%s", round, got, want)
		}
	}
}

// A store that fails is counted, and asked again.
func TestWorkflowerGoesOn(t *testing.T) {
	m := newMemory()
	m.fail = errors.New("no rights")
	w := newTestWorkflower(t, m, "", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(w.failures); n < 2 || m.published < 2 {
		t.Errorf("%v failures counted, published %d times", n, m.published)
	}
}
