package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/histogram"
	"gatewatch/internal/kpi"
)

// usageRow is a group's calls.
type usageRow struct {
	Name         string           `json:"name" title:"name"`
	Plan         string           `json:"plan" title:"plan"`
	Calls        int64            `json:"calls" title:"calls"`
	Share        float64          `json:"share" title:"of all" show:"share"`
	Successes    int64            `json:"successes"`
	ServerErrors int64            `json:"server_errors" title:"5xx-like"`
	ClientErrors int64            `json:"client_errors" title:"client err"`
	Errors       map[string]int64 `json:"errors"`
	TopError     string           `json:"top_error" title:"top error"`
	Timed        int64            `json:"timed"`
	P50          *float64         `json:"p50_ms" title:"p50" show:"ms"`
	P95          *float64         `json:"p95_ms" title:"p95" show:"ms"`
	P99          *float64         `json:"p99_ms" title:"p99" show:"ms"`
	FirstSeen    time.Time        `json:"first_seen"`
	LastSeen     time.Time        `json:"last_seen" title:"last call"`
	Source       string           `json:"source"`
}

func newUsageRow(r *clickhouse.UsageRow, total int64) usageRow {
	u := usageRow{Name: r.Group, Plan: r.Plan, Calls: r.Calls, Errors: map[string]int64{}, Timed: r.Timed, FirstSeen: r.FirstSeen.UTC(), LastSeen: r.LastSeen.UTC(), Source: r.Source}
	u.Share = ratio(r.Calls, total)
	for name, n := range r.Classes {
		class, _ := accesslog.ParseErrorClass(name)
		switch {
		case class == accesslog.ErrorNone:
			u.Successes += n
			continue
		case class.Server():
			u.ServerErrors += n
		default:
			u.ClientErrors += n
		}
		u.Errors[name] = n
		if best := u.Errors[u.TopError]; u.TopError == "" || n > best || n == best && name < u.TopError {
			u.TopError = name
		}
	}
	if r.Timed > 0 {
		for _, q := range []struct {
			q  float64
			to **float64
		}{{0.5, &u.P50}, {0.95, &u.P95}, {0.99, &u.P99}} {
			us, _ := histogram.Histogram(r.Latency).Quantile(q.q)
			ms := us / 1000
			*q.to = &ms
		}
	}
	return u
}

func ratio[N int | int64 | uint64](n, of N) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// concentrationRow is what the largest consumers have of all.
type concentrationRow struct {
	What  string  `json:"what" title:"share of"`
	Total float64 `json:"total"`
	Top1  float64 `json:"top_1" title:"largest" show:"share"`
	Top5  float64 `json:"top_5" title:"top 5" show:"share"`
	Top10 float64 `json:"top_10" title:"top 10" show:"share"`
	Top20 float64 `json:"top_20" title:"top 20" show:"share"`
	Count int     `json:"consumers" title:"consumers"`
}

// concentration takes amounts by consumer, the largest first.
func concentration(what string, amounts []float64) concentrationRow {
	c := concentrationRow{What: what, Count: len(amounts)}
	for _, a := range amounts {
		c.Total += a
	}
	sum := 0.0
	for i, a := range amounts {
		sum += a
		for _, top := range []struct {
			n  int
			to *float64
		}{{1, &c.Top1}, {5, &c.Top5}, {10, &c.Top10}, {20, &c.Top20}} {
			if i < top.n && c.Total > 0 {
				*top.to = sum / c.Total
			}
		}
	}
	return c
}

func (p *product) usage(ctx context.Context) error {
	by := p.flags.by
	if by == "" {
		by = "consumer"
	}
	if !slices.Contains(clickhouse.UsageDimensions(), by) {
		return daemon.Usagef("--by %q: usage goes by one of %v", by, clickhouse.UsageDimensions())
	}
	found, err := p.store.Usage(ctx, p.window, by)
	if err != nil {
		return err
	}
	var total int64
	for _, r := range found {
		total += r.Calls
	}
	rows := make([]usageRow, 0, len(found))
	amounts := make([]float64, 0, len(found))
	firstSeen := 0
	for i := range found {
		rows = append(rows, newUsageRow(&found[i], total))
		amounts = append(amounts, float64(found[i].Calls))
		if found[i].Source == "first_seen" {
			firstSeen++
		}
	}
	p.add("usage", "Calls by "+by, "no calls with a key or a consumer in this window", limited(p, "usage", rows))
	if by == "consumer" && len(rows) > 0 {
		p.add("concentration", "Concentration", "", []concentrationRow{concentration("calls", amounts)})
		if firstSeen > 0 {
			p.note("%s known only by their key, as first seen: send key events, or gatewatch-ingest import consumers", daemon.Plural(int64(firstSeen), "consumer"))
		}
	}
	return nil
}

// signUps reads who signed up in the window.
func (p *product) signUps(ctx context.Context) ([]clickhouse.ConsumerRow, error) {
	a := p.kpis.Activation
	return p.store.SignUps(ctx, p.window, a.Calls, a.Days, time.Duration(a.Within))
}

// cohortRow is the consumers who signed up in one week or month.
type cohortRow struct {
	Start     time.Time `json:"cohort" title:"signed up from" show:"day"`
	SignUps   int       `json:"sign_ups" title:"sign-ups"`
	Called    int       `json:"called" title:"called"`
	Succeeded int       `json:"succeeded" title:"succeeded"`
	Share     float64   `json:"succeeded_share" title:"of all" show:"share"`
	Stuck     int       `json:"stuck" title:"stuck"`
	Activated int       `json:"activated" title:"activated"`
	// Of those who succeeded: seconds from the sign-up to the first success.
	P50 *float64 `json:"p50_s" title:"median" show:"seconds"`
	P90 *float64 `json:"p90_s" title:"p90" show:"seconds"`
}

// untilSuccess is the time from the sign-up to the first success. A key that
// was announced after its first call took no time.
func untilSuccess(c *clickhouse.ConsumerRow) (time.Duration, bool) {
	if c.FirstSuccess == nil {
		return 0, false
	}
	return max(0, c.FirstSuccess.Sub(c.SignedUp)), true
}

// cohortsOf groups consumers by their sign-up. The width is that of the KPI files.
func (p *product) cohortsOf(list []clickhouse.ConsumerRow) []cohortRow {
	rows := []cohortRow{}
	took := map[time.Time][]time.Duration{}
	for i := range list {
		c := &list[i]
		start, _ := p.kpis.Cohorts.By.Window(c.SignedUp.In(p.window.Zone))
		if len(rows) == 0 || !rows[len(rows)-1].Start.Equal(start) {
			rows = append(rows, cohortRow{Start: start})
		}
		r := &rows[len(rows)-1]
		r.SignUps++
		if c.FirstCall != nil {
			r.Called++
		}
		if d, ok := untilSuccess(c); ok {
			r.Succeeded++
			took[start] = append(took[start], d)
		} else if c.FirstCall != nil {
			r.Stuck++
		}
		if c.Activated {
			r.Activated++
		}
	}
	for i := range rows {
		r := &rows[i]
		r.Share = ratio(r.Succeeded, r.SignUps)
		r.P50, r.P90 = rank(took[r.Start], 0.5), rank(took[r.Start], 0.9)
	}
	return rows
}

// rank returns the value, in seconds, that a share q of the values is below: that
// at the position q·n, counted from 0.
func rank(values []time.Duration, q float64) *float64 {
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	s := values[min(len(values)-1, int(q*float64(len(values))))].Seconds()
	return &s
}

// consumerRow is one consumer who signed up.
type consumerRow struct {
	Consumer     string     `json:"consumer" title:"consumer"`
	Plan         string     `json:"plan" title:"plan"`
	Owner        string     `json:"contact" title:"contact"`
	Source       string     `json:"source" title:"known from"`
	SignedUp     time.Time  `json:"signed_up_at" title:"signed up"`
	FirstCall    *time.Time `json:"first_call" title:"first call"`
	FirstSuccess *time.Time `json:"first_success" title:"first success"`
	Took         *float64   `json:"seconds_to_success" title:"took" show:"seconds"`
	Activated    bool       `json:"activated" title:"activated"`
}

func (p *product) signups(ctx context.Context) error {
	list, err := p.signUps(ctx)
	if err != nil {
		return err
	}
	rows := []consumerRow{}
	for i := range slices.Backward(list) {
		c := &list[i]
		row := consumerRow{Consumer: c.Consumer, Plan: c.Plan, Owner: c.Owner, Source: c.Source, SignedUp: c.SignedUp.UTC(), FirstCall: c.FirstCall, FirstSuccess: c.FirstSuccess, Activated: c.Activated}
		if d, ok := untilSuccess(c); ok {
			s := d.Seconds()
			row.Took = &s
		}
		rows = append(rows, row)
	}
	a := p.kpis.Activation
	p.add("cohorts", "Sign-ups by "+string(p.kpis.Cohorts.By), "no sign-ups in this window: send key events, or gatewatch-ingest import consumers", p.cohortsOf(list))
	p.add("consumers", "The newest consumers", "none", limited(p, "consumers", rows))
	p.note("activated: %d successful calls on %d days up to the end of the day %s after the sign-up; stuck: called, but never with success", a.Calls, a.Days, span(time.Duration(a.Within)))
	p.note("a consumer signs up with its first key; without key events, with its first call (known from: gateway, first_seen)")
	return nil
}

// latencyBucket is a step of the distribution of first-call times.
type firstCallRow struct {
	Within string  `json:"within" title:"first success within"`
	Count  int     `json:"consumers" title:"consumers"`
	Share  float64 `json:"share" title:"of all" show:"share"`
	Total  float64 `json:"cumulated_share" title:"cumulated" show:"share"`
}

// firstCallSteps are the bounds of the distribution.
var firstCallSteps = [...]struct {
	name string
	d    time.Duration
}{
	{"1 minute", time.Minute}, {"5 minutes", 5 * time.Minute}, {"1 hour", time.Hour}, {"1 day", 24 * time.Hour}, {"7 days", 7 * 24 * time.Hour}, {"later", 1<<63 - 1},
}

func (p *product) firstCall(ctx context.Context) error {
	list, err := p.signUps(ctx)
	if err != nil {
		return err
	}
	counts := make([]int, len(firstCallSteps)+2)
	for i := range list {
		d, ok := untilSuccess(&list[i])
		at := len(firstCallSteps)
		switch {
		case ok:
			at = slices.IndexFunc(firstCallSteps[:], func(s struct {
				name string
				d    time.Duration
			}) bool {
				return d <= s.d
			})
		case list[i].FirstCall == nil:
			at++
		}
		counts[at]++
	}
	rows := []firstCallRow{}
	sum := 0
	for i, n := range counts {
		name := "not yet: its calls fail"
		switch {
		case i < len(firstCallSteps):
			name = firstCallSteps[i].name
			sum += n
		case i > len(firstCallSteps):
			name = "not yet: no call"
		}
		if len(list) > 0 {
			rows = append(rows, firstCallRow{name, n, ratio(n, len(list)), ratio(sum, len(list))})
		}
	}
	p.add("distribution", "From the sign-up to the first successful call", "no sign-ups in this window", rows)
	p.add("cohorts", "By "+string(p.kpis.Cohorts.By)+" of the sign-up", "none", p.cohortsOf(list))
	return nil
}

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

func (p *product) blockers(ctx context.Context) error {
	list, err := p.store.Blockers(ctx, p.window)
	if err != nil {
		return err
	}
	type cause struct{ class, service, operation string }
	byCause := map[cause]*blockerRow{}
	stuck := []stuckRow{}
	for _, b := range list {
		c := cause{b.Class, b.Service, b.Method + " " + kpi.Template(b.Route)}
		row := byCause[c]
		if row == nil {
			row = &blockerRow{Class: b.Class, Service: b.Service, Operation: b.Method + " " + b.Route, Owner: p.ownerOf(b.Service, b.Method, b.Route)}
			byCause[c] = row
		}
		row.Consumers++
		row.Calls += b.Calls
		stuck = append(stuck, stuckRow{b.Consumer, b.Plan, b.Owner, b.Class, b.Service, b.Method + " " + b.Route, b.Calls, b.Share, b.SignedUp.UTC(), b.LastDay.UTC()})
	}
	rows := []blockerRow{}
	for _, r := range byCause {
		r.Share = ratio(r.Consumers, len(list))
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b blockerRow) int {
		return firstNot0(b.Consumers-a.Consumers, int(b.Calls-a.Calls), compare(a.Class, b.Class), compare(a.Operation, b.Operation))
	})
	p.add("blockers", "What keeps consumers from their first success", "nobody who signed up in this window has only failed", rows)
	p.add("consumers", "Who is stuck", "nobody", limited(p, "consumers", stuck))
	p.note("the class of most failed calls, those of a later day counting twice those of the day before, and the operation with most of them; of consumers who signed up in the window")
	return nil
}

func firstNot0(values ...int) int {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// activeRow is who called with success on a day.
type activeRow struct {
	Day        time.Time `json:"day" title:"day" show:"day"`
	DAU        uint64    `json:"active_day" title:"active"`
	WAU        uint64    `json:"active_7_days" title:"in 7 days"`
	MAU        uint64    `json:"active_30_days" title:"in 30 days"`
	Stickiness float64   `json:"stickiness" title:"day / 30 days" show:"share"`
	Keys       uint64    `json:"active_keys" title:"keys"`
	Calls      int64     `json:"successful_calls" title:"successful calls"`
}

// retentionRow is a cohort's return on one day after the sign-up.
type retentionRow struct {
	Cohort time.Time `json:"cohort" title:"signed up from" show:"day"`
	Size   uint64    `json:"size" title:"consumers"`
	Day    int64     `json:"day" title:"day"`
	Known  uint64    `json:"known" title:"day is over for"`
	Kept   uint64    `json:"kept" title:"came back"`
	Share  *float64  `json:"share" title:"retention" show:"share"`
}

// repeatRow is how many consumers called on more than one day.
type repeatRow struct {
	Active   uint64  `json:"active" title:"active consumers"`
	Repeated uint64  `json:"repeated" title:"on more than one day"`
	Share    float64 `json:"share" title:"repeat usage" show:"share"`
}

func (p *product) retention(ctx context.Context) error {
	cohorts := p.kpis.Cohorts
	list, err := p.store.Retention(ctx, p.window, cohorts.By == kpi.PerMonth, cohorts.Days)
	if err != nil {
		return err
	}
	rows := []retentionRow{}
	for _, c := range list {
		for i, day := range cohorts.Days {
			r := retentionRow{Cohort: c.Start, Size: c.Size, Day: day, Known: c.Known[i], Kept: c.Kept[i]}
			if r.Known > 0 {
				share := ratio(r.Kept, r.Known)
				r.Share = &share
			}
			rows = append(rows, r)
		}
	}
	days, err := p.store.Active(ctx, p.window)
	if err != nil {
		return err
	}
	active := []activeRow{}
	for _, d := range days {
		active = append(active, activeRow{d.Day, d.DAU, d.WAU, d.MAU, ratio(d.DAU, d.MAU), d.Keys, d.Calls})
	}
	n, repeated, err := p.store.Repeat(ctx, p.window)
	if err != nil {
		return err
	}
	repeat := []repeatRow{}
	if n > 0 {
		repeat = append(repeat, repeatRow{n, repeated, ratio(repeated, n)})
	}
	p.add("active", "Active consumers by day", "no successful calls in this window", active)
	p.add("repeat", "Repeat usage in the window", "none", repeat)
	p.add("retention", "Retention by cohort", "no sign-ups in this window", rows)
	p.note("active: at least one successful call; day N is the Nth day after that of the sign-up, of those for whom it is over")
	if earliest := p.window.From.Add(-30 * 24 * time.Hour); p.conf.Retention.Key1h != 0 && earliest.Before(p.now.Add(-p.conf.Retention.Key1h)) {
		p.note("%s", fmt.Sprintf("the 30 days up to a day before %s reach beyond what is kept", p.now.Add(-p.conf.Retention.Key1h).Add(30*24*time.Hour).Format(time.DateOnly)))
	}
	return nil
}
