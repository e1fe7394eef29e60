package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/rollup"
)

// tables is a store of derived tables that remembers what was computed.
type tables struct {
	complete time.Time
	began    time.Time
	touched  []time.Time
	since    []time.Time
	reached  map[string]Reached
	derived  []string
	fail     int // computations that work before one fails; 0: none fails
}

func (s *tables) Derive(_ context.Context, name string, from, to time.Time) error {
	if s.fail > 0 {
		if s.fail--; s.fail == 0 {
			return errors.New("out of memory")
		}
	}
	s.derived = append(s.derived, fmt.Sprintf("%s %s-%s", name, from.Format("02T15:04"), to.Format("02T15:04")))
	return nil
}

func (s *tables) Touched(_ context.Context, _ string, since, _, before time.Time, _ rollup.Grain) ([]time.Time, error) {
	s.since = append(s.since, since)
	var list []time.Time
	for _, t := range s.touched {
		if t.Before(before) {
			list = append(list, t)
		}
	}
	return list, nil
}

func (s *tables) Began(context.Context, []string) (time.Time, bool, error) {
	return s.began, !s.began.IsZero(), nil
}

func (s *tables) Reached(_ context.Context, name string) (Reached, error) {
	return s.reached[name], nil
}

func (s *tables) SetReached(_ context.Context, name string, r Reached) error {
	s.reached[name] = r
	return nil
}

func (s *tables) Watermarks(context.Context) ([]rollup.Watermark, error) {
	if s.complete.IsZero() {
		return nil, nil
	}
	return []rollup.Watermark{{Topic: "a", CompleteUntil: s.complete.Add(time.Hour)}, {Topic: "b", CompleteUntil: s.complete}}, nil
}

var perMinute = []Derivation{{Name: "t", Grain: rollup.Grain1m, Chunk: time.Hour, Sources: []string{"access_log"}}}

func (s *tables) windows(now time.Time) *Windows {
	return &Windows{Store: s, Derivations: perMinute, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Keep: map[string]time.Duration{"access_log": 24 * time.Hour}}
}

func (s *tables) want(t *testing.T, step string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.derived); diff != "" {
		t.Errorf("%s (-want +got):\n%s", step, diff)
	}
	s.derived = nil
}

func TestWindows(t *testing.T) {
	s := &tables{reached: map[string]Reached{}}
	now := noon.Add(3 * time.Hour)
	step := func() {
		t.Helper()
		if err := s.windows(now).Step(t.Context()); err != nil { // each time as after a restart
			t.Fatal(err)
		}
	}
	step()
	s.want(t, "nothing is known to be complete")
	s.complete = noon.Add(90*time.Minute + 30*time.Second)
	step()
	s.want(t, "no rows")
	s.began = noon.Add(20*time.Minute + 5*time.Second)
	step()
	s.want(t, "from the first row on, as far as the slowest topic is complete", "t 01T12:20-01T13:00", "t 01T13:00-01T13:30")
	step()
	s.want(t, "nothing new")
	s.complete = noon.Add(92*time.Minute + 4*time.Second) // less than the grace after the minute
	step()
	s.want(t, "a minute more", "t 01T13:30-01T13:31")
	s.touched = []time.Time{noon.Add(70 * time.Minute), noon.Add(40 * time.Minute), noon.Add(70 * time.Minute), noon.Add(91 * time.Minute)}
	step()
	s.want(t, "the windows that late rows touch, once", "t 01T12:40-01T12:41", "t 01T13:10-01T13:11")
	if last := s.since[len(s.since)-1]; !last.Equal(now.Add(-ledgerOverlap)) {
		t.Errorf("the ledger is read from %s on, want %s before the last look", last, ledgerOverlap)
	}
}

func TestRuns(t *testing.T) {
	at := func(minutes ...int) (list []time.Time) {
		for _, m := range minutes {
			list = append(list, noon.Add(time.Duration(m)*time.Minute))
		}
		return list
	}
	want := []rollup.Window{{Start: noon, Width: 8 * time.Minute}, {Start: noon.Add(14 * time.Minute), Width: time.Minute}}
	if diff := cmp.Diff(want, perMinute[0].runs(at(14, 0, 7, 1, 0))); diff != "" {
		t.Error(diff)
	}
	if got := perMinute[0].runs(nil); got != nil {
		t.Errorf("%v of nothing", got)
	}
}

// What was computed before a failure is not computed again.
func TestWindowsGoOnAfterFailure(t *testing.T) {
	s := &tables{reached: map[string]Reached{}, complete: noon.Add(3*time.Hour + time.Minute), began: noon, fail: 2}
	w := s.windows(noon.Add(4 * time.Hour))
	if err := w.Step(t.Context()); err == nil {
		t.Error("a failure is not told")
	}
	s.want(t, "until the failure", "t 01T12:00-01T13:00")
	if err := w.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, "from there on", "t 01T13:00-01T14:00", "t 01T14:00-01T15:00")
}

// Rows that are past their retention, and more of the past than a table wants, are left out.
func TestWindowsBegin(t *testing.T) {
	s := &tables{reached: map[string]Reached{}, complete: noon.Add(30 * time.Minute), began: noon.Add(-1000 * time.Hour)}
	w := s.windows(noon)
	w.Derivations = []Derivation{{Name: "t", Grain: rollup.Grain1h, Chunk: 24 * time.Hour, Back: 2 * time.Hour, Sources: []string{"access_log"}}}
	if err := w.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want(t, "two hours back", "t 01T10:00-01T12:00")
	if err := s.windows(noon).Recompute(t.Context(), noon.Add(-30*time.Hour), noon.Add(time.Hour), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	s.want(t, "again: only what is kept and was computed", "t 28T12:00-28T13:00", "t 28T13:00-28T14:00", "t 28T14:00-28T15:00", "t 28T15:00-28T16:00", "t 28T16:00-28T17:00", "t 28T17:00-28T18:00", "t 28T18:00-28T19:00", "t 28T19:00-28T20:00", "t 28T20:00-28T21:00", "t 28T21:00-28T22:00", "t 28T22:00-28T23:00", "t 28T23:00-01T00:00", "t 01T00:00-01T01:00", "t 01T01:00-01T02:00", "t 01T02:00-01T03:00", "t 01T03:00-01T04:00", "t 01T04:00-01T05:00", "t 01T05:00-01T06:00", "t 01T06:00-01T07:00", "t 01T07:00-01T08:00", "t 01T08:00-01T09:00", "t 01T09:00-01T10:00", "t 01T10:00-01T11:00", "t 01T11:00-01T12:00")
}

func TestReader(t *testing.T) {
	kept := &readings{}
	r := &Reader{
		Gateways: []Gateway{{Node: "gw-1"}, {Node: "gw-2"}}, Counters: kept, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler),
		Read: func(_ context.Context, g Gateway) (int64, error) {
			if g.Node == "gw-2" {
				return 0, errors.New("refused")
			}
			return 7, nil
		},
	}
	if err := r.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []Counter{{Time: noon, Node: "gw-1", Requests: 7}, {Time: noon, Node: "gw-2", Error: "refused"}}
	if diff := cmp.Diff(want, kept.list); diff != "" {
		t.Error(diff)
	}
}

type readings struct{ list []Counter }

func (r *readings) InsertCounters(_ context.Context, list []Counter) error {
	r.list = append(r.list, list...)
	return nil
}
