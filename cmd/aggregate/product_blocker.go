package main

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/kpi"
)

// blockerRow is an error class and route with those whom it keeps.
type blockerRow struct {
	Class     string  `json:"error_class" title:"error class"`
	Service   string  `json:"service" title:"service"`
	Operation string  `json:"operation" title:"operation"`
	Consumers int     `json:"consumers" title:"stuck consumers"`
	Share     float64 `json:"share" title:"of stuck" show:"share"`
	Calls     int64   `json:"failed_calls" title:"failed calls"`
	Owner     string  `json:"owner" title:"owner"`
}

// stuckRow is a consumer that has never had success.
type stuckRow struct {
	Consumer  string    `json:"consumer" title:"consumer"`
	Plan      string    `json:"plan" title:"plan"`
	Contact   string    `json:"contact" title:"contact"`
	Class     string    `json:"error_class" title:"error class"`
	Service   string    `json:"service"`
	Operation string    `json:"operation" title:"operation"`
	Calls     int64     `json:"failed_calls" title:"failed calls"`
	ClassPart float64   `json:"class_share" title:"this class" show:"share"`
	SignedUp  time.Time `json:"signed_up_at" title:"signed up"`
	LastDay   time.Time `json:"last_day" title:"last tried" show:"day"`
}

// A blocker is what keeps a consumer from its first success.
type blocker struct {
	*clickhouse.ConsumerRow
	class, service, method, route string
	calls                         int64
	share                         float64 // of the class in the failed calls, weighted
	lastDay                       time.Time
}

// findBlockers returns, for each consumer who signed up in the window and has
// called but never with success, the error class of most of its failed calls and
// the operation where it has most of them. Of two days the later counts twice:
// who overcomes one fault and meets the next is kept by the next.
func (p *product) findBlockers(ctx context.Context) ([]blocker, error) {
	list, err := p.consumers(ctx)
	if err != nil {
		return nil, err
	}
	stuck := map[consumerID]*clickhouse.ConsumerRow{}
	var names []string
	for i := range list {
		c := &list[i]
		if !c.SignedUp.Before(p.window.From) && c.FirstCall != nil && c.FirstSuccess == nil {
			stuck[consumerID{c.Tenant, c.Consumer}] = c
			names = append(names, c.Consumer)
		}
	}
	days, err := p.store.FailedDays(ctx, p.window, names)
	if err != nil {
		return nil, err
	}
	var found []blocker
	for len(days) > 0 {
		id := consumerID{days[0].Tenant, days[0].Consumer}
		n := slices.IndexFunc(days, func(d clickhouse.FailedDay) bool { return consumerID{d.Tenant, d.Consumer} != id })
		if n < 0 {
			n = len(days)
		}
		if c := stuck[id]; c != nil {
			found = append(found, newBlocker(c, days[:n]))
		}
		days = days[n:]
	}
	return found, nil
}

// newBlocker weighs the failed calls of one consumer, which are in the order of days.
func newBlocker(c *clickhouse.ConsumerRow, days []clickhouse.FailedDay) blocker {
	type place struct{ class, service, method, template string }
	b := blocker{ConsumerRow: c, lastDay: days[len(days)-1].Day}
	classes, places, routes := map[string]float64{}, map[place]float64{}, map[place]string{}
	total := 0.0
	for _, d := range days {
		at := place{d.Class, d.Service, d.Method, kpi.Template(d.Route)}
		weight := float64(d.Calls) * math.Exp2(-b.lastDay.Sub(d.Day).Hours()/24)
		classes[d.Class] += weight
		places[at] += weight
		routes[at] = d.Route
		total += weight
		b.calls += d.Calls
	}
	for class, w := range classes {
		if best := classes[b.class]; w > best || w == best && class > b.class {
			b.class = class
		}
	}
	best := place{}
	for at, w := range places {
		more := w > places[best] || w == places[best] && cmp.Or(strings.Compare(at.service, best.service), strings.Compare(at.method, best.method), strings.Compare(at.template, best.template)) > 0
		if at.class == b.class && (best == place{} || more) {
			best = at
		}
	}
	b.service, b.method, b.route, b.share = best.service, best.method, routes[best], classes[b.class]/total
	return b
}

func (p *product) blockers(ctx context.Context) error {
	list, err := p.findBlockers(ctx)
	if err != nil {
		return err
	}
	type cause struct{ class, service, operation string }
	byCause := map[cause]*blockerRow{}
	stuck := []stuckRow{}
	for _, b := range list {
		c := cause{b.class, b.service, b.method + " " + kpi.Template(b.route)}
		row := byCause[c]
		if row == nil {
			row = &blockerRow{Class: b.class, Service: b.service, Operation: b.method + " " + b.route, Owner: p.ownerOf(b.service, b.method, b.route)}
			byCause[c] = row
		}
		row.Consumers++
		row.Calls += b.calls
		stuck = append(stuck, stuckRow{b.Consumer, b.Plan, b.Owner, b.class, b.service, b.method + " " + b.route, b.calls, b.share, b.SignedUp.UTC(), b.lastDay.UTC()})
	}
	rows := []blockerRow{}
	for _, r := range byCause {
		r.Share = ratio(r.Consumers, len(list))
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b blockerRow) int {
		return cmp.Or(b.Consumers-a.Consumers, int(b.Calls-a.Calls), strings.Compare(a.Class, b.Class), strings.Compare(a.Operation, b.Operation))
	})
	p.add("blockers", "What keeps consumers from their first success", "nobody who signed up in this window has only failed", rows)
	p.add("consumers", "Who is stuck", "nobody", limited(p, "consumers", stuck))
	p.note("the class of most failed calls, those of a later day counting twice those of the day before, and the operation with most of them; of consumers who signed up in the window")
	return nil
}
