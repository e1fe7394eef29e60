// Package normalise turns a decoded entry into what may be stored: outcome and
// gateway latency completed, a route of low cardinality, the API key replaced
// by its keyed hash, addresses truncated, and secrets and personal data masked.
// It reads no clock and does no I/O; in the steady state it does not allocate.
package normalise

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/jsonscan"
)

// Modes of Config.ClientIP.
const (
	ClientIPTruncated = "truncated" // /24 and /48
	ClientIPFull      = "full"
	ClientIPNone      = "none"
)

// A Pepper is a secret that API keys are hashed with from a moment of event time on.
type Pepper struct {
	Secret []byte
	From   time.Time // zero: always
}

// Config is what a topic's normaliser needs to know.
type Config struct {
	// Peppers for API keys; the one valid at a request's time is used. Without any, keys are dropped.
	Peppers []Pepper
	// ClientIP is one of the modes above.
	ClientIP string
	// QueryAllow lists query parameters whose values are kept.
	QueryAllow []string
	// Routes are templates such as /v1/orders/{id} or GET /v1/orders/*, for entries without a route.
	Routes []string
	// LearnedRoutes bounds how many templates a service learns; beyond it the route is "{other}". Default 300.
	LearnedRoutes int
	// Service, Node and Region are given to entries that have none.
	Service, Node, Region string
}

// Limits on stored text, in bytes: names become dictionary entries.
const (
	maxName = 256
	maxText = 2048
)

// A Normaliser normalises entries. It keeps caches and is used by one goroutine at a time.
type Normaliser struct {
	cfg    Config
	routes *routes
	keys   keys
	allow  map[string]bool
	scan   jsonscan.Scanner
	hosts  map[string]string
}

// New returns a normaliser, or says what is wrong with cfg.
func New(cfg Config) (*Normaliser, error) {
	if !slices.Contains([]string{ClientIPTruncated, ClientIPFull, ClientIPNone}, cfg.ClientIP) {
		return nil, fmt.Errorf("client_ip: %q is not truncated, full or none", cfg.ClientIP)
	}
	for i, p := range cfg.Peppers {
		if len(p.Secret) < 16 {
			return nil, fmt.Errorf("pepper %d: %d bytes, want at least 16", i+1, len(p.Secret))
		}
	}
	if cfg.LearnedRoutes == 0 {
		cfg.LearnedRoutes = 300
	}
	n := &Normaliser{cfg: cfg, keys: newKeys(cfg.Peppers), allow: make(map[string]bool), hosts: make(map[string]string)}
	for _, name := range cfg.QueryAllow {
		n.allow[name] = true
	}
	var err error
	if n.routes, err = newRoutes(cfg.Routes, cfg.LearnedRoutes); err != nil {
		return nil, err
	}
	return n, nil
}

// Normalise completes e and masks it. Rewritten text goes to the arena.
func (n *Normaliser) Normalise(e *accesslog.Entry, arena *accesslog.Arena) {
	fillIn(&e.Service, n.cfg.Service)
	fillIn(&e.Node, n.cfg.Node)
	fillIn(&e.Region, n.cfg.Region)
	complete(e)
	if e.Route == "" && e.Path != "" {
		e.Route = n.routes.route(e)
	}
	if e.Method != "" && !registered(e.Method) {
		e.Method = "OTHER"
	}
	n.limitHost(e)
	n.identify(e, arena)
	n.mask(e, arena)
	n.address(e)
}

// OtherHost is the host of a request whose host is one too many: clients send
// what they like, and each name would be a dictionary entry.
const OtherHost = "{other}"

// maxHosts bounds how many hosts a topic has.
const maxHosts = 2000

// limitHost keeps the hosts that came first. New ones come only from requests
// that some route answered: scanners send any name.
func (n *Normaliser) limitHost(e *accesslog.Entry) {
	if e.Host == "" {
		return
	}
	if known, ok := n.hosts[e.Host]; ok {
		e.Host = known
		return
	}
	if len(n.hosts) >= maxHosts || unanswered(e) {
		e.Host, e.Authority = OtherHost, ""
		return
	}
	host := strings.Clone(clip(e.Host, maxName))
	n.hosts[host] = host
}

// unanswered reports whether no route answered the request.
func unanswered(e *accesslog.Entry) bool {
	switch e.Outcome.Class {
	case accesslog.ClientNotFound, accesslog.ClientBadRequest, accesslog.GatewayNoRoute, accesslog.GatewayPolicy:
		return true
	}
	return false
}

func fillIn(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// complete derives gateway latency, event time and outcome.
func complete(e *accesslog.Entry) {
	l := &e.Latency
	if l.Total.OK && l.Upstream.OK && !l.Gateway.OK {
		l.Gateway = accesslog.Some(max(0, l.Total.V-l.Upstream.V))
	}
	if e.TimeIsStart {
		if l.Total.OK && !e.Time.IsZero() {
			e.Time = e.Time.Add(l.Total.V)
		}
		e.TimeIsStart = false
	}
	if e.Outcome == (accesslog.Outcome{}) {
		e.Outcome = accesslog.Infer(e)
	}
}

func (n *Normaliser) mask(e *accesslog.Entry, arena *accesslog.Arena) {
	e.Path = accesslog.MaskText(clip(e.Path, maxText), arena)
	e.Query = n.maskQuery(clip(e.Query, maxText), arena)
	e.Target = join(e.Path, e.Query, arena)
	e.UserAgent = accesslog.MaskText(clip(e.UserAgent, maxText), arena)
	e.Referer = accesslog.MaskText(clip(withoutQuery(e.Referer), maxText), arena)
	if e.RequestLine != "" {
		e.RequestLine = "{unreadable}"
	}
	if strings.IndexByte(e.Authority, '@') >= 0 {
		e.Authority, e.Host = "", ""
	}
	for _, name := range [...]*string{
		&e.Service, &e.Route, &e.Upstream, &e.Node, &e.Region, &e.APIVersion,
		&e.Consumer.ID, &e.Consumer.Plan, &e.Flags, &e.Details, &e.RequestID, &e.Host, &e.Authority, &e.Protocol,
	} {
		if len(*name) > maxName {
			*name = clip(*name, maxName)
		}
	}
}

// address keeps as much of the client's address as the configuration allows.
func (n *Normaliser) address(e *accesslog.Entry) {
	e.ClientAddr = n.Address(e.ClientIP)
	if n.cfg.ClientIP != ClientIPFull {
		e.ClientIP, e.ClientPort, e.ForwardedFor = "", 0, ""
	}
}

// Address returns as much of an address as the configuration allows, invalid if
// there is none.
func (n *Normaliser) Address(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if err != nil || n.cfg.ClientIP == ClientIPNone {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if n.cfg.ClientIP == ClientIPTruncated {
		bits := 48
		if addr.Is4() {
			bits = 24
		}
		prefix, _ := addr.Prefix(bits) // no error: the length fits
		addr = prefix.Addr()
	}
	return addr
}

// clip cuts s to at most n bytes without splitting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// registered reports whether m is in IANA's HTTP Method Registry: everything
// else is what scanners make up, and would be a dimension without bound.
func registered(m string) bool {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
		"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE",
		"MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PRI",
		"PROPFIND", "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK",
		"UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL":
		return true
	}
	return false
}
