package main

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/loadgen"
)

// An oracle computes the figures from the list, as plainly as can be. It uses
// nothing of the product.
type oracle struct {
	t       *loadgen.ProductTraffic
	loc     *time.Location
	names   map[string]string              // former names to what they are called now
	history map[int][]loadgen.ProductEvent // of each key, in the order of time
	calls   []truth
	cons    map[string]*consumerTruth
}

// truth is a call with whom it truly belongs to.
type truth struct {
	*loadgen.ProductCall
	consumer, plan, tier, source string
}

// consumerTruth is what happened to a consumer.
type consumerTruth struct {
	signedUp, firstCall, firstSuccess int64 // microseconds; 0 is never
	announced                         bool
	plan                              string // now
}

func newOracle(t *loadgen.ProductTraffic, loc *time.Location) *oracle {
	o := &oracle{t: t, loc: loc, names: map[string]string{}, history: map[int][]loadgen.ProductEvent{}, cons: map[string]*consumerTruth{}}
	for _, e := range t.Events {
		if e.Kind != "renamed" {
			continue
		}
		for former, name := range o.names {
			if name == e.Former {
				o.names[former] = e.Consumer
			}
		}
		if _, ok := o.names[e.Former]; !ok {
			o.names[e.Former] = e.Consumer
		}
	}
	o.histories()
	for i := range t.Calls {
		o.calls = append(o.calls, o.resolve(&t.Calls[i]))
	}
	o.consumers()
	return o
}

// name returns what a consumer is called now.
func (o *oracle) name(s string) string {
	if n, ok := o.names[s]; ok {
		return n
	}
	return s
}

func (o *oracle) histories() {
	keysOf := map[string]map[int]bool{}
	for _, e := range o.t.Events {
		if e.Key >= 0 && e.Consumer != "" {
			if keysOf[o.name(e.Consumer)] == nil {
				keysOf[o.name(e.Consumer)] = map[int]bool{}
			}
			keysOf[o.name(e.Consumer)][e.Key] = true
		}
	}
	for _, e := range o.t.Events {
		switch {
		case e.Key >= 0:
			o.history[e.Key] = append(o.history[e.Key], e)
		case e.Kind != "renamed":
			for k := range keysOf[o.name(e.Consumer)] {
				also := e
				also.Consumer = ""
				o.history[k] = append(o.history[k], also)
			}
		}
	}
	for k := range o.history {
		slices.SortStableFunc(o.history[k], func(a, b loadgen.ProductEvent) int { return cmp.Compare(a.At, b.At) })
	}
}

// resolve says whose a call was. What is known of a key first also goes for the
// time before.
func (o *oracle) resolve(c *loadgen.ProductCall) truth {
	t := truth{ProductCall: c}
	for i, e := range o.history[c.Key] {
		if i > 0 && e.At > c.At {
			break
		}
		if e.Consumer != "" {
			t.consumer = o.name(e.Consumer)
		}
		if e.Plan != "" {
			t.plan = e.Plan
		}
		if e.Tier != "" {
			t.tier = e.Tier
		}
	}
	switch {
	case t.consumer != "":
		t.source = "catalogue"
	case c.Named != "":
		t.consumer, t.source = o.name(c.Named), "gateway"
	default:
		id := o.t.Keys[c.Key]
		t.consumer, t.source = "key "+hex.EncodeToString(id[:4]), "first_seen"
	}
	return t
}

func (o *oracle) consumer(name string) *consumerTruth {
	if o.cons[name] == nil {
		o.cons[name] = &consumerTruth{}
	}
	return o.cons[name]
}

func (o *oracle) consumers() {
	latest := map[string]int64{}
	for _, e := range o.t.Events {
		if e.Kind == "renamed" || e.Consumer == "" {
			continue
		}
		c := o.consumer(o.name(e.Consumer))
		if e.Kind == "created" && (!c.announced || e.At < c.signedUp) {
			c.announced, c.signedUp = true, e.At
		}
	}
	for i := range o.calls {
		t := &o.calls[i]
		c := o.consumer(t.consumer)
		if c.firstCall == 0 {
			c.firstCall = t.At
			if !c.announced {
				c.signedUp = t.At
			}
		}
		if t.Class == "none" && c.firstSuccess == 0 {
			c.firstSuccess = t.At
		}
	}
	// The plan now is that of the event that speaks of any of its keys last.
	for k, events := range o.history {
		name, plan := "", ""
		for _, e := range events {
			if e.Consumer != "" {
				name = o.name(e.Consumer)
			}
			if e.Plan != "" {
				plan = e.Plan
			}
			if at := e.At; name != "" && at >= latest[name] {
				latest[name] = at
				o.consumer(name).plan = plan
			}
		}
		_ = k
	}
}

// day is the calendar day of a moment where the reports' days begin.
func (o *oracle) day(us int64) time.Time {
	y, m, d := time.UnixMicro(us).In(o.loc).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, o.loc)
}

// monday is the begin of the week of a moment.
func (o *oracle) monday(us int64) time.Time {
	d := o.day(us)
	return d.AddDate(0, 0, -int(d.Weekday()+6)%7)
}

// in tells whether a moment is in [from, to).
func in(us int64, from, to time.Time) bool { return us >= from.UnixMicro() && us < to.UnixMicro() }

// isServer tells whether a class is a failure on our side.
func isServer(class string) bool {
	return strings.HasPrefix(class, "upstream_") || strings.HasPrefix(class, "gateway_") || class == "breaker_open" || class == "unknown"
}

// A runTruth is a run of a workflow.
type runTruth struct {
	unit   string
	start  int64
	times  []int64
	came   int64 // when it came to wait for its step
	failed string
	at     int // step of the failure
	amount int64
}

func (r *runTruth) done() (n int) {
	for _, t := range r.times {
		if t != 0 {
			n++
		}
	}
	return n
}

// A workflowTruth is a workflow as declared, and what it came to.
type workflowTruth struct {
	name    string
	byKey   bool
	window  int64
	steps   []stepTruth
	amount  int64 // 0: from the log
	runs    []*runTruth
	failed  []map[string]int64 // calls to a step that failed, by class
	success []int64            // calls that did a step
}

type stepTruth struct {
	service, method, route string
	low, high              int
}

// workflows are those of the definitions, written down once more.
func workflows() []*workflowTruth {
	return []*workflowTruth{
		{name: "checkout", window: 30 * 60_000_000, amount: 12_500_000, steps: []stepTruth{
			{"orders", "POST", "/v1/carts", 200, 299},
			{"orders", "POST", "/v1/carts/{id}/items", 200, 299},
			{"orders", "POST", "/v1/orders", 200, 299},
			{"payments", "POST", "/v1/charges", 200, 299},
		}},
		{name: "label", byKey: true, window: 120 * 60_000_000, steps: []stepTruth{{"", "POST", "/v1/rates", 200, 299}, {"", "POST", "/v1/labels", 201, 201}}},
	}
}

// walk finds the runs: a done first step begins one, a done later step takes the
// one that has waited for it longest and is in time.
func (o *oracle) walk(w *workflowTruth, from, to time.Time) {
	w.success = make([]int64, len(w.steps))
	for range w.steps {
		w.failed = append(w.failed, map[string]int64{})
	}
	open := map[string][]*runTruth{}
	for i := range o.calls {
		c := &o.calls[i]
		step := slices.IndexFunc(w.steps, func(s stepTruth) bool {
			return s.method == c.Method && s.route == c.Route && (s.service == "" || s.service == c.Service)
		})
		if step < 0 {
			continue
		}
		unit := c.consumer
		if id := o.t.Keys[c.Key]; w.byKey {
			unit = hex.EncodeToString(id[:])
		}
		ok := c.Status >= w.steps[step].low && c.Status <= w.steps[step].high
		if in(c.At, from, to) {
			if ok {
				w.success[step]++
			} else {
				w.failed[step][c.Class]++
			}
		}
		var best *runTruth
		for _, r := range open[unit] {
			if r.done() == step && step > 0 && c.At <= r.start+w.window && (best == nil || r.came < best.came) {
				best = r
			}
		}
		switch {
		case !ok && best != nil:
			best.failed, best.at = c.Class, step
		case ok && best != nil:
			best.times[step], best.came, best.failed, best.at = c.At, c.At, "", 0
			if step == len(w.steps)-1 {
				if best.amount = w.amount; w.amount == 0 {
					best.amount = c.Amount
				}
				open[unit] = slices.DeleteFunc(open[unit], func(r *runTruth) bool { return r == best })
			}
		case ok && step == 0:
			r := &runTruth{unit: unit, start: c.At, came: c.At, times: make([]int64, len(w.steps))}
			r.times[0] = c.At
			w.runs = append(w.runs, r)
			open[unit] = append(slices.DeleteFunc(open[unit], func(r *runTruth) bool { return c.At > r.start+w.window }), r)
		}
	}
}
