package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/debian"
	"gatewatch/internal/devstack/leash"
)

// A gateway is one whose shipped configuration is run.
type gateway struct {
	name, program string
	// configure writes the gateway's configuration, the shipped one included,
	// and returns its arguments.
	configure func(t *testing.T, g *gatewayRun) []string
	expect    func(*gatewayRun, *request) // fills what is its own
}

// A gatewayRun is a gateway at work.
type gatewayRun struct {
	gateway
	root, deploy, dir string // packages, the repository's folder, its own
	upstream          *upstream
	refusing          string // address that nobody listens on
	addr              string // its own
	rsyslog           *strings.Replacer
}

// shipped returns a file of deploy/gateways with this machine's paths.
func (g *gatewayRun) shipped(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(g.deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return g.rsyslog.Replace(string(b))
}

func (g *gatewayRun) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gateways() []gateway {
	return []gateway{
		{
			name: "nginx", program: "usr/sbin/nginx", configure: nginx,
			expect: func(g *gatewayRun, r *request) {
				r.Upstream, r.Responder = g.upstream.addr, "upstream"
				if r.Route == "/slow/{n}" {
					r.Route = "/slow/{id}" // as the location says
				}
				if r.down() {
					r.Status, r.Upstream, r.Class, r.Responder = 502, g.refusing, "upstream_connect", "gateway"
				}
			},
		},
		{
			name: "haproxy", program: "usr/sbin/haproxy", configure: haproxy,
			expect: func(_ *gatewayRun, r *request) {
				r.Upstream, r.Responder = "s1", "upstream"
				r.TraceID, r.Agent, r.HasKey = strings.Repeat("0", 32), "", false // not in option httplog
				if r.down() {
					r.Status, r.Class, r.Responder = 503, "upstream_connect", "gateway"
				}
			},
		},
		{
			name: "apache", program: "usr/sbin/apache2", configure: apache,
			expect: func(g *gatewayRun, r *request) {
				r.Upstream, r.Responder = "http://"+g.upstream.addr, "unknown"
				if r.Status == 503 {
					r.Responder = "upstream"
				}
				if r.down() { // not of a balancer: Apache doesn't say who answered
					r.Status, r.Upstream, r.Class, r.Responder = 503, "", "unknown", "unknown"
				}
			},
		},
		{
			name: "caddy", program: "usr/bin/caddy", configure: caddy,
			expect: func(_ *gatewayRun, r *request) {
				r.Responder = "unknown" // its log doesn't name the upstream
				if r.Status == 503 {
					r.Class = "unknown"
				}
				if r.down() {
					r.Status, r.Class, r.Responder = 502, "upstream_protocol", "gateway"
				}
			},
		},
	}
}

func nginx(t *testing.T, g *gatewayRun) []string {
	shipped := g.write(t, "gatewatch.conf", g.shipped(t, "gatewatch.conf"))
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(g.dir, kind))
	}
	return []string{"-e", filepath.Join(g.dir, "error.log"), "-c", g.write(t, "nginx.conf", fmt.Sprintf(`
daemon off; master_process off; pid %s/pid; error_log %s/error.log;
events {}
http {
  %s
  include %s;
  server {
    listen %s;
    location /down/ { proxy_pass http://%s; }
    location /slow/ { set $gw_route "/slow/{id}"; proxy_pass http://%s; }
    location / { set $gw_service orders; proxy_pass http://%s; }
  }
}`, g.dir, g.dir, temp, shipped, g.addr, g.refusing, g.upstream.addr, g.upstream.addr))}
}

func haproxy(t *testing.T, g *gatewayRun) []string {
	return []string{
		"-f", g.write(t, "gatewatch.cfg", g.shipped(t, "gatewatch.cfg")),
		"-f", g.write(t, "haproxy.cfg", fmt.Sprintf(`
defaults
    mode http
    option httplog
    log global
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    retries 0
frontend fe
    bind %s
    use_backend down if { path_beg /down/ }
    default_backend orders
backend orders
    server s1 %s
backend down
    server s1 %s
`, g.addr, g.upstream.addr, g.refusing)),
	}
}

func apache(t *testing.T, g *gatewayRun) []string {
	modules := ""
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http", "proxy_balancer", "slotmem_shm", "lbmethod_byrequests"} {
		modules += fmt.Sprintf("LoadModule %s_module %s/usr/lib/apache2/modules/mod_%s.so\n", m, g.root, m)
	}
	return []string{"-DFOREGROUND", "-f", g.write(t, "httpd.conf", fmt.Sprintf(`
%s
ServerName gw.example
ServerRoot %s
PidFile %s/pid
DefaultRuntimeDir %s
ErrorLog %s/error.log
Listen %s
%s
<Proxy balancer://orders>
  BalancerMember http://%s
</Proxy>
ProxyPass /down/ http://%s/ retry=0
ProxyPass / balancer://orders/
`, modules, g.dir, g.dir, g.dir, g.dir, g.addr, g.shipped(t, "gatewatch.conf"), g.upstream.addr, g.refusing))}
}

func caddy(t *testing.T, g *gatewayRun) []string {
	return []string{"run", "--adapter", "caddyfile", "--config", g.write(t, "Caddyfile", fmt.Sprintf(`{
	admin off
	auto_https off
}
%s
http://%s {
	import gatewatch
	reverse_proxy /down/* %s
	reverse_proxy %s
}
`, g.shipped(t, "Caddyfile"), g.addr, g.refusing, g.upstream.addr))}
}

// TestGateways runs real gateways with the shipped configurations, real
// requests through them, rsyslog to Kafka, and compares what ClickHouse has
// with what the client saw.
func TestGateways(t *testing.T) {
	root, err := debian.Install(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ours := built()
	if ours.err != nil {
		t.Fatal(ours.err)
	}
	var topics []map[string]any
	for _, g := range gateways() {
		topic := shippedTopic(t, filepath.Join(ours.root, "deploy/gateways", g.name))
		topic["routes"] = []string{"/status/{status}/{n}", "/slow/{n}", "/down/{n}"}
		topics = append(topics, topic)
	}
	s := start(t, func(c devstack.Config) devstack.Config {
		c.WithoutAlert, c.Topics = true, topics
		return c
	})
	for _, g := range gateways() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			run := newGatewayRun(t, g, root, filepath.Join(ours.root, "deploy/gateways", g.name), s.Broker.Addr)
			run.start(t)
			run.check(t, s, run.send(t))
		})
	}
}

// shippedTopic returns the topic of deploy/gateways/NAME/topic.yaml.
func shippedTopic(t *testing.T, dir string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "topic.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Kafka struct{ Topics []map[string]any }
	}
	if err := yaml.Unmarshal(b, &c); err != nil || len(c.Kafka.Topics) != 1 {
		t.Fatalf("%s: %v, %d topics", dir, err, len(c.Kafka.Topics))
	}
	return c.Kafka.Topics[0]
}

// An upstream answers /status/N/… with that status, and /slow/… after 50 ms.
type upstream struct {
	addr string
	took sync.Map // path → time.Duration that the answer took
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := new(upstream)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		_, _ = io.Copy(io.Discard, r.Body) // a body that breaks off is the client's affair
		status := http.StatusOK
		switch {
		case strings.HasPrefix(r.URL.Path, "/status/"):
			if _, err := fmt.Sscanf(r.URL.Path, "/status/%d/", &status); err != nil {
				status = http.StatusBadRequest
			}
		case strings.HasPrefix(r.URL.Path, "/slow"):
			time.Sleep(50 * time.Millisecond)
		}
		u.took.Store(r.URL.Path, time.Since(begin))
		w.WriteHeader(status)
		fmt.Fprintln(w, "hello")
	}))
	t.Cleanup(s.Close)
	u.addr = s.Listener.Addr().String()
	return u
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newGatewayRun(t *testing.T, g gateway, root, deploy, broker string) *gatewayRun {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // workers may run as somebody else
		t.Fatal(err)
	}
	syslog := freeAddr(t)
	_, port, _ := net.SplitHostPort(syslog)
	return &gatewayRun{
		gateway: g, root: root, deploy: deploy, dir: dir,
		upstream: newUpstream(t), refusing: freeAddr(t), addr: freeAddr(t),
		rsyslog: strings.NewReplacer(
			"/var/log/nginx/gatewatch.log", filepath.Join(dir, "access.log"),
			"/var/log/apache2/gatewatch.log", filepath.Join(dir, "access.log"),
			"/var/log/caddy/gatewatch.log", filepath.Join(dir, "access.log"),
			"/var/spool/rsyslog/gatewatch-failed", filepath.Join(dir, "failed"),
			"127.0.0.1:5140", syslog, `address="127.0.0.1" port="5140"`, fmt.Sprintf(`address="127.0.0.1" port=%q`, port),
			"kafka-1:9092", broker,
		),
	}
}

// start starts rsyslog and the gateway, and waits until both are there.
func (g *gatewayRun) start(t *testing.T) {
	t.Helper()
	conf := g.write(t, "rsyslog.conf", fmt.Sprintf("global(workDirectory=%q)\n", g.dir)+g.shipped(t, "rsyslog.conf"))
	if err := os.WriteFile(filepath.Join(g.dir, "access.log"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	g.run(t, "usr/sbin/rsyslogd", "-n", "-i", filepath.Join(g.dir, "rsyslog.pid"), "-f", conf,
		"-M", filepath.Join(g.root, "usr/lib/x86_64-linux-gnu/rsyslog"))
	g.run(t, g.program, g.configure(t, g)...)
	waitFor(t, g.name, func() bool {
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Write([]byte("GET /ready HTTP/1.0\r\nHost: gw.example\r\n\r\n"))
		if err == nil {
			_, err = io.Copy(io.Discard, c)
		}
		return err == nil
	})
}

// run runs a program of the packages until the test ends.
func (g *gatewayRun) run(t *testing.T, program string, args ...string) {
	t.Helper()
	name, all := debian.Command(g.root, program, args...)
	var out lines
	p, err := leash.Start(&out, name, all...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out.String())
	}
	t.Cleanup(func() {
		p.Stop(3 * time.Second)
		if t.Failed() {
			t.Logf("%s wrote:\n%s", program, out.String())
		}
	})
}

func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for range 200 {
		if ready() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s isn't there after 10 s", what)
}
