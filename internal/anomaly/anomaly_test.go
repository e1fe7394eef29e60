package anomaly

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/histogram"
)

var (
	judged = time.Date(2026, 3, 30, 10, 0, 0, 0, time.UTC)
	key    = Subject{Kind: "key", Name: "k"}
)

// hour makes an hour with so many requests, of which failed ones are of class,
// and whose latencies are around us.
func hour(at time.Time, requests, failed int64, us uint64) Hour {
	h := Hour{Time: at, Requests: requests, Errors: map[string]int64{"client_auth": failed}, Latency: histogram.Histogram{}}
	for i := range requests {
		h.Latency.Observe(us * uint64(90+i%20) / 100)
	}
	return h
}

// weeks makes the same hours in the weeks before, with some noise.
func weeks(n int) (list []Hour, began time.Time) {
	rng := rand.New(rand.NewPCG(1, 1))
	for w := 1; w <= n; w++ {
		for near := -2; near <= 2; near++ {
			at := judged.AddDate(0, 0, -7*w).Add(time.Duration(near) * time.Hour)
			list = append(list, hour(at, 200+rng.Int64N(30), 2+rng.Int64N(3), 50_000+rng.Uint64N(4000)))
		}
	}
	return list, judged.AddDate(0, 0, -7*n)
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name string
		now  Hour
		want []string
	}{
		{"as usual", hour(judged, 215, 3, 52_000), nil},
		{"more", hour(judged, 900, 9, 52_000), []string{"rate_high"}},
		{"silence", Hour{Time: judged}, []string{"rate_low"}},
		{"failing", hour(judged, 210, 80, 52_000), []string{"errors"}},
		{"slower", hour(judged, 210, 3, 200_000), []string{"latency"}},
		{"a few more errors", hour(judged, 82, 5, 52_000), []string{"rate_low"}},
		{"a little slower", hour(judged, 210, 3, 60_000), nil},
	} {
		for _, n := range []int{2, 4, 8} {
			history, began := weeks(n)
			found, ok := Judge(key, history, began, c.now)
			var kinds []string
			for _, f := range found {
				kinds = append(kinds, f.Kind)
				if f.Score < Limit || f.Weeks != n || f.Evidence == "" || f.Low > f.Expected || f.High < f.Expected {
					t.Errorf("%s: %+v", c.name, f)
				}
			}
			if !ok || strings.Join(kinds, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s, %d weeks: %v, want %v", c.name, n, kinds, c.want)
			}
		}
	}
}

func TestNoBaseline(t *testing.T) {
	history, _ := weeks(2)
	if found, ok := Judge(key, history, judged.AddDate(0, 0, -13), hour(judged, 9000, 0, 50_000)); ok || found != nil {
		t.Errorf("13 days of history: %v, %t", found, ok)
	}
}

func TestJudgeMix(t *testing.T) {
	usual := map[string]int64{"eu": 90, "us": 10}
	for _, c := range []struct {
		name string
		mix  Mix
		want bool
	}{
		{"the same", Mix{"region", map[string]int64{"eu": 85, "us": 15}, usual, usual}, false},
		{"elsewhere", Mix{"region", map[string]int64{"ap": 80, "eu": 20}, usual, usual}, true},
		{"always elsewhere", Mix{"client", map[string]int64{"a": 100}, map[string]int64{"b": 100}, map[string]int64{"c": 100}}, false},
		{"one week only", Mix{"region", map[string]int64{"ap": 100}, usual, nil}, false},
		{"too few", Mix{"region", map[string]int64{"ap": 19}, usual, usual}, false},
	} {
		f, ok := JudgeMix(key, c.mix)
		if ok != c.want {
			t.Errorf("%s: %t, %+v", c.name, ok, f)
		}
		if ok && (f.Kind != "region_mix" || !strings.Contains(f.Evidence, "region ap has 80 % instead of 0 %")) {
			t.Errorf("%+v", f)
		}
	}
}

func TestAbuse(t *testing.T) {
	for _, c := range []struct {
		a       Activity
		typical float64
		want    string
	}{
		{Activity{Operation: "POST /v1/sessions", Requests: 200, Refused: 190, Credentials: 150, Login: true}, 1, "credential_stuffing"},
		{Activity{Operation: "GET /v1/orders", Requests: 200, Refused: 190, Credentials: 1}, 1, ""}, // one wrong key, again and again
		{Activity{Operation: "GET /v1/users/{id}", Requests: 300, Missing: 240, Objects: 300, Template: true, Reads: true}, 5, "enumeration"},
		{Activity{Operation: "GET /v1/users/{id}", Requests: 300, Missing: 240, Objects: 3, Template: true, Reads: true}, 5, ""}, // the same dead link
		{Activity{Operation: "GET /v1/products/{id}", Requests: 900, Succeeded: 900, Objects: 880, Minutes: 60, Template: true, Reads: true}, 5, "scraping"},
		{Activity{Operation: "GET /v1/products/{id}", Requests: 900, Succeeded: 900, Objects: 880, Minutes: 60, Template: true, Reads: true}, 300, ""}, // as others do
		{Activity{Operation: "POST /v1/orders", Requests: 900, Succeeded: 900, Objects: 1}, 1, ""},
	} {
		f, ok := Abuse(c.a, c.typical)
		if (c.want != "") != ok || ok && (f.Kind != c.want || f.Score < 1 || f.Evidence == "") {
			t.Errorf("%+v: %+v, %t, want %q", c.a, f, ok, c.want)
		}
	}
}
