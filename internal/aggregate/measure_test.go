package aggregate

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/rollup"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a broker, a ledger and a record in memory. Message o of a partition
// has Kafka time noon + o seconds.
type world struct {
	now       time.Time
	end       map[string][]int64
	committed int64
	reach     map[string]int64 // of partition 0
	lookups   int
	since     []rollup.Reach
	recorded  []rollup.Watermark
	failEnd   string
	retention time.Duration

	failRetention error
}

func (w *world) Ends(_ context.Context, topic string) ([]rollup.PartitionEnd, error) {
	if topic == w.failEnd {
		return nil, errors.New("no leader")
	}
	var out []rollup.PartitionEnd
	for p, end := range w.end[topic] {
		out = append(out, rollup.PartitionEnd{Topic: topic, Partition: int32(p), End: end, Committed: w.committed, AsOf: w.now})
	}
	return out, nil
}

func (w *world) MessageTime(_ context.Context, topic string, p int32, offset int64) (time.Time, bool, error) {
	w.lookups++
	return noon.Add(time.Duration(offset) * time.Second), offset < w.end[topic][p], nil
}

func (w *world) Retention(context.Context, string) (time.Duration, error) {
	return w.retention, w.failRetention
}

func (w *world) Reaches(_ context.Context, _ []string, since []rollup.Reach) ([]rollup.Reach, error) {
	w.since = since
	var out []rollup.Reach
	for t, next := range w.reach {
		out = append(out, rollup.Reach{Topic: t, Next: next})
	}
	return out, nil
}

func (w *world) EventDelays(context.Context, time.Time) (map[string]time.Duration, error) {
	return map[string]time.Duration{"a": 3 * time.Second}, nil
}

func (w *world) Watermarks(context.Context) ([]rollup.Watermark, error) { return w.recorded, nil }

func (w *world) InsertWatermarks(_ context.Context, ws []rollup.Watermark) error {
	w.recorded = ws
	return nil
}

func (w *world) measurer(topics ...string) *Measurer {
	return New(DefaultConfig(), topics, Deps{
		Broker: w, Ledger: w, Record: w, Now: func() time.Time { return w.now },
		Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	})
}

func TestMeasure(t *testing.T) {
	w := &world{now: noon.Add(time.Hour), end: map[string][]int64{"a": {0, 0}}, committed: -1, reach: map[string]int64{}}
	m := w.measurer("a")
	want := func(step string, until time.Duration, lag int64, caughtUp bool) {
		t.Helper()
		got, err := m.Measure(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		ws := []rollup.Watermark{{Topic: "a", CompleteUntil: noon.Add(until), MeasuredAt: w.now, Lag: lag, CaughtUp: caughtUp, EventDelay: 3 * time.Second}}
		if diff := cmp.Diff(ws, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
		if diff := cmp.Diff(got, w.recorded); diff != "" {
			t.Errorf("%s, recorded:\n%s", step, diff)
		}
	}
	want("empty", time.Hour, 0, true)
	m = w.measurer("a")
	w.recorded = nil
	w.end["a"][0] = 100
	want("nothing is stored", 0, 100, false)
	w.reach["a"] = 40
	want("40 are stored", 40*time.Second, 60, false)
	lookups := w.lookups
	want("nothing has changed", 40*time.Second, 60, false)
	if w.lookups != lookups {
		t.Error("looked the same message up again")
	}
	if len(w.since) != 1 || w.since[0].Next != 40 {
		t.Errorf("the ledger is read from %v", w.since)
	}
	w.reach["a"] = 100
	want("all is stored", time.Hour, 0, true)
	w.end["a"][0], w.now = 5000, noon.Add(3*time.Hour)
	want("behind again, but had caught up", 100*time.Second, 4900, true)
	w.committed = 5000
	want("the group begins at the end", 3*time.Hour, 0, true)
}

func TestMeasureKeepsOtherTopics(t *testing.T) {
	w := &world{now: noon, end: map[string][]int64{"a": {0}, "b": {0}}, committed: -1, failEnd: "a"}
	ws, err := w.measurer("a", "b").Measure(t.Context())
	if err == nil || len(ws) != 1 || ws[0].Topic != "b" {
		t.Errorf("%v, %v; want topic b and an error", ws, err)
	}
}

// What is not stored and older than half of Kafka's retention is at risk; where
// the retention can't be known, nothing is said.
func TestMeasureTellsWhatIsAtRisk(t *testing.T) {
	for _, c := range []struct {
		name      string
		retention time.Duration
		stored    int64
		fails     bool
		want      bool
	}{
		{"less than half", 3 * time.Hour, 0, false, false},
		{"more than half", 90 * time.Minute, 0, false, true},
		{"all is stored", time.Minute, 100, false, false},
		{"kept for ever", 0, 0, false, false},
		{"not known", time.Minute, 0, true, false},
	} {
		w := &world{now: noon.Add(time.Hour), end: map[string][]int64{"a": {100}}, committed: -1, reach: map[string]int64{"a": c.stored}, retention: c.retention}
		var log strings.Builder
		m := w.measurer("a")
		m.log = slog.New(slog.NewTextHandler(&log, nil))
		if c.fails {
			w.failRetention = errors.New("not authorized")
		}
		ws, err := m.Measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ws[0].AtRisk() != c.want || strings.Contains(log.String(), "messages will be lost") != c.want || strings.Contains(log.String(), "DescribeConfigs") != c.fails {
			t.Errorf("%s: at risk %t, want %t; the log says:\n%s", c.name, ws[0].AtRisk(), c.want, log.String())
		}
	}
}

// An instance that starts knows from the record that a topic had caught up.
func TestMeasureRemembersCaughtUp(t *testing.T) {
	w := &world{
		now: noon.Add(time.Hour), end: map[string][]int64{"a": {100}}, committed: -1,
		recorded: []rollup.Watermark{{Topic: "a", CaughtUp: true}},
	}
	ws, err := w.measurer("a").Measure(t.Context())
	if err != nil || !ws[0].CaughtUp || ws[0].Lag != 100 {
		t.Errorf("%v, %v", ws, err)
	}
}

// A message that can't be seen must not let the watermark run ahead.
func TestMeasureWithoutMessageTime(t *testing.T) {
	w := &world{now: noon, end: map[string][]int64{"a": {7}}, committed: -1}
	b := blind{w}
	m := New(DefaultConfig(), []string{"a"}, Deps{
		Broker: b, Ledger: w, Record: w, Now: func() time.Time { return w.now },
		Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	})
	if ws, err := m.Measure(t.Context()); err == nil || len(ws) != 0 || w.recorded != nil {
		t.Errorf("%v, %v, recorded %v; want an error and nothing recorded", ws, err, w.recorded)
	}
}

type blind struct{ *world }

func (blind) MessageTime(context.Context, string, int32, int64) (time.Time, bool, error) {
	return time.Time{}, false, nil
}
