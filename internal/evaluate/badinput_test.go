package evaluate

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
	"gatewatch/internal/slo"
)

// TestClockStep: the clock of this machine, or of the one that measures
// completeness, is set by an hour, either way. A page comes as without that, and
// none besides it.
func TestClockStep(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	for name, c := range map[string]struct {
		wall, measured time.Duration
		back           time.Duration // how long until the measuring clock is right again; 0: at once
	}{
		"ours forward":              {wall: time.Hour},
		"ours back":                 {wall: -time.Hour},
		"the measuring one forward": {measured: time.Hour},
		"the measuring one back":    {measured: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, begin.Add(-time.Hour), outage(begin, begin.Add(12*time.Minute), 0.2))
			w.run(begin.Add(-5 * time.Minute))
			// For five minutes before the failure one clock is wrong; then ours stays so.
			for w.now.Before(begin) {
				w.now = w.now.Add(10 * time.Second)
				w.set(c.wall, c.measured)
				_ = w.loop.round(t.Context())
			}
			for w.now.Before(begin.Add(time.Hour)) {
				w.now = w.now.Add(10 * time.Second)
				w.set(c.wall, 0)
				if err := w.loop.round(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
				t.Errorf("people were told (-got +want):\n%s", diff)
			}
			if got := w.recorded(begin); got[0].At != 290*time.Second {
				t.Errorf("the page came %s after the beginning", got[0].At)
			}
		})
	}
}

// set makes the two clocks wrong: the loop's own, and the one that measures.
func (w *world) set(wall, measured time.Duration) {
	w.wall = wall
	w.store.mark.MeasuredAt = w.now.Add(measured)
	w.store.mark.CompleteUntil = w.now.Add(measured)
}

// TestLateRollup: a part of a failure's rows arrives eight minutes late, and once
// more. The page comes when enough is known, and once.
func TestLateRollup(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	arrives := begin.Add(8 * time.Minute)
	var w *world
	at := outage(begin, begin.Add(12*time.Minute), 0.2)
	w = newWorld(t, begin.Add(-time.Hour), func(s time.Time) slo.Count {
		c := at(s)
		if w != nil && w.now.Before(arrives) {
			c.Bad = 0 // the failed requests' rows are not there yet
		}
		return c
	})
	w.store.change = func() Change {
		if w.now.Equal(arrives) || w.now.Equal(arrives.Add(time.Minute)) {
			return Change{From: begin, To: w.now, Seen: w.now}
		}
		return Change{From: w.now.Add(-10 * time.Second), To: w.now, Seen: w.now}
	}
	w.run(begin.Add(2 * time.Hour))
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	if first := w.store.events[0]; first.At.Before(arrives.Add(-20*time.Second)) || first.At.After(arrives.Add(10*time.Second)) || first.Status.Since != begin {
		t.Errorf("raised at %s for %s, want at %s", first.At, first.Status.Since, arrives)
	}
	// What is days late is read together, and not at once.
	w.store.change = func() Change { return Change{From: w.now.Add(-3 * time.Hour), To: w.now, Seen: w.now} }
	w.store.reads = nil
	w.run(w.now.Add(5 * time.Minute))
	deep := 0
	for _, r := range w.store.reads {
		if w.now.Sub(r) > time.Hour {
			deep++
		}
	}
	if deep != 1 {
		t.Errorf("%d of %d reads go back three hours, want 1", deep, len(w.store.reads))
	}
}

// TestStoreDown: ClickHouse is away for 25 minutes, in which a failure begins. It
// says so after ten, as a page, and the failure's page comes when it is back.
func TestStoreDown(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Hour), outage(begin, begin.Add(2*time.Hour), 0.2))
	w.run(begin.Add(-5 * time.Minute))
	w.store.fail = errors.New("connection refused")
	for w.now.Before(begin.Add(20 * time.Minute)) {
		if err := w.step(10 * time.Second); err == nil {
			t.Fatal("no error while the store is away")
		}
		if w.loop.Ready(t.Context()) == nil {
			t.Fatal("ready while the store is away")
		}
	}
	if diff := cmp.Diff(w.recv.told, []notified{{"page", true, "[PAGE]"}}); diff != "" {
		t.Errorf("while the store is away people were told (-got +want):\n%s", diff)
	}
	w.store.fail = nil
	w.run(w.now.Add(5 * time.Minute))
	firing := 0
	for _, a := range w.recv.active {
		if a.Labels["alertname"] == "SLOBurn" {
			firing++
		} else {
			t.Errorf("%s still fires", a.Labels["alertname"])
		}
	}
	if firing != 1 {
		t.Errorf("after it the failure is told %d times", firing)
	}
	// Every tick that could not be judged in time was judged later: the change is where it belongs.
	for _, c := range w.recorded(begin) {
		if c.Severity == alert.Page && c.At == 290*time.Second {
			return
		}
	}
	t.Errorf("changes %+v", w.recorded(begin))
}

// TestNoTraffic: an objective without requests is calm and spends nothing.
func TestNoTraffic(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin, func(time.Time) slo.Count { return slo.Count{} })
	w.run(begin.Add(time.Hour))
	if len(w.store.events) != 0 || len(w.recv.told) != 0 {
		t.Errorf("recorded %+v", w.store.events)
	}
	st := w.loop.eval.Statuses()[0]
	if st.SLO.Remaining(st.Period) != 1 || math.IsNaN(st.SLO.Burn(st.Long)) {
		t.Errorf("status %+v", st)
	}
}

// TestPreview: an objective in preview is recorded and not sent; another is.
func TestPreview(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin.Add(-time.Minute), outage(begin, begin.Add(12*time.Minute), 0.2))
	w.slos = []slo.SLO{objective("a"), objective("b")}
	w.slos[1].Preview = true
	w.restart()
	w.run(begin.Add(time.Hour))
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
	for _, e := range w.store.events {
		if previewed := e.Status.SLO.Name == "b"; previewed != e.SentAt.IsZero() {
			t.Errorf("%s %s: sent at %s", e.Status.SLO.Name, e.Status.State, e.SentAt)
		}
	}
}

// TestDeadMansSwitch: GatewatchAlive fires while all is judged, and ends when data
// has not been complete for some minutes.
func TestDeadMansSwitch(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin, outage(begin, begin, 0))
	w.config.DeadMansSwitch = true
	w.restart()
	w.run(begin.Add(30 * time.Minute))
	alive := func() bool {
		for _, a := range w.recv.active {
			if a.Labels["alertname"] == "GatewatchAlive" {
				return true
			}
		}
		return false
	}
	if !alive() {
		t.Fatal("it does not fire")
	}
	for range 9 * 6 {
		w.now = w.now.Add(10 * time.Second)
		if err := w.loop.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.recv.expire()
	}
	if alive() {
		t.Error("it still fires after nine minutes without data")
	}
}

// TestSignalsLive: what the store knows beyond objectives becomes an alert with an
// owner and a runbook, goes on over a restart, and ends.
func TestSignalsLive(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	w := newWorld(t, begin, outage(begin, begin, 0))
	lost := func(at time.Time) bool {
		return !at.Before(begin.Add(10*time.Minute)) && at.Before(begin.Add(20*time.Minute))
	}
	w.store.signals = func(at time.Time) Readings {
		tr := Traffic{Service: "payments"}
		for i := 75; i > 0; i-- {
			n := int64(300)
			if lost(at.Add(-time.Duration(i) * time.Minute)) {
				n = 2
			}
			tr.Minutes = append(tr.Minutes, n)
		}
		return Readings{At: at, Kinds: []alert.Kind{alert.TrafficLost}, Traffic: []Traffic{tr, {Service: "idle", Minutes: make([]int64, 75)}}}
	}
	w.run(begin.Add(15 * time.Minute))
	if diff := cmp.Diff(w.recv.told, onePage[:1]); diff != "" {
		t.Fatalf("people were told (-got +want):\n%s", diff)
	}
	e := w.store.events[0]
	if e.At != begin.Add(13*time.Minute) || e.Labels["alertname"] != "TrafficLost" || e.Labels["service"] != "payments" || e.Annotations["runbook"] == "" || e.Owner != "platform" {
		t.Errorf("%s: %v %v", e.At.Sub(begin), e.Labels, e.Annotations)
	}
	w.restart()
	w.run(begin.Add(40 * time.Minute))
	if diff := cmp.Diff(w.recv.told, onePage); diff != "" {
		t.Errorf("people were told (-got +want):\n%s", diff)
	}
}
