package kpi

import (
	"cmp"
	"slices"
	"time"
)

// A Call is a call to the route of one of a workflow's steps.
type Call struct {
	At   int64  // microseconds since 1970
	ID   uint16 // tells calls of the same moment apart
	Step int    // index of the step whose route it is
	// Done says that the status is the step's; otherwise the call failed.
	Done bool
	// Class is the error class of a failed call.
	Class string
	// Amount is what the log says the call is worth.
	Amount Money
	// Plan and Tier are as of the time of the call.
	Plan, Tier string
}

// compareCalls is the order in which calls count: by time, then by id.
func compareCalls(a, b Call) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID)) }

// A State is how far a run has come.
type State uint8

// The states. Their numbers are stored: append only.
const (
	Open      State = iota + 1 // its window is not over
	Completed                  // all steps were done
	Dropped                    // its window ended before
)

var stateNames = [...]string{"", "open", "completed", "dropped"}

func (s State) String() string { return stateNames[s] }

// States returns the names of all states in the order of their numbers.
func States() []string { return stateNames[1:] }

// A Run is one walk through a workflow, begun by one call.
type Run struct {
	// Unit is the consumer, key or session whose calls it is made of.
	Unit string
	// ID is that of the call that began it.
	ID    uint16
	Start int64 // microseconds since 1970
	// Times of the steps that were done, by the index of the step; 0 is not done.
	Times []int64
	State State
	// Failed is the class of the last failed call that kept the run from a step,
	// FailedStep that step, FailedAt its time. Empty: nothing failed.
	Failed     string
	FailedStep int
	FailedAt   int64
	// Amount is what a completed run is worth.
	Amount Money
	// Plan and Tier are those of the call that began it.
	Plan, Tier string
}

// Done counts the steps that were done.
func (r *Run) Done() int {
	n := 0
	for _, t := range r.Times {
		if t != 0 {
			n++
		}
	}
	return n
}

// A Matcher makes runs out of the calls of one unit. The rules:
//
//   - A done first step begins a run; of an unordered workflow each done step does,
//     unless a run lacks it.
//   - A done step advances the oldest run that waits for it and whose window is not
//     over: consumers do many things at the same time, and who came first goes first.
//   - A step that no run waits for, because its predecessor is missing, late or was
//     used already, counts in the figures of its step and in no run.
//   - A step done twice advances two runs, or counts as one that no run waits for.
//   - A run whose window ends is dropped at the step that it waits for. The last
//     failed call to that step while it waited, if there was one, is the reason.
//
// The result depends on the calls and their times alone, not on their order of arrival.
type Matcher struct {
	workflow *Workflow
	unit     string
	runs     []*Run
	// waiting are the runs by the step that they wait for, oldest first; of an
	// unordered workflow all open ones are in the first.
	waiting [maxSteps][]*Run
	session int64 // time of the session's first call
	last    int64
}

// NewMatcher returns a matcher for the calls of one consumer or key. Open are its
// runs that were begun before, with what happened to them so far.
func NewMatcher(w *Workflow, unit string, open []*Run) *Matcher {
	m := &Matcher{workflow: w, unit: unit}
	slices.SortFunc(open, func(a, b *Run) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
	for _, r := range open {
		m.runs = append(m.runs, r)
		m.wait(r)
	}
	// Who came first at a step goes first, not who began first.
	for i := range m.waiting {
		if i > 0 {
			slices.SortStableFunc(m.waiting[i], func(a, b *Run) int { return cmp.Compare(a.Times[i-1], b.Times[i-1]) })
		}
	}
	return m
}

// wait puts an open run where it waits.
func (m *Matcher) wait(r *Run) {
	if m.workflow.Unordered {
		m.waiting[0] = append(m.waiting[0], r)
		return
	}
	m.waiting[r.Done()] = append(m.waiting[r.Done()], r)
}

// expired tells whether a run's window is over at t.
func (m *Matcher) expired(r *Run, t int64) bool {
	return t > r.Start+time.Duration(m.workflow.Window).Microseconds()
}

// Match reads calls, all of them later than those before, and returns all runs
// as they are at until (microseconds since 1970): up to there nothing is missing.
func (m *Matcher) Match(calls []Call, until int64) []*Run {
	slices.SortFunc(calls, compareCalls)
	for i := range calls {
		c := &calls[i]
		if c.At >= until {
			break
		}
		if m.workflow.By == UnitSession {
			if c.At-m.last > time.Duration(m.workflow.SessionGap).Microseconds() {
				m.waiting = [maxSteps][]*Run{}
				m.session = c.At
			}
			m.last = c.At
		}
		m.call(c)
	}
	for _, r := range m.runs {
		if r.State == Open && m.expired(r, until) {
			r.State = Dropped
		}
	}
	return m.runs
}

func (m *Matcher) call(c *Call) {
	r := m.oldest(c)
	switch {
	case r != nil && c.Done:
		m.advance(r, c)
	case r != nil:
		r.Failed, r.FailedStep, r.FailedAt = c.Class, c.Step, c.At
	case c.Done && (c.Step == 0 || m.workflow.Unordered):
		m.begin(c)
	}
}

// oldest returns the first run that waits for the call's step, or nil. Runs
// whose window is over are taken out on the way.
func (m *Matcher) oldest(c *Call) *Run {
	step := c.Step
	if m.workflow.Unordered {
		step = 0
	} else if step == 0 {
		return nil
	}
	over := func(r *Run) bool { return m.expired(r, c.At) }
	if w := m.waiting[step]; len(w) > 0 && (over(w[0]) || m.workflow.Unordered) {
		m.waiting[step] = slices.DeleteFunc(w, over)
	}
	for i, r := range m.waiting[step] {
		// Runs that began later may have come to this step earlier.
		if over(r) || m.workflow.Unordered && r.Times[c.Step] != 0 {
			continue
		}
		if c.Done && !m.workflow.Unordered {
			m.waiting[step] = slices.Delete(m.waiting[step], i, i+1)
		}
		return r
	}
	return nil
}

func (m *Matcher) begin(c *Call) {
	r := &Run{
		Unit: m.unit, ID: c.ID, Start: c.At, Times: make([]int64, len(m.workflow.Steps)), State: Open,
		Plan: c.Plan, Tier: c.Tier,
	}
	m.runs = append(m.runs, r)
	if m.workflow.Unordered {
		m.waiting[0] = append(m.waiting[0], r)
	}
	m.advance(r, c)
}

// advance does a step of a run.
func (m *Matcher) advance(r *Run, c *Call) {
	r.Times[c.Step] = c.At
	done := r.Done()
	if done < len(m.workflow.Steps) {
		r.Failed, r.FailedStep, r.FailedAt = "", 0, 0
		if !m.workflow.Unordered {
			m.waiting[done] = append(m.waiting[done], r)
		}
		return
	}
	r.State = Completed
	r.Failed, r.FailedStep, r.FailedAt = "", 0, 0
	if v := m.workflow.Value; v != nil {
		if r.Amount = v.Amount; v.Field != "" {
			r.Amount = c.Amount
		}
	}
	if m.workflow.Unordered {
		m.waiting[0] = slices.DeleteFunc(m.waiting[0], func(o *Run) bool { return o == r })
	}
}

// At returns the run as it was just before t, or nil if it was not open then.
func (w *Workflow) At(r *Run, t int64) *Run {
	if r.Start >= t || t > r.Start+time.Duration(w.Window).Microseconds() {
		return nil
	}
	past := *r
	past.Times = slices.Clone(r.Times)
	for i, at := range past.Times {
		if at >= t {
			past.Times[i] = 0
		}
	}
	if past.Done() == len(w.Steps) {
		return nil
	}
	past.State, past.Amount = Open, 0
	if past.FailedAt >= t {
		past.Failed, past.FailedStep, past.FailedAt = "", 0, 0
	}
	return &past
}

// Equal tells whether two runs say the same.
func (r *Run) Equal(o *Run) bool {
	return r.Unit == o.Unit && r.ID == o.ID && r.Start == o.Start && slices.Equal(r.Times, o.Times) && r.State == o.State &&
		r.Failed == o.Failed && r.FailedStep == o.FailedStep && r.FailedAt == o.FailedAt && r.Amount == o.Amount &&
		r.Plan == o.Plan && r.Tier == o.Tier
}
