package alertmanager

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/evaluate"
)

func sample() evaluate.Alert {
	at := time.Date(2026, 1, 2, 3, 11, 0, 123456789, time.FixedZone("", 3600))
	return evaluate.Alert{
		Labels:      map[string]string{"alertname": "SLOBurn", "slo": "payments-availability", "service": "payments", "owner": "team-payments", "severity": "page", "tier": ""},
		Annotations: map[string]string{"page": "[PAGE] payments\nImpact   \"all\" <of> it", "summary": "ü"},
		StartsAt:    at, EndsAt: at.Add(4 * time.Minute), GeneratorURL: "http://127.0.0.1:9363/",
	}
}

// postableAlerts compiles the API's own definition of what may be posted.
func postableAlerts(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(accesslogtest.CorpusDir(t), "alertmanager-v2-openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = jsonschema.UnmarshalJSON(strings.NewReader(string(plain))); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.AssertFormat()
	if err := c.AddResource("api.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("api.json#/definitions/postableAlerts")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEncodeFollowsTheAPI(t *testing.T) {
	schema := postableAlerts(t)
	for name, alerts := range map[string][]evaluate.Alert{
		"none": nil, "whole": {sample(), sample()}, "least": {{Labels: map[string]string{"alertname": "a"}}},
	} {
		b, err := Encode(alerts)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
	// The schema does find faults.
	for _, bad := range []string{`{}`, `[{"annotations":{}}]`, `[{"labels":{"a":1}}]`, `[{"labels":{"a":"b"},"startsAt":"now"}]`} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(v) == nil {
			t.Errorf("%s passes", bad)
		}
	}
}

func TestEncode(t *testing.T) {
	b, err := Encode([]evaluate.Alert{sample()})
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{{
		"labels":      map[string]any{"alertname": "SLOBurn", "slo": "payments-availability", "service": "payments", "owner": "team-payments", "severity": "page"},
		"annotations": map[string]any{"page": "[PAGE] payments\nImpact   \"all\" <of> it", "summary": "ü"},
		"startsAt":    "2026-01-02T02:11:00.123456789Z", "endsAt": "2026-01-02T02:15:00.123456789Z", "generatorURL": "http://127.0.0.1:9363/",
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// server answers with these status codes in turn, the last one for ever, and counts.
func server(t *testing.T, codes ...int) (base string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(asked.Add(1)) - 1
		w.Header().Set("Location", "/login")
		w.WriteHeader(codes[min(i, len(codes)-1)])
		_, _ = io.WriteString(w, "because of "+r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func send(t *testing.T, urls ...string) error {
	t.Helper()
	c, err := New(urls, evaluate.AlertmanagerAuth{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Send(t.Context(), []evaluate.Alert{sample()})
}

func TestSend(t *testing.T) {
	up, upAsked := server(t, 200)
	down, downAsked := server(t, 503)
	bad, badAsked := server(t, 400)
	if err := send(t, up+"/am/", down, bad); err != nil {
		t.Errorf("one took the alert, yet: %v", err)
	}
	n := func() [3]int64 { return [3]int64{upAsked.Load(), downAsked.Load(), badAsked.Load()} }
	want := [3]int64{1, 2, 1} // once, twice (it may recover), once (it never will)
	for end := time.Now().Add(timeout); n() != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	if n() != want {
		t.Errorf("asked %v times, want %v", n(), want)
	}
	err := send(t, down, bad)
	for _, want := range []string{"post to Alertmanager " + down + ": 503 Service Unavailable", bad + ": 400 Bad Request: because of /api/v2/alerts"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	again, asked := server(t, 500, 200)
	if err := send(t, again); err != nil || asked.Load() != 2 {
		t.Errorf("second attempt: %v, asked %d times", err, asked.Load())
	}
	login, asked := server(t, 302)
	if err := send(t, login); err == nil || asked.Load() != 1 {
		t.Errorf("a login page counts as success: %v, asked %d times", err, asked.Load())
	}
}

func TestSendEnds(t *testing.T) {
	end := make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer hang.Close()
	defer close(end)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := New([]string{hang.URL}, evaluate.AlertmanagerAuth{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	up, _ := server(t, 200)
	if c, err = New([]string{hang.URL, up}, evaluate.AlertmanagerAuth{}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.Send(t.Context(), nil); err != nil || time.Since(begin) > timeout/2 {
		t.Errorf("a peer that hangs held up the other for %s: %v", time.Since(begin), err)
	}
}

func TestLoginAndTLS(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	var got atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Authorization")) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	token := write("token", "one\n")
	for _, c := range []struct {
		auth evaluate.AlertmanagerAuth
		want string
	}{
		{evaluate.AlertmanagerAuth{CAFile: ca, Username: "u", PasswordFile: write("password", "p\r\n")}, "Basic dTpw"},
		{evaluate.AlertmanagerAuth{CAFile: ca, BearerTokenFile: token}, "Bearer one"},
	} {
		client, err := New([]string{s.URL}, c.auth)
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Send(t.Context(), nil); err != nil || got.Load() != c.want {
			t.Errorf("%+v: %v, Authorization %q, want %q", c.auth, err, got.Load(), c.want)
		}
		if c.auth.BearerTokenFile == "" {
			continue
		}
		write("token", "two")
		if err := client.Send(t.Context(), nil); err != nil || got.Load() != "Bearer two" {
			t.Errorf("after rotation: %v, %q", err, got.Load())
		}
	}
	if err := send(t, s.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority is trusted: %v", err)
	}
	if _, err := New(nil, evaluate.AlertmanagerAuth{CAFile: token}); err == nil || !strings.Contains(err.Error(), "holds no PEM certificate") {
		t.Errorf("error %v", err)
	}
	client, err := New([]string{s.URL}, evaluate.AlertmanagerAuth{CAFile: ca, BearerTokenFile: filepath.Join(dir, "absent")})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Send(t.Context(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestPeers(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/am/api/v2/status" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"cluster":{"status":"ready"},"versionInfo":{"version":"0.31.1"}}`)
	}))
	defer up.Close()
	down, _ := server(t, 401)
	c, err := New([]string{up.URL + "/am", down}, evaluate.AlertmanagerAuth{})
	if err != nil {
		t.Fatal(err)
	}
	peers, err := c.Peers(t.Context())
	if d := cmp.Diff([]Peer{{up.URL + "/am", "0.31.1", "ready"}}, peers); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err == nil || !strings.Contains(err.Error(), down+" for its status: 401 Unauthorized") {
		t.Errorf("error %v", err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("one answers, yet: %v", err)
	}
	if c, err = New([]string{down}, evaluate.AlertmanagerAuth{}); err != nil || c.Check(t.Context()) == nil {
		t.Errorf("none answers, yet it is fine (%v)", err)
	}
}

// TestHeadersAndLimits: what the configuration adds to each request is there, and
// an alert is never larger than receivers take; its page stays whole.
func TestHeadersAndLimits(t *testing.T) {
	var header http.Header
	var body []map[string]map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		header = r.Header
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		_ = json.Unmarshal(b, &body) // times are no objects; the rest is read
	}))
	defer server.Close()
	c, err := New([]string{server.URL}, evaluate.AlertmanagerAuth{Headers: map[string]string{"X-Scope-OrgID": "shop"}})
	if err != nil {
		t.Fatal(err)
	}
	page := strings.Repeat("p", 4096)
	a := evaluate.Alert{Labels: map[string]string{"alertname": "x", "route": strings.Repeat("\u00e4", 2000)}, Annotations: map[string]string{"page": page}}
	for i := range 20 {
		a.Annotations[fmt.Sprintf("a%d", i)] = strings.Repeat("\u00e4", 6000)
	}
	if err := c.Send(t.Context(), []evaluate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	if header.Get("X-Scope-OrgID") != "shop" {
		t.Errorf("headers %v", header)
	}
	size := 0
	for _, v := range body[0]["annotations"] {
		if size += len(v); !utf8.ValidString(v) || len(v) > maxAnnotation {
			t.Errorf("an annotation of %d bytes, valid %t", len(v), utf8.ValidString(v))
		}
	}
	if size > maxAlert || body[0]["annotations"]["page"] != page || len(body[0]["labels"]["route"]) > maxLabel || !utf8.ValidString(body[0]["labels"]["route"]) {
		t.Errorf("%d bytes of annotations, a page of %d and a label of %d", size, len(body[0]["annotations"]["page"]), len(body[0]["labels"]["route"]))
	}
	if _, err := New(nil, evaluate.AlertmanagerAuth{CertFile: "nowhere.pem", KeyFile: "nowhere.pem"}); err == nil {
		t.Error("a certificate that is not there is taken")
	}
}

// TestStates: what a peer says of our alerts is read back, from the first peer
// that answers; alerts of others are left alone.
func TestStates(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v2/alerts" || r.URL.Query().Get("filter") != `slo=~".+"` {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = io.WriteString(w, `[
			{"labels":{"slo":"a"},"annotations":{"alert_id":"1"},"receivers":[{"name":"pager"},{"name":"chat"}],"status":{"state":"suppressed","silencedBy":["s"],"inhibitedBy":[],"mutedBy":["night"]}},
			{"labels":{"slo":"b"},"annotations":{},"receivers":[],"status":{"state":"active"}}]`)
	}))
	defer server.Close()
	c, err := New([]string{"http://127.0.0.1:1", server.URL}, evaluate.AlertmanagerAuth{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.States(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []evaluate.Delivered{{AlertID: "1", State: "suppressed", SilencedBy: []string{"s"}, InhibitedBy: []string{}, MutedBy: []string{"night"}, Receivers: []string{"chat", "pager"}}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("states (-got +want):\n%s", diff)
	}
	if c, err = New([]string{"http://127.0.0.1:1"}, evaluate.AlertmanagerAuth{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.States(t.Context()); err == nil {
		t.Error("nobody answers, and states are known")
	}
}
