package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatewatch/internal/devstack"
)

// A request is one as the client saw it, or as ClickHouse has it.
type request struct {
	Method, Path, Query, Route string
	Status                     int
	Class, Responder           string
	Upstream, TraceID          string
	HasKey                     bool
	Agent                      string

	latency, upstreamLatency time.Duration
	bytes                    int
}

// clients is how many send at a time, each with an API key of its own.
const clients = 4

// send sends requests, and returns them by path, as they must be stored.
func (g *gatewayRun) send(t *testing.T) map[string]request {
	t.Helper()
	const rounds = 10
	kinds := []string{"/status/200", "/status/404", "/status/503", "/slow", "/down"}
	sent := map[string]request{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for i := range rounds * len(kinds) {
				kind, n := kinds[i%len(kinds)], c*1000+i
				r, err := g.one(t.Context(), client, kind, n, fmt.Sprintf("key-of-client-%d", c))
				if err != nil {
					t.Errorf("%s: %v", kind, err)
					continue
				}
				mu.Lock()
				sent[r.Path] = r
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return sent
}

// one sends the request n, every third of them a POST.
func (g *gatewayRun) one(ctx context.Context, client *http.Client, kind string, n int, key string) (request, error) {
	r := request{
		Method: http.MethodGet, Path: fmt.Sprintf("%s/%d", kind, n), Query: "page=*", Route: kind + "/{n}", Class: "none",
		Agent: "gateways-test/1.0 (real requests)", TraceID: fmt.Sprintf("%032x", n+1), HasKey: true,
	}
	var body io.Reader
	if n%3 == 0 {
		r.Method, body = http.MethodPost, strings.NewReader(`{"n": 1}`)
	}
	referer := "http://shop.example/"
	if n%50 == 45 { // what has to be escaped, and a line longer than 8 KiB
		r.Agent = `gateways "test" \ \x22 100% {ünï}`
		referer += strings.Repeat("long", 1900)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "http://"+g.addr+r.Path+"?page=1", body)
	if err != nil {
		return r, err
	}
	req.Header.Set("User-Agent", r.Agent)
	req.Header.Set("Referer", referer)
	req.Header.Set("X-Api-Key", key)
	req.Header.Set("Traceparent", "00-"+r.TraceID+"-00f067aa0ba902b7-01")
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	r.latency, r.bytes, r.Status = time.Since(begin), len(b), resp.StatusCode
	switch r.Status {
	case http.StatusNotFound:
		r.Class = "client_not_found"
	case http.StatusServiceUnavailable:
		r.Class = "upstream_5xx"
	}
	if strings.HasPrefix(kind, "/status/") {
		r.Route = "/status/{status}/{n}"
	}
	saw := r.Status
	if g.expect(g, &r); r.Status != saw {
		return r, fmt.Errorf("status %d, want %d", saw, r.Status)
	}
	return r, err
}

// down reports whether it goes to the upstream that refuses connections.
func (r *request) down() bool { return strings.HasPrefix(r.Path, "/down/") }

// refusedWithin is up to when accesslog.Infer takes a 502 for a refused connection.
const refusedWithin = 5 * time.Millisecond

// check waits until all requests are stored and compares them.
func (g *gatewayRun) check(t *testing.T, s *devstack.Stack, want map[string]request) {
	t.Helper()
	var got map[string]request
	for begin := time.Now(); len(got) < len(want); time.Sleep(100 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d of %d requests are stored", len(got), len(want))
		}
		got = g.stored(t, s)
	}
	for path, r := range got {
		// nginx states no reason: a refusal is told from its upstream time, and on a
		// busy machine a refusal can take as long as an answer that breaks off.
		if w := want[path]; g.name == "nginx" && w.Class == "upstream_connect" && r.upstreamLatency >= refusedWithin {
			w.Class = "upstream_reset"
			want[path] = w
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(request{})); diff != "" {
		t.Errorf("requests by path (-client +ClickHouse):\n%.8000s", diff)
	}
	var client, log time.Duration
	for path, w := range want {
		r := got[path]
		client, log = client+w.latency, log+r.latency
		var answer time.Duration
		if took, ok := g.upstream.took.Load(path); ok {
			answer, _ = took.(time.Duration)
		}
		// HAProxy and nginx count in whole milliseconds, from clocks of their loops.
		const tick = 2 * time.Millisecond
		if r.latency < answer-tick || r.latency > w.latency+250*time.Millisecond {
			t.Errorf("%s took %v by the log; the upstream took %v of it, the client waited %v", path, r.latency, answer, w.latency)
		}
		if r.upstreamLatency != 0 && (r.upstreamLatency < answer-tick || r.upstreamLatency > r.latency+tick) {
			t.Errorf("%s: the upstream took %v by the log, want %v, of %v", path, r.upstreamLatency, answer, r.latency)
		}
		if r.bytes < w.bytes || r.bytes > w.bytes+1000 {
			t.Errorf("%s sent %d bytes by the log; the body has %d", path, r.bytes, w.bytes)
		}
	}
	if n := time.Duration(len(want)); log/n > client/n+2*time.Millisecond {
		t.Errorf("requests took %v on average by the log, the client waited %v", log/n, client/n)
	}
}

// stored returns the gateway's requests in ClickHouse by path; one that is
// stored twice fails.
func (g *gatewayRun) stored(t *testing.T, s *devstack.Stack) map[string]request {
	t.Helper()
	rows, err := s.Store.Query(t.Context(), `SELECT toString(method), path, query, toString(route), status,
		toString(error_class), toString(responder), toString(upstream), lower(hex(trace_id)), key_id != toFixedString('', 16),
		toString(user_agent), latency_us, ifNull(upstream_latency_us, 0), bytes_out
		FROM access_log WHERE topic = 'gateway-`+g.name+`' AND path != '/ready'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	got := map[string]request{}
	for rows.Next() {
		var r request
		var status uint16
		var latency, upstream uint64
		var bytes *uint64
		var total *uint64
		var key uint8
		if err := rows.Scan(&r.Method, &r.Path, &r.Query, &r.Route, &status, &r.Class, &r.Responder, &r.Upstream, &r.TraceID,
			&key, &r.Agent, &total, &upstream, &bytes); err != nil {
			t.Fatal(err)
		}
		if total != nil {
			latency = *total
		}
		if bytes != nil {
			r.bytes = int(*bytes)
		}
		r.Status, r.HasKey = int(status), key != 0
		r.latency, r.upstreamLatency = time.Duration(latency)*time.Microsecond, time.Duration(upstream)*time.Microsecond
		if _, ok := got[r.Path]; ok {
			t.Errorf("%s is stored twice", r.Path)
		}
		got[r.Path] = r
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// Every topic.yaml of deploy/gateways is accepted in the configuration that
// README shows, and every folder has one.
func TestGatewayTopics(t *testing.T) {
	ours := built()
	if ours.err != nil {
		t.Fatal(ours.err)
	}
	folders, err := filepath.Glob(filepath.Join(ours.root, "deploy/gateways/*/"))
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, folder := range folders {
		if s, err := os.Stat(folder); err != nil || !s.IsDir() {
			continue
		}
		tested++
		b, err := os.ReadFile(filepath.Join(folder, "topic.yaml"))
		if err != nil {
			t.Error(err)
			continue
		}
		dir := t.TempDir()
		text := string(b)
		if !strings.Contains(text, "brokers:") {
			text = strings.Replace(text, "kafka:\n", "kafka:\n  brokers: [127.0.0.1:9092]\n", 1)
		}
		text += "clickhouse:\n  address: 127.0.0.1:9000\nalert:\n  default_owner: platform\n"
		file := filepath.Join(dir, "gatewatch.yaml")
		for path, text := range map[string]string{file: text, filepath.Join(dir, "event-hubs-connection-string"): "a-secret"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.CommandContext(t.Context(), filepath.Join(ours.dir, "ingest"), "check", "--config", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(folder), err, out)
		}
	}
	if tested < 13 {
		t.Errorf("%d folders", tested)
	}
}
