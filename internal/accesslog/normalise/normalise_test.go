package normalise_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/normalise"
)

// wantKeyID was computed by openssl.
const wantKeyID = "e51aafa1d4392040fcc4f20192c9dad2"

var secretA, secretB = []byte("0123456789abcdef"), []byte("fedcba9876543210")

func newNormaliser(t testing.TB, change func(*normalise.Config)) *normalise.Normaliser {
	t.Helper()
	cfg := normalise.Config{Peppers: []normalise.Pepper{{Secret: secretA}}, ClientIP: normalise.ClientIPTruncated}
	if change != nil {
		change(&cfg)
	}
	n, err := normalise.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func normalised(n *normalise.Normaliser, e accesslog.Entry) accesslog.Entry {
	var arena accesslog.Arena
	n.Normalise(&e, &arena)
	return e
}

func TestMasking(t *testing.T) {
	n := newNormaliser(t, func(c *normalise.Config) { c.QueryAllow = []string{"page"} })
	for _, c := range [][2]string{
		{"/a", "/a"},
		{"/a?page=2&token=abc&x&=y", "/a?page=2&token=*&*&=*"},
		{"/a?page=joe@example.com", "/a?page=*"},
		{"/a?a=1&b=2&", "/a?a=*&b=*&"},
		{"/users/joe@example.com/orders", "/users/{email}/orders"},
		{"/users/joe%40example.com", "/users/{email}"},
		{"/t/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "/t/{token}"},
		{"/k/sk_live_abcdefghijklmnop/x", "/k/{token}/x"},
		{"/k/AKIAIOSFODNN7EXAMPLE", "/k/{token}"},
		{"/a;jsessionid=ABC.node1", "/a;jsessionid={token}"},
		{"/@handle", "/@handle"},
		{"/sk_live_short", "/sk_live_short"},
	} {
		var e accesslog.Entry
		e.SetTarget(c[0])
		if got := normalised(n, e).Target; got != c[1] {
			t.Errorf("%s: got %s, want %s", c[0], got, c[1])
		}
	}
	got := normalised(n, accesslog.Entry{Referer: "https://u:p@x.example/a?token=1#f", UserAgent: "bot/1 (+mailto:joe@example.com)", RequestLine: "key abc"})
	want := [3]string{"https://{email}/a", "bot/1 ({email})", "{unreadable}"}
	if diff := cmp.Diff(want, [3]string{got.Referer, got.UserAgent, got.RequestLine}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	long := normalised(n, accesslog.Entry{UserAgent: strings.Repeat("é", 5000), Service: strings.Repeat("x", 1000)})
	if len(long.UserAgent) != 2048 || len(long.Service) != 256 || strings.Contains(long.UserAgent, "\uFFFD") {
		t.Errorf("clipped to %d and %d bytes", len(long.UserAgent), len(long.Service))
	}
}

func TestKeyID(t *testing.T) {
	change := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	n := newNormaliser(t, func(c *normalise.Config) {
		c.Peppers = append(c.Peppers, normalise.Pepper{Secret: secretB, From: change})
	})
	at := func(tm time.Time, key string) accesslog.Entry {
		return normalised(n, accesslog.Entry{Time: tm, APIKey: key, Consumer: accesslog.Consumer{ID: "joe@example.com"}})
	}
	before, after := at(change.Add(-1), "k"), at(change, "k")
	// printf k | openssl dgst -sha256 -hmac 0123456789abcdef
	if got := fmt.Sprintf("%x", before.Consumer.KeyID); got != wantKeyID {
		t.Errorf("key id %s, want %s", got, wantKeyID)
	}
	if before.Consumer.KeyID == after.Consumer.KeyID || at(change, "k").Consumer.KeyID != after.Consumer.KeyID || at(change, "l").Consumer.KeyID == after.Consumer.KeyID {
		t.Error("key ids don't depend on key and pepper alone")
	}
	if before.APIKey != "" || !strings.HasPrefix(before.Consumer.ID, "email-") || before.Consumer.ID == after.Consumer.ID {
		t.Errorf("key %q, consumers %q and %q", before.APIKey, before.Consumer.ID, after.Consumer.ID)
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct{ mode, ip, want, left string }{
		{normalise.ClientIPTruncated, "198.51.100.77", "198.51.100.0", ""},
		{normalise.ClientIPTruncated, "2001:db8:1:2::3", "2001:db8:1::", ""},
		{normalise.ClientIPTruncated, "::ffff:198.51.100.77", "198.51.100.0", ""},
		{normalise.ClientIPFull, "198.51.100.77", "198.51.100.77", "198.51.100.77"},
		{normalise.ClientIPNone, "198.51.100.77", "invalid IP", ""},
		{normalise.ClientIPTruncated, "host.example", "invalid IP", ""},
	} {
		n := newNormaliser(t, func(cfg *normalise.Config) { cfg.ClientIP = c.mode })
		got := normalised(n, accesslog.Entry{ClientIP: c.ip, ForwardedFor: "203.0.113.9"})
		if got.ClientAddr.String() != c.want || got.ClientIP != c.left || (c.left == "") != (got.ForwardedFor == "") {
			t.Errorf("%s %s: %v, %q, forwarded for %q", c.mode, c.ip, got.ClientAddr, got.ClientIP, got.ForwardedFor)
		}
	}
}

func TestRoutes(t *testing.T) {
	n := newNormaliser(t, func(c *normalise.Config) {
		c.Routes = []string{"/v1/orders/{id}", "POST /v1/orders/{id}", "/v1/orders/latest", "/v1/orders/:id/items", "/static/*"}
		c.LearnedRoutes = 40
	})
	for path, want := range map[string]string{
		"/v1/orders/abc":     "/v1/orders/{id}",
		"/v1/orders/latest":  "/v1/orders/latest",
		"/v1/orders/x/items": "/v1/orders/:id/items",
		"/v1/orders/":        "/v1/orders/",
		"/static/a/b.js":     "/static/*",
		"/":                  "/",
		"/v2/users/4711":     "/v2/users/{id}",
		"/v2/users/4711/":    "/v2/users/{id}/",
		"/x/550e8400-e29b-41d4-a716-446655440000": "/x/{id}",
		"/x/d41d8cd98f00b204e9800998ecf8427e":     "/x/{id}",
		"/x/2026-01-02":                           "/x/{id}",
		"/x/joe@example.com":                      "/x/{id}",
		"/x/c%C3%A9":                              "/x/{id}",
		"/oauth2/token":                           "/oauth2/token",
		"/v1.2/s3/index.html":                     "/v1.2/s3/index.html",
		"/a/b/c/d/e/f/g/h/i/j/k/l/m/n":            "/a/b/c/d/e/f/g/h/i/j/k/l/*",
	} {
		if got := normalised(n, accesslog.Entry{Path: path, Status: 200}).Route; got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if got := normalised(n, accesslog.Entry{Path: "/wp-login.php", Status: 404}).Route; got != normalise.OverflowRoute {
		t.Errorf("a path that was not found taught the route %s", got)
	}
	if got := normalised(n, accesslog.Entry{Path: "/q", Route: "given", Status: 200}).Route; got != "given" {
		t.Errorf("the gateway's route became %s", got)
	}
	seen := map[string]bool{}
	for i := range 1000 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676))
		seen[normalised(n, accesslog.Entry{Path: "/learn/" + name, Status: 200, Service: "s"}).Route] = true
	}
	if len(seen) != 41 || !seen[normalise.OverflowRoute] {
		t.Errorf("%d routes, want 40 and the overflow", len(seen))
	}
}

func TestDerived(t *testing.T) {
	n := newNormaliser(t, func(c *normalise.Config) { c.Region = "eu"; c.Node = "n"; c.Service = "s" })
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ms := func(n int) accesslog.Opt[time.Duration] { return accesslog.Some(time.Duration(n) * time.Millisecond) }
	e := normalised(n, accesslog.Entry{
		Time: start, TimeIsStart: true, Method: "FOO", Service: "own", Status: 504,
		Upstream: "u:1", UpstreamStatus: 504, Latency: accesslog.Latency{Total: ms(2000), Upstream: ms(2001)},
	})
	if !e.Time.Equal(start.Add(2*time.Second)) || e.Latency.Gateway != ms(0) || e.Method != "OTHER" || e.Region != "eu" || e.Node != "n" || e.Service != "own" {
		t.Errorf("%+v", e)
	}
	if want := (accesslog.Outcome{
		Responder: accesslog.ResponderGateway, Class: accesslog.UpstreamTimeout,
		UpstreamReached: accesslog.ReachedYes, Evidence: accesslog.EvidenceInferred,
	}); e.Outcome != want {
		t.Errorf("outcome %+v, want %+v", e.Outcome, want)
	}
	if e := normalised(n, accesslog.Entry{Status: 200, Latency: accesslog.Latency{Total: ms(1)}}); e.Latency.Gateway.OK {
		t.Error("a gateway latency without an upstream's")
	}
}

func TestConfigFaults(t *testing.T) {
	for name, cfg := range map[string]normalise.Config{
		"mode":   {ClientIP: "some"},
		"pepper": {ClientIP: normalise.ClientIPFull, Peppers: []normalise.Pepper{{Secret: []byte("short")}}},
		"route":  {ClientIP: normalise.ClientIPFull, Routes: []string{"v1/x"}},
	} {
		if _, err := normalise.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	n := newNormaliser(t, nil)
	var arena accesslog.Arena
	allocs := testing.AllocsPerRun(1000, func() {
		arena.Reset()
		e := accesslog.Entry{Status: 200, APIKey: "k", ClientIP: "198.51.100.7", UserAgent: "curl/8 (joe@example.com)", Consumer: accesslog.Consumer{ID: "joe@example.com"}}
		e.SetTarget("/v1/orders/4711?page=2&token=abc")
		n.Normalise(&e, &arena)
	})
	if allocs != 0 {
		t.Errorf("%v allocations an entry, want 0", allocs)
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("/a/b?c=d&e", "x@y", "eyJabc")
	f.Add("//%40;jsessionid=?&&=", "", "\xff")
	n := newNormaliser(f, nil)
	f.Fuzz(func(t *testing.T, target, agent, key string) {
		e := accesslog.Entry{UserAgent: agent, APIKey: key, Status: 200}
		e.SetTarget(target)
		query := e.Query
		e = normalised(n, e)
		if e.APIKey != "" || len(e.Path) > 8*2049 || key != "" && e.Consumer.KeyID == [16]byte{} {
			t.Errorf("%+v", e)
		}
		for i, param := range strings.Split(query, "&") {
			if _, v, ok := strings.Cut(param, "="); ok && len(v) > 6 && len(query) < 2000 && strings.Contains(strings.Split(e.Query, "&")[i], v) {
				t.Errorf("query %q kept a value: %q", query, e.Query)
			}
		}
	})
}

// Whom a credential names is the consumer, and its hash stays the same while tokens change.
func TestIdentity(t *testing.T) {
	jwt := func(claims string) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	n, err := normalise.New(normalise.Config{Peppers: []normalise.Pepper{{Secret: bytes.Repeat([]byte("p"), 32)}}, ClientIP: normalise.ClientIPNone})
	if err != nil {
		t.Fatal(err)
	}
	keyOf := func(e accesslog.Entry) (string, [16]byte) {
		var arena accesslog.Arena
		n.Normalise(&e, &arena)
		if e.APIKey != "" {
			t.Errorf("the key %q is still there", e.APIKey)
		}
		return strings.Clone(e.Consumer.ID), e.Consumer.KeyID
	}
	_, app := keyOf(accesslog.Entry{APIKey: jwt(`{"sub":"u1","client_id":"app","exp":1}`)})
	for _, c := range []struct {
		entry    accesslog.Entry
		consumer string
		sameKey  bool // as the app's
	}{
		{accesslog.Entry{APIKey: jwt(`{"client_id":"app","exp":2}`)}, "app", true},
		{accesslog.Entry{APIKey: jwt(`{"azp":"app","sub":"u2"}`)}, "app", true},
		{accesslog.Entry{APIKey: jwt(`{"sub":"app"}`)}, "app", true},
		{accesslog.Entry{APIKey: jwt(`{"iss":"x"}`)}, "", false},
		{accesslog.Entry{APIKey: "eyJ.!!!.x"}, "", false},
		{accesslog.Entry{APIKey: jwt(`{"sub":"app"}`), Consumer: accesslog.Consumer{ID: "named"}}, "named", true},
		{accesslog.Entry{APIKey: "Basic " + base64.StdEncoding.EncodeToString([]byte("app:s3cret"))}, "app", true},
		{accesslog.Entry{APIKey: "Basic !!!"}, "", false},
		{accesslog.Entry{APIKey: "AWS4-HMAC-SHA256 Credential=app/20260102/eu-west-1/execute-api/aws4_request, SignedHeaders=host, Signature=ab"}, "app", true},
		{accesslog.Entry{Query: "page=1&api_key=app"}, "", true},
		{accesslog.Entry{Query: "key="}, "", false},
	} {
		consumer, key := keyOf(c.entry)
		if consumer != c.consumer || (key == app) != c.sameKey {
			t.Errorf("%+v: consumer %q, the app's key %v; want %q, %v", c.entry, consumer, key == app, c.consumer, c.sameKey)
		}
	}
}

// Hosts are limited: what scanners send, and what comes after too many, is one host.
func TestHosts(t *testing.T) {
	n, err := normalise.New(normalise.Config{ClientIP: normalise.ClientIPNone})
	if err != nil {
		t.Fatal(err)
	}
	host := func(name string, status int) string {
		var arena accesslog.Arena
		e := accesslog.Entry{Host: name, Status: status, Path: "/"}
		n.Normalise(&e, &arena)
		return e.Host
	}
	if got := host("scanner.example", 404); got != normalise.OtherHost {
		t.Errorf("an unknown host with a 404 is %s", got)
	}
	if host("api.example", 200); host("api.example", 404) != "api.example" {
		t.Error("a known host isn't kept")
	}
	for i := range 5000 {
		host(fmt.Sprintf("h%d.example", i), 200)
	}
	if got := host("one-more.example", 200); got != normalise.OtherHost {
		t.Errorf("after 5,000 hosts another is %s", got)
	}
	if got := host("api.example", 200); got != "api.example" {
		t.Errorf("an early host is %s", got)
	}
}

func TestOpenAPIRoutes(t *testing.T) {
	got, err := normalise.OpenAPIRoutes([]byte(`
openapi: 3.1.0
servers:
  - url: https://{region}.api.example/{base}/
    variables: {region: {default: eu}, base: {default: v2}}
  - url: /internal
paths:
  /orders/{id}: {get: {}, parameters: []}
  /orders/mine: {get: {}}
  /files/{name}.json:
    servers: [{url: https://files.example/f}]
    get: {}
    post: {servers: [{url: https://upload.example}]}
  x-note: {}
`))
	want := []string{
		"GET /f/files/{name}.json", "POST /files/{name}.json", "GET /v2/orders/mine", "GET /internal/orders/mine",
		"GET /v2/orders/{id}", "GET /internal/orders/{id}",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	n, err := normalise.New(normalise.Config{ClientIP: normalise.ClientIPNone, Routes: got})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"/v2/orders/mine": "/v2/orders/mine", "/v2/orders/7": "/v2/orders/{id}", "/internal/orders/abc": "/internal/orders/{id}",
		"/f/files/a.json": "/f/files/{name}.json", "/v2/other": "/v2/other",
	} {
		var arena accesslog.Arena
		e := accesslog.Entry{Method: "GET", Path: target, Status: 200}
		if n.Normalise(&e, &arena); e.Route != want {
			t.Errorf("%s: %s, want %s", target, e.Route, want)
		}
	}
	for _, text := range []string{"", "a: b", "openapi: [", "openapi: 3.0.0\npaths: {/a: {get: {servers: [{url: 'http://[::1'}]}}}"} {
		if _, err := normalise.OpenAPIRoutes([]byte(text)); err == nil {
			t.Errorf("%q is taken for a document", text)
		}
	}
}
