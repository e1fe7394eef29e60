package evaluate

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
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

// killed is what a process that is killed leaves by, at any call it makes.
type killed struct{}

// A fuse kills its process after some calls; 0 is never.
type fuse struct{ left int }

func (f *fuse) burn() {
	if f.left > 0 {
		if f.left--; f.left == 0 {
			panic(killed{})
		}
	}
}

// journal is the table of events: the same recorded twice is there once.
type journal struct {
	*store
	fuse *fuse
}

func (j journal) Record(ctx context.Context, events []Event) error {
	j.fuse.burn()
	defer j.fuse.burn() // killed after the write, before it is known
	for _, e := range events {
		i := slices.IndexFunc(j.events, func(o Event) bool { return o.Key() == e.Key() })
		switch {
		case i < 0:
			if err := j.store.Record(ctx, []Event{e}); err != nil {
				return err
			}
		case j.events[i].SentAt.IsZero():
			j.events[i] = e
		}
	}
	return nil
}

func (j journal) Keep(ctx context.Context, c Checkpoint) error {
	j.fuse.burn()
	return j.store.Keep(ctx, c)
}

func (j journal) Counts(ctx context.Context, f []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	j.fuse.burn()
	return j.store.Counts(ctx, f, g, from, to)
}

// post is an Alertmanager that takes a post before its sender may be killed.
type post struct {
	*receiver
	fuse *fuse
	sent map[string]time.Time // the beginning of each alert, as it was sent
}

func (p post) Send(ctx context.Context, alerts []Alert) error {
	p.fuse.burn()
	defer p.fuse.burn()
	for _, a := range alerts {
		p.sent[a.Annotations["alert_id"]+a.Labels["severity"]] = a.StartsAt
	}
	return p.receiver.Send(ctx, alerts)
}

// instance is one gatewatch-alert.
type instance struct {
	t    *testing.T
	w    *world
	fuse *fuse
	post post
	loop *Loop
}

// start begins a process; what an earlier one knew is gone.
func (in *instance) start() {
	in.t.Helper()
	books, err := runbook.Load(os.DirFS("../../runbooks"))
	if err != nil {
		in.t.Fatal(err)
	}
	c := DefaultConfig()
	c.DefaultOwner = "platform"
	in.fuse.left = 0
	j := journal{in.w.store, in.fuse}
	in.loop = New(c, Deps{
		Query: j, Journal: j, Send: in.post, Set: set(in.w.slos...), Owners: new(owner.Catalog), Runbooks: books,
		Topics: []string{"logs"}, Now: func() time.Time { return in.w.now }, Elapsed: func() time.Duration { return in.w.now.Sub(start) },
	}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// round runs a round and reports whether the process was killed in it.
func (in *instance) round() (dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			dead = true
		}
	}()
	if err := in.loop.round(in.t.Context()); err != nil {
		in.t.Fatal(err)
	}
	return false
}

// incidentsOfADay is a service with 20 incidents in a day.
func incidentsOfADay(begin time.Time) func(time.Time) slo.Count {
	r := rand.New(rand.NewPCG(20, 10))
	type failure struct {
		from, to time.Time
		share    float64
	}
	var list []failure
	for i := range 20 {
		from := begin.Add(time.Duration(i)*72*time.Minute + time.Duration(r.IntN(300))*10*time.Second/10).Truncate(10 * time.Second)
		list = append(list, failure{from, from.Add(time.Duration(3+r.IntN(25)) * time.Minute), []float64{0.02, 0.06, 0.2, 0.7}[r.IntN(4)]})
	}
	return func(at time.Time) slo.Count {
		c := slo.Count{Valid: 100}
		for _, f := range list {
			if !at.Before(f.from) && at.Before(f.to) {
				c.Bad = int64(f.share * 100)
			}
		}
		return c
	}
}

// changesOf returns the changes of a journal, in order.
func changesOf(events []Event, begin time.Time) []turn {
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	var list []turn
	for _, e := range events {
		list = append(list, turn{e.At.Sub(begin), e.From, e.Status.State, e.Status.Severity})
	}
	return list
}

// TestDay runs 24 hours with 20 incidents: one instance that is killed ten times
// at random calls, in the middle of a post or a record too, one that is not, both
// side by side, and a backtest. All come to the same changes, and people are told
// of each once.
func TestDay(t *testing.T) {
	begin := start.Add(40*24*time.Hour + 9*time.Hour)
	at := incidentsOfADay(begin)
	run := func(instances, kills int) (*world, []notified, map[string]time.Time) {
		w := &world{t: t, now: begin.Add(-time.Hour), slos: []slo.SLO{objective("a")}, store: &store{memory: memory{at}, mark: rollup.Watermark{Topic: "logs", CaughtUp: true}}}
		w.slos[0].KeepFiring = 2 * time.Minute
		recv := &receiver{now: func() time.Time { return w.now }, active: map[string]Alert{}}
		var all []*instance
		sent := map[string]time.Time{}
		for range instances {
			f := &fuse{}
			in := &instance{t: t, w: w, fuse: f, post: post{recv, f, sent}}
			in.start()
			all = append(all, in)
		}
		r := rand.New(rand.NewPCG(uint64(instances), uint64(kills)))
		dead, down := 0, map[int]int{}
		for w.now.Before(begin.Add(24 * time.Hour)) {
			w.now = w.now.Add(10 * time.Second)
			w.store.mark.CompleteUntil, w.store.mark.MeasuredAt = w.now, w.now
			for i, in := range all {
				if down[i] > 0 { // for some ticks
					if down[i]--; down[i] == 0 {
						in.start()
					}
					continue
				}
				if i == 0 && dead < kills && r.IntN(24*360/(kills+1)) == 0 {
					in.fuse.left = 1 + r.IntN(12)
				}
				if in.round() {
					dead++
					down[i] = 1 + r.IntN(6)
				}
			}
			recv.expire()
		}
		if dead < kills {
			t.Errorf("%d kills instead of %d", dead, kills)
		}
		return w, recv.told, sent
	}
	calm, told, sentB := run(1, 0)
	past := backtest(t, calm.store.memory, set(calm.slos...), begin.Add(-time.Hour+10*time.Second), begin.Add(24*time.Hour-10*time.Second))
	want := changesOf(slices.Clone(calm.store.events), begin)
	if pages := len(slices.DeleteFunc(slices.Clone(told), func(n notified) bool { return !n.Firing || n.Severity != "page" })); pages < 8 {
		t.Fatalf("only %d pages: the test says little", pages)
	}
	if diff := cmp.Diff(want, changes(past, begin)); diff != "" {
		t.Errorf("live against backtest (-live +backtest):\n%s", diff)
	}
	for _, c := range []struct{ instances, kills int }{{1, 10}, {2, 10}} {
		name := fmt.Sprintf("%d instances, %d kills", c.instances, c.kills)
		w, gotTold, sentA := run(c.instances, c.kills)
		if diff := cmp.Diff(changesOf(w.store.events, begin), want); diff != "" {
			t.Errorf("%s: changes (-got +want):\n%s", name, diff)
		}
		if diff := cmp.Diff(gotTold, told); diff != "" {
			t.Errorf("%s: people were told (-got +want):\n%s", name, diff)
		}
		if !maps.Equal(sentA, sentB) {
			t.Errorf("%s: other alerts were sent", name)
		}
	}
	if want[0].To != alert.Firing {
		t.Errorf("the first change is %+v", want[0])
	}
}
