package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/histogram"
	"gatewatch/internal/kpi"
)

// quotaRow is one consumer's or key's use of a quota of its plan.
type quotaRow struct {
	Plan      string  `json:"plan" title:"plan"`
	Per       string  `json:"per" title:"per"`
	Unit      string  `json:"unit" title:"consumer or key"`
	Contact   string  `json:"contact" title:"contact"`
	Quota     int64   `json:"quota" title:"quota"`
	Used      int64   `json:"used" title:"used"`
	Share     float64 `json:"share" title:"of quota" show:"share"`
	Throttled int64   `json:"throttled" title:"throttled"`
	// Over is in how many full windows since --from calls, throttled ones included, reached the quota.
	Over     uint64     `json:"windows_over" title:"windows over"`
	Windows  uint64     `json:"windows" title:"of windows"`
	Outgrown bool       `json:"outgrows_plan" title:"outgrows plan"`
	Begin    time.Time  `json:"window_start"`
	End      time.Time  `json:"window_end"`
	Known    bool       `json:"forecast_known"`
	Expected *float64   `json:"expected"`
	At       *time.Time `json:"exhausted_at" title:"used up"`
	Earliest *time.Time `json:"exhausted_earliest" title:"from"`
	Latest   *time.Time `json:"exhausted_latest" title:"to"`
}

const (
	// forecastHistory is what a forecast looks back.
	forecastHistory = 28 * 24 * time.Hour
	// forecastFrom is the share of a quota that must be in sight for a forecast.
	forecastFrom = 0.4
	// outgrown is in which share of its windows a consumer reaches its quota when the plan is too small for it.
	outgrown = 0.25
)

func (p *product) quota(ctx context.Context) error {
	rows := []quotaRow{}
	quotas := 0
	for i := range p.kpis.Plans {
		plan := &p.kpis.Plans[i]
		for _, q := range plan.Quotas {
			quotas++
			more, err := p.quotaRows(ctx, plan.Name, q)
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
	}
	slices.SortStableFunc(rows, func(a, b quotaRow) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(b.Throttled, a.Throttled))
	})
	empty := "nobody on a plan with a quota has called"
	if quotas == 0 {
		empty = "no quotas are declared: see aggregate.kpi and deploy/kpi/shop.yaml"
	}
	throttled := slices.DeleteFunc(slices.Clone(rows), func(r quotaRow) bool { return r.Throttled == 0 })
	slices.SortStableFunc(throttled, func(a, b quotaRow) int { return cmp.Compare(b.Throttled, a.Throttled) })
	p.add("quota", "Use of quotas, nearest to the end first", empty, limited(p, "quota", rows))
	p.add("throttled", "Most throttled", "nobody was throttled", limited(p, "throttled", throttled))
	p.note("used up: at the usual pace of the hour of the week, times how busy the last two weeks were; the interval holds the moment in 95 of 100 cases; no time: not within the window")
	p.note("throttled calls don't count as used; a quota per minute shows the busiest minute of the window")
	return nil
}

// instant is up to when there is something to see.
func (p *product) instant() time.Time { return min2(p.window.To, p.now) }

// quotaUse reads the use of quotas of a period, by consumer or key, once a report.
func (p *product) quotaUse(ctx context.Context, q kpi.Quota, begin time.Time) ([]clickhouse.QuotaUse, error) {
	name := string(q.Per) + " " + string(q.Of)
	if list, ok := p.used[name]; ok {
		return list, nil
	}
	var list []clickhouse.QuotaUse
	var err error
	if q.Per == kpi.PerMinute {
		list, err = p.store.MinutePeaks(ctx, p.window, q.Of)
	} else {
		list, err = p.store.QuotaUse(ctx, p.window, q.Per, q.Of, begin)
	}
	if p.used == nil {
		p.used = map[string][]clickhouse.QuotaUse{}
	}
	p.used[name] = list
	return list, err
}

// onPlan returns whom is on a plan now, with the contact.
func (p *product) onPlan(ctx context.Context, plan string) (map[consumerID]string, error) {
	list, err := p.consumers(ctx)
	on := map[consumerID]string{}
	for i := range list {
		if list[i].Plan == plan {
			on[consumerID{list[i].Tenant, list[i].Consumer}] = list[i].Owner
		}
	}
	return on, err
}

func (p *product) quotaRows(ctx context.Context, plan string, q kpi.Quota) ([]quotaRow, error) {
	now := p.instant()
	begin, end := q.Per.Window(now.Add(-time.Microsecond).In(p.window.Zone))
	list, err := p.quotaUse(ctx, q, begin)
	if err != nil {
		return nil, err
	}
	on, err := p.onPlan(ctx, plan)
	if err != nil {
		return nil, err
	}
	var rows []quotaRow
	var tenants, forecast []string
	for _, u := range list {
		contact, ok := on[consumerID{u.Tenant, u.Consumer}]
		if !ok || u.Used+u.Throttled+u.History == 0 {
			continue
		}
		r := quotaRow{Plan: plan, Per: string(q.Per), Unit: u.Unit, Contact: contact, Quota: q.Calls, Used: u.Used, Throttled: u.Throttled, Begin: begin.UTC(), End: end.UTC()}
		r.Windows = uint64(len(u.Totals))
		if q.Per != kpi.PerMinute {
			r.Windows = fullWindows(q.Per, p.window, begin)
		}
		for _, n := range u.Totals {
			if n >= q.Calls {
				r.Over++
			}
		}
		r.Share = ratio(u.Used, q.Calls)
		r.Outgrown = r.Windows > 0 && float64(r.Over) >= outgrown*float64(r.Windows)
		pace := float64(u.History) / forecastHistory.Hours() * end.Sub(now).Hours()
		if q.Per != kpi.PerMinute && float64(u.Used)+pace >= forecastFrom*float64(q.Calls) {
			forecast = append(forecast, u.Unit)
		}
		rows, tenants = append(rows, r), append(tenants, u.Tenant)
	}
	if len(forecast) == 0 {
		return rows, nil
	}
	return rows, p.forecast(ctx, q, rows, tenants, forecast)
}

// fullWindows counts the calendar windows from From up to begin.
func fullWindows(per kpi.Period, w clickhouse.ProductWindow, begin time.Time) (n uint64) {
	for at := begin; ; n++ {
		from, _ := per.Window(at.Add(-time.Microsecond))
		if from.Before(w.From) {
			return n
		}
		at = from
	}
}

// forecast says of the units when they will have used up their quota.
func (p *product) forecast(ctx context.Context, q kpi.Quota, rows []quotaRow, tenants, units []string) error {
	now := p.instant()
	past := p.window
	past.From, past.To = now.Truncate(time.Hour).Add(-forecastHistory), now.Truncate(time.Hour)
	hours, err := p.store.HourlyUse(ctx, past, q.Of, units)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		h, ok := hours[tenants[i]+"\x00"+r.Unit]
		if !ok || r.Used >= r.Quota {
			continue
		}
		f := kpi.Exhaustion(sinceFirst(h), now, r.End, float64(r.Used), float64(r.Quota))
		r.Known = f.Known
		if !f.Known {
			continue
		}
		r.Expected = &f.Expected
		for _, m := range []struct {
			t  time.Time
			to **time.Time
		}{{f.At, &r.At}, {f.Earliest, &r.Earliest}, {f.Latest, &r.Latest}} {
			if !m.t.IsZero() {
				t := m.t.UTC()
				*m.to = &t
			}
		}
	}
	return nil
}

// sinceFirst takes off the hours before a unit's first call.
func sinceFirst(hours []float64) []float64 {
	for i, h := range hours {
		if h > 0 {
			return hours[i:]
		}
	}
	return nil
}

// slaRow is what was promised for a month, and what was kept.
type slaRow struct {
	Month     time.Time `json:"month"`
	MonthName string    `json:"month_name" title:"month"`
	For       string    `json:"for" title:"for"`
	Consumer  string    `json:"consumer" title:"consumer"`
	Promise   string    `json:"promise" title:"promise"`
	Requests  int64     `json:"requests" title:"requests"`
	Target    float64   `json:"target" title:"target" show:"share3"`
	Attained  float64   `json:"attained" title:"attained" show:"share3"`
	Missed    bool      `json:"missed" title:"missed"`
	// By is how many requests more went wrong than the promise allows.
	By        int64    `json:"requests_beyond" title:"beyond"`
	Incidents []string `json:"incidents"`
	Count     int      `json:"incident_count" title:"incidents"`
	Running   bool     `json:"running"` // the month is not over
}

// promised is an SLA with those whom it is for.
type promised struct {
	name string // such as "plan pro"
	sla  *kpi.SLA
	fits func(r *clickhouse.PromiseRow) bool
	// bucket is the index of its latency threshold in the query.
	bucket int
}

func (p *product) promises() (list []promised, buckets []uint16) {
	add := func(name string, s *kpi.SLA, fits func(*clickhouse.PromiseRow) bool) {
		if s == nil {
			return
		}
		one := promised{name, s, fits, -1}
		if s.Latency != nil {
			bucket, _ := histogram.NearestEdge(uint64(time.Duration(s.Latency.Under).Microseconds()))
			if one.bucket = slices.Index(buckets, bucket); one.bucket < 0 {
				one.bucket = len(buckets)
				buckets = append(buckets, bucket)
			}
		}
		list = append(list, one)
	}
	for i := range p.kpis.Plans {
		plan := &p.kpis.Plans[i]
		add("plan "+plan.Name, plan.SLA, func(r *clickhouse.PromiseRow) bool { return r.Plan == plan.Name })
	}
	for i := range p.kpis.Tiers {
		tier := &p.kpis.Tiers[i]
		add("tier "+tier.Name, tier.SLA, func(r *clickhouse.PromiseRow) bool { return r.Tier == tier.Name })
	}
	return list, buckets
}

func (p *product) sla(ctx context.Context) error {
	list, buckets := p.promises()
	// Months are whole: an SLA is about nothing else.
	w := p.window
	first, _ := kpi.PerMonth.Window(w.From.In(w.Zone))
	w.From = first.UTC()
	found := []clickhouse.PromiseRow{}
	if len(list) > 0 {
		var err error
		if found, err = p.store.Promises(ctx, w, buckets); err != nil {
			return err
		}
	}
	incidents, err := p.store.Incidents(ctx, w.From, w.To)
	if err != nil {
		return err
	}
	rows := []slaRow{}
	for _, one := range list {
		rows = append(rows, p.slaRows(one, found, incidents)...)
	}
	slices.SortStableFunc(rows, func(a, b slaRow) int {
		return cmp.Or(b.Month.Compare(a.Month), cmp.Compare(b.By, a.By), cmp.Compare(a.For, b.For), cmp.Compare(a.Consumer, b.Consumer))
	})
	empty := "nobody to whom something is promised has called"
	if len(list) == 0 {
		empty = "nothing is promised: see aggregate.kpi and deploy/kpi/shop.yaml"
	}
	p.add("sla", "Promises by calendar month, the worst first", empty, limited(p, "sla", rows))
	p.note("beyond: requests that went wrong beyond what the promise allows; requests over quota count neither way")
	if keep := p.conf.Retention.Key1h; keep != 0 && w.From.Before(p.now.Add(-keep)) {
		p.note("the first month is cut: calls by consumer are kept by the hour for retention.key_1h")
	}
	return nil
}

// slaRows adds up the rows that a promise is about: one a month, or a month and consumer.
func (p *product) slaRows(one promised, found []clickhouse.PromiseRow, incidents []clickhouse.Incident) []slaRow {
	type group struct {
		month    time.Time
		consumer string
	}
	sums := map[group]*clickhouse.PromiseRow{}
	var order []group
	for i := range found {
		r := &found[i]
		if !one.fits(r) {
			continue
		}
		g := group{month: r.Month}
		if one.sla.PerConsumer {
			g.consumer = r.Consumer
		}
		s := sums[g]
		if s == nil {
			s = &clickhouse.PromiseRow{Fast: make([]int64, len(r.Fast))}
			sums[g] = s
			order = append(order, g)
		}
		s.Valid, s.Bad, s.Timed = s.Valid+r.Valid, s.Bad+r.Bad, s.Timed+r.Timed
		for j, n := range r.Fast {
			s.Fast[j] += n
		}
	}
	var rows []slaRow
	for _, g := range order {
		s := sums[g]
		base := slaRow{Month: g.month, MonthName: g.month.In(p.window.Zone).Format("2006-01"), For: one.name, Consumer: g.consumer}
		_, end := kpi.PerMonth.Window(g.month.In(p.window.Zone))
		base.Running = end.After(p.instant())
		if a := one.sla.Availability; a > 0 && s.Valid > 0 {
			r := base.kept("availability", a, s.Valid-s.Bad, s.Valid)
			r.incidents(incidents, end)
			rows = append(rows, r)
		}
		if l := one.sla.Latency; l != nil && s.Timed > 0 {
			rows = append(rows, base.kept("under "+time.Duration(l.Under).String(), l.Share, s.Fast[one.bucket], s.Timed))
		}
	}
	return rows
}

func (r slaRow) kept(promise string, target float64, good, all int64) slaRow {
	r.Promise, r.Requests, r.Target, r.Attained = promise, all, target, ratio(good, all)
	if allowed := int64((1 - target) * float64(all)); r.Attained < target {
		r.Missed, r.By = true, max(1, all-good-allowed)
	}
	return r
}

// incidents names the alerts of the month, where the promise was missed.
func (r *slaRow) incidents(all []clickhouse.Incident, end time.Time) {
	r.Incidents = []string{}
	if !r.Missed {
		return
	}
	for _, i := range all {
		if !i.Raised.Before(r.Month) && i.Raised.Before(end) && i.Severity == "page" {
			r.Incidents = append(r.Incidents, strings.Join([]string{i.Raised.UTC().Format("2006-01-02 15:04"), i.SLO, i.ID}, " "))
		}
	}
	r.Count = len(r.Incidents)
}
