package failure

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// shop makes 30 callers with n requests each now and before, of which a share of
// 1 in 50 fails; change says otherwise for some.
func shop(n int64, change func(caller int, now map[string]int64)) []Cell {
	var cells []Cell
	for i := range 30 {
		usual := func() map[string]int64 { return map[string]int64{"none": n - n/50, "client_bad_request": n / 50} }
		c := Cell{Caller: Caller{Key: fmt.Sprintf("%08d", i), Consumer: fmt.Sprintf("c%d", i)}, Place: Place{"orders", "GET /v1/orders"}, Now: usual(), Before: usual()}
		change(i, c.Now)
		cells = append(cells, c)
	}
	return cells
}

func fails(now map[string]int64, n int64) {
	now["client_bad_request"] += n
	now["none"] -= n
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(int, map[string]int64)
		want   string
	}{
		{"usual", func(int, map[string]int64) {}, "usual"},
		{"one", func(i int, now map[string]int64) {
			if i == 7 {
				fails(now, 80)
			}
		}, "one_client"},
		{"three", func(i int, now map[string]int64) {
			if i < 3 {
				fails(now, 80)
			}
		}, "few_clients"},
		{"all", func(_ int, now map[string]int64) { fails(now, 10) }, "everybody"},
	} {
		list := Verdicts(shop(100, c.change))
		if len(list) != 1 || list[0].Who != c.want || list[0].Active != 30 {
			t.Errorf("%s: %+v", c.name, list)
			continue
		}
		if c.want == "one_client" && (list[0].Top.Consumer != "c7" || !strings.Contains(list[0].String(), "c7 (key 00000007)")) {
			t.Errorf("%s: %s", c.name, list[0])
		}
	}
}

func TestPatterns(t *testing.T) {
	one := func(i int, now map[string]int64) {
		if i == 7 {
			fails(now, 80)
		}
	}
	cells := shop(100, one)
	list := Patterns(cells)
	if len(list) != 1 || list[0].Consumer != "c7" || list[0].Failed != 82 || list[0].Before != 0.02 || list[0].Others != 0.02 {
		t.Fatalf("%+v", list)
	}
	// It failed like that before: no news, and not told again.
	cells[7].Before = map[string]int64{"none": 20, "client_bad_request": 80}
	if list := Patterns(cells); len(list) != 0 {
		t.Errorf("as before: %+v", list)
	}
	// It is new: only the others tell.
	cells[7].Before = nil
	if list := Patterns(cells); len(list) != 1 || !math.IsNaN(list[0].Before) || !strings.Contains(list[0].String(), "did not call before") {
		t.Errorf("new: %+v", list)
	}
	// Everybody fails alike: it is nobody's own.
	if list := Patterns(shop(100, func(_ int, now map[string]int64) { fails(now, 50) })); len(list) != 0 {
		t.Errorf("everybody: %+v", list)
	}
}

func TestSequences(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var calls []Call
	add := func(caller, operation, object, class string, after time.Duration) {
		calls = append(calls, Call{Caller: Caller{Key: caller}, At: at.Add(after), Operation: operation, Object: object, Class: class, Tries: 1})
	}
	for i := range 30 { // refused again and again, an hour apart
		add("loop", "GET /a", fmt.Sprint(i), "client_auth", time.Duration(i)*time.Hour)
	}
	for i := range 20 { // each call is tried three times
		class := "upstream_timeout"
		for try := range 3 {
			if try == 2 {
				class = "none"
			}
			add("storm", "GET /b", fmt.Sprint(i), class, time.Duration(i)*time.Minute+time.Duration(try)*time.Second)
		}
	}
	for i := range 40 {
		add("well", "GET /c", "same", "none", time.Duration(i)*time.Second)
	}
	list := Sequences(calls)
	if len(list) != 3 {
		t.Fatalf("%+v", list)
	}
	if s := list[0]; s.Run != 30 || s.RunClass != "client_auth" || s.RunTo.Sub(s.RunFrom) != 29*time.Hour || !slices.Equal(s.Shapes(), []string{"auth_loop"}) {
		t.Errorf("%+v: %v", s, s.Shapes())
	}
	if s := list[1]; s.Retries != 40 || s.Attempts() != 3 || s.Tries != 60 || !slices.Equal(s.Shapes(), []string{"retry_storm"}) {
		t.Errorf("%+v: %v", s, s.Shapes())
	}
	if s := list[2]; s.Attempts() != 1 || s.Shapes() != nil {
		t.Errorf("%+v: %v", s, s.Shapes())
	}
}
