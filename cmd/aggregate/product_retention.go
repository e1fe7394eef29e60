package main

import (
	"context"
	"slices"
	"time"

	"gatewatch/internal/clickhouse"
)

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
	rows, err := p.retentionRows(ctx)
	if err != nil {
		return err
	}
	active, err := p.activeRows(ctx)
	if err != nil {
		return err
	}
	n, repeated, err := p.repeat(ctx, p.window)
	if err != nil {
		return err
	}
	repeat := []repeatRow{}
	if n > 0 {
		repeat = append(repeat, repeatRow{n, repeated, ratio(repeated, n)})
	} else {
		active = []activeRow{}
	}
	p.add("active", "Active consumers by day", "no successful calls in this window", active)
	p.add("repeat", "Repeat usage in the window", "none", repeat)
	p.add("retention", "Retention by cohort", "no sign-ups in this window", rows)
	p.note("active: at least one successful call; day N is the Nth day after that of the sign-up, of those for whom it is over")
	if keep := p.conf.Retention.Key1h; keep != 0 && p.window.From.Add(-activeSince).Before(p.now.Add(-keep)) {
		p.note("the 30 days up to a day before %s reach beyond what is kept", p.now.Add(-keep).Add(activeSince).Format(time.DateOnly))
	}
	return nil
}

// retentionRows groups who signed up, and looks on which days they came back.
func (p *product) retentionRows(ctx context.Context) ([]retentionRow, error) {
	list, err := p.signUps(ctx)
	if err != nil {
		return nil, err
	}
	active, err := p.activeDays(ctx)
	if err != nil {
		return nil, err
	}
	days, last := p.kpis.Cohorts.Days, p.dayNumber(p.window.To)
	rows := []retentionRow{}
	for i := range list {
		c := &list[i]
		start, _ := p.kpis.Cohorts.By.Window(c.SignedUp.In(p.window.Zone))
		if n := len(rows); n == 0 || !rows[n-1].Cohort.Equal(start) {
			for _, day := range days {
				rows = append(rows, retentionRow{Cohort: start, Day: day})
			}
		}
		d := active[consumerID{c.Tenant, c.Consumer}]
		for j, day := range days {
			r := &rows[len(rows)-len(days)+j]
			r.Size++
			at := p.dayNumber(c.SignedUp) + int32(day)
			if at >= last {
				continue
			}
			r.Known++
			if d != nil && slices.Contains(d.Days, at) {
				r.Kept++
			}
		}
	}
	for i := range rows {
		if r := &rows[i]; r.Known > 0 {
			share := ratio(r.Kept, r.Known)
			r.Share = &share
		}
	}
	return rows, nil
}

// activeRows counts who was active up to each day of the window.
func (p *product) activeRows(ctx context.Context) ([]activeRow, error) {
	active, err := p.activeDays(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := p.store.ActiveKeys(ctx, p.window)
	if err != nil {
		return nil, err
	}
	first := p.dayNumber(p.window.From)
	rows := make([]activeRow, p.dayNumber(p.window.To.Add(-time.Second))-first+1)
	for _, d := range active {
		slices.Sort(d.Days)
		// Each day counts for the 30 days from it on, up to the next one.
		for i, day := range d.Days {
			end := day + 30
			if i+1 < len(d.Days) {
				end = min(end, d.Days[i+1])
			}
			for at := max(day, first); at < end && int(at-first) < len(rows); at++ {
				r := &rows[at-first]
				r.MAU++
				if at-day < 7 {
					r.WAU++
				}
				if at == day {
					r.DAU++
				}
			}
		}
	}
	for _, k := range keys {
		if i := int(k.Day - first); i >= 0 && i < len(rows) {
			rows[i].Keys, rows[i].Calls = k.Keys, k.Calls
		}
	}
	for i := range rows {
		rows[i].Day = p.dayStart(first + int32(i))
		rows[i].Stickiness = ratio(rows[i].DAU, rows[i].MAU)
	}
	return rows, nil
}

// repeat returns how many consumers called with success in a window that is not
// longer ago than activeSince, and how many of them on more than one day.
func (p *product) repeat(ctx context.Context, w clickhouse.ProductWindow) (n, repeated uint64, err error) {
	active, err := p.activeDays(ctx)
	if err != nil {
		return 0, 0, err
	}
	first, last := p.dayNumber(w.From), p.dayNumber(w.To.Add(-time.Second))
	for _, d := range active {
		days := 0
		for _, day := range d.Days {
			if day >= first && day <= last {
				days++
			}
		}
		if days > 0 {
			n++
		}
		if days > 1 {
			repeated++
		}
	}
	return n, repeated, nil
}
