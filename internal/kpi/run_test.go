package kpi

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func testWorkflow(t *testing.T, more string) *Workflow {
	t.Helper()
	d, err := Parse("w.yaml", []byte(`workflows:
  - name: w
    window: 10s
    steps: [{name: a, method: GET, route: /a}, {name: b, method: GET, route: /b}, {name: c, method: GET, route: /c}]
    value: {amount: 5, currency: EUR}
`+more))
	if err != nil {
		t.Fatal(err)
	}
	return &d.Workflows[0]
}

// calls reads "a1 b2! c3": step, second, and ! for a failed call.
func calls(text string) (list []Call) {
	for i, word := range strings.Fields(text) {
		c := Call{Step: int(word[0] - 'a'), Done: !strings.HasSuffix(word, "!"), ID: uint16(i)}
		second, err := strconv.ParseInt(strings.TrimSuffix(word[1:], "!"), 10, 64)
		if err != nil {
			panic(err) // a typing error in a test
		}
		c.At = second * 1_000_000
		if !c.Done {
			c.Class = "upstream_5xx"
		}
		list = append(list, c)
	}
	return list
}

// show writes runs as "a1 b2 - completed".
func show(runs []*Run) string {
	slices.SortFunc(runs, func(a, b *Run) int { return int(a.Start - b.Start) })
	var parts []string
	for _, r := range runs {
		s := ""
		for i, at := range r.Times {
			if at > 0 {
				s += fmt.Sprintf("%c%d ", 'a'+i, at/1_000_000)
			}
		}
		s += r.State.String()
		if r.Failed != "" {
			s += fmt.Sprintf(" %s at %c", r.Failed, 'a'+r.FailedStep)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

func TestMatch(t *testing.T) {
	for _, c := range []struct{ name, more, calls, want string }{
		{"in order", "", "a1 b2 c3", "a1 b2 c3 completed"},
		{"two at the same time: first come, first served", "", "a1 a2 b3 b4 c5", "a1 b3 c5 completed; a2 b4 dropped"},
		{"without its predecessor", "", "b1 c2 a3", "a3 dropped"},
		{"twice", "", "a1 b2 b3 c4 c5", "a1 b2 c4 completed"},
		{"late", "", "a1 b2 c12", "a1 b2 dropped"},
		{"at the window's last moment", "", "a1 b2 c11", "a1 b2 c11 completed"},
		{"the next one takes what an expired run misses", "", "a1 a5 b12 c13", "a1 dropped; a5 b12 c13 completed"},
		{"a failed step is the reason", "", "a1 b2! b3!", "a1 dropped upstream_5xx at b"},
		{"a failure that was overcome is none", "", "a1 b2! b3", "a1 b3 dropped"},
		{"a failed first step begins nothing", "", "a1! b2", ""},
		{"open until the window ends", "", "a95 b96 c97!", "a95 b96 open upstream_5xx at c"},
		{"unordered", "    unordered: true\n", "c1 a2 b3 b4", "a2 b3 c1 completed; b4 dropped"},
		{"unordered, two at once", "    unordered: true\n", "a1 a2 b3 b4 c5", "a1 b3 c5 completed; a2 b4 dropped"},
		{"unordered failure", "    unordered: true\n", "b1 a2! c3", "b1 c3 dropped"},
		{"sessions", "    by: session\n    session_gap: 3s\n", "a1 b2 c6 a7 b8 c9", "a1 b2 dropped; a7 b8 c9 completed"},
	} {
		w := testWorkflow(t, c.more)
		list := calls(c.calls)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		got := show(NewMatcher(w, "u", nil).Match(list, 100_000_000))
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Going on from stored runs at any cut gives what matching from the start gives,
// if the cut is a window before the first new call.
func TestMatchGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 2000 {
		more := []string{"", "    unordered: true\n"}[round%2]
		w := testWorkflow(t, more)
		var list []Call
		for i := range 60 {
			c := Call{At: int64(r.IntN(100)+1)*1_000_000 + int64(i), ID: uint16(i), Step: r.IntN(3), Done: r.IntN(4) > 0}
			if !c.Done {
				c.Class = []string{"client_auth", "upstream_5xx"}[r.IntN(2)]
			}
			list = append(list, c)
		}
		const until = 90_000_000
		late := r.IntN(len(list))
		var before []Call
		first := int64(1 << 62)
		for i, c := range list {
			if i < late {
				before = append(before, c)
			} else {
				first = min(first, c.At)
			}
		}
		stored := NewMatcher(w, "u", nil).Match(before, until)
		base := first - time.Duration(w.Window).Microseconds()
		var open []*Run
		var kept []*Run
		for _, run := range stored {
			if run.Start < base {
				if past := w.At(run, base); past != nil {
					open = append(open, past)
				} else {
					kept = append(kept, run)
				}
			}
		}
		var again []Call
		for _, c := range list {
			if c.At >= base {
				again = append(again, c)
			}
		}
		got := show(append(NewMatcher(w, "u", open).Match(again, until), kept...))
		want := show(NewMatcher(w, "u", nil).Match(list, until))
		if got != want {
			t.Fatalf("round %d, cut at %d: got\n%s\nwant\n%s", round, base, got, want)
		}
	}
}

func TestAmount(t *testing.T) {
	w := testWorkflow(t, "")
	run := NewMatcher(w, "u", nil).Match(calls("a1 b2 c3"), 4_000_000)[0]
	if run.Amount != 5_000_000 {
		t.Errorf("constant: %s", run.Amount)
	}
	w.Value = &Value{Field: "amount", Currency: "EUR"}
	list := calls("a1 b2 c3")
	list[2].Amount = 7_250_000
	if run := NewMatcher(w, "u", nil).Match(list, 4_000_000)[0]; run.Amount != 7_250_000 {
		t.Errorf("of the log: %s", run.Amount)
	}
}

// The interval holds the moment at which simulated consumers really used up.
func TestExhaustionCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	now := time.Date(2026, 3, 17, 9, 20, 0, 0, time.UTC)
	covered, n := 0, 0
	for range 400 {
		perHour := 2 + 60*r.Float64()
		at := func(h int) float64 {
			day := rand.New(rand.NewPCG(uint64(perHour*1e6), uint64(1000+h/24)))
			return perHour * (1 + 0.6*float64(h%24)/24) * (1 + 0.5*day.NormFloat64()*0.4)
		}
		draw := func(h int) float64 {
			mean := max(0, at(h))
			return max(0, mean+r.NormFloat64()*sqrt(mean))
		}
		var hours []float64
		for h := range 28 * 24 {
			hours = append(hours, draw(h))
		}
		quota := perHour * 24 * (2 + 10*r.Float64())
		end := now.Add(12 * 24 * time.Hour)
		f := Exhaustion(hours, now, end, 0, quota)
		truth, used := time.Time{}, 0.0
		for h := 28 * 24; ; h++ {
			then := now.Truncate(time.Hour).Add(time.Duration(h-28*24) * time.Hour)
			if !then.Before(end) {
				break
			}
			share := 1.0
			if then.Before(now) {
				share = 40.0 / 60
			}
			if used += draw(h) * share; used >= quota {
				truth = then.Add(30 * time.Minute)
				break
			}
		}
		n++
		if !f.Known {
			t.Fatal("28 days are enough")
		}
		if f.Covers(truth) {
			covered++
		}
	}
	t.Logf("%d of %d covered", covered, n)
	if share := float64(covered) / float64(n); share < 0.9 {
		t.Errorf("the interval holds the truth in %.0f %% of cases", 100*share)
	}
}

func sqrt(x float64) float64 {
	z := x/2 + 0.5
	for range 40 {
		z = (z + x/z) / 2
	}
	return z
}

func TestExhaustionNeedsHistory(t *testing.T) {
	now := time.Date(2026, 3, 17, 9, 0, 0, 0, time.UTC)
	if f := Exhaustion(make([]float64, 70), now, now.Add(time.Hour), 0, 10); f.Known {
		t.Errorf("%+v", f)
	}
	hours := make([]float64, 24*7)
	for i := range hours {
		hours[i] = 10
	}
	f := Exhaustion(hours, now, now.Add(24*time.Hour), 100, 200)
	if !f.At.Equal(now.Add(10*time.Hour)) || f.Expected < 339 || f.Expected > 341 || !f.Earliest.Before(f.At) || !f.Latest.After(f.At) {
		t.Errorf("%+v", f)
	}
	if f := Exhaustion(hours, now, now.Add(24*time.Hour), 100, 1000); !f.Earliest.IsZero() {
		t.Errorf("%+v", f)
	}
}
