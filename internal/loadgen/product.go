package loadgen

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A ProductCall is one call of a consumer, as it truly was.
type ProductCall struct {
	At        int64 // end, microseconds since 1970; no two calls have the same
	Key       int   // index in ProductTraffic.Keys
	Named     string
	Service   string
	Method    string
	Route     string
	Version   string
	Status    int
	Class     string
	LatencyUS int64
	Amount    int64 // millionths; -1 is none
}

// A ProductEvent is what the system that hands keys out says.
type ProductEvent struct {
	At                                    int64 // microseconds, whole milliseconds
	Kind                                  string
	Key                                   int // -1: of the consumer
	Consumer, Former, Plan, Tier, Contact string
}

// A Label is what keeps a stuck consumer from its first success.
type Label struct{ Class, Service, Method, Route string }

// ProductTraffic is the life of an API's consumers: they sign up, get stuck or
// succeed, come back or not, walk through workflows, change plans, rotate keys,
// are renamed and merged, move to the next version.
type ProductTraffic struct {
	Start, End time.Time
	Calls      []ProductCall // in the order of At
	Keys       [][16]byte
	Events     []ProductEvent // in the order of At
	// Stuck is what keeps consumers, by name, for whom that was made so.
	Stuck map[string]Label
	// Metered are consumers of a plan whose use is steady but for chance, days of
	// the week and busy days: their future can be forecast.
	Metered []string
}

// productPlans are the plans that consumers are on.
var productPlans = [...]struct {
	name, tier string
	share      float64
	perDay     float64
}{{"free", "", 0.6, 6}, {"basic", "silver", 0.25, 14}, {"pro", "gold", 0.1, 40}, {"enterprise", "gold", 0.05, 90}}

// productRoutes are what consumers call, most used first; those of workflows come on top.
var productRoutes = [...]struct{ service, method, route string }{
	{"catalog", "GET", "/v1/products/{id}"},
	{"catalog", "GET", "/v1/search"},
	{"catalog", "GET", "/v1/categories"},
	{"orders", "GET", "/v1/orders/{id}"},
	{"orders", "GET", "/v1/orders"},
	{"payments", "GET", "/v1/charges/{id}"},
	{"users", "GET", "/v1/users/{id}"},
	{"users", "POST", "/v1/sessions"},
	{"shipping", "GET", "/v1/shipments/{id}"},
}

// productWorkflows are the declared workflows.
var productWorkflows = [...]struct {
	steps  []struct{ service, method, route string }
	perDay float64
	gap    time.Duration // mean between steps
	amount bool          // the last step states one
}{
	{[]struct{ service, method, route string }{
		{"orders", "POST", "/v1/carts"}, {"orders", "POST", "/v1/carts/{id}/items"}, {"orders", "POST", "/v1/orders"}, {"payments", "POST", "/v1/charges"},
	}, 1.2, 4 * time.Minute, false},
	{[]struct{ service, method, route string }{{"shipping", "POST", "/v1/rates"}, {"shipping", "POST", "/v1/labels"}}, 0.5, 20 * time.Minute, true},
}

// productFailures are what calls of healthy consumers meet now and then.
var productFailures = [...]struct {
	status int
	class  string
}{{404, "client_not_found"}, {400, "client_bad_request"}, {500, "upstream_5xx"}, {504, "upstream_timeout"}, {429, "client_quota"}, {503, "upstream_5xx"}, {403, "client_forbidden"}}

// productBlockers are what can keep a consumer.
var productBlockers = [...]struct {
	Label
	status int
	spread bool // fails at every route alike, at this one most
}{
	{Label{"client_auth", "catalog", "GET", "/v1/products/{id}"}, 401, true},
	{Label{"client_forbidden", "payments", "POST", "/v1/charges"}, 403, false},
	{Label{"client_bad_request", "orders", "POST", "/v1/orders"}, 400, false},
	{Label{"client_not_found", "catalog", "GET", "/v1/search"}, 404, false},
	{Label{"upstream_5xx", "shipping", "POST", "/v1/rates"}, 500, false},
	{Label{"client_quota", "users", "GET", "/v1/users/{id}"}, 429, true},
}

// A productMaker makes the traffic of one consumer after the other.
type productMaker struct {
	*ProductTraffic
	r *rand.Rand
}

// NewProductTraffic makes the life of that many consumers over days from start
// on. Equal seeds give equal traffic.
func NewProductTraffic(seed uint64, start time.Time, days, consumers int) *ProductTraffic {
	m := &productMaker{&ProductTraffic{Start: start, End: start.AddDate(0, 0, days), Stuck: map[string]Label{}}, rand.New(rand.NewPCG(seed, 0x4b91))}
	for i := range consumers {
		name := fmt.Sprintf("c-%04d", i)
		switch kind := m.r.Float64(); {
		case i%10 == 7:
			m.metered(name)
		case kind < 0.04:
			m.signUp(name, m.signUpTime())
		case kind < 0.16:
			m.stuck(name)
		case kind < 0.18:
			m.unannounced()
		default:
			m.healthy(name)
		}
	}
	slices.SortFunc(m.Calls, func(a, b ProductCall) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Key, b.Key)) })
	for i := 1; i < len(m.Calls); i++ {
		m.Calls[i].At = max(m.Calls[i].At, m.Calls[i-1].At+1)
	}
	end := m.End.UnixMicro()
	m.Calls = slices.DeleteFunc(m.Calls, func(c ProductCall) bool { return c.At >= end })
	slices.SortStableFunc(m.Events, func(a, b ProductEvent) int { return cmp.Compare(a.At, b.At) })
	return m.ProductTraffic
}

func (m *productMaker) key() int {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], m.r.Uint64()|1)
	binary.BigEndian.PutUint64(id[8:], m.r.Uint64())
	m.Keys = append(m.Keys, id)
	return len(m.Keys) - 1
}

// signUpTime is some time before the last days.
func (m *productMaker) signUpTime() time.Time {
	return m.Start.Add(time.Duration(m.r.Float64() * 0.9 * float64(m.End.Sub(m.Start)))).Truncate(time.Millisecond)
}

func (m *productMaker) event(at time.Time, kind string, key int, e ProductEvent) {
	e.At, e.Kind, e.Key = at.Truncate(time.Millisecond).UnixMicro(), kind, key
	m.Events = append(m.Events, e)
}

func (m *productMaker) plan() int {
	p := m.r.Float64()
	for i := range productPlans {
		if p -= productPlans[i].share; p < 0 {
			return i
		}
	}
	return 0
}

// signUp gives a consumer its first key.
func (m *productMaker) signUp(name string, at time.Time) (key, plan int) {
	key, plan = m.key(), m.plan()
	m.event(at, "created", key, ProductEvent{Consumer: name, Plan: productPlans[plan].name, Tier: productPlans[plan].tier, Contact: name + "@example.com"})
	return key, plan
}

// call adds one call, of class none if status is below 400.
func (m *productMaker) call(at time.Time, key int, service, method, route string, status int, class string) *ProductCall {
	m.Calls = append(m.Calls, ProductCall{
		At: at.UnixMicro(), Key: key, Service: service, Method: method, Route: route, Version: route[1:3], Status: status, Class: class,
		LatencyUS: int64(math.Exp(m.r.NormFloat64()*0.7) * 40_000), Amount: -1,
	})
	return &m.Calls[len(m.Calls)-1]
}

// ordinary adds a call to some route, which fails now and then.
func (m *productMaker) ordinary(at time.Time, key int, version string) {
	i := int(float64(len(productRoutes)) * math.Pow(m.r.Float64(), 1.6))
	rt := productRoutes[i]
	status, class := 200, "none"
	if rt.method == "POST" {
		status = 201
	}
	if m.r.Float64() < 0.04 {
		f := productFailures[m.r.IntN(len(productFailures))]
		status, class = f.status, f.class
	}
	m.call(at, key, rt.service, rt.method, "/"+version+rt.route[3:], status, class)
}

// stuck makes a consumer whose calls all fail, most of them for one reason. Some
// have overcome another one before.
func (m *productMaker) stuck(name string) {
	at := m.signUpTime()
	key, _ := m.signUp(name, at)
	block := m.r.IntN(len(productBlockers))
	days := 2 + m.r.IntN(7)
	former := -1
	if m.r.IntN(3) == 0 {
		former, days = (block+1+m.r.IntN(len(productBlockers)-1))%len(productBlockers), days+2
	}
	perDay := 8 + m.r.IntN(20)
	for d := range days {
		b := block
		if former >= 0 && d < days-2 {
			b = former
		}
		for range perDay {
			m.failed(at.Add(time.Duration(d)*24*time.Hour+time.Duration(m.r.Int64N(int64(20*time.Hour)))), key, b)
		}
	}
	if last := at.Add(time.Duration(days) * 24 * time.Hour); last.Before(m.End) {
		m.Stuck[name] = productBlockers[block].Label
	}
}

// failed adds a call that a blocker keeps, or, one in four, another failure.
func (m *productMaker) failed(at time.Time, key, block int) {
	b := &productBlockers[block]
	rt := productRoutes[m.r.IntN(len(productRoutes))]
	if m.r.IntN(4) == 0 {
		f := productFailures[m.r.IntN(len(productFailures))]
		m.call(at, key, rt.service, rt.method, rt.route, f.status, f.class)
		return
	}
	if b.spread && m.r.IntN(2) == 0 {
		m.call(at, key, rt.service, rt.method, rt.route, b.status, b.Class)
		return
	}
	m.call(at, key, b.Service, b.Method, b.Route, b.status, b.Class)
}

// unannounced makes a key that nobody speaks of; the gateway names some of them.
func (m *productMaker) unannounced() {
	key, begin := m.key(), m.signUpTime()
	name := ""
	if m.r.IntN(2) == 0 {
		name = fmt.Sprintf("logged-%d", key)
	}
	first := len(m.Calls)
	for range 5 + m.r.IntN(60) {
		m.ordinary(begin.Add(time.Duration(m.r.Int64N(int64(m.End.Sub(begin))))), key, "v1")
	}
	for i := first; i < len(m.Calls); i++ {
		m.Calls[i].Named = name
	}
}

// metered makes a consumer that is on the plan of that name from the first day on.
func (m *productMaker) metered(name string) {
	key := m.key()
	m.event(m.Start, "created", key, ProductEvent{Consumer: name, Plan: "metered", Contact: name + "@example.com"})
	m.Metered = append(m.Metered, name)
	perDay := 12 * math.Exp(1.4*m.r.Float64())
	for day := m.Start; day.Before(m.End); day = day.AddDate(0, 0, 1) {
		level := perDay * math.Exp(0.25*m.r.NormFloat64()-0.03)
		if w := day.Weekday(); w == time.Saturday || w == time.Sunday {
			level *= 0.6
		}
		for range m.poisson(level) {
			// Between 7 and 22 o'clock, most at noon.
			hour := 7 + 7.5*(m.r.Float64()+m.r.Float64())
			m.ordinary(day.Add(time.Duration(hour*float64(time.Hour))), key, "v1")
		}
	}
}

func (m *productMaker) poisson(mean float64) (n int) {
	for t := m.r.ExpFloat64(); t < mean; t += m.r.ExpFloat64() {
		n++
	}
	return n
}

// healthy makes a consumer that gets through.
func (m *productMaker) healthy(name string) {
	at := m.signUpTime()
	key, plan := m.signUp(name, at)
	now := at.Add(time.Duration(m.r.ExpFloat64() * float64(2*time.Hour)))
	for range m.r.IntN(4) { // it has to learn first
		m.failed(now, key, m.r.IntN(len(productBlockers)))
		now = now.Add(time.Duration(m.r.ExpFloat64() * float64(30*time.Minute)))
	}
	rt := productRoutes[m.r.IntN(len(productRoutes))]
	m.call(now, key, rt.service, rt.method, rt.route, 200, "none")
	moves := at.Add(time.Duration(m.r.Float64() * 2 * float64(m.End.Sub(at)))) // to the next version
	rotated, next := time.Time{}, key
	if m.r.IntN(16) == 0 {
		rotated = at.Add(time.Duration(m.r.Float64() * float64(m.End.Sub(at))))
		next = m.key()
		m.event(rotated, "created", next, ProductEvent{Consumer: name, Plan: productPlans[plan].name, Tier: productPlans[plan].tier})
		m.event(rotated.Add(24*time.Hour), "revoked", key, ProductEvent{})
	}
	m.changes(name, key, next, at)
	stay, keep := 0.3+0.65*m.r.Float64(), 0.9+0.1*m.r.Float64()
	for day := now; day.Before(m.End); day = day.AddDate(0, 0, 1) {
		if m.r.Float64() > keep {
			break
		}
		if m.r.Float64() > stay {
			continue
		}
		for range m.poisson(productPlans[plan].perDay) {
			t := day.Add(time.Duration(m.r.Int64N(int64(24 * time.Hour))))
			version, k := "v1", key
			if t.After(moves) {
				version = "v2"
			}
			if !rotated.IsZero() && t.After(rotated) {
				k = next
			}
			m.ordinary(t, k, version)
		}
		for w := range productWorkflows {
			for range m.poisson(productWorkflows[w].perDay) {
				t := day.Add(time.Duration(m.r.Int64N(int64(20 * time.Hour))))
				k := key
				if !rotated.IsZero() && t.After(rotated) {
					k = next
				}
				m.walk(w, t, k)
			}
		}
	}
}

// changes makes a few consumers change their plan, their name, or be taken over.
func (m *productMaker) changes(name string, key, next int, at time.Time) {
	when := at.Add(time.Duration(m.r.Float64() * float64(m.End.Sub(at))))
	switch m.r.IntN(60) {
	case 0, 1, 2, 3:
		plan := productPlans[1+m.r.IntN(3)]
		for _, k := range slices.Compact([]int{key, next}) {
			m.event(when, "updated", k, ProductEvent{Plan: plan.name, Tier: plan.tier})
		}
	case 4:
		plan := productPlans[1+m.r.IntN(3)]
		m.event(when, "updated", -1, ProductEvent{Consumer: name, Plan: plan.name})
	case 5:
		m.event(when, "renamed", -1, ProductEvent{Consumer: name + "-new", Former: name})
	case 6:
		m.event(when, "renamed", -1, ProductEvent{Consumer: "c-0001", Former: name})
	}
}

// walk goes through a workflow as far as it gets.
func (m *productMaker) walk(w int, t time.Time, key int) {
	wf := &productWorkflows[w]
	if m.r.IntN(12) == 0 { // a step out of the blue
		s := wf.steps[m.r.IntN(len(wf.steps))]
		m.done(wf.amount, t, key, s.service, s.method, s.route)
		return
	}
	for _, s := range wf.steps {
		for m.r.IntN(9) == 0 {
			f := [...]struct {
				status int
				class  string
			}{{504, "upstream_timeout"}, {400, "client_bad_request"}, {500, "upstream_5xx"}}[m.r.IntN(3)]
			m.call(t, key, s.service, s.method, s.route, f.status, f.class)
			if m.r.IntN(2) == 0 {
				return
			}
			t = t.Add(time.Duration(m.r.ExpFloat64() * float64(time.Minute)))
		}
		if m.r.IntN(12) == 0 {
			return
		}
		m.done(wf.amount, t, key, s.service, s.method, s.route)
		t = t.Add(time.Duration((0.1 + m.r.ExpFloat64()) * float64(wf.gap)))
	}
}

func (m *productMaker) done(amount bool, t time.Time, key int, service, method, route string) {
	c := m.call(t, key, service, method, route, 201, "none")
	if amount && route == "/v1/labels" {
		c.Amount = int64(300+m.r.IntN(1200)) * 10_000
	}
}
