package loadgen

import (
	"testing"
	"time"
)

// TestExceeded works on a case small enough to check on paper: one request a
// second, all good for an hour, then all bad. With a target of 99 % the pair
// (1 h, 5 m, 14.4) needs 14.4 % bad in both windows: 519 bad of 3,600 in the
// hour, so the 519th bad request is the first that exceeds it.
func TestExceeded(t *testing.T) {
	shop := NewShop(1)
	var route *Route
	for i := range shop.Routes {
		if shop.Routes[i].Service == "payments" {
			route = &shop.Routes[i]
			break
		}
	}
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	outage := start.Add(time.Hour)
	a := NewAccount(shop)
	for i := range 2 * 3600 {
		at := start.Add(time.Duration(i) * time.Second)
		q := Request{End: at.UnixMilli(), Route: route, Key: &shop.Keys[0], outcome: ok200}
		if !at.Before(outage) {
			q.outcome = timeout504
		}
		a.Add([]Request{q})
	}
	pairs := PagePairs()[:1]
	got, ok := a.Exceeded("payments", 0.99, pairs, outage)
	if want := outage.Add(518 * time.Second); !ok || !got.Equal(want) {
		t.Errorf("Exceeded = %v, %v, want %v", got, ok, want)
	}
	if got, ok := a.Exceeded("payments", 0.99, pairs, start.Add(90*time.Minute)); !ok || !got.Equal(start.Add(90*time.Minute)) {
		t.Errorf("Exceeded in the middle of the outage = %v, %v, want its first moment", got, ok)
	}
	if _, ok := a.Exceeded("orders", 0.99, pairs, start); ok {
		t.Error("a service without requests exceeds a threshold")
	}
}

// TestShapeMean: History's perSecond is a mean over whole weeks.
func TestShapeMean(t *testing.T) {
	var sum float64
	start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for m := range 7 * 24 * 60 {
		sum += Shape(start.Add(time.Duration(m) * time.Minute))
	}
	if mean := sum / (7 * 24 * 60); mean < 0.99 || mean > 1.01 {
		t.Errorf("mean of Shape over a week is %.3f, want 1", mean)
	}
}
