package evaluate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/alert"
	"gatewatch/internal/baseline"
)

// usualHours is four weeks of a service with that many requests an hour, of which
// each week strays a little.
func usualHours(at time.Time, perHour float64) []baseline.Point {
	var list []baseline.Point
	for h := at.Truncate(time.Hour).Add(-28 * 24 * time.Hour); h.Before(at.Truncate(time.Hour)); h = h.Add(time.Hour) {
		list = append(list, baseline.Point{Time: h, Value: perHour + float64(h.YearDay()%7)})
	}
	return list
}

func minutes(n int, rate int64, last ...int64) []int64 {
	list := slices.Repeat([]int64{rate}, n)
	copy(list[n-len(last):], last)
	return list
}

// TestDetectors: what each signal takes for one, and what it leaves alone.
func TestDetectors(t *testing.T) {
	at := time.Date(2026, 4, 13, 10, 5, 0, 0, time.UTC)
	low := slices.Repeat([]int64{40}, 15)
	high := slices.Repeat([]int64{400}, 15)
	config := SignalsConfig{
		Quotas: map[string]int64{"gold": 1000}, RequestValue: map[string]ValueConfig{"dip": {Value: 2, Currency: "EUR"}},
		Sunsets: []SunsetConfig{{Service: "s", Version: "v1", Date: "2026-04-20"}, {Service: "s", Version: "v2", Date: "2027-04-20"}},
	}
	for _, c := range []struct {
		kind alert.Kind
		in   Readings
		want []string // subjects
	}{
		{alert.ClientErrors, Readings{Errors: []ClassShare{
			{Service: "all", Class: "client_auth", Requests: 1000, Errors: 400, Active: 20, Hit: 8, UsualRequests: 100_000, UsualErrors: 500, Since: at},
			{Service: "few hit", Class: "client_auth", Requests: 1000, Errors: 400, Active: 20, Hit: 4, Since: at},
			{Service: "small part", Class: "client_auth", Requests: 1000, Errors: 400, Active: 100, Hit: 20, Since: at},
			{Service: "as usual", Class: "client_not_found", Requests: 1000, Errors: 400, Active: 20, Hit: 8, UsualRequests: 100_000, UsualErrors: 38_000, Since: at},
		}}, []string{"all error_class=client_auth"}},
		{alert.ClientErrors, Readings{Errors: []ClassShare{
			{Service: "one route", Class: "client_not_found", Requests: 1000, Errors: 400, Active: 20, Hit: 8, UsualRequests: 100_000, Since: at},
			{Service: "one route", Route: "GET /a", Class: "client_not_found", Requests: 400, Errors: 390, Active: 12, Hit: 11, UsualRequests: 40_000, Since: at},
			{Service: "all routes", Class: "client_auth", Requests: 1000, Errors: 900, Active: 20, Hit: 18, UsualRequests: 100_000, Since: at},
			{Service: "all routes", Route: "GET /a", Class: "client_auth", Requests: 400, Errors: 390, Active: 12, Hit: 11, UsualRequests: 40_000, Since: at},
			{Service: "no route", Route: "GET /b", Class: "gateway_no_route", Requests: 400, Errors: 400, Active: 12, Hit: 12, UsualRequests: 40_000, Since: at},
			{Service: "never there", Route: "GET /c", Class: "client_not_found", Requests: 400, Errors: 400, Active: 12, Hit: 12, Since: at},
		}}, []string{"all routes error_class=client_auth", "no route error_class=gateway_no_route route=GET /b", "one route error_class=client_not_found route=GET /a"}},
		{alert.TrafficLost, Readings{Traffic: []Traffic{
			{Service: "idle", Minutes: minutes(75, 20, 0, 0, 0)},
			{Service: "lost", Minutes: minutes(75, 300, 3, 0, 2)},
			{Service: "lost", Node: "n1", Minutes: minutes(75, 150, 1, 0, 1)},
			{Service: "node", Minutes: minutes(75, 300, 200, 200, 200)},
			{Service: "node", Node: "n2", Minutes: minutes(75, 100, 0, 0, 0)},
			{Service: "two minutes", Minutes: minutes(75, 300, 0, 0)},
			{Service: "by week", Minutes: make([]int64, 75), History: usualHours(at, 6000)},
			{Service: "retired", Minutes: make([]int64, 75), History: append(usualHours(at, 6000)[:26*24], make([]baseline.Point, 48)...)},
			{Service: "young", Minutes: minutes(30, 300, 0, 0, 0)},
			// A node that serves two services is one signal; one that is served, as traces show, is not lost.
			{Service: "node", Node: "n3", Minutes: minutes(75, 100, 0, 0, 0)},
			{Service: "two minutes", Node: "n3", Minutes: minutes(75, 100, 0, 0, 0)},
			{Service: "unlogged", Minutes: minutes(75, 300, 0, 0, 0)},
			// What is lost as a whole makes no node silent that serves little else.
			{Service: "lost", Node: "n4", Minutes: minutes(75, 150, 1, 0, 1)},
			{Service: "small", Node: "n4", Minutes: minutes(75, 6)},
		}, Silent: []SilentService{{Service: "unlogged", Spans: 300, Newest: 90, Last: at.Add(-4 * time.Minute)}}}, []string{"by week", "gateway node=n3", "lost", "node node=n2"}},
		{alert.TrafficDip, Readings{Traffic: []Traffic{
			{Service: "dip", Minutes: minutes(75, 100, low...), History: usualHours(at, 6000)},
			{Service: "no history", Minutes: minutes(75, 100, low...)},
			{Service: "steady", Minutes: minutes(75, 100), History: usualHours(at, 6000)},
		}}, []string{"dip"}},
		{alert.UnusualTraffic, Readings{Traffic: []Traffic{
			{Service: "rise", Minutes: minutes(75, 100, high...), History: usualHours(at, 6000)},
			{Service: "steady", Minutes: minutes(75, 100), History: usualHours(at, 6000)},
		}}, []string{"rise"}},
		{alert.Breaker, Readings{Breakers: []BreakerUse{{Service: "a", Route: "GET /x", Requests: 100, Refused: 40}, {Service: "b", Route: "GET /x", Requests: 100, Refused: 2}, {Service: "c", Upstream: "u2", Requests: 100, Refused: 50}, {Service: "d", Requests: 100, Refused: 50}}}, []string{"a route=GET /x", "c upstream=u2", "d"}},
		{alert.ConsumerFailing, Readings{Users: []ConsumerUse{
			{Service: "a", Consumer: "alone", Requests: 50, Failed: 45, OthersRequests: 1000, OthersFails: 5},
			{Service: "a", Consumer: "with all", Requests: 50, Failed: 45, OthersRequests: 1000, OthersFails: 500},
			{Service: "a", Consumer: "rare", Requests: 10, Failed: 10, OthersRequests: 1000},
		}}, []string{"a consumer=alone"}},
		{alert.UnusualUse, Readings{Hours: []ConsumerHours{
			{Consumer: "ten times", Hour: at.Truncate(time.Hour).Add(-time.Hour), Now: 5000, History: usualHours(at, 500)},
			{Consumer: "gone", Hour: at.Truncate(time.Hour).Add(-time.Hour), Now: 0, History: usualHours(at, 500)},
			{Consumer: "new", Hour: at.Truncate(time.Hour).Add(-time.Hour), Now: 5000, History: usualHours(at, 500)[:100]},
			{Consumer: "usual", Hour: at.Truncate(time.Hour).Add(-time.Hour), Now: 520, History: usualHours(at, 500)},
		}}, []string{" consumer=gone", " consumer=ten times"}},
		{alert.QuotaForecast, Readings{Periods: []ConsumerPeriod{
			{Consumer: "soon", Plan: "gold", Used: 700, LastDay: 60},
			{Consumer: "fine", Plan: "gold", Used: 300, LastDay: 10},
			{Consumer: "free", Plan: "none", Used: 300, LastDay: 1000},
			{Consumer: "gone", Plan: "silver", Quota: 500, Used: 700, LastDay: 60},
		}}, []string{" consumer=gone plan=silver", " consumer=soon plan=gold"}},
		{alert.RetentionAtRisk, Readings{Topics: []TopicState{{Topic: "late", AtRisk: true, CompleteUntil: at.Add(-4 * time.Hour), Retention: 6 * time.Hour}, {Topic: "fine", CompleteUntil: at}}}, []string{"gatewatch topic=late"}},
		{alert.DiskFilling, Readings{Disks: []DiskState{
			{Host: "filling", Disk: "d", First: at.Add(-24 * time.Hour), Last: at, FreeFirst: 60e9, Free: 50e9, Total: 100e9},
			{Host: "slow", Disk: "d", First: at.Add(-24 * time.Hour), Last: at, FreeFirst: 51e9, Free: 50e9, Total: 100e9},
			{Host: "young", Disk: "d", First: at.Add(-time.Hour), Last: at, FreeFirst: 60e9, Free: 50e9, Total: 100e9},
			{Host: "nearly full", Disk: "d", First: at, Last: at, FreeFirst: 1e9, Free: 1e9, Total: 100e9},
		}}, []string{"gatewatch node=filling", "gatewatch node=nearly full"}},
		{alert.BudgetLow, Readings{Budgets: []BudgetState{{SLO: "low", Service: "a", Left: 0.05, Low: true}, {SLO: "fine", Service: "a", Left: 0.5}, {SLO: "burns", Service: "a", Low: true, Firing: true}}}, []string{"a objective=low"}},
		{alert.Sunset, Readings{Versions: []VersionUse{{Service: "s", Version: "v1", Keys: 3}, {Service: "s", Version: "v2", Keys: 3}, {Service: "s", Version: "v3", Keys: 3}}}, []string{"s version=v1"}},
		{alert.LoggingGap, Readings{Silent: []SilentService{{Service: "mute", Spans: 300, Last: at.Add(-time.Hour)}, {Service: "rare", Spans: 3, Last: at.Add(-time.Hour)}, {Service: "so far", Spans: 300, Last: at.Add(-4 * time.Minute)}}}, []string{"mute"}},
		{alert.StaleData, Readings{Topics: []TopicState{{Topic: "old", CaughtUp: true, CompleteUntil: at.Add(-3 * time.Minute)}, {Topic: "first read", CompleteUntil: at.Add(-3 * time.Hour)}, {Topic: "fresh", CaughtUp: true, CompleteUntil: at}}}, []string{"gatewatch topic=old"}},
		{alert.DeadLetters, Readings{Topics: []TopicState{{Topic: "bad", Messages: 1000, Dead: 20, Reason: "json"}, {Topic: "few", Messages: 10_000, Dead: 20}, {Topic: "rare", Messages: 20, Dead: 5}}}, []string{"gatewatch topic=bad"}},
	} {
		c.in.At = at
		i := slices.IndexFunc(Detectors(), func(d Detector) bool { return d.Kind == c.kind })
		var got []string
		for _, s := range Detectors()[i].Find(config, &c.in) {
			got = append(got, s.subject())
			info, ok := s.Kind.Info()
			if !ok || s.Severity != info.Severity || s.Headline == "" || s.Since.After(at) || s.Evidence == nil {
				t.Errorf("%s: %+v", c.kind, s)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", c.kind, diff)
		}
	}
	s := NewSignals(SignalsConfig{Off: []string{"traffic_dip"}})
	r := Readings{At: at, Kinds: []alert.Kind{alert.TrafficDip}, Traffic: []Traffic{{Service: "dip", Minutes: minutes(75, 100, low...), History: usualHours(at, 6000)}}}
	if got := s.Judge(at, &r); len(got) != 0 {
		t.Errorf("what is switched off is found: %+v", got)
	}
	if value := findTrafficDips(config, &r)[0].Lines[0].Text; !strings.Contains(value, " EUR/h at risk") {
		t.Errorf("value at risk: %s", value)
	}
}
