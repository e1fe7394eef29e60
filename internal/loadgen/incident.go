package loadgen

import (
	"fmt"
	"slices"
	"time"
)

// The kinds of incidents. Unlike those of the demo they say where: Service,
// Route and Key name whom they hit, Share how many of its requests (0 is all),
// MS by how much.
const (
	// GatewaySlow, ServiceSlow and DatabaseSlow add MS in one layer.
	GatewaySlow Kind = iota + 100
	ServiceSlow
	DatabaseSlow
	// GatewayFails, ServiceFails and DatabaseFails let requests fail in one layer.
	GatewayFails
	ServiceFails
	DatabaseFails
	// KeyFails lets one key's requests be refused as bad, EveryKeyFails all keys'.
	KeyFails
	EveryKeyFails
	// BreakerStated and BreakerInferred open a circuit breaker, which Envoy says and
	// nginx does not: 15 s of failures, then nothing but a try every half minute.
	BreakerStated
	BreakerInferred
	// Overload sheds requests without any failure before.
	Overload
	// Away lets the service's requests not happen.
	Away
	// Actor makes all requests one key's, on one route where one is named.
	Actor
	// Elsewhere lets one key's requests come from another region and address.
	Elsewhere
	// Stuffing tries keys that do not exist, all from one address.
	Stuffing
	// Enumeration asks for objects that mostly do not exist, with one key.
	Enumeration
)

// hits reports whether an incident concerns the request that is being filled.
func (g *Generator) hits(sc *Scenario) bool {
	q := &g.q
	switch {
	case sc.Service != "" && q.Route.Service != sc.Service:
		return false
	case (sc.Kind == KeyFails || sc.Kind == Elsewhere) && q.Key.ID != sc.Key:
		return false
	}
	return sc.Share == 0 || g.r.Float64() < sc.Share
}

// incident changes the request that is being filled. It reports false for one that does not happen.
func (g *Generator) incident(sc *Scenario) bool {
	if !g.hits(sc) {
		return true
	}
	q := &g.q
	switch sc.Kind {
	case GatewaySlow:
		q.gatewayMS += sc.MS
	case ServiceSlow:
		q.serviceMS += sc.MS
	case DatabaseSlow:
		q.databaseMS += sc.MS
	case GatewayFails:
		q.outcome = shed
	case ServiceFails, DatabaseFails:
		q.outcome, q.databaseFails = upstream500, sc.Kind == DatabaseFails
	case KeyFails, EveryKeyFails:
		q.outcome = bad400
	case BreakerStated, BreakerInferred:
		g.breaker(sc)
	case Overload:
		q.outcome, q.Node = shed, g.r.IntN(envoyNode)
	case Away:
		return false
	default:
		g.act(sc)
	}
	return true
}

const (
	triggerTime  = 15 * time.Second // in which most requests fail, before it opens
	breakerCycle = 30 * time.Second
	breakerTry   = 2 * time.Second // at the end of a cycle
)

func (g *Generator) breaker(sc *Scenario) {
	q := &g.q
	q.Node = envoyNode
	if sc.Kind == BreakerInferred {
		q.Node = g.r.IntN(envoyNode)
	}
	since := time.Duration(q.End-sc.From.UnixMilli()) * time.Millisecond
	open := since - triggerTime
	switch {
	case open < 0:
		if g.r.Float64() < 0.7 {
			q.outcome = upstream503
		}
	case open%breakerCycle >= breakerCycle-breakerTry:
		q.outcome = upstream503
	default:
		q.outcome = shed
	}
}

// act makes the request one of an actor's.
func (g *Generator) act(sc *Scenario) {
	q, s := &g.q, g.shop
	if sc.Route != "" {
		q.Route = &s.Routes[slices.IndexFunc(s.Routes, func(r Route) bool { return r.Method+" "+r.Template == sc.Route })]
		q.outcome = g.draw(q.Route)
	}
	switch sc.Kind {
	case Actor:
		q.Key = &s.Keys[sc.Key]
	case Elsewhere:
		k := s.Keys[sc.Key]
		k.Region, k.ip = "ap-south-1", "203.0.113.9"
		k.encode(agentOf(sc.Key))
		q.Key = &k
	case Stuffing:
		q.Key = &Key{ID: sc.Key, Secret: fmt.Sprintf("sk_live_%016x%08x", g.r.Uint64(), g.r.Uint32()), Region: "eu-west-1", ip: "198.51.100.77"}
		q.Key.encode(agentOf(sc.Key))
		if g.r.IntN(50) > 0 {
			q.outcome = auth401
		}
	case Enumeration:
		q.Key = &s.Keys[sc.Key]
		if g.r.IntN(5) > 0 {
			q.outcome = missing404
		}
	}
}
