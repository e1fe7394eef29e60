package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/kpi"
)

// deprecatedRow is what will be switched off, and who still calls it.
type deprecatedRow struct {
	What      string  `json:"what" title:"deprecated"`
	Successor string  `json:"successor" title:"successor"`
	Sunset    string  `json:"sunset" title:"sunset"`
	DaysLeft  int     `json:"days_left" title:"days left"`
	Consumers int     `json:"consumers" title:"consumers"`
	Calls     int64   `json:"calls" title:"calls"`
	Before    int64   `json:"calls_before" title:"window before"`
	Trend     string  `json:"trend" title:"trend"`
	Left      *string `json:"verdict" title:"verdict"`
}

// notifyRow is somebody to be told.
type notifyRow struct {
	What     string    `json:"what" title:"deprecated"`
	Consumer string    `json:"consumer" title:"consumer"`
	Contact  string    `json:"contact" title:"contact"`
	Plan     string    `json:"plan" title:"plan"`
	Calls    int64     `json:"calls" title:"calls"`
	Before   int64     `json:"calls_before" title:"window before"`
	Trend    string    `json:"trend" title:"trend"`
	LastHour time.Time `json:"last_call_hour" title:"last call (hour)"`
	DaysLeft int       `json:"days_left" title:"days left"`
}

// versionRow is how far a version has come.
type versionRow struct {
	Service   string  `json:"service" title:"service"`
	Version   string  `json:"version" title:"version"`
	Consumers uint64  `json:"consumers" title:"consumers"`
	Calls     int64   `json:"calls" title:"calls"`
	Share     float64 `json:"share" title:"of service" show:"share"`
	Before    float64 `json:"share_before" title:"window before" show:"share"`
}

func (p *product) deprecated(ctx context.Context) error {
	found, err := p.store.Deprecated(ctx, p.window, p.kpis.Deprecations)
	if err != nil {
		return err
	}
	rows, notify := []deprecatedRow{}, []notifyRow{}
	for i := range p.kpis.Deprecations {
		row, who := p.deprecation(&p.kpis.Deprecations[i], found)
		rows = append(rows, row)
		notify = append(notify, who...)
	}
	versions, err := p.versions(ctx)
	if err != nil {
		return err
	}
	p.add("deprecated", "What will be switched off", "nothing is declared as deprecated: see aggregate.kpi and deploy/kpi/shop.yaml", rows)
	p.add("notify", "Who is to be told", "nobody calls it any more", limited(p, "notify", notify))
	p.add("versions", "Adoption of versions", "no calls in this window", versions)
	return nil
}

func (p *product) deprecation(d *kpi.Deprecation, found []clickhouse.DeprecatedRow) (deprecatedRow, []notifyRow) {
	now := p.instant().In(p.window.Zone)
	row := deprecatedRow{What: d.Title(), Successor: d.Successor, Sunset: d.Sunset.String(), DaysLeft: d.Sunset.DaysTo(now)}
	type who struct{ tenant, consumer string }
	at := map[who]int{}
	var list []notifyRow
	for _, f := range found {
		if !d.Covers(f.Service, f.Version, f.Method, f.Route) {
			continue
		}
		row.Calls, row.Before = row.Calls+f.Calls, row.Before+f.Before
		if f.Calls == 0 {
			continue
		}
		k := who{f.Tenant, f.Consumer}
		if _, ok := at[k]; !ok {
			at[k] = len(list)
			list = append(list, notifyRow{What: row.What, Consumer: f.Consumer, Contact: f.Owner, Plan: f.Plan, DaysLeft: row.DaysLeft})
		}
		n := &list[at[k]]
		n.Calls, n.Before = n.Calls+f.Calls, n.Before+f.Before
		if f.LastHour.After(n.LastHour) {
			n.LastHour = f.LastHour.UTC()
		}
	}
	for i := range list {
		list[i].Trend = trend(list[i].Calls, list[i].Before)
	}
	slices.SortStableFunc(list, func(a, b notifyRow) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Consumer, b.Consumer))
	})
	row.Consumers, row.Trend = len(list), trend(row.Calls, row.Before)
	verdict := "in use"
	switch {
	case row.Calls == 0:
		verdict = "unused"
	case row.DaysLeft <= 0:
		verdict = "in use past its sunset"
	}
	row.Left = &verdict
	return row, list
}

func (p *product) versions(ctx context.Context) ([]versionRow, error) {
	found, err := p.store.Versions(ctx, p.window)
	if err != nil {
		return nil, err
	}
	total, before := map[string]int64{}, map[string]int64{}
	for _, v := range found {
		total[v.Service] += v.Calls
		before[v.Service] += v.Before
	}
	rows := []versionRow{}
	for _, v := range found {
		rows = append(rows, versionRow{v.Service, v.Version, v.Consumers, v.Calls, ratio(v.Calls, total[v.Service]), ratio(v.Before, before[v.Service])})
	}
	return rows, nil
}

// inventoryRow is an operation that is documented, called, or both.
type inventoryRow struct {
	Service   string     `json:"service" title:"service"`
	Operation string     `json:"operation" title:"operation"`
	State     string     `json:"state" title:"state"`
	Owner     string     `json:"owner" title:"owner"`
	Calls     int64      `json:"calls" title:"calls"`
	LastHour  *time.Time `json:"last_call_hour" title:"last call (hour)"`
}

// inventorySum counts the operations of a service by state.
type inventorySum struct {
	Service    string  `json:"service" title:"service"`
	Operations int     `json:"operations" title:"operations"`
	Used       int     `json:"documented_used" title:"documented, used"`
	Unused     int     `json:"documented_unused" title:"documented, unused"`
	Shadow     int     `json:"undocumented" title:"undocumented"`
	Past       int     `json:"past_sunset" title:"past sunset"`
	Owned      float64 `json:"owner_coverage" title:"with an owner" show:"share"`
}

// The states of an operation.
const (
	stateUsed         = "documented, used"
	stateUnused       = "documented, unused"
	stateShadow       = "undocumented"
	stateUndocumented = "no document of the service"
	statePast         = "used past its sunset"
)

func (p *product) inventory(ctx context.Context) error {
	seen, err := p.store.SeenRoutes(ctx, p.window)
	if err != nil {
		return err
	}
	docs, err := documented(p.conf)
	if err != nil {
		return err
	}
	rows := p.inventoryRows(seen, docs)
	p.add("services", "Operations by service", "no calls in this window, and no OpenAPI document in alert.catalog", sumInventory(rows))
	p.add("operations", "Operations", "none", limited(p, "operations", rows))
	p.note("documented: in an OpenAPI document of alert.catalog; undocumented: called and answered, but in no document; routes to which nothing but \"not found\" was answered are left out")
	return nil
}

func (p *product) inventoryRows(seen []clickhouse.SeenRoute, docs []kpi.Route) []inventoryRow {
	rows := []inventoryRow{}
	described := map[string]bool{}
	used := map[kpi.Route]bool{}
	for _, d := range docs {
		described[d.Service] = true
	}
	for _, s := range seen {
		if s.Answers == 0 {
			continue
		}
		r := inventoryRow{Service: s.Service, Operation: s.Method + " " + s.Route, Calls: s.Calls, Owner: p.ownerOf(s.Service, s.Method, s.Route), State: stateShadow}
		last := s.Last.UTC()
		r.LastHour = &last
		i := slices.IndexFunc(docs, func(d kpi.Route) bool {
			return d.Service == s.Service && d.Method == s.Method && kpi.SameRoute(d.Template, s.Route)
		})
		switch {
		case p.pastSunset(s.Service, s.Method, s.Route):
			r.State = statePast
		case i >= 0:
			r.State = stateUsed
		case !described[s.Service]:
			r.State = stateUndocumented
		}
		if i >= 0 {
			used[docs[i]] = true
		}
		rows = append(rows, r)
	}
	for _, d := range docs {
		if !used[d] {
			rows = append(rows, inventoryRow{Service: d.Service, Operation: d.Method + " " + d.Template, State: stateUnused, Owner: p.ownerOf(d.Service, d.Method, d.Template)})
		}
	}
	slices.SortStableFunc(rows, func(a, b inventoryRow) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.State, b.State), cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Operation, b.Operation))
	})
	return rows
}

// pastSunset tells whether a route should no longer answer.
func (p *product) pastSunset(service, method, route string) bool {
	now := p.instant().In(p.window.Zone)
	return slices.ContainsFunc(p.kpis.Deprecations, func(d kpi.Deprecation) bool {
		return d.Route != "" && d.Sunset.DaysTo(now) <= 0 && d.Covers(service, "", method, route)
	})
}

func sumInventory(rows []inventoryRow) []inventorySum {
	sums := []inventorySum{}
	owned := 0
	for _, r := range rows {
		if len(sums) == 0 || sums[len(sums)-1].Service != r.Service {
			sums, owned = append(sums, inventorySum{Service: r.Service}), 0
		}
		s := &sums[len(sums)-1]
		s.Operations++
		switch r.State {
		case stateUsed:
			s.Used++
		case stateUnused:
			s.Unused++
		case statePast:
			s.Past++
		default:
			s.Shadow++
		}
		if r.Owner != "" {
			owned++
		}
		s.Owned = ratio(owned, s.Operations)
	}
	return sums
}
