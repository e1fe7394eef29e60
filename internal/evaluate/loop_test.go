package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/alert"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
)

// store is a ClickHouse in memory: what is complete can be read, and what is
// recorded stays.
type store struct {
	memory
	mark   rollup.Watermark
	events []Event
	kept   []byte // the last checkpoint
	fail   error  // of every call
	record error  // of Record alone

	change  func() Change
	looked  func() Evidence // what Evidence returns; nil: little
	signals func(time.Time) Readings
	reads   []time.Time // from where counts were read
}

func (s *store) Changed(context.Context, []string, time.Time) (Change, error) {
	if s.change != nil {
		return s.change(), s.fail
	}
	to := s.mark.CompleteUntil
	return Change{From: to.Add(-time.Minute), To: to, Seen: to}, s.fail
}

func (s *store) Signals(_ context.Context, at time.Time) (Readings, error) {
	if s.signals != nil {
		return s.signals(at), s.fail
	}
	return Readings{At: at}, s.fail
}

func (s *store) Recorded(_ context.Context, after time.Time) (map[string]bool, error) {
	keys := map[string]bool{}
	for _, e := range s.events {
		if e.At.After(after) {
			keys[e.Key()] = true
		}
	}
	return keys, s.fail
}

func (s *store) Keep(_ context.Context, c Checkpoint) error {
	if err := errors.Join(s.fail, s.record); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	s.kept = b
	return err
}

func (s *store) RecordDelivered(context.Context, time.Time, []Delivered) error { return s.fail }

func (s *store) Kept(context.Context) (c Checkpoint, found bool, err error) {
	if s.kept != nil {
		err = json.Unmarshal(s.kept, &c)
	}
	return c, s.kept != nil, errors.Join(err, s.fail)
}

func (s *store) Watermarks(context.Context) ([]rollup.Watermark, error) {
	return []rollup.Watermark{s.mark}, s.fail
}

func (s *store) Counts(ctx context.Context, o []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	s.reads = append(s.reads, from)
	if to.After(s.mark.CompleteUntil) {
		return nil, errors.New("asked for what is not complete")
	}
	list, err := s.memory.Counts(ctx, o, g, from, to)
	return list, errors.Join(err, s.fail)
}

func (s *store) Evidence(_ context.Context, _ slo.Feed, _ string, onset, to time.Time) (Evidence, error) {
	if s.looked != nil {
		return s.looked(), s.fail
	}
	return Evidence{Now: slo.Count{Valid: 1000, Bad: 200}, From: onset, To: to}, s.fail
}

func (s *store) Firing(context.Context) ([]Restored, error) {
	last := map[string]Event{}
	for _, e := range s.events {
		last[e.Status.Series()] = e
	}
	var list []Restored
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if e := last[name]; e.Status.State == alert.Firing {
			since, err := time.Parse(time.RFC3339, e.Annotations["since"])
			if err != nil {
				return nil, err
			}
			list = append(list, Restored{e.Status.SLO.Name, e.Status.Group, e.AlertID, e.Status.Severity, since, e.Labels, e.Annotations, !e.SentAt.IsZero(), e.At})
		}
	}
	return list, s.fail
}

func (s *store) Record(_ context.Context, events []Event) error {
	if err := errors.Join(s.fail, s.record); err != nil {
		return err
	}
	s.events = append(s.events, events...)
	return nil
}

// notified is what the people behind a receiver are told.
type notified struct {
	Severity string
	Firing   bool
	Page     string // its first word
}

// receiver is an Alertmanager: it tells people when an alert of some labels
// begins and when it ends.
type receiver struct {
	now    func() time.Time
	fail   error
	active map[string]Alert
	told   []notified
}

func (r *receiver) Send(_ context.Context, alerts []Alert) error {
	if r.fail != nil {
		return r.fail
	}
	for _, a := range alerts {
		var id strings.Builder
		for _, k := range slices.Sorted(maps.Keys(a.Labels)) {
			id.WriteString(k + "=" + a.Labels[k] + ",")
		}
		_, known := r.active[id.String()]
		firing := a.EndsAt.IsZero()
		a.EndsAt = r.now().Add(5 * time.Minute) // resolve_timeout
		if a.Labels["alertname"] == "GatewatchAlive" {
			r.active[id.String()] = a
			continue
		}
		word, _, _ := strings.Cut(a.Annotations["page"], " ")
		switch {
		case firing:
			r.active[id.String()] = a
		case known:
			delete(r.active, id.String())
		}
		if firing != known {
			r.told = append(r.told, notified{a.Labels["severity"], firing, word})
		}
	}
	return nil
}

// expire ends what has not been posted again in time, as Alertmanager does.
func (r *receiver) expire() {
	for k, a := range r.active {
		if a.EndsAt.Before(r.now()) {
			if delete(r.active, k); a.Labels["alertname"] == "GatewatchAlive" {
				continue
			}
			r.told = append(r.told, notified{a.Labels["severity"], false, "expired"})
		}
	}
}

// world is a store, a receiver and a clock, with a loop that can be killed.
type world struct {
	t      *testing.T
	now    time.Time
	store  *store
	recv   *receiver
	slos   []slo.SLO
	loop   *Loop
	wall   time.Duration // by which our clock is wrong
	config Config
}

func newWorld(t *testing.T, now time.Time, at func(time.Time) slo.Count) *world {
	w := &world{t: t, now: now, slos: []slo.SLO{objective("a")}}
	w.config = DefaultConfig()
	w.config.DefaultOwner = "platform"
	w.store = &store{memory: memory{at}, mark: rollup.Watermark{Topic: "logs", CaughtUp: true}}
	w.recv = &receiver{now: func() time.Time { return w.now }, active: map[string]Alert{}}
	w.restart()
	return w
}

// restart kills the loop and starts a new one.
func (w *world) restart() {
	w.t.Helper()
	books, err := runbook.Load(os.DirFS("../../runbooks"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.loop = New(w.config, Deps{
		Query: w.store, Journal: w.store, Send: w.recv, Set: set(w.slos...), Owners: new(owner.Catalog), Runbooks: books,
		Topics: []string{"logs"}, Now: func() time.Time { return w.now.Add(w.wall) }, Elapsed: func() time.Duration { return w.now.Sub(start) },
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// step moves the clock and data by d and runs a round.
func (w *world) step(d time.Duration) error {
	w.now = w.now.Add(d)
	w.store.mark.CompleteUntil, w.store.mark.MeasuredAt = w.now, w.now
	err := w.loop.round(w.t.Context())
	w.recv.expire()
	return err
}

func (w *world) run(until time.Time) {
	w.t.Helper()
	for w.now.Before(until) {
		if err := w.step(10 * time.Second); err != nil {
			w.t.Fatalf("%s: %v", w.now, err)
		}
	}
}

// recorded returns the changes in the store, each once.
func (w *world) recorded(begin time.Time) []turn {
	var list []turn
	for _, e := range w.store.events {
		c := turn{e.At.Sub(begin), e.From, e.Status.State, e.Status.Severity}
		if len(list) == 0 || list[len(list)-1] != c {
			list = append(list, c)
		}
	}
	return list
}

var onePage = []notified{{"page", true, "[PAGE]"}, {"page", false, "[RESOLVED]"}}

// TestLoopEqualsBacktest: what a loop did while time went by is what a backtest
// of that time says, and people are told of it once.
func TestLoopEqualsBacktest(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Hour), outage(begin, begin.Add(12*time.Minute), 0.2))
	w.run(begin.Add(time.Hour))
	past := backtest(t, w.store.memory, set(w.slos...), begin.Add(-time.Hour), begin.Add(time.Hour-10*time.Second))
	if len(past) < 2 {
		t.Fatalf("%d changes", len(past))
	}
	if diff := cmp.Diff(w.recorded(begin), changes(past, begin)); diff != "" {
		t.Errorf("live against backtest (-live +backtest):\n%s", diff)
	}
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	for _, e := range w.store.events {
		if e.SentAt.IsZero() || e.SendError != "" {
			t.Errorf("%s is recorded as not sent: %s", e.Status.State, e.SendError)
		}
	}
}

// TestKilled kills the loop at random moments, some of them between a post and
// its record, with the store or the receiver failing. It comes to the same
// changes, and nobody is told twice.
func TestKilled(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	at := outage(begin, begin.Add(12*time.Minute), 0.2)
	calm := newWorld(t, begin.Add(-10*time.Minute), at)
	calm.run(begin.Add(time.Hour))
	r := rand.New(rand.NewPCG(3, 4))
	w := newWorld(t, begin.Add(-10*time.Minute), at)
	for w.now.Before(begin.Add(time.Hour)) {
		switch r.IntN(6) {
		case 0:
			w.store.record = errors.New("broken pipe")
		case 1:
			w.recv.fail = errors.New("connection refused")
		case 2:
			w.store.fail = errors.New("too many connections")
		}
		_ = w.step(10 * time.Second)
		w.store.record, w.recv.fail, w.store.fail = nil, nil, nil
		if r.IntN(3) == 0 {
			w.restart()
		}
		if err := w.step(0); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(w.recorded(begin), calm.recorded(begin)); diff != "" {
		t.Errorf("killed against calm (-killed +calm):\n%s", diff)
	}
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
}

// TestAlertmanagerDown: a page that can't be posted is recorded as such, tried
// again, and recorded as sent when it was.
func TestAlertmanagerDown(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Minute), outage(begin, begin.Add(12*time.Hour), 0.2))
	w.recv.fail = errors.New("connection refused")
	for w.now.Before(begin.Add(time.Hour)) {
		_ = w.step(10 * time.Second)
	}
	if n := len(w.store.events); n != 2 || w.store.events[0].SendError != "connection refused" || !w.store.events[0].SentAt.IsZero() {
		t.Fatalf("recorded %+v", w.store.events)
	}
	// That alerts can't be delivered is known two minutes later, and ends with it.
	if e := w.store.events[1]; e.Status.SLO.Name != "delivery-failing" || e.At.Sub(w.store.events[0].At) > 150*time.Second || !e.SentAt.IsZero() {
		t.Errorf("recorded %+v", e)
	}
	w.recv.fail = nil
	w.run(w.now.Add(10 * time.Second))
	last := w.store.events[len(w.store.events)-1]
	if len(w.store.events) != 3 || last.SendError != "" || !last.SentAt.Equal(w.now) || last.AlertID != w.store.events[0].AlertID {
		t.Errorf("after the repair: %+v", w.store.events)
	}
	if diff := cmp.Diff(w.recv.told, onePage[:1]); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	// It is posted again often enough not to expire.
	w.run(w.now.Add(time.Hour))
	if e := w.store.events[len(w.store.events)-1]; e.Status.SLO.Name != "delivery-failing" || e.Status.State != alert.Resolved {
		t.Errorf("an hour later: %+v", e)
	}
	if diff := cmp.Diff(w.recv.told, onePage[:1]); diff != "" {
		t.Errorf("an hour later people were told (-got +want):\n%s", diff)
	}
}

// TestCatchingUp: until topics have been read to their end, changes are
// recorded and nobody is told; then people are told what still fires.
func TestCatchingUp(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Minute), func(at time.Time) slo.Count {
		if at.Before(begin.Add(2 * time.Hour)) {
			return outage(begin, begin.Add(12*time.Minute), 0.2)(at)
		}
		return outage(begin.Add(2*time.Hour), begin.Add(9*time.Hour), 0.2)(at)
	})
	w.store.mark.CaughtUp = false
	w.run(begin.Add(3 * time.Hour))
	if len(w.recv.told) != 0 {
		t.Errorf("while catching up people were told %v", w.recv.told)
	}
	if len(w.store.events) != 3 || !strings.HasPrefix(w.store.events[0].SendError, "catching up") {
		t.Errorf("recorded %+v", w.store.events)
	}
	w.store.mark.CaughtUp = true
	w.run(w.now.Add(time.Minute))
	if diff := cmp.Diff(w.recv.told, onePage[:1]); diff != "" {
		t.Errorf("after it people were told (-got +want):\n%s", diff)
	}
}

// TestBlind: data that stays incomplete for ten minutes pages, once, and ends.
func TestBlind(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin, outage(begin, begin, 0))
	w.run(begin.Add(time.Hour))
	stop := w.now
	for i := range 12 * 6 {
		w.now = stop.Add(time.Duration(i) * 10 * time.Second)
		if err := w.loop.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 10*6-1 && len(w.recv.told) != 0 {
			t.Errorf("before ten minutes people were told %v", w.recv.told)
		}
	}
	w.restart()
	if err := w.loop.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.run(w.now.Add(time.Minute))
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	first := w.store.events[0]
	if first.Labels["alertname"] != "DataIncomplete" || !strings.Contains(first.Annotations["page"], "DO NOW") || !strings.Contains(first.Annotations["runbook"], "data-incomplete") {
		t.Errorf("the alert: %v\n%s", first.Labels, first.Annotations["page"])
	}
}

// TestRemoved: the alert of an objective that is no longer there ends at the
// next start.
func TestRemoved(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Minute), outage(begin, begin.Add(12*time.Hour), 0.2))
	w.run(begin.Add(time.Hour))
	w.slos = []slo.SLO{objective("b")}
	w.slos[0].MinBad = 1 << 40
	w.restart()
	w.run(w.now.Add(time.Minute))
	if diff := cmp.Diff(w.recv.told, []notified{{"page", true, "[PAGE]"}, {"page", false, "[PAGE]"}}); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	if firing, _ := w.store.Firing(t.Context()); len(firing) != 0 {
		t.Errorf("%+v fires", firing)
	}
}
