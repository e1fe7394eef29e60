package loadgen

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// An Outcome is how a request ended, with what each gateway writes about it.
type Outcome struct {
	// Class is gatewatch's name of the failure, "none" for success.
	Class string
	// Bad counts against availability; Excluded counts neither way.
	Bad, Excluded bool

	nginxStatus, envoyStatus int
	upstreamStatus           int // 0: no upstream was asked
	flags, details           string
}

// Indexes of outcomes.
const (
	ok200 = iota
	ok201
	ok204
	bad400
	bad422
	auth401
	forbidden403
	missing404
	conflict409
	large413
	quota429
	cancelled
	upstream500
	upstream503
	timeout504
	refused
	shed
	outcomeCount
)

var outcomes = [outcomeCount]Outcome{
	ok200:        {"none", false, false, 200, 200, 200, "-", "via_upstream"},
	ok201:        {"none", false, false, 201, 201, 201, "-", "via_upstream"},
	ok204:        {"none", false, false, 204, 204, 204, "-", "via_upstream"},
	bad400:       {"client_bad_request", false, false, 400, 400, 400, "-", "via_upstream"},
	bad422:       {"client_bad_request", false, false, 422, 422, 422, "-", "via_upstream"},
	auth401:      {"client_auth", false, false, 401, 401, 0, "UAEX", "ext_authz_denied"},
	forbidden403: {"client_forbidden", false, false, 403, 403, 403, "-", "via_upstream"},
	missing404:   {"client_not_found", false, false, 404, 404, 404, "-", "via_upstream"},
	conflict409:  {"client_other", false, false, 409, 409, 409, "-", "via_upstream"},
	large413:     {"client_too_large", false, false, 413, 413, 413, "-", "via_upstream"},
	quota429:     {"client_quota", false, true, 429, 429, 0, "RL", "request_rate_limited"},
	cancelled:    {"client_cancelled", false, false, 499, 0, -1, "DC", "downstream_remote_disconnect"},
	upstream500:  {"upstream_5xx", true, false, 500, 500, 500, "-", "via_upstream"},
	upstream503:  {"upstream_5xx", true, false, 503, 503, 503, "-", "via_upstream"},
	timeout504:   {"upstream_timeout", true, false, 504, 504, 504, "UT", "upstream_response_timeout"},
	refused:      {"upstream_connect", true, false, 502, 503, 502, "UF,URX", "upstream_reset_before_response_started{connection_failure,connect_error:_111}"},
	shed:         {"breaker_open", true, false, 503, 503, 0, "UO", "overflow"},
}

// background lists how often requests fail on an ordinary day.
var background = [...]struct {
	outcome int
	share   float64
}{
	{missing404, 0.011},
	{bad400, 0.007},
	{auth401, 0.005},
	{bad422, 0.004},
	{quota429, 0.003},
	{forbidden403, 0.002},
	{conflict409, 0.0012},
	{cancelled, 0.001},
	{large413, 0.0003},
	{upstream500, 0.00014},
	{upstream503, 0.00004},
	{timeout504, 0.00002},
}

// A Request is one call of the API, as it truly was.
type Request struct {
	End        int64 // end of the request, milliseconds since 1970
	LatencyMS  int64 // first byte in to last byte out
	UpstreamMS int64 // waiting for the upstream; -1 if none was asked
	BytesIn    int64
	BytesOut   int64
	Route      *Route
	Key        *Key
	Node       int // index in Shop.Nodes
	Upstream   int // index in Shop.Upstreams of the service
	Sampled    bool
	// DatabaseMS is the part of UpstreamMS spent in the service's database.
	DatabaseMS int64

	// What an incident adds, in milliseconds.
	gatewayMS, serviceMS, databaseMS int64
	databaseFails                    bool

	outcome          int
	object           uint64 // the id in the path
	traceHi, traceLo uint64
	span             uint64
}

// Envoy reports whether the Envoy gateway served the request.
func (q *Request) Envoy() bool { return q.Node == envoyNode }

// Outcome returns how the request ended.
func (q *Request) Outcome() *Outcome { return &outcomes[q.outcome] }

// Status returns the HTTP status that the gateway logs; 0 if there was none.
func (q *Request) Status() int {
	if q.Envoy() {
		return outcomes[q.outcome].envoyStatus
	}
	return outcomes[q.outcome].nginxStatus
}

// A Scenario changes the traffic between two moments.
type Scenario struct {
	Kind     Kind
	From, To time.Time

	// Of incidents, see there.
	Service, Route string
	Key            int
	Share          float64
	MS             int64
}

// A Kind is a kind of scenario.
type Kind int

// The kinds.
const (
	// Outage: host pay-2 stops answering writes of payments. nginx and Envoy
	// give up after two seconds; some connections are refused at once.
	Outage Kind = iota
	// SlowDatabase: the database behind catalog answers 1.5 s late.
	SlowDatabase
	// BadClient: one consumer's key is sent wrongly, so that a tenth of all
	// requests are its refused ones.
	BadClient
)

const (
	outageService  = "payments"
	outageUpstream = 1 // pay-2
	timeoutMS      = 2000
	slowService    = "catalog"
	slowMS         = 1500
	badKey         = 17
	sampleShare    = 0.1
)

// A Generator makes requests in the order in which they end. It is used by one goroutine at a time.
type Generator struct {
	shop      *Shop
	r         *rand.Rand
	zipf      *rand.Zipf
	order     []int // key by rank
	scenarios []Scenario
	joined    map[int]newcomer // by key
	q         Request
}

// NewGenerator returns a generator of shop's traffic. Equal seeds and calls give equal traffic.
func NewGenerator(shop *Shop, seed uint64) *Generator {
	r := rand.New(rand.NewPCG(seed, 0x9e37))
	g := &Generator{shop: shop, r: r, order: r.Perm(len(shop.Keys))}
	g.zipf = rand.NewZipf(r, 1.1, 8, uint64(len(shop.Keys)-1))
	return g
}

// Add lets a scenario happen. It must begin after all that was generated so far.
func (g *Generator) Add(s Scenario) { g.scenarios = append(g.scenarios, s) }

// Shape returns how busy the shop is at t against its mean: nights and
// week-ends (UTC) are quiet. Its mean over a week is 1 within 1 %.
func Shape(t time.Time) float64 {
	hour := float64(t.Unix()%86400) / 3600
	day := 1 + 0.62*math.Sin((hour-9.5)/24*2*math.Pi) + 0.12*math.Sin((hour-17)/12*2*math.Pi)
	switch t.UTC().Weekday() {
	case time.Saturday:
		return 0.82 * day
	case time.Sunday:
		return 0.7 * day
	default:
		return 1.096 * day
	}
}

// Between makes the requests that end in [from, to). rate is in requests a
// second and read once a minute of traffic. emit must not keep the request.
func (g *Generator) Between(from, to time.Time, rate func(time.Time) float64, emit func(*Request) error) error {
	end := float64(to.UnixNano()) / 1e6
	t := float64(from.UnixNano()) / 1e6
	for t < end {
		now := time.UnixMilli(int64(t))
		load := Shape(now)
		gap := 1000 / rate(now)
		for stop := min(end, t+60_000); ; {
			t += g.r.ExpFloat64() * gap
			if t >= stop {
				t = stop
				break
			}
			if !g.fill(int64(t), load) {
				continue
			}
			if err := emit(&g.q); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill makes the request that ends at ms, or reports that none ends now.
func (g *Generator) fill(ms int64, load float64) bool {
	r := g.r
	s := g.shop
	route := &s.Routes[sort.SearchFloat64s(s.routeCDF, r.Float64())]
	g.q = Request{
		End: ms, Route: route, Key: &s.Keys[g.order[g.zipf.Uint64()]], Node: r.IntN(len(s.Nodes)),
		Upstream: r.IntN(3), Sampled: r.Float64() < sampleShare,
		object: r.Uint64(), traceHi: r.Uint64() | 1, traceLo: r.Uint64() | 1, span: r.Uint64() | 1,
	}
	q := &g.q
	q.outcome = g.draw(route)
	g.present(q)
	upstream := math.Exp(r.NormFloat64()*route.Sigma) * route.MedianMS * (0.85 + 0.2*load)
	for i := range g.scenarios {
		sc := &g.scenarios[i]
		if ms < sc.From.UnixMilli() || ms >= sc.To.UnixMilli() {
			continue
		}
		if !g.apply(sc, &upstream) {
			return false
		}
	}
	g.finish(upstream)
	return true
}

func (g *Generator) draw(route *Route) int {
	p := g.r.Float64()
	for i := range background {
		p -= background[i].share
		if p < 0 {
			return background[i].outcome
		}
	}
	switch route.Method {
	case "POST":
		return ok201
	case "DELETE":
		return ok204
	default:
		return ok200
	}
}

// apply changes the request that is being filled. It reports false for a
// request that hangs and so doesn't end now.
func (g *Generator) apply(sc *Scenario, upstream *float64) bool {
	q := &g.q
	switch sc.Kind {
	case Outage:
		if q.Route.Service != outageService || q.Route.Method == "GET" || q.Upstream != outageUpstream {
			return true
		}
		if g.r.IntN(10) == 0 {
			q.outcome = refused
			return true
		}
		if q.End-timeoutMS < sc.From.UnixMilli() {
			return false
		}
		q.outcome = timeout504
	case SlowDatabase:
		if q.Route.Service == slowService {
			*upstream += slowMS * (0.8 + 0.4*g.r.Float64())
		}
	case BadClient:
		if g.r.IntN(10) == 0 {
			q.Key = &g.shop.Keys[badKey]
			q.outcome = bad400
		}
	default:
		return g.incident(sc)
	}
	return true
}

// finish sets times and sizes from the outcome.
func (g *Generator) finish(upstream float64) {
	q, r := &g.q, g.r
	o := &outcomes[q.outcome]
	gateway := int64(1)
	if r.IntN(20) == 0 {
		gateway += int64(r.IntN(12))
	}
	switch {
	case q.outcome == timeout504:
		q.UpstreamMS = timeoutMS + int64(r.IntN(4))
	case q.outcome == refused:
		q.UpstreamMS = int64(r.IntN(3))
	case o.upstreamStatus == 0:
		q.UpstreamMS = -1
	default:
		q.UpstreamMS = max(1, int64(upstream+0.5))
	}
	q.DatabaseMS = int64(float64(max(0, q.UpstreamMS)) * (0.2 + 0.5*r.Float64()))
	if q.UpstreamMS >= 0 {
		q.UpstreamMS += q.serviceMS + q.databaseMS
		q.DatabaseMS += q.databaseMS
	}
	q.LatencyMS = max(0, q.UpstreamMS) + gateway + q.gatewayMS
	q.BytesIn = 380 + int64(r.IntN(200))
	if q.Route.Method[0] == 'P' {
		q.BytesIn += int64(math.Exp(r.NormFloat64()*0.8 + 6))
	}
	switch {
	case q.outcome == ok204:
		q.BytesOut = 160
	case q.outcome >= bad400:
		q.BytesOut = 300 + int64(q.outcome)
	default:
		q.BytesOut = 200 + int64(math.Exp(r.NormFloat64()*0.9)*q.Route.OutBytes)
	}
	if q.outcome == cancelled {
		q.BytesOut = 0
	}
}
