package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
)

func (c *comparer) workflows(ctx context.Context) error {
	funnel, err := c.ask(ctx, "funnel")
	if err != nil {
		return err
	}
	value, err := c.ask(ctx, "value")
	if err != nil {
		return err
	}
	for _, w := range workflows() {
		c.o.walk(w, c.from, c.to)
		c.steps(w, index(funnel["funnel"], "workflow", "number"))
		runs, amount, hour := 0, int64(0), int64(0)
		last := c.to.Add(-time.Hour)
		for _, r := range w.runs {
			if n := len(w.steps); r.times[n-1] != 0 && in(r.times[n-1], c.from, c.to) {
				runs++
				amount += r.amount
				if in(r.times[n-1], last, c.to) {
					hour += r.amount
				}
			}
		}
		got := index(value["value"], "workflow")[w.name]
		c.equal(w.name+" completed", got["completed"], runs)
		c.equal(w.name+" amount", got["amount"], float64(amount)/1e6)
		c.equal(w.name+" last hour", got["hour_amount"], float64(hour)/1e6)
		c.equal(w.name+" currency", got["currency"], map[string]string{"checkout": "EUR", "label": "USD"}[w.name])
	}
	return nil
}

// steps compares a funnel.
func (c *comparer) steps(w *workflowTruth, got map[string]row) {
	for i := range w.steps {
		r := got[fmt.Sprintf("%s | %d", w.name, i+1)]
		what := fmt.Sprintf("%s step %d", w.name, i+1)
		reached, dropped, matched := 0, 0, int64(0)
		reasons := map[string]int64{}
		for _, run := range w.runs {
			if run.times[i] != 0 && in(run.times[i], c.from, c.to) {
				matched++
			}
			if !in(run.start, c.from, c.to) {
				continue
			}
			if run.done() > i {
				reached++
			}
			if run.done() == i {
				dropped++
				reasons[run.failed]++
			}
		}
		c.equal(what+" reached", r["reached"], reached)
		c.equal(what+" dropped", r["dropped_before"], dropped)
		c.equal(what+" reasons", r["drop_reasons"], reasons)
		c.equal(what+" failed calls", r["failed_calls"], w.failed[i])
		c.equal(what+" without a run", r["calls_without_run"], w.success[i]-matched)
	}
}

func (c *comparer) deprecated(ctx context.Context) error {
	tables, err := c.ask(ctx, "deprecated")
	if err != nil {
		return err
	}
	type who struct {
		calls int64
		last  int64
	}
	for name, covers := range map[string]func(*truth) bool{
		"catalog v1":             func(t *truth) bool { return t.Service == "catalog" && t.Version == "v1" },
		"GET /v1/orders/{order}": func(t *truth) bool { return t.Method == "GET" && t.Route == "/v1/orders/{id}" },
	} {
		want := map[string]*who{}
		total := int64(0)
		for i := range c.o.calls {
			t := &c.o.calls[i]
			if !covers(t) {
				continue
			}
			if want[name+" | "+t.consumer] == nil {
				want[name+" | "+t.consumer] = &who{}
			}
			w := want[name+" | "+t.consumer]
			w.calls++
			w.last = t.At
			total++
		}
		got := map[string]row{}
		for key, r := range index(tables["notify"], "what", "consumer") {
			if strings.HasPrefix(key, name+" | ") {
				got[key] = r
			}
		}
		rows(c, "to be told of", got, want, func(name string, got row, want *who) {
			c.equal(name+" calls", got["calls"], want.calls)
			c.equal(name+" last call", got["last_call_hour"], time.UnixMicro(want.last).Truncate(time.Hour))
		})
		c.equal(name+" calls", index(tables["deprecated"], "what")[name]["calls"], total)
	}
	return nil
}

func (c *comparer) versions(ctx context.Context) error {
	tables, err := c.ask(ctx, "deprecated")
	if err != nil {
		return err
	}
	calls, consumers := map[string]int64{}, map[string]map[string]bool{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		key := t.Service + " | " + t.Version
		calls[key]++
		if consumers[key] == nil {
			consumers[key] = map[string]bool{}
		}
		consumers[key][t.consumer] = true
	}
	rows(c, "version", index(tables["versions"], "service", "version"), calls, func(name string, got row, want int64) {
		c.equal(name+" calls", got["calls"], want)
		c.equal(name+" consumers", got["consumers"], len(consumers[strings.TrimPrefix(name, "version ")]))
	})
	return nil
}

// A promiseTruth is requests that a promise is about.
type promiseTruth struct{ valid, bad, timed, fast int64 }

func (c *comparer) sla(ctx context.Context) error {
	tables, err := c.ask(ctx, "sla")
	if err != nil {
		return err
	}
	got := index(tables["sla"], "month_name", "for", "consumer", "promise")
	want := map[string]*promiseTruth{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		month := time.UnixMicro(t.At).In(c.o.loc).Format("2006-01")
		var keys []string
		if t.plan == "pro" {
			keys = append(keys, month+" | plan pro |  | ")
		}
		if t.plan == "enterprise" {
			keys = append(keys, month+" | plan enterprise | "+t.consumer+" | ")
		}
		if t.tier == "gold" {
			keys = append(keys, month+" | tier gold |  | ")
		}
		for _, k := range keys {
			if want[k] == nil {
				want[k] = &promiseTruth{}
			}
			want[k].add(t)
		}
	}
	for _, k := range list(want) {
		w := want[k]
		if w.valid > 0 {
			r := got[k+"availability"]
			c.equal("promise "+k+"requests", r["requests"], w.valid)
			c.equal("promise "+k+"attained", r["attained"], float64(w.valid-w.bad)/float64(w.valid))
		}
		if strings.Contains(k, "plan pro") {
			r := got[k+"under 80ms"]
			c.equal("promise "+k+"timed", r["requests"], w.timed)
			c.equal("promise "+k+"fast", r["attained"], float64(w.fast)/float64(w.timed))
		}
	}
	return nil
}

func (p *promiseTruth) add(t *truth) {
	if t.Class == "client_quota" {
		return
	}
	p.valid++
	if isServer(t.Class) {
		p.bad++
		return
	}
	p.timed++
	// A threshold counts from the edge 2^(k/64) µs that is nearest to it.
	edge := math.Exp2(math.Round(math.Log2(80_000)*64) / 64)
	if float64(t.LatencyUS) <= edge {
		p.fast++
	}
}

func (c *comparer) quota(ctx context.Context) error {
	tables, err := c.ask(ctx, "quota")
	if err != nil {
		return err
	}
	begin := time.Date(c.to.Add(-time.Second).In(c.o.loc).Year(), c.to.Add(-time.Second).In(c.o.loc).Month(), 1, 0, 0, 0, 0, c.o.loc)
	used, throttled := map[string]int64{}, map[string]int64{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		if c.o.cons[t.consumer].plan != "metered" || !in(t.At, begin, c.to) {
			continue
		}
		if t.Class == "client_quota" {
			throttled[t.consumer]++
		} else {
			used[t.consumer]++
		}
	}
	rows(c, "quota of", index(tables["quota"], "unit"), used, func(name string, got row, want int64) {
		c.equal(name+" used", got["used"], want)
		c.equal(name+" throttled", got["throttled"], throttled[strings.TrimPrefix(name, "quota of ")])
	})
	return nil
}

// forecasts asks at several moments of a month when quotas will be used up, and
// returns which share of the intervals holds the moment at which they were.
func (c *comparer) forecasts(ctx context.Context) (float64, int, error) {
	covered, n := 0, 0
	for _, ahead := range []int{20, 16, 12, 8} {
		at := c.to.AddDate(0, 0, -ahead).Add(13 * time.Hour)
		tables, err := c.askAt(ctx, "quota", c.from, at)
		if err != nil {
			return 0, 0, err
		}
		truth := c.exhausted()
		for _, r := range tables["quota"] {
			name := fmt.Sprint(r["unit"])
			if r["forecast_known"] != true || c.o.name(name) != name {
				continue
			}
			n++
			if holds(r, truth[name], c.to) {
				covered++
			}
		}
	}
	return float64(covered) / float64(max(1, n)), n, nil
}

// exhausted returns when each metered consumer reached 600 calls in the month.
func (c *comparer) exhausted() map[string]int64 {
	last := c.to.Add(-time.Second).In(c.o.loc)
	begin := time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, c.o.loc)
	used, at := map[string]int{}, map[string]int64{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		if !in(t.At, begin, c.to) || t.Class == "client_quota" {
			continue
		}
		if used[t.consumer]++; used[t.consumer] == 600 {
			at[t.consumer] = t.At
		}
	}
	return at
}

// holds tells whether a forecast's interval, in steps of ten minutes, holds the
// moment; 0 is never in the month. What the traffic doesn't reach is unknown: the
// last hours of a month that ends later elsewhere.
func holds(r row, truth int64, end time.Time) bool {
	parse := func(column string) (time.Time, bool) {
		text, ok := r[column].(string)
		t, err := time.Parse(time.RFC3339Nano, text)
		return t, ok && err == nil
	}
	earliest, soon := parse("exhausted_earliest")
	latest, sure := parse("exhausted_latest")
	if truth == 0 {
		return !sure || latest.After(end.Add(-2*time.Hour))
	}
	t := time.UnixMicro(truth)
	return soon && !t.Before(earliest.Add(-10*time.Minute)) && (!sure || !t.After(latest))
}

func (c *comparer) fixes(ctx context.Context) error {
	tables, err := c.ask(ctx, "fixes")
	if err != nil {
		return err
	}
	calls, consumers := map[string]int64{}, map[string]map[string]bool{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		if t.Class == "none" {
			continue
		}
		key := t.Service + " | " + t.Method + " " + t.Route + " | " + t.Class
		calls[key]++
		if consumers[key] == nil {
			consumers[key] = map[string]bool{}
		}
		consumers[key][t.consumer] = true
	}
	lost := c.lost()
	rows(c, "fix", index(tables["fixes"], "service", "operation", "error_class"), calls, func(name string, got row, want int64) {
		key := strings.TrimPrefix(name, "fix ")
		c.equal(name+" calls", got["failed_calls"], want)
		c.equal(name+" consumers", got["consumers"], len(consumers[key]))
		amounts, _ := got["amounts"].([]any)
		sum := 0.0
		for _, a := range amounts {
			v, _ := a.(map[string]any)["amount"].(float64)
			sum += v
		}
		c.within(name+" value lost", sum, lost[key], 1e-9)
	})
	return nil
}

// lost is what dropped runs would have been worth, by service, operation and class.
func (c *comparer) lost() map[string]float64 {
	m := map[string]float64{}
	for _, w := range workflows() {
		c.o.walk(w, c.from, c.to)
		reached, completed, amount := make([]float64, len(w.steps)+1), 0.0, 0.0
		for _, r := range w.runs {
			for n := range r.done() {
				reached[n+1]++
			}
			if r.done() == len(w.steps) {
				completed++
				amount += float64(r.amount) / 1e6
			}
		}
		for _, r := range w.runs {
			if r.failed == "" || r.done() == len(w.steps) {
				continue
			}
			s := w.steps[r.at]
			service := s.service
			if service == "" {
				service = "shipping"
			}
			m[service+" | "+s.method+" "+s.route+" | "+r.failed] += amount / completed * completed / reached[r.done()]
		}
	}
	return m
}

func (c *comparer) inventory(ctx context.Context) error {
	tables, err := c.ask(ctx, "inventory")
	if err != nil {
		return err
	}
	calls, answers := map[string]int64{}, map[string]int64{}
	for i := range c.o.calls {
		t := &c.o.calls[i]
		key := t.Service + " | " + t.Method + " " + t.Route
		calls[key]++
		if t.Class != "client_not_found" {
			answers[key]++
		}
	}
	for key := range calls {
		if answers[key] == 0 {
			delete(calls, key)
		}
	}
	rows(c, "operation", index(tables["operations"], "service", "operation"), calls, func(name string, got row, want int64) {
		c.equal(name+" calls", got["calls"], want)
	})
	return nil
}
