package suspect

import (
	"testing"

	"gatewatch/internal/slo"
)

func c(dimension, value string, valid, bad int64) Cell {
	return Cell{dimension, value, slo.Count{Valid: valid, Bad: bad}, slo.Count{Valid: 10 * valid, Bad: valid / 100}}
}

// TestReach gives each failure its cells and expects what a person would say.
func TestReach(t *testing.T) {
	now, before := slo.Count{Valid: 9000, Bad: 1000}, slo.Count{Valid: 90000, Bad: 90}
	regions := []Cell{c("region", "eu", 6000, 660), c("region", "us", 3000, 340)}
	for _, test := range []struct {
		name    string
		cells   []Cell
		gateway bool
		want    string
		first   string // strongest suspect
	}{
		{"one upstream of three, on two routes", append([]Cell{
			c("upstream", "pay-1", 3000, 5), c("upstream", "pay-2", 3000, 990), c("upstream", "pay-3", 3000, 5),
			c("route", "POST /a", 4000, 600), c("route", "POST /b", 2000, 400), c("route", "GET /a", 3000, 0),
		}, regions...), false, "one upstream, pay-2: 100 % of the excess", "pay-2"},
		{"one consumer, who also has one upstream", []Cell{
			c("consumer", "shop-1", 900, 900), c("consumer", "shop-2", 8100, 100), c("upstream", "pay-1", 3000, 900), c("upstream", "pay-2", 6000, 100),
		}, false, "one consumer, shop-1: 91 % of the excess", "shop-1"},
		{"everybody alike", append([]Cell{
			c("upstream", "pay-1", 3000, 330), c("upstream", "pay-2", 3000, 340), c("upstream", "pay-3", 3000, 330),
		}, regions...), false, "everyone: no upstream, node, region, route or consumer stands out", ""},
		{"the gateway", regions, true, "the gateway itself, for everyone", ""},
		// One upstream with nearly all traffic is no suspect for nearly all failures.
		{"the only upstream", []Cell{c("upstream", "pay-1", 8900, 990)}, false, "everyone: no upstream, node, region, route or consumer stands out", ""},
		// Three failures are no evidence against a value.
		{"too few", []Cell{c("node", "gw-1", 10, 3)}, false, "everyone: no upstream, node, region, route or consumer stands out", ""},
	} {
		list := Rank(test.cells, now, before)
		if got := ReachOf(list, test.gateway).String(); got != test.want {
			t.Errorf("%s: reach %q, want %q (suspects %v)", test.name, got, test.want, list)
		}
		first := ""
		if len(list) > 0 {
			first = list[0].Value
		}
		if first != test.first {
			t.Errorf("%s: first suspect %q, want %q", test.name, first, test.first)
		}
	}
}

func TestRankWithoutExcess(t *testing.T) {
	if list := Rank([]Cell{c("node", "gw-1", 100, 1)}, slo.Count{Valid: 100, Bad: 1}, slo.Count{Valid: 100, Bad: 2}); list != nil {
		t.Errorf("less failures than usual have suspects %v", list)
	}
}
