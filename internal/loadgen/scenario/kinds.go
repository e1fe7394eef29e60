package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A kind is a kind of scenario.
type kind struct {
	name string
	// weeks says that it needs weeks of history.
	weeks bool
	make  func(*maker)
}

var kinds = []kind{
	{"outage", false, outage},
	{"slow_dependency", false, slowDependency},
	{"partial_route", false, partialRoute},
	{"one_bad_client", false, oneBadClient},
	{"bad_release", false, badRelease},
	{"one_node", false, oneNode},
	{"one_region", false, oneRegion},
	{"one_upstream", false, oneUpstream},
	{"retry_storm", false, retryStorm},
	{"breaker", false, breakerOpens},
	{"quota", false, quota},
	{"auth_everyone", false, authEveryone},
	{"quota_everyone", false, quotaEveryone},
	{"lost_route", false, lostRoute},
	{"gateway_silent", false, gatewaySilent},
	{"low_traffic", false, lowTraffic},
	{"logging_gap", false, loggingGap},
	{"several", false, several},
	{"flapping", false, flapping},
	{"traffic_dip", true, trafficDip},
	{"quiet_night", true, quietNight},
	{"slow_leak", true, slowLeak},
}

// Kinds returns the names of all kinds.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// A maker lets one incident happen to a shop.
type maker struct {
	*shop
	rng      *rand.Rand
	v        *service // that is hit
	from, to time.Time
	label    *Label
	changes  []change
}

// A change is what was done on purpose.
type change struct {
	at            time.Time
	service, what string
}

func (m *maker) note(format string, args ...any) { m.label.Note = fmt.Sprintf(format, args...) }

func (m *maker) add(apply func(r *rand.Rand, q *request, since time.Duration)) *effect {
	e := &effect{from: m.from, to: m.to, apply: apply}
	m.effects = append(m.effects, e)
	return e
}

// page says that the incident is to be paged.
func (m *maker) page(p Page) {
	if p.Service == "" {
		p.Service = m.v.name
	}
	if p.Owner == "" {
		p.Owner = m.v.team
	}
	m.label.Pages = append(m.label.Pages, p)
}

// share draws a share.
func (m *maker) share(from, to float64) float64 { return from + (to-from)*m.rng.Float64() }

// A failure is a way to fail at an upstream, with the runbooks that fit.
type failure struct {
	o        *outcome
	runbooks []string
}

var failures = []failure{
	{&broken, []string{"upstream-errors"}},
	{&busy, []string{"upstream-errors"}},
	{&timedOut, []string{"upstream-timeout"}},
	{&refused, []string{"upstream-unreachable"}},
	{&reset, []string{"upstream-reset"}},
}

func (m *maker) failure() failure { return failures[m.rng.IntN(len(failures))] }

func outage(m *maker) {
	f, share := m.failure(), m.share(0.5, 1)
	if m.rng.IntN(4) == 0 {
		f, share = failure{&noHealthy, []string{"no-healthy-upstream"}}, 1
	}
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && r.Float64() < share {
			q.fails(f.o)
		}
	})
	m.note("%.0f %% of all requests end with %d %s", 100*share, f.o.status, f.o.flags)
	m.page(Page{Reach: []string{"everyone", "gateway"}, Runbooks: f.runbooks})
}

func slowDependency(m *maker) {
	ms := m.share(600, 1800)
	m.add(func(_ *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v {
			q.slowDBMS = ms
		}
	})
	m.note("the database takes %.0f ms longer", ms)
	m.page(Page{Suspects: []string{"layer=database"}, Reach: []string{"everyone"}, Runbooks: []string{"latency-burn"}, Latency: true})
}

func partialRoute(m *maker) {
	f, share := m.failure(), m.share(0.3, 1)
	rt := &m.v.routes[m.rng.IntN(len(m.v.routes))]
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.route == rt && r.Float64() < share {
			q.fails(f.o)
		}
	})
	m.note("%.0f %% of %s end with %d %s", 100*share, rt, f.o.status, f.o.flags)
	m.page(Page{Owner: rt.team, Suspects: []string{"route=" + rt.String()}, Reach: []string{"one_route=" + rt.String()}, Routes: []string{rt.String()}, Runbooks: f.runbooks})
}

// busyClient is one of those that call most.
func (m *maker) busyClient() *client { return &m.clients[m.rng.IntN(6)] }

func oneBadClient(m *maker) {
	c, surge := m.busyClient(), m.share(1.1, 1.5)
	o := []*outcome{&badInput, &denied, &missing}[m.rng.IntN(3)]
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && (q.client == c || r.Float64() < surge-1) {
			q.client = c
			q.fails(o)
		}
	}).surge = surge
	m.note("%s calls with %d only", c.name, o.status)
	m.label.Ticket = "consumer_failing"
}

func badRelease(m *maker) {
	f, share, canary := m.failure(), m.share(0.4, 1), m.share(0.15, 0.6)
	next := "2.40.0"
	released := m.from.Add(-time.Duration(m.rng.IntN(8)) * time.Minute)
	m.effects = append(m.effects, &effect{from: released, to: m.to, apply: func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && r.Float64() < canary {
			if q.version = next; q.end >= m.from.UnixMilli() && r.Float64() < share {
				q.fails(f.o)
			}
		}
	}})
	if m.rng.IntN(2) == 0 {
		m.changes = append(m.changes, change{released, m.v.name, m.v.name + " " + next})
	}
	m.note("%.0f %% of the traffic on version %s fails with %d %s for %.0f %%, %.0f m after the release", 100*canary, next, f.o.status, f.o.flags, 100*share, m.from.Sub(released).Minutes())
	m.page(Page{Suspects: []string{"version=" + next}, Reach: []string{"one_version=" + next}, Runbooks: append([]string{"bad-release"}, f.runbooks...)})
}

func oneNode(m *maker) {
	g := &m.gateways[m.rng.IntN(len(m.gateways))]
	f, share := failure{&overloaded, []string{"gateway-errors"}}, m.share(0.4, 1)
	if m.rng.IntN(2) == 0 {
		f = failure{&refused, []string{"upstream-unreachable"}}
	}
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.gateway == g && q.service == m.v && r.Float64() < share {
			q.fails(f.o)
		}
	})
	m.note("%.0f %% of requests through node %s end with %d %s", 100*share, g.name, f.o.status, f.o.flags)
	m.page(Page{Suspects: []string{"node=" + g.name}, Reach: []string{"one_node=" + g.name}, Regions: []string{g.region}, Runbooks: append([]string{"one-node"}, f.runbooks...)})
}

func oneRegion(m *maker) {
	region := m.regions[m.rng.IntN(len(m.regions))]
	f, share := m.failure(), m.share(0.4, 1)
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.gateway.region == region && q.service == m.v && r.Float64() < share {
			q.fails(f.o)
		}
	})
	m.note("%.0f %% of requests in %s end with %d %s", 100*share, region, f.o.status, f.o.flags)
	m.page(Page{Suspects: []string{"region=" + region}, Reach: []string{"one_region=" + region}, Regions: []string{region}, Runbooks: append([]string{"one-region"}, f.runbooks...)})
}

func oneUpstream(m *maker) {
	host := m.v.upstreams[m.rng.IntN(len(m.v.upstreams))]
	f, share := m.failure(), m.share(0.5, 1)
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.host == host && r.Float64() < share {
			q.fails(f.o)
		}
	})
	m.note("%.0f %% of requests to %s end with %d %s", 100*share, host, f.o.status, f.o.flags)
	m.page(Page{Suspects: []string{"upstream=" + host}, Reach: []string{"one_upstream=" + host}, Runbooks: f.runbooks})
}

func retryStorm(m *maker) {
	surge, share := m.share(2.5, 4), m.share(0.4, 0.8)
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if r.Float64() < 1-1/surge {
			q.service = m.v // what is repeated
			q.route, q.host, q.version = &m.v.routes[pick(m.v.cdf, r)], m.v.upstreams[r.IntN(len(m.v.upstreams))], m.v.version
		}
		if q.service == m.v && r.Float64() < share {
			q.tries = 2 + r.IntN(3)
			q.fails(&exhausted)
		}
	}).surge = surge
	m.note("%.0f %% fail after retries, and the traffic is %.1f times its usual", 100*share, surge)
	m.page(Page{Reach: []string{"everyone"}, Runbooks: []string{"retry-storm", "upstream-errors"}})
}

func breakerOpens(m *maker) {
	const cycle, try = 30 * time.Second, 2 * time.Second
	m.add(func(r *rand.Rand, q *request, since time.Duration) {
		switch {
		case q.service != m.v:
		case since < 20*time.Second || since%cycle >= cycle-try:
			if r.Float64() < 0.8 {
				q.fails(&busy)
			}
		default:
			q.fails(&overflow)
		}
	})
	m.note("a breaker opens after 20 s of failures and tries every %s", cycle)
	m.page(Page{Reach: []string{"everyone", "gateway"}, Runbooks: []string{"breaker-open"}})
}

func quota(m *maker) {
	c, surge := m.busyClient(), m.share(1.1, 1.4)
	o := []*outcome{&limited, &overQuota}[m.rng.IntN(2)]
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && (q.client == c || r.Float64() < surge-1) {
			if q.client = c; r.Float64() < 0.85 {
				q.fails(o)
			}
		}
	}).surge = surge
	m.note("%s has used up its quota", c.name)
	m.label.Ticket = "consumer_failing"
}

// everyone lets a share of all requests of the service end with a client's error.
func (m *maker) everyone(o *outcome, share float64) {
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && r.Float64() < share {
			q.fails(o)
		}
	})
	m.note("%.0f %% of all requests end with %d %s", 100*share, o.status, o.flags)
}

func authEveryone(m *maker) {
	m.everyone([]*outcome{&denied, &expired}[m.rng.IntN(2)], m.share(0.7, 1))
	m.page(Page{Suspects: []string{"class=client_auth", "error_class=client_auth"}, Reach: []string{"everyone", "gateway"}, Runbooks: []string{"auth-everyone", "auth-failures", "client-errors-everyone"}})
}

func quotaEveryone(m *maker) {
	m.everyone(&limited, m.share(0.7, 1))
	m.page(Page{Suspects: []string{"class=client_quota", "error_class=client_quota"}, Reach: []string{"everyone", "gateway"}, Runbooks: []string{"quota-everyone", "quota-storm", "client-errors-everyone"}})
}

func lostRoute(m *maker) {
	rt := &m.v.routes[m.rng.IntN(3)]
	o := []*outcome{&missing, &noRoute}[m.rng.IntN(2)]
	m.add(func(_ *rand.Rand, q *request, _ time.Duration) {
		if q.route == rt {
			q.fails(o)
		}
	})
	m.note("%s answers 404 %s", rt, o.flags)
	m.page(Page{Owner: rt.team, Suspects: []string{"route=" + rt.String()}, Reach: []string{"one_route=" + rt.String()}, Routes: []string{rt.String()}, Runbooks: []string{"lost-route"}})
}

// gatewaySilent lets one node, or all, neither serve nor log.
func gatewaySilent(m *maker) {
	m.v.rate = 8 // enough for one node's silence to be known
	g := &m.gateways[m.rng.IntN(len(m.gateways))]
	all := m.rng.IntN(2) == 0
	m.add(func(_ *rand.Rand, q *request, _ time.Duration) {
		q.lost = all && q.service == m.v || !all && q.gateway == g
	})
	if all {
		m.note("no request of the service any more")
		m.page(Page{Reach: []string{"everyone", "gateway"}, Runbooks: []string{"traffic-lost"}})
		return
	}
	m.note("no request through node %s any more", g.name)
	m.page(Page{
		Service: "gateway", Owner: "platform", Suspects: []string{"node=" + g.name}, Reach: []string{"one_node=" + g.name},
		Regions: []string{g.region}, Runbooks: []string{"node-silent", "traffic-lost"},
	})
}

func lowTraffic(m *maker) {
	m.v.rate = 0.004 + 0.006*m.rng.Float64()
	if m.rng.IntN(2) == 0 {
		m.v.rate = 0.02
		m.from = m.to.Add(-45 * time.Minute)
		m.everyone(&broken, 1)
		m.page(Page{Reach: []string{"everyone"}, Runbooks: []string{"upstream-errors"}})
		return
	}
	left := 2
	m.add(func(_ *rand.Rand, q *request, _ time.Duration) {
		if q.service == m.v && left > 0 {
			left--
			q.fails(&broken)
		}
	})
	m.note("two failures of a service with %.0f requests an hour", 3600*m.v.rate)
}

func loggingGap(m *maker) {
	m.add(func(_ *rand.Rand, q *request, _ time.Duration) { q.unlogged = q.service == m.v })
	m.note("traces go on, the access log of the service does not")
	m.label.Ticket = "logging_gap"
}

func several(m *maker) {
	other, f := m.services[1], m.failure()
	other.rate = 1.5
	partialRoute(m)
	first := m.label.Note
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		if q.service == other && r.Float64() < 0.7 {
			q.fails(f.o)
		}
	})
	m.note("%s; 70 %% of %s end with %d %s", first, other.name, f.o.status, f.o.flags)
	m.page(Page{Service: other.name, Owner: other.team, Reach: []string{"everyone", "gateway"}, Runbooks: f.runbooks})
}

func flapping(m *maker) {
	f := m.failure()
	on, off := time.Duration(m.share(60, 150))*time.Second, time.Duration(m.share(60, 180))*time.Second
	m.add(func(r *rand.Rand, q *request, since time.Duration) {
		if q.service == m.v && since%(on+off) < on && r.Float64() < 0.8 {
			q.fails(f.o)
		}
	})
	m.note("80 %% end with %d %s for %s, then none for %s, and again", f.o.status, f.o.flags, on, off)
	m.page(Page{Reach: []string{"everyone", "gateway"}, Runbooks: f.runbooks})
}

// Kinds that need weeks of history.

func trafficDip(m *maker) {
	left := m.share(0.2, 0.4)
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		q.lost = q.service == m.v && r.Float64() > left
	})
	m.note("%.0f %% of the usual traffic", 100*left)
	m.label.Ticket = "traffic_dip"
}

func quietNight(m *maker) {
	m.from = m.from.Truncate(24 * time.Hour)
	m.to = m.from.Add(5 * time.Hour)
	left := m.share(0.1, 0.4)
	m.add(func(r *rand.Rand, q *request, _ time.Duration) {
		q.lost = r.Float64() > left
	})
	m.note("a night with %.0f %% of its usual traffic", 100*left)
}

func slowLeak(m *maker) {
	m.to = m.from.Add(12 * time.Hour)
	most, f := m.share(0.015, 0.03), failures[m.rng.IntN(2)]
	m.add(func(r *rand.Rand, q *request, since time.Duration) {
		if q.service == m.v && r.Float64() < most*since.Hours()/12 {
			q.fails(f.o)
		}
	})
	m.note("failures with %d rise to %.1f %% in 12 h", f.o.status, 100*most)
	m.page(Page{Reach: []string{"everyone"}, Runbooks: f.runbooks})
}

// rows returns kinds by whether they need weeks.
func ofWeeks(weeks bool, only []string) []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool {
		return k.weeks != weeks || len(only) > 0 && !slices.Contains(only, k.name)
	})
}
