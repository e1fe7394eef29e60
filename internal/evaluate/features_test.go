package evaluate

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
	"gatewatch/internal/rollup"
	"gatewatch/internal/slo"
)

// grouped is a store whose counts depend on the group.
type grouped map[string]func(time.Time) slo.Count

func (g grouped) Counts(ctx context.Context, feeds []slo.Feed, grain rollup.Grain, from, to time.Time) ([][]Point, error) {
	list := make([][]Point, len(feeds))
	for name, at := range g {
		points, err := memory{at}.Counts(ctx, feeds[:1], grain, from, to)
		if err != nil {
			return nil, err
		}
		for _, p := range points[0] {
			if p.Group = name; p.Valid > 0 {
				for i := range list {
					list[i] = append(list[i], p)
				}
			}
		}
	}
	for i := range list {
		list[i] = sumPoints(sorted(list[i]), grain)
	}
	return list, nil
}

func sorted(points []Point) []Point {
	t := Table{points: points}
	byTime := t.points
	for i := 1; i < len(byTime); i++ {
		for k := i; k > 0 && byTimeAndGroup(byTime[k], byTime[k-1]) < 0; k-- {
			byTime[k], byTime[k-1] = byTime[k-1], byTime[k]
		}
	}
	return byTime
}

// TestGroups: the largest groups are judged each, the rest together, and a group
// that is small does not hide in the whole.
func TestGroups(t *testing.T) {
	begin := start.Add(10 * 24 * time.Hour)
	steady := func(n int64) func(time.Time) slo.Count {
		return func(time.Time) slo.Count { return slo.Count{Valid: n} }
	}
	fails := func(n int64) func(time.Time) slo.Count {
		return func(at time.Time) slo.Count {
			if at.Before(begin) || !at.Before(begin.Add(15*time.Minute)) {
				return slo.Count{Valid: n}
			}
			return slo.Count{Valid: n, Bad: n / 2}
		}
	}
	s := objective("a")
	s.Group, s.MaxGroups, s.Period = slo.ByRoute, 2, 5*24*time.Hour
	g := grouped{"GET /big": steady(2000), "GET /small": fails(20), "GET /tiny": fails(10), "GET /rare": steady(1)}
	var groups []string
	past, err := Backtest(t.Context(), g, Test{Set: set(s), From: begin.Add(-time.Minute), To: begin.Add(time.Hour), Watch: func(e *Evaluator) {
		groups = groups[:0]
		e.Each(func(st *Status) { groups = append(groups, st.Group) })
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(groups, []string{"GET /big", "GET /small", slo.Other}); diff != "" {
		t.Errorf("groups (-got +want):\n%s", diff)
	}
	fired := map[string]bool{}
	for _, n := range Notices(past.Changes) {
		fired[n.Group] = fired[n.Group] || n.Severity == alert.Page
		if n.Onset != begin {
			t.Errorf("onset of %s: %s, want %s", n.Group, n.Onset, begin)
		}
	}
	if diff := cmp.Diff(fired, map[string]bool{"GET /small": true, slo.Other: true}); diff != "" {
		t.Errorf("pages (-got +want):\n%s", diff)
	}
	whole := objective("b")
	whole.Period = s.Period
	past, err = Backtest(t.Context(), memory{func(at time.Time) (c slo.Count) {
		for _, f := range g {
			c.Valid += f(at).Valid
			c.Bad += f(at).Bad
		}
		return c
	}}, Test{Set: set(whole), From: begin.Add(-time.Minute), To: begin.Add(10 * time.Minute)})
	if err != nil || len(past.Changes) != 0 {
		t.Errorf("the whole fires: %+v (%v)", past.Changes, err)
	}
}

// TestMinuteGroups: what is kept by the minute is judged when a minute is over,
// live as in a backtest.
func TestMinuteGroups(t *testing.T) {
	begin := start.Add(10 * 24 * time.Hour)
	s := objective("a")
	s.Group, s.MaxGroups, s.Period = slo.ByConsumer, 5, 5*24*time.Hour
	g := grouped{"shop": outage(begin, begin.Add(15*time.Minute), 0.5)}
	past, err := Backtest(t.Context(), g, Test{Set: set(s), From: begin.Add(-time.Minute), To: begin.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	got := changes(past.Changes, begin)
	if len(got) < 2 || got[0].At%time.Minute != 0 || got[0].At > 3*time.Minute || got[0].Severity != alert.Page {
		t.Errorf("changes %+v", got)
	}
}

// TestMaintenance: in a maintenance nothing fires and nothing is spent, or with
// budget: count it is spent; after it all is as before.
func TestMaintenance(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	m := memory{outage(begin, begin.Add(20*time.Minute), 0.5)}
	plan := slo.Maintenance{Name: "m", Scope: slo.Scope{SLOs: []string{"a"}, From: begin.Add(-time.Minute), To: begin.Add(30 * time.Minute), Reason: "upgrade"}}
	for _, count := range []bool{false, true} {
		plan.Count = count
		with := &slo.Set{SLOs: []slo.SLO{objective("a"), objective("b")}, Maintenances: []slo.Maintenance{plan}}
		past, err := Backtest(t.Context(), m, Test{Set: with, From: begin.Add(-time.Hour), To: begin.Add(25 * time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		for _, tr := range past.Changes {
			if tr.Status.SLO.Name == "a" {
				t.Errorf("count %t: %s fires in its maintenance", count, tr.Status.SLO.Name)
			}
		}
		if len(past.Changes) == 0 {
			t.Error("the objective without maintenance does not fire")
		}
		if spent := past.Statuses[0].Period.Bad > 0; spent != count {
			t.Errorf("count %t: spent %t", count, spent)
		}
	}
	// Ten days later its hours are read in minutes, and a budget at a start knows it too.
	plan.Count = false
	late := begin.Add(10 * 24 * time.Hour)
	list, err := Budgets(t.Context(), m, &slo.Set{SLOs: []slo.SLO{objective("a"), objective("b")}, Maintenances: []slo.Maintenance{plan}}, late, Reach{})
	if err != nil {
		t.Fatal(err)
	}
	if list[0].Left != 1 || list[1].Left >= 1 {
		t.Errorf("left %g with maintenance, %g without", list[0].Left, list[1].Left)
	}
}

// TestAdjustment gives half of what an hour spent back, and alerts as before.
func TestAdjustment(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	m := memory{outage(begin, begin.Add(20*time.Minute), 0.5)}
	a := slo.Adjustment{Name: "x", Scope: slo.Scope{SLOs: []string{"a"}, From: begin, To: begin.Add(time.Hour)}, GiveBack: 0.5}
	with := &slo.Set{SLOs: []slo.SLO{objective("a"), objective("b")}, Adjustments: []slo.Adjustment{a}}
	past, err := Backtest(t.Context(), m, Test{Set: with, From: begin.Add(-time.Hour), To: begin.Add(2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if got, all := past.Statuses[0].Period.Bad, past.Statuses[1].Period.Bad; got*2 != all || all == 0 {
		t.Errorf("%d bad with the adjustment, %d without", got, all)
	}
	seen := map[string]int{}
	for _, tr := range past.Changes {
		seen[tr.Status.SLO.Name]++
	}
	if seen["a"] != seen["b"] || seen["a"] == 0 {
		t.Errorf("changes %v", seen)
	}
}

// TestSlices: a budget of slices counts slices, the same at a start as after
// hours of ticks.
func TestSlices(t *testing.T) {
	begin := start.Add(5 * 24 * time.Hour)
	s := objective("a")
	s.Method, s.Slice, s.SliceTarget, s.Target, s.Period = slo.Timeslices, 5*time.Minute, 0.95, 0.99, 4*24*time.Hour
	ratio := s
	ratio.Name, ratio.Method = "b", slo.RatioTimeslices
	// 20 % fail for 32 minutes that begin within a slice: six whole slices and 2 minutes of two more.
	m := memory{outage(begin.Add(-time.Minute), begin.Add(31*time.Minute), 0.2)}
	end := begin.Add(2 * time.Hour)
	past, err := Backtest(t.Context(), m, Test{Set: set(s, ratio), From: begin.Add(-time.Hour), To: end})
	if err != nil {
		t.Fatal(err)
	}
	grown := past.Statuses
	// Of the slice before begin a fifth of its requests are in the failure: 4 % of them fail, which is good enough.
	if got := grown[0].Period.Bad; got != 6 {
		t.Errorf("%d bad slices, want 6", got)
	}
	if got, want := grown[1].Period.Bad, int64(10_000*0.2*32/5); got != want {
		t.Errorf("ratio slices: %d bad, want %d", got, want)
	}
	if n := grown[0].Period.Valid; n < 4*24*12-1 || n > 4*24*12 {
		t.Errorf("%d slices in 4 days", n)
	}
	fresh, err := Budgets(t.Context(), m, set(s, ratio), end, Reach{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range fresh {
		if fresh[i].Status.Period != grown[i].Period || fresh[i].Status.Long != grown[i].Long {
			t.Errorf("%s: read anew %+v, grown %+v", grown[i].SLO.Name, fresh[i].Status.Period, grown[i].Period)
		}
	}
	if len(Notices(past.Changes)) == 0 {
		t.Error("six bad slices of twelve page nobody")
	}
}

// TestKeepFiring: an alert goes on for as long as its objective says, and one that
// must burn for a while first begins later by that.
func TestKeepFiring(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	m := memory{outage(begin, begin.Add(10*time.Minute), 0.2)}
	plain, keep, wait := objective("a"), objective("b"), objective("c")
	keep.KeepFiring = 5 * time.Minute
	wait.Windows = slo.DefaultWindows()
	for i := range wait.Windows {
		wait.Windows[i].For = 2 * time.Minute
	}
	got := map[string][]turn{}
	for _, tr := range backtest(t, m, set(plain, keep, wait), begin.Add(-time.Hour), begin.Add(2*time.Hour)) {
		got[tr.Status.SLO.Name] = append(got[tr.Status.SLO.Name], changes([]Transition{tr}, begin)...)
	}
	page := func(at time.Duration) turn { return turn{at, alert.Inactive, alert.Firing, alert.Page} }
	end := func(at time.Duration) turn { return turn{at, alert.Firing, alert.Resolved, alert.None} }
	want := map[string][]turn{
		"a": {page(290 * time.Second), end(880 * time.Second)},
		"b": {page(290 * time.Second), end(880*time.Second + 5*time.Minute)}, // it last held at 870 s
		"c": {page(290*time.Second + 2*time.Minute), end(880 * time.Second)},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestCalendarBudget: a period that begins anew has its whole budget.
func TestCalendarBudget(t *testing.T) {
	month := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s := objective("a")
	s.Calendar, s.Period = &slo.Calendar{Every: 1, Unit: 'M', Start: month}, 31*24*time.Hour
	m := memory{outage(month.Add(-2*time.Hour), month.Add(-time.Hour), 0.5)}
	for at, spent := range map[time.Duration]bool{-10 * time.Second: true, 10 * time.Second: false} {
		list, err := Budgets(t.Context(), m, set(s), month.Add(at), Reach{})
		if err != nil {
			t.Fatal(err)
		}
		if (list[0].Left < 1) != spent {
			t.Errorf("%s around the border: %g left", at, list[0].Left)
		}
	}
}

// TestComposite: one part of three that fails burns by its weight, and the page
// is about that part.
func TestComposite(t *testing.T) {
	begin := start.Add(40 * 24 * time.Hour)
	s := objective("a")
	s.Parts = []slo.Part{
		{Name: "up", Service: "payments", Target: 0.999, Weight: 1},
		{Name: "fast", Service: "payments", SLI: slo.SLI{Kind: slo.Latency, Threshold: time.Second}, Target: 0.999, Weight: 3},
	}
	q := byFeed(func(f slo.Feed) func(time.Time) slo.Count {
		if f.SLI.Kind == slo.Latency {
			return outage(begin, begin.Add(10*time.Minute), 0.2)
		}
		return outage(begin, begin, 0)
	})
	got := backtest(t, q, set(s), begin.Add(-time.Hour), begin.Add(time.Hour))
	if len(got) < 2 || got[0].Status.Severity != alert.Page || got[0].Status.Feed.SLI.Kind != slo.Latency || got[0].Status.Since != begin {
		t.Fatalf("%+v", got)
	}
	// Three quarters of what the part alone would burn: 0.15 of 36,000 in an hour.
	if long := got[0].Status.Long; math.Abs(long.Ratio()-0.75*float64(10*got[0].At.Sub(begin)/(10*time.Second))/18_000) > 1e-4 {
		t.Errorf("long window %+v", long)
	}
}

// byFeed is a store whose counts depend on the feed.
type byFeed func(slo.Feed) func(time.Time) slo.Count

func (b byFeed) Counts(ctx context.Context, feeds []slo.Feed, g rollup.Grain, from, to time.Time) ([][]Point, error) {
	list := make([][]Point, len(feeds))
	for i, f := range feeds {
		points, err := memory{b(f)}.Counts(ctx, feeds[:1], g, from, to)
		if err != nil {
			return nil, err
		}
		list[i] = points[0]
	}
	return list, nil
}

// TestTable reads counts of any regular step, and says what is wrong with others.
func TestTable(t *testing.T) {
	begin := start.Add(time.Hour)
	for _, step := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 20 * time.Minute} {
		var b strings.Builder
		b.WriteString("time,good,total\n")
		failed := outage(begin.Add(20*time.Hour), begin.Add(21*time.Hour), 0.2)
		for at := begin; at.Before(begin.Add(24 * time.Hour)); at = at.Add(step) {
			var c slo.Count
			for s := at; s.Before(at.Add(step)); s = s.Add(10 * time.Second) {
				c.Valid += failed(s).Valid
				c.Bad += failed(s).Bad
			}
			fmt.Fprintf(&b, "%s,%d,%d\n", at.Format(time.RFC3339), c.Valid-c.Bad, c.Valid)
		}
		table, err := ReadTable("counts.csv", strings.NewReader(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		past, err := Backtest(t.Context(), table, Test{Set: set(objective("a")), From: table.From, To: table.To, Reach: table.Reach(), Every: table.Step})
		if err != nil {
			t.Fatal(err)
		}
		notices := Notices(past.Changes)
		if len(notices) == 0 || table.Step != step || table.Gaps != 0 {
			t.Fatalf("step %s: %d notices, step %s, %d gaps", step, len(notices), table.Step, table.Gaps)
		}
		delay := notices[0].At.Sub(begin.Add(20 * time.Hour))
		for _, n := range notices {
			if n.Severity == alert.Page {
				delay = n.At.Sub(begin.Add(20 * time.Hour))
				break
			}
		}
		if want := (290*time.Second + step - 1) / step * step; delay != want {
			t.Errorf("step %s: a page after %s, want %s", step, delay, want)
		}
	}
	for text, want := range map[string]string{
		"":                                           "c.csv:1: it is empty",
		"when,good,total\n":                          `c.csv:1: column "when"`,
		"time,total\n":                               "must have time, total and one of good and bad",
		"time,good,total\n1,2\n":                     "wrong number of fields",
		"time,good,total\nnoon,2,3\n":                `c.csv:2: time "noon"`,
		"time,good,total\n0,5,3\n60,1,1\n":           "c.csv:2: good or bad is more than total 3",
		"time,good,total\n0,-1,3\n":                  `c.csv:2: good "-1" is no count`,
		"time,good,total\n0,1,1\n0,1,1\n":            "is there twice",
		"time,good,total\n0,1,1\n":                   "at least two times",
		"time,good,total\n0,1,1\n420,1,1\n840,1,1\n": "does not divide an hour",
		"time,good,total\n30,1,1\n90,1,1\n":          "no multiple of the step",
	} {
		if _, err := ReadTable("c.csv", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
	table, err := ReadTable("c.csv", strings.NewReader("time,bad,total,group\n0,1.0,10,a\n60,0,10,a\n240,0,10,b\n60,2,10,b\n"))
	if err != nil || table.Gaps != 2 || table.Step != time.Minute {
		t.Fatalf("%+v (%v)", table, err)
	}
	points, err := table.Counts(t.Context(), []slo.Feed{{Group: slo.ByRegion}, {}}, rollup.Grain1h, time.Unix(0, 0), time.Unix(3600, 0))
	if err != nil || len(points[0]) != 2 || points[1][0].Count != (slo.Count{Valid: 40, Bad: 3}) {
		t.Errorf("%+v (%v)", points, err)
	}
}

// TestForecast: a straight line by the last day, the hours of the week when two
// weeks are known, and an interval around it.
func TestForecast(t *testing.T) {
	now := start.Add(20 * 24 * time.Hour)
	busy := func(at time.Time) slo.Count { // by day only, and two of a thousand fail from the last six hours on
		c := slo.Count{Valid: 1000}
		if h := at.Hour(); h < 8 || h >= 20 {
			c.Valid = 0
		}
		if at.After(now.Add(-6 * time.Hour)) {
			c.Bad = c.Valid / 500
		}
		return c
	}
	now = now.Add(12 * time.Hour)
	list, err := Budgets(t.Context(), memory{busy}, set(objective("a")), now, Reach{})
	if err != nil {
		t.Fatal(err)
	}
	b := list[0]
	if b.Spent.Straight || b.Spent.At.IsZero() || !b.Spent.Earliest.Before(b.Spent.At) || !b.Spent.Latest.After(b.Spent.At) {
		t.Errorf("forecast %+v", b.Spent)
	}
	if h := b.Spent.At.Hour(); h < 8 || h > 20 {
		t.Errorf("spent at %s, when there are no requests", b.Spent.At)
	}
	// What is left is spent at the rate of 12 h a day of 360,000 requests an hour, of which 0.2 % fail.
	hours := b.Left * 0.001 * float64(b.Status.Period.Valid) / (360_000 * 0.002)
	if days := b.Spent.At.Sub(now).Hours() / 24; math.Abs(days-hours/12) > 1 {
		t.Errorf("spent in %.1f days, want about %.1f", days, hours/12)
	}
	short := objective("b")
	short.Period = 3 * 24 * time.Hour
	if list, err = Budgets(t.Context(), memory{busy}, set(short), now, Reach{}); err != nil || !list[0].Spent.Straight {
		t.Errorf("three days of history: %+v (%v)", list[0].Spent, err)
	}
	if down := b.Down; len(down) == 0 || math.Abs(down[len(down)-1]-b.Left) > 0.02 {
		t.Errorf("burn-down %v, left %g", b.Down, b.Left)
	}
}
