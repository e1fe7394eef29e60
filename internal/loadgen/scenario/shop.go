// Package scenario makes incidents with labels: small shops behind Envoy
// gateways, each with one incident of a kind, as JSON access logs and OTLP spans
// with objectives, owners and OpenAPI documents, and what an alerter should say
// of each. Everything follows from a seed.
package scenario

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// A service is what a gateway forwards to.
type service struct {
	name, team string
	routes     []route
	upstreams  []string
	version    string
	rate       float64 // requests a second on average
	medianMS   float64
	cdf        []float64 // of routes
}

// A route is one operation.
type route struct {
	method, template string
	team             string // that owns it alone; empty: the service's
	parts            []string
}

// String is how gatewatch names a route.
func (r *route) String() string { return r.method + " " + r.template }

// A gateway is one node.
type gateway struct{ name, region string }

// A client is who calls.
type client struct{ name, plan, key, ip string }

// A shop is an API of its own, which shares nothing with others but gatewatch.
type shop struct {
	name     string
	services []*service // the first is where incidents are
	gateways []gateway
	regions  []string
	clients  []client

	clientCDF []float64
	shaped    bool // its traffic follows day and week
	effects   []*effect
	rng       *rand.Rand
	at        float64 // milliseconds since 1970 of the last request
	end       float64
	q         request
}

var domains = []struct{ service, routes string }{
	{"payments", "POST /v1/charges|GET /v1/charges/{id}|POST /v1/refunds|GET /v1/payouts|GET /v1/balance"},
	{"orders", "POST /v1/orders|GET /v1/orders/{id}|GET /v1/orders|DELETE /v1/orders/{id}|GET /v1/returns/{id}"},
	{"accounts", "POST /v1/sessions|GET /v1/users/{id}|PATCH /v1/users/{id}|POST /v1/users"},
	{"search", "GET /v1/search|GET /v1/suggest|GET /v1/products/{id}|GET /v1/categories"},
	{"shipping", "POST /v1/rates|GET /v1/shipments/{id}|POST /v1/labels|GET /v1/zones|GET /v1/carriers"},
	{"inventory", "GET /v1/stock/{id}|PUT /v1/stock/{id}|GET /v1/warehouses|POST /v1/reservations"},
	{"messaging", "POST /v1/messages|GET /v1/messages/{id}|GET /v1/threads|POST /v1/webhooks"},
	{"invoices", "GET /v1/invoices/{id}|POST /v1/invoices|GET /v1/invoices|POST /v1/credit_notes"},
}

var regionNames = []string{"eu-west-1", "us-east-1", "ap-south-1", "eu-north-1"}

// newShop returns the shop number n of a seed.
func newShop(seed uint64, n int) *shop {
	r := rand.New(rand.NewPCG(seed, 0x5c0+uint64(n)))
	s := &shop{name: fmt.Sprintf("s%03d", n), rng: r}
	first := r.IntN(len(domains))
	for i, rate := range []float64{2.4, 0.6} {
		s.services = append(s.services, s.newService((first+i*(1+r.IntN(len(domains)-1)))%len(domains), rate))
	}
	s.regions = append(s.regions, regionNames[:2+r.IntN(2)]...)
	for i, region := range s.regions {
		for k := range 2 {
			s.gateways = append(s.gateways, gateway{fmt.Sprintf("%s-gw-%d", s.name, 2*i+k+1), region})
		}
	}
	var sum float64
	plans := []string{"free", "free", "basic", "basic", "gold"}
	for i := range 30 + r.IntN(60) {
		name := fmt.Sprintf("%s-c%02d", s.name, i)
		s.clients = append(s.clients, client{name, plans[r.IntN(len(plans))], fmt.Sprintf("sk_%s_%016x", name, r.Uint64()), fmt.Sprintf("%d.%d.%d.%d", 11+r.IntN(180), r.IntN(256), r.IntN(256), 1+r.IntN(254))})
		sum += 1 / math.Pow(float64(i+2), 0.7)
		s.clientCDF = append(s.clientCDF, sum)
	}
	return s
}

func (s *shop) newService(domain int, rate float64) *service {
	d, r := domains[domain], s.rng
	v := &service{
		name: s.name + "-" + d.service, team: fmt.Sprintf("team-%s-%s", s.name, d.service), version: fmt.Sprintf("2.%d.0", 1+r.IntN(30)),
		rate: rate, medianMS: 15 + 60*r.Float64(),
	}
	var sum float64
	for i, op := range strings.Split(d.routes, "|") {
		method, template, _ := strings.Cut(op, " ")
		template = "/" + s.name + template // no other shop has it
		v.routes = append(v.routes, route{method: method, template: template, parts: cut(template)})
		sum += 1 / math.Pow(float64(i+1), 0.6)
		v.cdf = append(v.cdf, sum)
	}
	v.routes[1].team = v.team + "-" + "core" // an operation that another team answers for
	for i := range 2 + r.IntN(3) {
		v.upstreams = append(v.upstreams, fmt.Sprintf("10.%d.%d.%d:8080", 20+r.IntN(200), r.IntN(250), 10+i))
	}
	return v
}

// cut returns what is between the parameters of a template.
func cut(template string) (parts []string) {
	for {
		before, after, ok := strings.Cut(template, "{")
		parts = append(parts, before)
		if !ok {
			return parts
		}
		_, template, _ = strings.Cut(after, "}")
	}
}
