package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/devstack"
	"gatewatch/internal/histogram"
	"gatewatch/internal/loadgen"
)

// TestShop is the demo with a shorter past: history, live traffic, an outage
// whose page must come in time and be complete, the death of the engine in the
// middle of the load; in the end every figure equals the account of what was sent.
func TestShop(t *testing.T) {
	s := start(t, nil)
	load := s.NewLoad(7)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	history := devstack.History{Length: 4 * 24 * time.Hour, Requests: 80_000, Spans: 24 * time.Hour}
	if err := load.SendHistory(ctx, history, nil); err != nil {
		t.Fatal(err)
	}
	if err := load.Settle(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx, "alert"); err != nil {
		t.Fatal(err)
	}
	live, endLive := context.WithCancel(ctx)
	defer endLive()
	injected := time.Now().Add(15 * time.Second)
	sent := make(chan error, 1)
	go func() {
		sent <- load.Live(live, 400, loadgen.Scenario{Kind: loadgen.Outage, From: injected, To: injected.Add(time.Hour)})
	}()
	t.Run("page", func(t *testing.T) { checkPage(ctx, t, load, injected) })
	t.Run("engine killed", func(t *testing.T) {
		s.Engine.Kill()
		time.Sleep(2 * time.Second) // the load goes on meanwhile
		if err := s.RestartEngine(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
	})
	endLive()
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := load.Settle(ctx, nil); err != nil {
		t.Fatal(err)
	}
	v, err := load.Verify(ctx, devstack.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil || v.Lost+v.Doubled != 0 {
		t.Errorf("lost %d, doubled %d: %v", v.Lost, v.Doubled, err)
	}
	for _, view := range []string{"v_request_1m", "v_request_1h"} {
		t.Run(view, func(t *testing.T) { checkRoutes(ctx, t, s, load, view) })
	}
	for _, view := range []string{"v_key_1h", "v_key_1d"} {
		t.Run(view, func(t *testing.T) { checkKeys(ctx, t, s, load, view) })
	}
	t.Run("quantiles", func(t *testing.T) { checkQuantiles(ctx, t, s, load) })
}

func checkPage(ctx context.Context, t *testing.T, load *devstack.Load, injected time.Time) {
	ctx, cancel := context.WithDeadline(ctx, injected.Add(time.Minute))
	defer cancel()
	page, err := load.WaitPage(ctx, injected)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("page %.1f s after the outage, %.1f s after the formula's moment:\n%s", page.At.Sub(injected).Seconds(), page.Delay().Seconds(), page.Text())
	if err := page.Check(); err != nil {
		t.Error(err)
	}
	lines := strings.Split(page.Text(), "\n")
	if len(lines[0]) > 110 || len(lines) > 25 || len(page.Text()) > 4096 {
		t.Errorf("a first line of %d bytes, %d lines and %d bytes are more than a page may have", len(lines[0]), len(lines), len(page.Text()))
	}
	for _, want := range []string{"[PAGE] payments availability 99.9 %: ", "one upstream, pay-2:8080", "upstream_timeout", "team-payments"} {
		if !strings.Contains(page.Text(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// figures are the exact sums of a group of requests.
type figures struct {
	Requests, BytesIn, BytesOut, LatencyUS int64
}

func checkRoutes(ctx context.Context, t *testing.T, s *devstack.Stack, load *devstack.Load, view string) {
	rows, err := s.Store.Query(ctx, `SELECT toUnixTimestamp(toStartOfHour(time)) AS hour, service, method, route, status, toString(error_class),
		sum(requests), sum(bytes_in), sum(bytes_out), sum(latency_us_sum) FROM `+view+` GROUP BY 1, 2, 3, 4, 5, 6`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[loadgen.RouteHour]figures{}
	for rows.Next() {
		var k loadgen.RouteHour
		var hour uint32
		var status uint16
		var f figures
		if err := rows.Scan(&hour, &k.Service, &k.Method, &k.Route, &status, &k.Class, &f.Requests, &f.BytesIn, &f.BytesOut, &f.LatencyUS); err != nil {
			t.Fatal(err)
		}
		k.Hour, k.Status = int64(hour), int(status)
		got[k] = f
	}
	want := map[loadgen.RouteHour]figures{}
	for k, c := range load.Account.Routes() {
		want[k] = figures{c.Requests, c.BytesIn, c.BytesOut, c.LatencyMS * 1000}
	}
	compare(t, got, want)
}

// compare reports the first differences of two maps.
func compare[K comparable](t *testing.T, got, want map[K]figures) {
	t.Helper()
	bad := 0
	for k, w := range want {
		if got[k] != w {
			if bad++; bad <= 5 {
				t.Errorf("%+v: %+v, want %+v", k, got[k], w)
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			if bad++; bad <= 5 {
				t.Errorf("%+v: %+v was never sent", k, got[k])
			}
		}
	}
	t.Logf("%d groups, %d differ", len(want), bad)
}

// checkKeys compares all that is known of each key. Which hash belongs to which
// key isn't known here: the sets of what is known must be equal.
func checkKeys(ctx context.Context, t *testing.T, s *devstack.Stack, load *devstack.Load, view string) {
	rows, err := s.Store.Query(ctx, `SELECT key_id, consumer, plan, toUnixTimestamp(toStartOfDay(time)) AS day, service, toString(error_class),
		sum(requests), sum(bytes_in), sum(bytes_out), sum(latency_us_sum),
		min(toUnixTimestamp64Milli(first_seen)), max(toUnixTimestamp64Milli(last_seen)) FROM `+view+` GROUP BY 1, 2, 3, 4, 5, 6`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string][]string{}
	for rows.Next() {
		var key, consumer, plan, service, class string
		var day uint32
		var f figures
		var first, last int64
		if err := rows.Scan(&key, &consumer, &plan, &day, &service, &class, &f.Requests, &f.BytesIn, &f.BytesOut, &f.LatencyUS, &first, &last); err != nil {
			t.Fatal(err)
		}
		got[key] = append(got[key], fmt.Sprint(consumer, " ", plan, " ", day, " ", service, " ", class, " ", f, " ", first, " ", last))
	}
	want := map[int][]string{}
	for k, c := range load.Account.Keys() {
		key := load.Shop.Keys[k.Key]
		f := figures{c.Requests, c.BytesIn, c.BytesOut, c.LatencyMS * 1000}
		want[k.Key] = append(want[k.Key], fmt.Sprint(key.Consumer, " ", key.Plan, " ", k.Day, " ", k.Service, " ", k.Class, " ", f, " ", c.First, " ", c.Last))
	}
	if len(want) < 700 {
		t.Errorf("only %d keys were used", len(want))
	}
	g, w := joined(got), joined(want)
	if diff := cmp.Diff(g, w); diff != "" {
		t.Errorf("keys (-got +want), the beginning:\n%s", diff[:min(3000, len(diff))])
	}
}

// joined returns each group's sorted lines as one text, sorted.
func joined[K comparable](groups map[K][]string) []string {
	var list []string
	for _, lines := range maps.All(groups) {
		slices.Sort(lines)
		list = append(list, strings.Join(lines, "\n"))
	}
	slices.Sort(list)
	return list
}

func checkQuantiles(ctx context.Context, t *testing.T, s *devstack.Stack, load *devstack.Load) {
	rows, err := s.Store.Query(ctx, `SELECT service, method, route, sumMap(latency_hist) FROM v_request_1h GROUP BY 1, 2, 3`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]histogram.Histogram{}
	for rows.Next() {
		var service, method, route string
		var h map[uint16]int64
		if err := rows.Scan(&service, &method, &route, &h); err != nil {
			t.Fatal(err)
		}
		got[service+" "+method+" "+route] = h
	}
	for i := range load.Shop.Routes {
		rt := &load.Shop.Routes[i]
		name := rt.Service + " " + rt.Method + " " + rt.Template
		for _, p := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
			want, n := load.Account.RouteQuantile(rt.ID, p)
			us, _ := got[name].Quantile(p)
			// Within 1 %; what is stored as less than 2 µs is zero in the log.
			if d := us - float64(want.Microseconds()); max(d, -d) > 0.01*float64(want.Microseconds())+2 {
				t.Errorf("p%g of %s (n = %d): %.0f µs, want %d µs", 100*p, name, n, us, want.Microseconds())
			}
		}
	}
}
