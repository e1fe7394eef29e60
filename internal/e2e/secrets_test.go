package e2e

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// A planter makes up secrets and remembers them.
type planter struct {
	rng     *rand.Rand
	secrets []string
}

const alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func (p *planter) word(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[p.rng.IntN(len(alphabet))]
	}
	return string(b)
}

// secret returns a new random text of n characters, which must not show up anywhere.
func (p *planter) secret(n int) string {
	s := p.word(n)
	p.secrets = append(p.secrets, s)
	return s
}

// The forms in which clients and gateways send secrets.

func (p *planter) jwt() string {
	claims, _ := json.Marshal(map[string]string{"client_id": "app", "jti": p.word(8)})
	return "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(claims) + "." + p.secret(43)
}

func (p *planter) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("app:"+p.secret(16)))
}

func (p *planter) email() string { return p.secret(12) + "@example.com" }

func (p *planter) aws() string {
	return "X-Amz-Credential=AKIA" + strings.ToUpper(p.word(16)) + "&X-Amz-Signature=" + p.secret(64) + "&X-Amz-Security-Token=" + p.secret(40)
}

// paths returns targets with secrets in them.
func (p *planter) paths() []string {
	return []string{
		"/v1/orders?api_key=" + p.secret(24),
		"/v1/orders?access_token=" + p.jwt() + "&page=2",
		"/v1/files/report.pdf?" + p.aws(),
		"/v1/users/" + p.email() + "/orders",
		"/v1/users/" + url.QueryEscape(p.email()) + "/orders",
		"/v1/reset/" + p.jwt(),
		"/v1/pay/sk_live_" + p.secret(24),
		"/v1/hook/ghp_" + p.secret(36) + "/x",
		"/v1/s;jsessionid=" + p.secret(20) + "/a",
		"/v1/login?user=" + p.email() + "&password=" + p.secret(14) + "#" + p.secret(10),
	}
}

func (p *planter) credentials() []string {
	return []string{p.secret(32), "Bearer " + p.jwt(), p.basic(), "Bearer " + p.secret(40)}
}

// messages returns what is sent, by topic.
func (p *planter) messages(now time.Time) map[string][]string {
	out := map[string][]string{}
	add := func(topic string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		out[topic] = append(out[topic], string(b))
	}
	for i := 0; len(p.secrets) < 1000; i++ {
		paths, keys := p.paths(), p.credentials()
		target, key := paths[i%len(paths)], keys[i%len(keys)]
		agent := "app/1.0 (" + p.email() + ")"
		referer := "https://user:" + p.secret(12) + "@shop.example/a?token=" + p.secret(20)
		add("nginx", map[string]any{
			"time": now.Format(time.RFC3339), "request_method": "GET", "request_uri": target, "status": 200, "host": "api.example",
			"http_user_agent": agent, "http_referer": referer, "http_authorization": key, "request_time": 0.1, "remote_user": p.email(),
		})
		add("kong", map[string]any{
			"started_at": now.UnixMilli(), "request": map[string]any{
				"method": "GET", "uri": target, "url": "https://api.example" + target,
				"headers": map[string]string{"apikey": p.secret(32), "authorization": key, "user-agent": agent, "referer": referer, "cookie": "sid=" + p.secret(30)},
			}, "response": map[string]any{"status": 401}, "latencies": map[string]int{"request": 1},
		})
		out["text"] = append(out["text"], fmt.Sprintf(`192.0.2.7 - %s [%s] "GET %s HTTP/1.1" 200 5 "%s" "%s"`,
			p.email(), now.Format("02/Jan/2006:15:04:05 -0700"), target, referer, agent))
		// Not of the topic's format: dead letters, whose excerpts people see.
		out["text"] = append(out["text"], `{"authorization":"`+key+`","url":"`+target+`","password":"`+p.secret(14)+`","mail":"`+p.email()+`"`)
		out["nginx"] = append(out["nginx"], "GET "+target+" Authorization: "+key+" api-key="+p.secret(22))
		add("keys", map[string]any{"event": "created", "key": p.secret(32), "consumer": fmt.Sprintf("c%d", i), "plan": "gold"})
		add("spans", map[string]any{"resourceSpans": []any{map[string]any{"scopeSpans": []any{map[string]any{"spans": []any{map[string]any{
			"traceId": fmt.Sprintf("%032x", i+1), "spanId": fmt.Sprintf("%016x", i+1), "name": "GET /x", "kind": 3,
			"startTimeUnixNano": fmt.Sprint(now.UnixNano()), "endTimeUnixNano": fmt.Sprint(now.UnixNano() + 1000),
			"attributes": attributes(map[string]string{
				"url.full": "https://u:" + p.secret(12) + "@api.example" + target, "http.request.header.authorization": key,
				"db.query.text": "SELECT * FROM t WHERE token = '" + p.secret(20) + "'", "user.email": p.email(),
			}),
			"events": []any{map[string]any{"name": "log", "attributes": attributes(map[string]string{"url.full": "https://api.example" + paths[0], "password": p.secret(14)})}},
		}}}}}}})
	}
	return out
}

func attributes(m map[string]string) (list []any) {
	for k, v := range m {
		list = append(list, map[string]any{"key": k, "value": map[string]string{"stringValue": v}})
	}
	return list
}

// TestSecrets plants 1,000 secrets in every form in which clients send them, and
// looks for each in all of ClickHouse, in ingest's log, and in its metrics.
func TestSecrets(t *testing.T) {
	s := start(t, func(c devstack.Config) devstack.Config {
		c.WithoutAlert = true
		c.Topics = []map[string]any{
			{"name": "nginx", "format": "nginx_json"},
			{"name": "kong", "format": "kong_json"},
			{"name": "text", "format": "apache_combined"},
			{"name": "keys", "format": "key_events"},
			{"name": "spans", "format": "otlp_json"},
		}
		return c
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conf := kafka.DefaultConfig()
	conf.Brokers = []string{s.Broker.Addr}
	client, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := &planter{rng: rand.New(rand.NewPCG(1, 2))}
	sent := int64(0)
	for topic, texts := range p.messages(time.Now().UTC()) {
		var messages []ingest.Message
		for _, text := range texts {
			messages = append(messages, ingest.Message{Value: []byte(text)})
		}
		if err := client.Write(ctx, topic, messages); err != nil {
			t.Fatal(err)
		}
		sent += int64(len(texts))
	}
	if err := waitAccounted(ctx, s, sent); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"ingest's log": readFile(t, filepath.Join(filepath.Dir(s.Settings), "ingest.log")), "metrics": get(t, "http://"+s.Ingest+"/metrics")}
	for _, table := range tables(ctx, t, s) {
		places["table "+table] = dumpTable(ctx, t, s, table)
	}
	if !strings.Contains(places["table access_log"], "/v1/orders") || !strings.Contains(places["table dead_letter"], "***") {
		t.Fatal("the dumps don't hold what they should")
	}
	for _, secret := range p.secrets {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			for place, text := range places {
				if i := strings.Index(text, form); i >= 0 {
					t.Errorf("%s: …%s…", place, text[max(0, i-60):min(len(text), i+len(form)+20)])
				}
			}
		}
	}
	t.Logf("%d secrets in %d messages; looked through %d places", len(p.secrets), sent, len(places))
}

// waitAccounted waits until all messages are stored or dead letters.
func waitAccounted(ctx context.Context, s *devstack.Stack, n int64) error {
	for {
		totals, err := s.Store.LedgerTotals(ctx)
		if err != nil {
			return err
		}
		var done int64
		for _, t := range totals {
			done += t.Messages + t.Dead
		}
		if done >= n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages are accounted for: %w", done, n, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func tables(ctx context.Context, t *testing.T, s *devstack.Stack) []string {
	t.Helper()
	return column(ctx, t, s, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
}

func dumpTable(ctx context.Context, t *testing.T, s *devstack.Stack, table string) string {
	t.Helper()
	return strings.Join(column(ctx, t, s, "SELECT toString(tuple(*)) FROM "+table), "\n")
}

func column(ctx context.Context, t *testing.T, s *devstack.Stack, query string) (values []string) {
	t.Helper()
	rows, err := s.Store.Query(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func get(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
