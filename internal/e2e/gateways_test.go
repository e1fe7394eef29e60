package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/debian"
	"gatewatch/internal/devstack/leash"
)

// A gateway is one whose shipped configuration is run.
type gateway struct {
	name, program, format string
	// configure writes the gateway's configuration, the shipped one included,
	// and returns its arguments.
	configure func(t *testing.T, g *gatewayRun) []string
	down      string // status that the client gets where the upstream refuses connections
	upstream  bool   // its log names the upstream
}

// A gatewayRun is a gateway at work.
type gatewayRun struct {
	gateway
	root, deploy, dir string // packages, the repository's folder, its own
	upstream          string // address that answers
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
		{name: "nginx", program: "usr/sbin/nginx", format: "nginx_json", configure: nginx, down: "502", upstream: true},
		{name: "haproxy", program: "usr/sbin/haproxy", format: "haproxy_http", configure: haproxy, down: "503", upstream: true},
		{name: "apache", program: "usr/sbin/apache2", format: "apache_custom", configure: apache, down: "503"},
		{name: "caddy", program: "usr/bin/caddy", format: "caddy_json", configure: caddy, down: "502"},
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
    location / { set $gw_service orders; proxy_pass http://%s; }
  }
}`, g.dir, g.dir, temp, shipped, g.addr, g.refusing, g.upstream))}
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
`, g.addr, g.upstream, g.refusing)),
	}
}

func apache(t *testing.T, g *gatewayRun) []string {
	modules := ""
	for _, m := range []string{"mpm_event", "authz_core", "proxy", "proxy_http"} {
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
ProxyPass /down/ http://%s/ retry=0
ProxyPass / http://%s/
`, modules, g.dir, g.dir, g.dir, g.dir, g.addr, g.shipped(t, "gatewatch.conf"), g.refusing, g.upstream))}
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
`, g.shipped(t, "Caddyfile"), g.addr, g.refusing, g.upstream))}
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
		topics = append(topics, shippedTopic(t, filepath.Join(ours.root, "deploy/gateways", g.name)))
	}
	s := start(t, func(c devstack.Config) devstack.Config {
		c.WithoutAlert, c.Topics = true, topics
		return c
	})
	upstream := newUpstream(t)
	for _, g := range gateways() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			run := newGatewayRun(t, g, root, filepath.Join(ours.root, "deploy/gateways", g.name), s.Broker.Addr, upstream)
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

// newUpstream answers by path: /status/N, and /slow after 50 ms.
func newUpstream(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		switch {
		case strings.HasPrefix(r.URL.Path, "/status/"):
			if _, err := fmt.Sscanf(r.URL.Path, "/status/%d", &status); err != nil {
				status = http.StatusBadRequest
			}
		case strings.HasPrefix(r.URL.Path, "/slow"):
			time.Sleep(50 * time.Millisecond)
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, "hello")
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
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

func newGatewayRun(t *testing.T, g gateway, root, deploy, broker, upstream string) *gatewayRun {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // workers may run as somebody else
		t.Fatal(err)
	}
	syslog := freeAddr(t)
	_, port, _ := net.SplitHostPort(syslog)
	return &gatewayRun{
		gateway: g, root: root, deploy: deploy, dir: dir,
		upstream: upstream, refusing: freeAddr(t), addr: freeAddr(t),
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
		resp, err := http.Get("http://" + g.addr + "/status/200")
		if err == nil {
			resp.Body.Close()
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

// sent is what the client saw.
type sent struct {
	statuses map[string]uint64 // by path and status
	slowest  time.Duration
}

// send sends requests from four clients at a time.
func (g *gatewayRun) send(t *testing.T) *sent {
	t.Helper()
	paths := []string{"/status/200", "/status/404", "/status/503", "/slow", "/down/x", "/status/200?page=1"}
	const rounds = 10
	r := &sent{statuses: map[string]uint64{"GET /status/200 200": 1}} // that start sent
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for i := range rounds * len(paths) {
				path := paths[i%len(paths)]
				begin := time.Now()
				resp, err := client.Get("http://" + g.addr + path)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body) // an error response may end anyhow
				resp.Body.Close()
				path, _, _ = strings.Cut(path, "?")
				mu.Lock()
				r.statuses[fmt.Sprintf("GET %s %d", path, resp.StatusCode)]++
				r.slowest = max(r.slowest, time.Since(begin))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return r
}

// check waits until all requests are stored and compares them.
func (g *gatewayRun) check(t *testing.T, s *devstack.Stack, want *sent) {
	t.Helper()
	ctx := t.Context()
	total := uint64(0)
	for n := range maps.Values(want.statuses) {
		total += n
	}
	var got map[string]uint64
	begin := time.Now()
	for stored := uint64(0); stored < total; time.Sleep(100 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d of %d requests are stored: %v", stored, total, got)
		}
		got = g.counts(ctx, t, s)
		stored = 0
		for n := range maps.Values(got) {
			stored += n
		}
	}
	if diff := cmp.Diff(want.statuses, got); diff != "" {
		t.Errorf("requests by path and status (-client +ClickHouse):\n%s", diff)
	}
	if n := want.statuses["GET /down/x "+g.down]; n == 0 {
		t.Errorf("the client saw no %s for the upstream that is down", g.down)
	}
	var down, slow, fast, upstreams uint64
	row := g.row(ctx, t, s, `SELECT countIf(status = `+g.down+` AND path LIKE '/down/%' AND error_class IN ('upstream_connect', 'upstream_protocol', 'gateway_overload', 'unknown', 'gateway_internal')),
		minIf(latency_us, path LIKE '/slow%'), max(latency_us), uniqIf(upstream, upstream != '')
		FROM access_log WHERE topic = 'gateway-`+g.name+`'`, &down, &slow, &fast, &upstreams)
	if row != nil {
		t.Fatal(row)
	}
	if down != want.statuses["GET /down/x "+g.down] {
		t.Errorf("%d requests to the upstream that is down are classed, want %d", down, want.statuses["GET /down/x "+g.down])
	}
	if slow < 49_000 || fast > uint64(want.slowest.Microseconds())+2000 {
		t.Errorf("the slow path took %d to %d µs by the log, want 50 ms to %v", slow, fast, want.slowest)
	}
	if g.gateway.upstream && upstreams == 0 {
		t.Error("no upstream is named")
	}
}

func (g *gatewayRun) counts(ctx context.Context, t *testing.T, s *devstack.Stack) map[string]uint64 {
	t.Helper()
	rows, err := s.Store.Query(ctx, `SELECT toString(method), path, status, count() FROM access_log WHERE topic = 'gateway-`+g.name+`' GROUP BY 1, 2, 3`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]uint64{}
	for rows.Next() {
		var method, path string
		var status uint16
		var n uint64
		if err := rows.Scan(&method, &path, &status, &n); err != nil {
			t.Fatal(err)
		}
		got[fmt.Sprintf("%s %s %d", method, path, status)] += n
	}
	return got
}

func (g *gatewayRun) row(ctx context.Context, t *testing.T, s *devstack.Stack, query string, into ...any) error {
	t.Helper()
	rows, err := s.Store.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	return rows.Scan(into...)
}
