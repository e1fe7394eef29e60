package suspect

import (
	"fmt"
	"strings"
	"testing"

	"gatewatch/internal/slo"
)

func cell(valid, bad int64, terms ...string) Cell {
	c := Cell{Now: slo.Count{Valid: valid, Bad: bad}, Before: slo.Count{Valid: 10 * valid, Bad: valid / 100}}
	for _, t := range terms {
		dimension, value, _ := strings.Cut(t, "=")
		c.Where = append(c.Where, Term{dimension, value})
	}
	return c
}

func fresh(c Cell) Cell {
	c.New, c.Before = true, slo.Count{}
	return c
}

func usually(c Cell, ratio float64) Cell {
	c.Before.Bad = int64(ratio * float64(c.Before.Valid))
	return c
}

const evenly = "everyone"

// TestReach gives each failure its cells and expects what a person would say.
func TestReach(t *testing.T) {
	now, before := slo.Count{Valid: 9000, Bad: 1000}, slo.Count{Valid: 90000, Bad: 90}
	regions := []Cell{cell(6000, 660, "region=eu"), cell(3000, 340, "region=us")}
	for _, test := range []struct {
		name    string
		cells   []Cell
		gateway bool
		want    string
		first   string // strongest suspect
	}{
		{"one upstream of three, on two routes", append([]Cell{
			cell(3000, 5, "upstream=pay-1"), cell(3000, 990, "upstream=pay-2"), cell(3000, 5, "upstream=pay-3"),
			cell(4000, 600, "route=POST /a"), cell(2000, 400, "route=POST /b"), cell(3000, 0, "route=GET /a"),
		}, regions...), false, "one upstream, pay-2: 100 % of the excess", "upstream pay-2"},
		{"one consumer, who also has one upstream", []Cell{
			cell(900, 890, "consumer=shop-1"), cell(8100, 110, "consumer=shop-2"), cell(3000, 900, "upstream=pay-1"), cell(6000, 100, "upstream=pay-2"),
		}, false, "one consumer, shop-1: 90 % of the excess", "consumer shop-1"},
		{"one consumer of a plan and of a region", []Cell{
			cell(1500, 1000, "plan=gold"), cell(1200, 990, "consumer=shop-1"), cell(3000, 1000, "region=eu"), cell(6000, 0, "region=us"),
		}, false, "one consumer, shop-1: 100 % of the excess", "consumer shop-1"},
		{"everybody alike", append([]Cell{
			cell(3000, 330, "upstream=pay-1"), cell(3000, 340, "upstream=pay-2"), cell(3000, 330, "upstream=pay-3"),
		}, regions...), false, evenly, ""},
		{"the gateway", regions, true, "the gateway itself, for everyone", ""},
		// One upstream with nearly all traffic is no suspect for nearly all failures.
		{"the only upstream", []Cell{cell(8900, 990, "upstream=pay-1")}, false, evenly, ""},
		// Three failures are no evidence against a value.
		{"too few", []Cell{cell(10, 3, "node=gw-1")}, false, evenly, ""},
		{"a release on its own hosts", []Cell{
			cell(3000, 1000, "upstream=pay-2"), fresh(cell(3000, 1000, "version=2.14.0")), cell(6000, 0, "version=2.13.9"),
		}, false, "one version, 2.14.0: 100 % of the excess", "version 2.14.0"},
		{"what was as bad before", []Cell{usually(cell(2000, 600, "route=GET /old"), 0.3), cell(3000, 400, "route=GET /a"), cell(4000, 0, "route=GET /b")}, false, evenly, "GET /a"},
		{"one route on one upstream", []Cell{
			cell(3000, 1000, "upstream=pay-2"), cell(3000, 1000, "route=POST /a"), cell(1000, 1000, "route=POST /a", "upstream=pay-2"),
		}, false, "one upstream, pay-2 with POST /a: 100 % of the excess", "POST /a on upstream pay-2"},
		// A pair that is its upstream's mean explains no more.
		{"a pair that is no worse", []Cell{
			cell(3000, 1000, "upstream=pay-2"), cell(6000, 800, "route=POST /a"), cell(2300, 800, "route=POST /a", "upstream=pay-2"),
		}, false, "one upstream, pay-2: 100 % of the excess", "upstream pay-2"},
	} {
		list := Rank(test.cells, now, before)
		if got := ReachOf(list, test.gateway).String(); got != test.want {
			t.Errorf("%s: reach %q, want %q (suspects %v)", test.name, got, test.want, list)
		}
		first := ""
		if len(list) > 0 {
			first = list[0].Name()
		}
		if first != test.first {
			t.Errorf("%s: first suspect %q, want %q", test.name, first, test.first)
		}
	}
}

func TestRankWithoutExcess(t *testing.T) {
	if list := Rank([]Cell{cell(100, 1, "node=gw-1")}, slo.Count{Valid: 100, Bad: 1}, slo.Count{Valid: 100, Bad: 2}); list != nil {
		t.Errorf("less failures than usual have suspects %v", list)
	}
}

// TestManyConsumers: among hundreds of values that are hit alike none stands out by chance.
func TestManyConsumers(t *testing.T) {
	var cells []Cell
	for i := range 300 {
		cells = append(cells, cell(30, int64(2+i%5), fmt.Sprintf("consumer=c%d", i)))
	}
	cells = append(cells, cell(1500, 195, "consumer=large")) // 13 % where 12 % is the mean
	if list := Rank(cells, slo.Count{Valid: 10_500, Bad: 1395}, slo.Count{Valid: 100_000, Bad: 10}); len(list) > 0 {
		t.Errorf("suspects %v", list)
	}
}

func TestSentence(t *testing.T) {
	now, before := slo.Count{Valid: 9000, Bad: 1000}, slo.Count{Valid: 90000, Bad: 90}
	for _, test := range []struct {
		cells []Cell
		want  string
	}{
		{[]Cell{cell(900, 890, "upstream=pay-2")}, "90 % of the excess errors are on upstream pay-2, 9.0 times their usual share"},
		{
			[]Cell{cell(3000, 990, "upstream=pay-2"), cell(3000, 990, "route=POST /v1/charges"), cell(880, 871, "upstream=pay-2", "route=POST /v1/charges")},
			"88 % of the excess errors are POST /v1/charges on upstream pay-2, 9.0 times their usual share",
		},
		{nil, "nothing stands out: no route, upstream, node, region, version, plan or consumer has more than its share of the errors"},
	} {
		if got := Sentence(Rank(test.cells, now, before), "errors"); got != test.want {
			t.Errorf("sentence %q, want %q", got, test.want)
		}
	}
}

// TestPairs: values of one dimension are not paired with each other.
func TestPairs(t *testing.T) {
	now, before := slo.Count{Valid: 9000, Bad: 1000}, slo.Count{Valid: 90000, Bad: 90}
	singles := Singles([]Cell{cell(1000, 500, "node=a"), cell(1000, 500, "node=b"), cell(2000, 990, "route=GET /x")}, now, before)
	if len(singles) != 3 || len(Pairs(singles)) != 2 {
		t.Errorf("singles %v, pairs %v", singles, Pairs(singles))
	}
}
