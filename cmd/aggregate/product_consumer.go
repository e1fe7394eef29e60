package main

import (
	"context"
	"slices"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/histogram"
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
	limit := 0 // what is exported is whole
	if p.flags.output == "table" {
		limit = p.flags.limit
	}
	found, err := p.store.Usage(ctx, p.window, by, limit)
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

// A signUp is a consumer who signed up in the window.
type signUp struct {
	clickhouse.ConsumerRow
	activated bool
}

// consumers reads all consumers, once a report.
func (p *product) consumers(ctx context.Context) (list []clickhouse.ConsumerRow, err error) {
	if p.known == nil {
		p.known, err = p.store.Consumers(ctx, p.window)
	}
	return p.known, err
}

// activeSince is how far before a window days with a success matter: the 30 days
// up to its first day.
const activeSince = 30 * 24 * time.Hour

// activeDays reads on which days consumers had success, from activeSince before the window on, once a report.
func (p *product) activeDays(ctx context.Context) (map[consumerID]*clickhouse.ActiveDays, error) {
	if p.active != nil {
		return p.active, nil
	}
	long := p.window
	long.From = long.From.Add(-activeSince)
	list, err := p.store.ActiveDays(ctx, long)
	if err != nil {
		return nil, err
	}
	p.active = map[consumerID]*clickhouse.ActiveDays{}
	for i := range list {
		p.active[consumerID{list[i].Tenant, list[i].Consumer}] = &list[i]
	}
	return p.active, nil
}

// consumerID names a consumer.
type consumerID struct{ tenant, name string }

// dayNumber is the calendar day of a moment, counted from 1970-01-01.
func (p *product) dayNumber(t time.Time) int32 {
	y, m, d := t.In(p.window.Zone).Date()
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// dayStart is the begin of a calendar day.
func (p *product) dayStart(day int32) time.Time {
	y, m, d := time.Unix(int64(day)*86400, 0).UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, p.window.Zone)
}

// signUps returns who signed up in the window, the first one first.
func (p *product) signUps(ctx context.Context) ([]signUp, error) {
	list, err := p.consumers(ctx)
	if err != nil {
		return nil, err
	}
	active, err := p.activeDays(ctx)
	if err != nil {
		return nil, err
	}
	a := p.kpis.Activation
	var found []signUp
	for i := range list {
		c := &list[i]
		if c.SignedUp.Before(p.window.From) {
			continue
		}
		var calls, days int64
		if d := active[consumerID{c.Tenant, c.Consumer}]; d != nil {
			last := p.dayNumber(c.SignedUp.Add(time.Duration(a.Within)))
			for j, day := range d.Days {
				if day <= last {
					calls, days = calls+d.Calls[j], days+1
				}
			}
		}
		found = append(found, signUp{*c, calls >= a.Calls && days >= a.Days})
	}
	return found, nil
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
func untilSuccess(c *signUp) (time.Duration, bool) {
	if c.FirstSuccess == nil {
		return 0, false
	}
	return max(0, c.FirstSuccess.Sub(c.SignedUp)), true
}

// cohortsOf groups consumers by their sign-up. The width is that of the KPI files.
func (p *product) cohortsOf(list []signUp) []cohortRow {
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
		if c.activated {
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
		row := consumerRow{Consumer: c.Consumer, Plan: c.Plan, Owner: c.Owner, Source: c.Source, SignedUp: c.SignedUp.UTC(), FirstCall: c.FirstCall, FirstSuccess: c.FirstSuccess, Activated: c.activated}
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
			},
			) bool {
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
