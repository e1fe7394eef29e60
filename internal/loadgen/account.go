package loadgen

import (
	"slices"
	"sync"
	"time"
)

// A Count sums requests.
type Count struct {
	Requests, BytesIn, BytesOut int64
	LatencyMS, MaxMS            int64 // sum and maximum of latencies
	First, Last                 int64 // end of the first and last request, milliseconds since 1970
}

func (c *Count) add(q *Request) {
	if c.Requests == 0 {
		c.First = q.End
	}
	c.Requests++
	c.BytesIn += q.BytesIn
	c.BytesOut += q.BytesOut
	c.LatencyMS += q.LatencyMS
	c.MaxMS = max(c.MaxMS, q.LatencyMS)
	c.Last = q.End
}

// A RouteHour names the requests of one route with one result in one hour.
type RouteHour struct {
	Hour                   int64 // seconds since 1970
	Service, Method, Route string
	Status                 int
	Class                  string
}

// A KeyDay names the requests of one key to one service with one result on one day.
type KeyDay struct {
	Day     int64 // seconds since 1970
	Key     int   // index in Shop.Keys
	Service string
	Class   string
}

// A routeCell and a keyCell are RouteHour and KeyDay in small.
type routeCell struct {
	hour           int64
	route, outcome int
	envoy          bool
}

type keyCell struct {
	day                   int64
	key, service, outcome int
}

// An Account keeps exact sums of the requests that were sent. It is safe for
// concurrent use.
type Account struct {
	shop *Shop

	mu        sync.Mutex
	requests  int64
	spans     int64
	topics    map[string]int64
	routes    map[routeCell]*Count
	keys      map[keyCell]*Count
	latencies []map[int64]int64 // per route: milliseconds → requests
	perKey    []map[int64]int64 // per key: milliseconds → requests
	valid     [][]event         // per service, in the order of their ends
}

// An event is a request that counts for availability: its end in
// milliseconds, shifted left by one, plus one if it was bad.
type event int64

func (e event) ms() int64 { return int64(e >> 1) }
func (e event) bad() bool { return e&1 == 1 }

// NewAccount returns an empty account of shop's traffic.
func NewAccount(shop *Shop) *Account {
	a := &Account{
		shop: shop, topics: map[string]int64{}, routes: map[routeCell]*Count{}, keys: map[keyCell]*Count{},
		valid: make([][]event, len(shop.Services)),
	}
	for range shop.Routes {
		a.latencies = append(a.latencies, map[int64]int64{})
	}
	for range shop.Keys {
		a.perKey = append(a.perKey, map[int64]int64{})
	}
	return a
}

// Add counts requests, which must come in the order of their ends.
func (a *Account) Add(list []Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range list {
		a.add(&list[i])
	}
}

func (a *Account) add(q *Request) {
	a.requests++
	second := q.End / 1000
	rc := routeCell{second - second%3600, q.Route.ID, q.outcome, q.Envoy()}
	c := a.routes[rc]
	if c == nil {
		c = new(Count)
		a.routes[rc] = c
	}
	c.add(q)
	kc := keyCell{second - second%86400, q.Key.ID, q.Route.service, q.outcome}
	c = a.keys[kc]
	if c == nil {
		c = new(Count)
		a.keys[kc] = c
	}
	c.add(q)
	a.latencies[q.Route.ID][q.LatencyMS]++
	a.perKey[q.Key.ID][q.LatencyMS]++
	if o := &outcomes[q.outcome]; !o.Excluded {
		e := event(q.End << 1)
		if o.Bad {
			e |= 1
		}
		a.valid[q.Route.service] = append(a.valid[q.Route.service], e)
	}
}

// sent counts messages and spans that Kafka has acknowledged.
func (a *Account) sent(topic string, messages, spans int64) {
	a.mu.Lock()
	a.topics[topic] += messages
	a.spans += spans
	a.mu.Unlock()
}

// Requests returns how many requests were made.
func (a *Account) Requests() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// Spans returns how many spans Kafka has acknowledged.
func (a *Account) Spans() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spans
}

// Messages returns how many messages of a topic Kafka has acknowledged.
func (a *Account) Messages(topic string) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.topics[topic]
}

// Routes returns the sums per route, result and hour.
func (a *Account) Routes() map[RouteHour]Count {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := make(map[RouteHour]Count, len(a.routes))
	for rc, c := range a.routes {
		rt, o := &a.shop.Routes[rc.route], &outcomes[rc.outcome]
		status := o.nginxStatus
		if rc.envoy {
			status = o.envoyStatus
		}
		k := RouteHour{rc.hour, rt.Service, rt.Method, rt.Template, status, o.Class}
		m[k] = merge(m[k], *c)
	}
	return m
}

// Keys returns the sums per key, service, error class and day.
func (a *Account) Keys() map[KeyDay]Count {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := make(map[KeyDay]Count, len(a.keys))
	for kc, c := range a.keys {
		k := KeyDay{kc.day, kc.key, a.shop.Services[kc.service], outcomes[kc.outcome].Class}
		m[k] = merge(m[k], *c)
	}
	return m
}

func merge(a, b Count) Count {
	if a.Requests == 0 {
		return b
	}
	return Count{
		a.Requests + b.Requests, a.BytesIn + b.BytesIn, a.BytesOut + b.BytesOut,
		a.LatencyMS + b.LatencyMS, max(a.MaxMS, b.MaxMS), min(a.First, b.First), max(a.Last, b.Last),
	}
}

// RouteQuantile returns the latency that a share p of a route's requests did
// not exceed (nearest rank), and how many requests there were.
func (a *Account) RouteQuantile(route int, p float64) (time.Duration, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return quantile(a.latencies[route], p)
}

// KeyQuantile is RouteQuantile for a key.
func (a *Account) KeyQuantile(key int, p float64) (time.Duration, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return quantile(a.perKey[key], p)
}

func quantile(counts map[int64]int64, p float64) (time.Duration, int64) {
	values := make([]int64, 0, len(counts))
	var n int64
	for v, c := range counts {
		values = append(values, v)
		n += c
	}
	slices.Sort(values)
	rank := int64(p * float64(n))
	if float64(rank) < p*float64(n) {
		rank++
	}
	rank = max(1, rank)
	var seen int64
	for _, v := range values {
		if seen += counts[v]; seen >= rank {
			return time.Duration(v) * time.Millisecond, n
		}
	}
	return 0, n
}

// A Pair is two windows of a burn-rate alert and the factor that both must exceed.
type Pair struct {
	Long, Short time.Duration
	Factor      float64
}

// PagePairs returns the pairs of the SRE Workbook (chapter 5) that page.
func PagePairs() []Pair {
	return []Pair{{time.Hour, 5 * time.Minute, 14.4}, {6 * time.Hour, 30 * time.Minute, 6}}
}

// Exceeded does the workbook's window arithmetic by hand on the service's
// requests: it returns the end of the first request at or after from at which
// both windows of a pair that end there hold a share of bad requests above
// factor × (1 - target). It reports false if that has not happened.
func (a *Account) Exceeded(service string, target float64, pairs []Pair, from time.Time) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	events := a.valid[slices.Index(a.shop.Services, service)]
	begin, _ := slices.BinarySearchFunc(events, from.UnixMilli(), func(e event, ms int64) int { return int(e.ms() - ms) })
	first := int64(-1)
	for _, p := range pairs {
		long, short := newSlide(events, begin, p.Long), newSlide(events, begin, p.Short)
		limit := p.Factor * (1 - target)
		for i := begin; i < len(events) && (first < 0 || events[i].ms() < first); i++ {
			if long.upTo(i) > limit && short.upTo(i) > limit {
				first = events[i].ms()
				break
			}
		}
	}
	return time.UnixMilli(first).UTC(), first >= 0
}

// A slide is a window that moves over events.
type slide struct {
	events   []event
	width    int64 // milliseconds
	head     int   // first event inside
	next     int   // first event not yet counted
	all, bad int64
}

func newSlide(events []event, begin int, width time.Duration) *slide {
	s := &slide{events: events, width: width.Milliseconds()}
	if begin < len(events) {
		oldest := events[begin].ms() - s.width
		s.head, _ = slices.BinarySearchFunc(events, oldest, func(e event, ms int64) int { return int(e.ms() - ms) })
	}
	s.next = s.head
	return s
}

// upTo returns the share of bad events in the window (end - width, end] where end is that of event i.
func (s *slide) upTo(i int) float64 {
	for ; s.next <= i; s.next++ {
		s.all++
		if s.events[s.next].bad() {
			s.bad++
		}
	}
	for s.events[s.head].ms() <= s.events[i].ms()-s.width {
		s.all--
		if s.events[s.head].bad() {
			s.bad--
		}
		s.head++
	}
	return float64(s.bad) / float64(s.all)
}
