package scenario

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"gatewatch/internal/loadgen"
)

// An outcome is how a request ends, in Envoy's words.
type outcome struct {
	status         int
	flags, details string
	reached        bool // an upstream answered or was waited for
	timeout        bool
}

var (
	good       = outcome{200, "-", "via_upstream", true, false}
	badInput   = outcome{400, "-", "via_upstream", true, false}
	missing    = outcome{404, "-", "via_upstream", true, false}
	noRoute    = outcome{404, "NR", "route_not_found", false, false}
	denied     = outcome{401, "UAEX", "ext_authz_denied", false, false}
	expired    = outcome{401, "-", "via_upstream", true, false}
	forbidden  = outcome{403, "-", "via_upstream", true, false}
	limited    = outcome{429, "RL", "request_rate_limited", false, false}
	overQuota  = outcome{429, "-", "via_upstream", true, false}
	cancelled  = outcome{0, "DC", "downstream_remote_disconnect", true, false}
	broken     = outcome{500, "-", "via_upstream", true, false}
	busy       = outcome{503, "-", "via_upstream", true, false}
	timedOut   = outcome{504, "UT", "response_timeout", true, true}
	refused    = outcome{503, "UF", "upstream_reset_before_response_started{connection_failure}", false, false}
	noHealthy  = outcome{503, "UH", "no_healthy_upstream", false, false}
	reset      = outcome{503, "UC", "upstream_reset_before_response_started{connection_termination}", true, false}
	overflow   = outcome{503, "UO", "overflow", false, false}
	exhausted  = outcome{503, "URX", "via_upstream", true, false}
	overloaded = outcome{503, "OM", "overload_manager", false, false}
)

// background lists how often requests fail on an ordinary day.
var background = []struct {
	share float64
	o     *outcome
}{
	{0.010, &missing},
	{0.006, &badInput},
	{0.004, &denied},
	{0.002, &limited},
	{0.002, &forbidden},
	{0.001, &cancelled},
	{0.0001, &broken},
	{0.00005, &busy},
	{0.00003, &timedOut},
}

const timeoutMS = 3000

// A request is one call, as it truly was.
type request struct {
	end       int64 // milliseconds since 1970
	latency   int64
	upstream  int64 // -1: none was asked
	database  int64 // part of upstream
	service   *service
	route     *route
	client    *client
	gateway   *gateway
	host      string
	version   string
	outcome   *outcome
	tries     int
	sampled   bool
	unlogged  bool
	lost      bool // it does not happen
	object    uint64
	traceHi   uint64
	traceLo   uint64
	span      uint64
	slowMS    float64 // added by the service
	slowDBMS  float64
	gatewayMS float64
}

// fails lets a request end otherwise.
func (q *request) fails(o *outcome) { q.outcome = o }

// An effect is what an incident does while it lasts.
type effect struct {
	from, to time.Time
	// surge multiplies the traffic; 0 leaves it.
	surge float64
	// apply changes a request that has been drawn.
	apply func(r *rand.Rand, q *request, since time.Duration)
}

func (e *effect) holds(ms int64) bool { return ms >= e.from.UnixMilli() && ms < e.to.UnixMilli() }

const sampledShare = 0.15

// advance draws the next request; false at the end.
func (s *shop) advance() bool {
	for {
		var mean float64
		for _, v := range s.services {
			mean += v.rate
		}
		if s.shaped {
			mean *= loadgen.Shape(time.UnixMilli(int64(s.at)))
		}
		for _, e := range s.effects {
			if e.surge > 0 && e.holds(int64(s.at)) {
				mean *= e.surge
			}
		}
		// A gap is drawn again after a minute, for the rate may have changed by then.
		gap := s.rng.ExpFloat64() * 1000 / mean
		if gap > 60_000 {
			if s.at += 60_000; s.at >= s.end {
				return false
			}
			continue
		}
		if s.at += gap; s.at >= s.end {
			return false
		}
		s.draw(mean)
		if !s.q.lost {
			return true
		}
	}
}

func (s *shop) draw(mean float64) {
	r := s.rng
	v := s.services[0]
	var rates float64
	for _, x := range s.services {
		rates += x.rate
	}
	for at, i := r.Float64()*rates, 0; i < len(s.services); i++ {
		if at -= s.services[i].rate; at < 0 {
			v = s.services[i]
			break
		}
	}
	s.q = request{
		end: int64(s.at), service: v, route: &v.routes[pick(v.cdf, r)], client: &s.clients[pick(s.clientCDF, r)],
		gateway: &s.gateways[r.IntN(len(s.gateways))], host: v.upstreams[r.IntN(len(v.upstreams))], version: v.version,
		outcome: &good, tries: 1, sampled: r.Float64() < sampledShare,
		object: r.Uint64(), traceHi: r.Uint64() | 1, traceLo: r.Uint64() | 1, span: r.Uint64() | 1,
	}
	q := &s.q
	p := r.Float64()
	for i := range background {
		if p -= background[i].share; p < 0 {
			q.outcome = background[i].o
			break
		}
	}
	for _, e := range s.effects {
		if e.holds(q.end) && e.apply != nil {
			e.apply(r, q, time.Duration(q.end-e.from.UnixMilli())*time.Millisecond)
		}
	}
	s.times()
}

// pick draws an index by a cumulative weight.
func pick(cdf []float64, r *rand.Rand) int {
	return min(len(cdf)-1, sort.SearchFloat64s(cdf, r.Float64()*cdf[len(cdf)-1]))
}

// times draws how long the request took in each layer.
func (s *shop) times() {
	q, r := &s.q, s.rng
	gateway := 1 + int64(r.IntN(3)) + int64(q.gatewayMS)
	own := math.Exp(r.NormFloat64()*0.4) * q.service.medianMS
	q.database = int64(own*(0.2+0.3*r.Float64()) + q.slowDBMS*(0.8+0.4*r.Float64()))
	q.upstream = int64(own) + int64(q.slowMS*(0.8+0.4*r.Float64())) + q.database
	switch {
	case q.outcome.timeout:
		q.upstream, q.database = timeoutMS, 0
	case !q.outcome.reached:
		q.upstream, q.database = -1, 0
	case q.upstream >= timeoutMS: // a gateway waits no longer
		q.outcome, q.upstream = &timedOut, timeoutMS
		q.database = min(q.database, timeoutMS)
	}
	q.latency = max(0, q.upstream) + gateway
}
