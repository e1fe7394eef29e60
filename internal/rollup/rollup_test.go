package rollup

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }

func TestMissing(t *testing.T) {
	for _, c := range []struct {
		name     string
		end      PartitionEnd
		next     int64
		first, n int64
	}{
		{"empty partition", PartitionEnd{Start: 7, End: 7, Committed: -1}, 0, 7, 0},
		{"nothing read", PartitionEnd{Start: 7, End: 9, Committed: -1}, 0, 7, 2},
		{"begun in the middle, nothing there yet", PartitionEnd{Start: 0, End: 9, Committed: 9}, 0, 9, 0},
		{"read to the end", PartitionEnd{Start: 0, End: 9, Committed: 5}, 9, 9, 0},
		{"beyond the end that was asked for", PartitionEnd{Start: 0, End: 9, Committed: 5}, 12, 12, 0},
		{"in flight: intent committed, not in the ledger", PartitionEnd{Start: 0, End: 9, Committed: 5}, 5, 5, 4},
		{"retention removed what was not read", PartitionEnd{Start: 6, End: 9, Committed: 5}, 5, 6, 3},
	} {
		if first, n := c.end.Missing(c.next); first != c.first || n != c.n {
			t.Errorf("%s: %d, %d, want %d, %d", c.name, first, n, c.first, c.n)
		}
	}
}

func TestCombine(t *testing.T) {
	idle := PartitionState{CompleteUntil: at(100), AsOf: at(100)}
	behind := PartitionState{CompleteUntil: at(40), AsOf: at(99), Lag: 5}
	for _, c := range []struct {
		name   string
		before bool
		parts  []PartitionState
		want   Watermark
	}{
		{"all read", false, []PartitionState{idle, idle}, Watermark{CompleteUntil: at(100), MeasuredAt: at(100), CaughtUp: true}},
		{"one is behind", false, []PartitionState{idle, behind}, Watermark{CompleteUntil: at(40), MeasuredAt: at(99), Lag: 5}},
		{"one is behind, but had caught up", true, []PartitionState{behind, idle}, Watermark{CompleteUntil: at(40), MeasuredAt: at(99), Lag: 5, CaughtUp: true}},
		{"a batch is on its way", false, []PartitionState{{CompleteUntil: at(98), AsOf: at(100), Lag: 9}}, Watermark{CompleteUntil: at(98), MeasuredAt: at(100), Lag: 9, CaughtUp: true}},
		{"a producer's clock is ahead", false, []PartitionState{{CompleteUntil: at(500), AsOf: at(100), Lag: 9}}, Watermark{CompleteUntil: at(100), MeasuredAt: at(100), Lag: 9, CaughtUp: true}},
	} {
		c.want.Topic = "t"
		got, ok := Combine("t", c.before, c.parts)
		if diff := cmp.Diff(c.want, got); diff != "" || !ok {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if _, ok := Combine("t", false, nil); ok {
		t.Error("a topic without partitions has a watermark")
	}
}

func TestChoose(t *testing.T) {
	levels := []Level{{"10s", Grain10s, 72 * time.Hour}, {"1m", Grain1m, 90 * 24 * time.Hour}, {"1h", Grain1h, 0}}
	for _, c := range []struct {
		ago, length time.Duration
		want        string
	}{
		{time.Hour, time.Hour, "10s"},
		{6 * time.Hour, 6 * time.Hour, "10s"},
		{7 * time.Hour, 7 * time.Hour, "1m"},
		{36 * time.Hour, 36 * time.Hour, "1m"},
		{48 * time.Hour, 48 * time.Hour, "1h"},
		{100 * time.Hour, time.Minute, "1m"},
		{1000 * 24 * time.Hour, time.Minute, "1h"},
	} {
		got, ok := Choose(levels, noon.Add(-c.ago), noon.Add(-c.ago+c.length), noon)
		if got.Name != c.want || !ok {
			t.Errorf("%s long, %s ago: %s, %t, want %s", c.length, c.ago, got.Name, ok, c.want)
		}
	}
	if l, ok := Choose(levels[:2], noon.Add(-1000*24*time.Hour), noon, noon); ok || l.Name != "1m" {
		t.Errorf("a range that no level keeps: %s, %t", l.Name, ok)
	}
}

func TestCoverAndInside(t *testing.T) {
	for _, c := range []struct{ from, to, coverFrom, coverTo, insideFrom, insideTo int }{
		{0, 60, 0, 60, 0, 60},
		{1, 60, 0, 60, 60, 60},
		{0, 61, 0, 120, 0, 60},
		{59, 121, 0, 180, 60, 120},
		{10, 20, 0, 60, 60, 60},
	} {
		if from, to := Grain1m.Cover(at(c.from), at(c.to)); !from.Equal(at(c.coverFrom)) || !to.Equal(at(c.coverTo)) {
			t.Errorf("Cover(%d, %d) = %s, %s", c.from, c.to, from, to)
		}
		if from, to := Grain1m.Inside(at(c.from), at(c.to)); !from.Equal(at(c.insideFrom)) || !to.Equal(at(c.insideTo)) {
			t.Errorf("Inside(%d, %d) = %s, %s", c.from, c.to, from, to)
		}
	}
	if got := len(Grain1m.Windows(at(0), at(180))); got != 3 {
		t.Errorf("%d windows of a minute in three minutes", got)
	}
}

func TestStep(t *testing.T) {
	for _, c := range []struct {
		grain  Grain
		length time.Duration
		want   time.Duration
	}{
		{Grain10s, 2 * time.Minute, 10 * time.Second},
		{Grain10s, time.Hour, 5 * time.Minute},
		{Grain1m, time.Minute, time.Minute},
		{Grain1h, 30 * 24 * time.Hour, 7 * 24 * time.Hour},
	} {
		if got := c.grain.Step(noon, noon.Add(c.length), 24); got != c.want {
			t.Errorf("Step over %s = %s, want %s", c.length, got, c.want)
		}
	}
}
