// Package loadgen makes the traffic of a shop's API as its gateways and tracers
// write it to Kafka: nginx and Envoy access logs and OTLP spans. Everything
// follows from a seed and the times that the caller passes in. An Account keeps
// what was sent, in plain sums that share no code with the product, so that
// tests can hold the product's figures against it.
package loadgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// The topics that a Feed writes to.
const (
	TopicNginx = "gateway-nginx" // nginx JSON access log
	TopicEnvoy = "gateway-envoy" // Envoy JSON access log
	TopicSpans = "spans"         // OTLP protobuf, one export request a message
)

// Topics returns all topics that a Feed writes to.
func Topics() []string { return []string{TopicNginx, TopicEnvoy, TopicSpans} }

// A Route is one operation of the API.
type Route struct {
	ID       int // index in Shop.Routes
	Service  string
	Method   string
	Template string // such as /v1/orders/{id}
	Version  string // API version, such as v1
	// MedianMS and Sigma shape the log-normal latency, in milliseconds.
	MedianMS, Sigma float64
	// OutBytes is the median size of a response.
	OutBytes float64

	service   int
	fragments []string // of the template, between its parameters
	nginx     []byte   // the route's keys, encoded
	envoy     []byte
}

// A Key is one credential of a consumer.
type Key struct {
	ID       int // index in Shop.Keys
	Secret   string
	Consumer string
	Plan     string // free, basic, pro or enterprise
	Region   string

	ip    string
	nginx []byte // the key's keys, encoded
	envoy []byte
}

// A Shop is the API whose traffic is made: fixed services and routes, keys by seed.
type Shop struct {
	Services  []string
	Routes    []Route
	Keys      []Key
	Upstreams [][]string // per service, host:port
	Nodes     []string   // gateways; the last one is Envoy, the others are nginx

	routeCDF []float64
}

const (
	keyCount      = 800
	consumerCount = 500
	envoyNode     = 2 // index in Nodes
)

// routeTable lists service, share of traffic, median latency in ms and the
// operations, most used first.
var routeTable = [...]struct {
	service string
	host    string
	share   float64
	median  float64
	routes  string
}{
	{"catalog", "cat", 0.38, 12, `GET /v1/products/{id}|GET /v1/products|GET /v1/search|GET /v1/categories|GET /v1/products/{id}/reviews|GET /v1/categories/{id}|GET /v2/products/{id}|GET /v1/products/{id}/stock|POST /v1/products/{id}/reviews|GET /v1/brands|GET /v1/prices/{id}|GET /v2/search|PUT /v1/products/{id}|POST /v1/products`},
	{"orders", "ord", 0.25, 28, `GET /v1/orders/{id}|POST /v1/orders|GET /v1/orders|GET /v1/carts/{id}|POST /v1/carts/{id}/items|POST /v1/carts|DELETE /v1/carts/{id}/items/{item}|GET /v1/orders/{id}/items|POST /v1/orders/{id}/cancel|PATCH /v1/orders/{id}|GET /v2/orders/{id}|POST /v2/orders|GET /v1/returns/{id}|POST /v1/returns`},
	{"payments", "pay", 0.16, 55, `POST /v1/charges|GET /v1/charges/{id}|POST /v1/payment_intents|GET /v1/payment_methods|POST /v1/refunds|GET /v1/payment_intents/{id}|POST /v1/charges/{id}/capture|POST /v1/payment_methods|GET /v1/refunds/{id}|GET /v1/payouts|GET /v1/balance|DELETE /v1/payment_methods/{id}`},
	{"users", "usr", 0.13, 18, `GET /v1/users/{id}|POST /v1/sessions|GET /v1/users/{id}/addresses|PATCH /v1/users/{id}|POST /v1/users|DELETE /v1/sessions/{id}|GET /v1/users/{id}/orders|POST /v1/password_resets|PUT /v1/users/{id}/addresses/{address}|DELETE /v1/users/{id}`},
	{"shipping", "shp", 0.08, 35, `GET /v1/shipments/{id}|POST /v1/rates|GET /v1/shipments/{id}/tracking|POST /v1/shipments|GET /v1/carriers|POST /v1/labels|GET /v1/labels/{id}|DELETE /v1/shipments/{id}|GET /v1/zones|POST /v1/pickups`},
}

// NewShop returns the shop of that seed.
func NewShop(seed uint64) *Shop {
	r := rand.New(rand.NewPCG(seed, 0x5b09))
	s := &Shop{Nodes: []string{"gw-1", "gw-2", "gw-3"}}
	var sum float64
	for si := range routeTable {
		t := &routeTable[si]
		s.Services = append(s.Services, t.service)
		var hosts []string
		for i := 1; i <= 3; i++ {
			hosts = append(hosts, fmt.Sprintf("%s-%d:8080", t.host, i))
		}
		s.Upstreams = append(s.Upstreams, hosts)
		ops := strings.Split(t.routes, "|")
		var norm float64
		for i := range ops {
			norm += 1 / math.Pow(float64(i+1), 0.9)
		}
		for i, op := range ops {
			method, template, _ := strings.Cut(op, " ")
			s.addRoute(si, method, template, t.median*(0.6+1.2*r.Float64()))
			sum += t.share / math.Pow(float64(i+1), 0.9) / norm
			s.routeCDF = append(s.routeCDF, sum)
		}
	}
	for i := range s.routeCDF {
		s.routeCDF[i] /= sum
	}
	for i := range keyCount {
		s.addKey(i, r)
	}
	return s
}

func (s *Shop) addRoute(service int, method, template string, median float64) {
	rt := Route{
		ID: len(s.Routes), Service: s.Services[service], service: service, Method: method, Template: template,
		Version: template[1:3], MedianMS: median, Sigma: 0.55, OutBytes: 1200,
	}
	if method == "POST" || method == "PUT" || method == "PATCH" {
		rt.MedianMS *= 1.6
		rt.OutBytes = 500
	}
	for rest := template; ; {
		before, after, ok := strings.Cut(rest, "{")
		rt.fragments = append(rt.fragments, before)
		if !ok {
			break
		}
		_, rest, _ = strings.Cut(after, "}")
	}
	rt.nginx = fmt.Appendf(nil, `,"service":%q,"route":%q,"api_version":%q,"request_method":%q`, rt.Service, template, rt.Version, method)
	rt.envoy = fmt.Appendf(nil, `,"upstream_cluster":%q,"route_name":%q,"api_version":%q,"method":%q`, rt.Service, template, rt.Version, method)
	s.Routes = append(s.Routes, rt)
}

var agents = [...]string{"okhttp/4.12.0", "python-requests/2.32.3", "axios/1.7.7", "Go-http-client/2.0", "curl/8.9.1", "Apache-HttpClient/5.3.1 (Java/21.0.4)", "shop-sdk/3.2 (iOS 18.1)", "shop-sdk/3.4 (Android 15)"}

// agentOf is a user agent for a key that is made by an incident.
func agentOf(key int) string { return agents[key%len(agents)] }

// encode writes what a gateway logs of the key.
func (k *Key) encode(agent string) {
	common := fmt.Sprintf(`"consumer":%q,"plan":%q,"region":%q`, k.Consumer, k.Plan, k.Region)
	k.nginx = fmt.Appendf(nil, `,"remote_addr":%q,"http_user_agent":%q,"api_key":%q,%s`, k.ip, agent, k.Secret, common)
	remote := k.ip + ":41822"
	if strings.Contains(k.ip, ":") {
		remote = "[" + k.ip + "]:41822"
	}
	k.envoy = fmt.Appendf(nil, `,"downstream_remote_address":%q,"user-agent":%q,"x-api-key":%q,%s`, remote, agent, k.Secret, common)
}

func (s *Shop) addKey(i int, r *rand.Rand) {
	plans := [...]string{"free", "free", "free", "free", "free", "basic", "basic", "basic", "pro", "enterprise"}
	c := i
	if i >= consumerCount {
		c = r.IntN(consumerCount)
	}
	k := Key{
		ID: i, Secret: fmt.Sprintf("sk_live_%016x%08x", r.Uint64(), uint32(i)), Consumer: fmt.Sprintf("shop-%03d", c),
		Plan: plans[c%len(plans)], Region: [...]string{"eu-west-1", "eu-west-1", "eu-central-1", "us-east-1"}[r.IntN(4)],
		ip: fmt.Sprintf("%d.%d.%d.%d", 11+r.IntN(180), r.IntN(256), r.IntN(256), 1+r.IntN(254)),
	}
	if r.IntN(10) == 0 {
		k.ip = fmt.Sprintf("2001:db8:%x:%x::%x", r.IntN(65536), r.IntN(65536), 1+r.IntN(65535))
	}
	k.encode(agents[r.IntN(len(agents))])
	s.Keys = append(s.Keys, k)
}
