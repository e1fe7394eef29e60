package breaker

import (
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// run makes seconds, ten requests each, that a function of the second describes.
func run(n int, f func(i int, s *Second)) []Second {
	var list []Second
	for i := range n {
		s := Second{Time: start.Add(time.Duration(i) * time.Second), Failed: map[string]int64{}, Upstreams: map[string]int64{}}
		f(i, &s)
		list = append(list, s)
	}
	return list
}

// opens fails from 60 on, is open from 70 to 130 with a try every 30 s, and is well again.
func opens(shed func(*Second)) func(int, *Second) {
	return func(i int, s *Second) {
		switch {
		case i < 60 || i >= 130:
			s.Passed = 10
		case i < 70:
			s.Failed["upstream_timeout"], s.Upstreams["pay-2"], s.Passed = 7, 7, 3
		case i == 100:
			s.Failed["upstream_timeout"], s.Upstreams["pay-2"] = 1, 1
		default:
			shed(s)
		}
	}
}

func TestEpisodes(t *testing.T) {
	for evidence, shed := range map[string]func(*Second){
		"stated": func(s *Second) { s.Flagged = 10 }, "inferred": func(s *Second) { s.Fast = 10 },
	} {
		seconds := run(200, opens(shed))
		list := Episodes("payments", seconds, start.Add(200*time.Second))
		if len(list) != 1 {
			t.Fatalf("%s: %+v", evidence, list)
		}
		e := list[0]
		if e.Evidence != evidence || e.Service != "payments" || e.Upstream != "pay-2" || !e.Opened.Equal(start.Add(70*time.Second)) ||
			!e.Closed.Equal(start.Add(130*time.Second)) || len(e.HalfOpen) != 1 || !e.HalfOpen[0].Equal(start.Add(100*time.Second)) ||
			e.Shed != 590 || e.Trigger != "upstream_timeout" || e.TriggerFailed != 70 || e.TriggerRequests != 600 {
			t.Errorf("%s: %+v", evidence, e)
		}
		// Seen while it is open.
		list = Episodes("payments", seconds[:120], start.Add(120*time.Second))
		if len(list) != 1 || !list[0].Closed.IsZero() {
			t.Errorf("%s, still open: %+v", evidence, list)
		}
	}
}

// What is shed without a failure before is no breaker, unless the gateway says so.
func TestNoTrigger(t *testing.T) {
	shed := func(i int, s *Second) {
		s.Passed = 10
		if i >= 70 && i < 100 {
			s.Fast, s.Passed = 10, 0
		}
	}
	if list := Episodes("payments", run(200, shed), start.Add(200*time.Second)); len(list) != 0 {
		t.Errorf("inferred: %+v", list)
	}
	flagged := func(i int, s *Second) {
		shed(i, s)
		s.Flagged, s.Fast = s.Fast, 0
	}
	if list := Episodes("payments", run(200, flagged), start.Add(200*time.Second)); len(list) != 1 || list[0].Trigger != "" {
		t.Errorf("stated: %+v", list)
	}
}

// nginx and Envoy of one service: what one states is not inferred again from the other.
func TestStatedCoversInferred(t *testing.T) {
	both := opens(func(s *Second) { s.Flagged, s.Fast = 3, 7 })
	if list := Episodes("payments", run(200, both), start.Add(200*time.Second)); len(list) != 1 || list[0].Evidence != "stated" {
		t.Errorf("%+v", list)
	}
}

func TestTwoEpisodes(t *testing.T) {
	twice := func(i int, s *Second) { opens(func(s *Second) { s.Flagged = 10 })(i%200, s) }
	if list := Episodes("payments", run(400, twice), start.Add(400*time.Second)); len(list) != 2 || list[0].Closed.After(list[1].Opened) {
		t.Errorf("%+v", list)
	}
}
