package evaluate

import (
	"fmt"
	"math"
	"time"

	"gatewatch/internal/alert"
	"gatewatch/internal/slo"
)

// An item is the state of one objective, or of one group of it.
type item struct {
	status Status
	of     *judged
	parts  []*series // one, or one for each part of a composite
	held   []pairState
}

// A pairState is what a pair of windows remembers.
type pairState struct {
	since time.Time // since when it has burnt without a break; zero: it does not
	last  time.Time // when it last held the alert
}

// count returns the counts of window i over all parts.
func (it *item) count(i int) slo.Count {
	if len(it.parts) == 1 {
		return it.parts[0].sum(i)
	}
	list := make([]slo.Count, len(it.parts))
	for k, s := range it.parts {
		list[k] = s.sum(i)
	}
	return it.status.SLO.Combine(list)
}

// between returns the counts of whole minutes in [from, to).
func (it *item) between(from, to time.Time) slo.Count {
	if len(it.parts) == 1 {
		return it.parts[0].between(from, to)
	}
	list := make([]slo.Count, len(it.parts))
	for k, s := range it.parts {
		list[k] = s.between(from, to)
	}
	return it.status.SLO.Combine(list)
}

// period returns the counts of the budget's period, less what was given back.
func (it *item) period(tick time.Time) slo.Count {
	s := &it.status.SLO
	from, _ := s.PeriodAt(tick)
	c := it.count(periodSum)
	if s.Calendar != nil {
		c = it.hours(from, tick.Add(time.Hour))
	}
	for _, a := range it.of.adjustments {
		begin, end := a.From, a.To
		if begin.Before(from) {
			begin = from
		}
		if begin.Before(end) {
			c.Bad -= int64(math.Round(a.GiveBack * float64(it.hours(begin, end).Bad)))
		}
	}
	c.Bad = max(0, c.Bad)
	return c
}

// hours returns the counts of whole hours in [from, to), as far as they are held.
func (it *item) hours(from, to time.Time) slo.Count {
	list := make([]slo.Count, len(it.parts))
	for k, s := range it.parts {
		list[k] = s.hoursBetween(from, to)
	}
	if len(list) == 1 {
		return list[0]
	}
	return it.status.SLO.Combine(list)
}

// judge decides at a tick and returns the change, if there is one.
func (it *item) judge(tick time.Time) (Transition, bool) {
	st := &it.status
	before := *st
	st.Period, st.Hour = it.period(tick), it.count(hourSum)
	severity := it.severity(tick)
	st.Severity = severity
	if severity != before.Severity {
		st.Reason = st.SLO.Decide(st.Window, st.Long, st.Short).Reason
		if m, ok := it.of.maintained(tick); ok {
			st.Reason = m.Describe()
		}
	}
	switch {
	case severity == alert.None && before.State != alert.Firing:
		return Transition{}, false
	case severity == alert.None:
		st.State, st.ID, st.Since, st.Usual = alert.Resolved, "", time.Time{}, slo.Count{}
		t := Transition{At: tick, From: before.State, FromSever: before.Severity, Status: *st, ResolvedID: before.ID, Since: before.Since}
		if tick.Sub(before.Since) <= minuteReach {
			t.Total = it.between(before.Since, tick.Add(time.Minute))
		}
		return t, true
	case before.State == alert.Firing:
		st.State = alert.Firing
		return Transition{At: tick, From: before.State, FromSever: before.Severity, Status: *st}, severity != before.Severity
	}
	st.State = alert.Firing
	it.begin()
	return Transition{At: tick, From: alert.Inactive, FromSever: before.Severity, Status: *st}, true
}

// begin sets the onset of an incident and what goes with it.
func (it *item) begin() {
	st := &it.status
	worst := it.worst(st.Window)
	st.Since = it.parts[worst].onset(st.Window.Factor*st.SLO.Budget(), fineReach, st.Window.Short)
	st.ID = alert.ID(st.Series(), st.Since)
	st.Usual = it.between(st.Since.Add(-usualSpan), st.Since)
	if st.Feed = st.SLO.Feeds()[worst]; len(st.SLO.Parts) > 0 {
		st.SLO.SLI = st.Feed.SLI // what is looked at to explain it
	}
}

// worst returns the part of a composite that burns most over a pair's long window.
func (it *item) worst(w slo.AlertWindow) int {
	worst, most := 0, -1.0
	for k, pair := range it.status.SLO.Windows {
		if pair != w {
			continue
		}
		for i, s := range it.parts {
			if len(it.parts) > 1 {
				if burn := s.sum(pairSums+2*k).Ratio() * it.status.SLO.Parts[i].Weight; burn > most {
					worst, most = i, burn
				}
			}
		}
	}
	return worst
}

// severity judges all pairs of windows at a tick.
func (it *item) severity(tick time.Time) alert.Severity {
	st := &it.status
	_, maintained := it.of.maintained(tick)
	severity := alert.None
	for k, w := range st.SLO.Windows {
		long, short := it.count(pairSums+2*k), it.count(pairSums+2*k+1)
		h := &it.held[k]
		burns := !maintained && st.SLO.Fires(w, long, short)
		switch {
		case !burns:
			h.since = time.Time{}
		case h.since.IsZero():
			h.since = tick
		}
		fires := burns && tick.Sub(h.since) >= w.For
		if fires {
			h.last = tick
		}
		fires = fires || !maintained && !h.last.IsZero() && tick.Sub(h.last) <= st.SLO.KeepFiring
		if k == 0 || fires && w.Severity > severity {
			st.Window, st.Long, st.Short = w, long, short
		}
		if fires {
			severity = max(severity, w.Severity)
		}
	}
	return severity
}

// A Kept is what a Checkpoint keeps of one series that is not at rest.
type Kept struct {
	SLO      string      `json:"slo"`
	Group    string      `json:"group,omitempty"`
	Severity string      `json:"severity"`
	Since    time.Time   `json:"since"`
	ID       string      `json:"id,omitempty"`
	Burning  []time.Time `json:"burning"` // since when, by pair
	Last     []time.Time `json:"last"`    // when it last held the alert, by pair
}

// A Checkpoint is all that an evaluator remembers beyond the counts.
type Checkpoint struct {
	Tick   time.Time           `json:"tick"`
	Kept   []Kept              `json:"kept"`
	Groups map[string][]string `json:"groups"` // that are judged each, by objective
}

// Checkpoint returns what Resume needs.
func (e *Evaluator) Checkpoint() Checkpoint {
	c := Checkpoint{Tick: e.tick, Groups: map[string][]string{}}
	for _, j := range e.objectives {
		if j.slo.Group != slo.Whole {
			c.Groups[j.slo.Name] = j.groups()
		}
		for _, it := range j.items {
			if k, ok := it.kept(e.tick); ok {
				c.Kept = append(c.Kept, k)
			}
		}
	}
	return c
}

func (it *item) kept(tick time.Time) (Kept, bool) {
	st := &it.status
	k := Kept{SLO: st.SLO.Name, Group: st.Group, Severity: st.Severity.String(), Since: st.Since, ID: st.ID}
	busy := st.State == alert.Firing
	for _, h := range it.held {
		k.Burning, k.Last = append(k.Burning, h.since), append(k.Last, h.last)
		busy = busy || !h.since.IsZero() || !h.last.IsZero() && tick.Sub(h.last) <= st.SLO.KeepFiring
	}
	return k, busy
}

// Admit makes room for groups as a checkpoint has them; it comes before Set.
func (e *Evaluator) Admit(c Checkpoint) {
	for _, k := range c.Kept {
		if j, ok := e.names[k.SLO]; ok && j.slo.Group != slo.Whole && k.Group != "" && j.byGroup[k.Group] == nil {
			j.add(k.Group, e.tick)
		}
	}
	for name, groups := range c.Groups {
		j, ok := e.names[name]
		if !ok || j.slo.Group == slo.Whole {
			continue
		}
		for _, g := range groups {
			if j.byGroup[g] == nil && len(j.groups()) < j.slo.MaxGroups {
				j.add(g, e.tick)
			}
		}
	}
}

// Resume takes over what a checkpoint remembers; the past has been Set before.
// It returns what is about objectives that are no longer there.
func (e *Evaluator) Resume(c Checkpoint) (gone []Kept) {
	for _, k := range c.Kept {
		j, ok := e.names[k.SLO]
		if !ok || j.byGroup[k.Group] == nil {
			gone = append(gone, k)
			continue
		}
		it := j.byGroup[k.Group]
		if len(k.Burning) == len(it.held) && len(k.Last) == len(it.held) {
			for i := range it.held {
				it.held[i] = pairState{k.Burning[i].UTC(), k.Last[i].UTC()}
			}
		}
		severity, err := alert.ParseSeverity(k.Severity)
		if err != nil || k.ID == "" {
			continue
		}
		st := &it.status
		st.State, st.Severity, st.Since, st.ID = alert.Firing, severity, k.Since.UTC(), k.ID
		st.Usual = it.between(st.Since.Add(-usualSpan), st.Since)
	}
	return gone
}

// Restore sets the state that an earlier evaluation left for a series; it
// reports whether there is one. The past has been Set before.
func (e *Evaluator) Restore(series string, severity alert.Severity, since time.Time, id string) bool {
	for _, j := range e.objectives {
		for _, it := range j.items {
			if st := &it.status; st.Series() == series {
				st.State, st.Severity, st.Since, st.ID = alert.Firing, severity, since, id
				st.Usual = it.between(since.Add(-usualSpan), since)
				return true
			}
		}
	}
	return false
}

func feedKey(f slo.Feed) string { return fmt.Sprintf("%+v", f) }
