package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// signed are the consumers who signed up in the window.
func (c *comparer) signed() map[string]*consumerTruth {
	m := map[string]*consumerTruth{}
	for name, t := range c.o.cons {
		if t.signedUp != 0 && in(t.signedUp, c.from, c.to) {
			m[name] = t
		}
	}
	return m
}

// activated tells who has 12 successes on 2 days up to the end of the fifth day.
func (c *comparer) activated() map[string]bool {
	calls, days := map[string]int{}, map[string]map[time.Time]bool{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		limit := c.o.day(c.o.cons[t.consumer].signedUp + 5*86_400_000_000)
		if t.Class != "none" || c.o.day(t.At).After(limit) {
			continue
		}
		calls[t.consumer]++
		if days[t.consumer] == nil {
			days[t.consumer] = map[time.Time]bool{}
		}
		days[t.consumer][c.o.day(t.At)] = true
	}
	m := map[string]bool{}
	for name := range calls {
		m[name] = calls[name] >= 12 && len(days[name]) >= 2
	}
	return m
}

// moment is what JSON holds for a moment that may never have come.
func moment(us int64) any {
	if us == 0 {
		return nil
	}
	return time.UnixMicro(us)
}

func (c *comparer) signUps(ctx context.Context) error {
	tables, err := c.ask(ctx, "signups")
	if err != nil {
		return err
	}
	activated := c.activated()
	rows(c, "sign-up of", index(tables["consumers"], "consumer"), c.signed(), func(name string, got row, want *consumerTruth) {
		c.equal(name+" at", got["signed_up_at"], time.UnixMicro(want.signedUp))
		c.equal(name+" first call", got["first_call"], moment(want.firstCall))
		c.equal(name+" first success", got["first_success"], moment(want.firstSuccess))
		if want.firstSuccess != 0 {
			c.equal(name+" took", got["seconds_to_success"], math.Max(0, float64(want.firstSuccess-want.signedUp)/1e6))
		}
		c.equal(name+" activated", got["activated"], activated[name[len("sign-up of "):]])
	})
	return nil
}

// A cohortTruth is the sign-ups of a week.
type cohortTruth struct {
	signUps, called, succeeded, activated int
	took                                  []float64
}

func (c *comparer) cohorts(ctx context.Context) error {
	tables, err := c.ask(ctx, "first-call")
	if err != nil {
		return err
	}
	activated := c.activated()
	want := map[string]*cohortTruth{}
	buckets := map[string]int{}
	for name, t := range c.signed() {
		week := c.o.monday(t.signedUp).Format(time.RFC3339)
		if want[week] == nil {
			want[week] = &cohortTruth{}
		}
		w := want[week]
		w.signUps++
		if activated[name] {
			w.activated++
		}
		bucket := "not yet: no call"
		if t.firstCall != 0 {
			w.called++
			bucket = "not yet: its calls fail"
		}
		if t.firstSuccess != 0 {
			w.succeeded++
			s := math.Max(0, float64(t.firstSuccess-t.signedUp)/1e6)
			w.took = append(w.took, s)
			bucket = bucketOf(s)
		}
		buckets[bucket]++
	}
	rows(c, "cohort", index(tables["cohorts"], "cohort"), want, func(name string, got row, want *cohortTruth) {
		c.equal(name+" sign-ups", got["sign_ups"], want.signUps)
		c.equal(name+" called", got["called"], want.called)
		c.equal(name+" succeeded", got["succeeded"], want.succeeded)
		c.equal(name+" stuck", got["stuck"], want.called-want.succeeded)
		c.equal(name+" activated", got["activated"], want.activated)
		slices.Sort(want.took)
		if n := len(want.took); n > 0 {
			c.equal(name+" median", got["p50_s"], want.took[n/2])
			c.equal(name+" p90", got["p90_s"], want.took[min(n-1, int(0.9*float64(n)))])
		}
	})
	for _, r := range tables["distribution"] {
		c.equal(fmt.Sprintf("first success within %v", r["within"]), r["consumers"], buckets[fmt.Sprint(r["within"])])
	}
	return nil
}

func bucketOf(seconds float64) string {
	for _, b := range []struct {
		name string
		s    float64
	}{{"1 minute", 60}, {"5 minutes", 300}, {"1 hour", 3600}, {"1 day", 86400}, {"7 days", 604800}} {
		if seconds <= b.s {
			return b.name
		}
	}
	return "later"
}

// days returns on which days each consumer had success.
func (c *comparer) days() map[string]map[time.Time]bool {
	m := map[string]map[time.Time]bool{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		if t.Class != "none" {
			continue
		}
		if m[t.consumer] == nil {
			m[t.consumer] = map[time.Time]bool{}
		}
		m[t.consumer][c.o.day(t.At)] = true
	}
	return m
}

func (c *comparer) retention(ctx context.Context) error {
	tables, err := c.ask(ctx, "retention")
	if err != nil {
		return err
	}
	type cell struct{ size, known, kept int }
	days := c.days()
	last := c.o.day(c.to.UnixMicro())
	want := map[string]*cell{}
	for name, t := range c.signed() {
		for _, n := range []int{1, 7, 30} {
			key := c.o.monday(t.signedUp).Format(time.RFC3339) + fmt.Sprintf(" | %d", n)
			if want[key] == nil {
				want[key] = &cell{}
			}
			want[key].size++
			if day := c.o.day(t.signedUp).AddDate(0, 0, n); day.Before(last) {
				want[key].known++
				if days[name][day] {
					want[key].kept++
				}
			}
		}
	}
	rows(c, "retention", index(tables["retention"], "cohort", "day"), want, func(name string, got row, want *cell) {
		c.equal(name+" size", got["size"], want.size)
		c.equal(name+" known", got["known"], want.known)
		c.equal(name+" kept", got["kept"], want.kept)
	})
	repeated := 0
	for _, d := range days {
		if len(d) > 1 {
			repeated++
		}
	}
	c.equal("active in the window", tables["repeat"][0]["active"], len(days))
	c.equal("repeated", tables["repeat"][0]["repeated"], repeated)
	return nil
}

func (c *comparer) active(ctx context.Context) error {
	tables, err := c.ask(ctx, "retention")
	if err != nil {
		return err
	}
	type truth struct {
		dau, wau, mau int
		keys          map[int]bool
		calls         int64
	}
	want := map[string]*truth{}
	for day := c.o.day(c.from.UnixMicro()); !day.After(c.o.day(c.to.UnixMicro() - 1)); day = day.AddDate(0, 0, 1) {
		t := &truth{keys: map[int]bool{}}
		want[day.Format(time.RFC3339)] = t
		for _, days := range c.days() {
			for n := range 30 {
				if !days[day.AddDate(0, 0, -n)] {
					continue
				}
				t.mau++
				if n < 7 {
					t.wau++
				}
				if n == 0 {
					t.dau++
				}
				break
			}
		}
	}
	for i := range c.o.calls {
		if t := &c.o.calls[i]; t.Class == "none" {
			w := want[c.o.day(t.At).Format(time.RFC3339)]
			w.keys[t.Key] = true
			w.calls++
		}
	}
	rows(c, "active on", index(tables["active"], "day"), want, func(name string, got row, want *truth) {
		c.equal(name+" day", got["active_day"], want.dau)
		c.equal(name+" week", got["active_7_days"], want.wau)
		c.equal(name+" month", got["active_30_days"], want.mau)
		c.equal(name+" keys", got["active_keys"], len(want.keys))
		c.equal(name+" calls", got["successful_calls"], want.calls)
	})
	return nil
}

// blockers returns which share of the labelled consumers has the right one.
func (c *comparer) blockers(ctx context.Context) (float64, int, error) {
	tables, err := c.ask(ctx, "blockers")
	if err != nil {
		return 0, 0, err
	}
	got := index(tables["consumers"], "consumer")
	right, n := 0, 0
	for _, name := range list(c.e.traffic.Stuck) {
		label := c.e.traffic.Stuck[name]
		if c.o.name(name) != name || c.o.cons[name].firstSuccess != 0 {
			continue
		}
		n++
		r := got[name]
		if r["error_class"] == label.Class && r["service"] == label.Service && r["operation"] == label.Method+" "+label.Route {
			right++
		} else {
			fmt.Printf("  %s is kept by %v, not by %v %v\n", name, label, r["error_class"], r["operation"])
		}
	}
	stuck := 0
	for _, t := range c.signed() {
		if t.firstCall != 0 && t.firstSuccess == 0 {
			stuck++
		}
	}
	c.equal("stuck consumers", float64(len(got)), stuck)
	return float64(right) / float64(max(1, n)), n, nil
}
