package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/config"
	"gatewatch/internal/ingest"
)

const deploy = "../../deploy/"

func readText(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// decodeOne reads one message as `run` does.
func decodeOne(t *testing.T, format, msg string) *ingest.Records {
	t.Helper()
	topic := ingest.TopicConfig{Name: "t", Format: format}
	n, err := newNormaliser(topic, ingest.DefaultConfig(), []byte("a-pepper-for-this-test-only"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDecoder(topic, n, nil)
	if err != nil {
		t.Fatal(err)
	}
	var r ingest.Records
	if err := d.Decode([]byte(msg), &r); err != nil {
		t.Fatalf("%v\n%s", err, msg)
	}
	if r.Entries.Len() != 1 {
		t.Fatalf("%d entries of\n%s", r.Entries.Len(), msg)
	}
	return &r
}

// nginx's log_format, with values of nginx's documentation, gives every field.
func TestNginxLogFormat(t *testing.T) {
	conf := readText(t, deploy+"gateways/nginx/gatewatch.conf")
	_, format, ok := strings.Cut(conf, "log_format gatewatch escape=json")
	format, _, ok2 := strings.Cut(format, ";\n")
	if !ok || !ok2 {
		t.Fatal("log_format not found")
	}
	var line strings.Builder
	for _, part := range regexp.MustCompile(`'([^']*)'`).FindAllStringSubmatch(format, -1) {
		line.WriteString(part[1])
	}
	values := map[string]string{
		"time_iso8601": "2026-01-02T03:04:05+00:00", "msec": "1767323045.678", "remote_addr": "192.0.2.7", "remote_user": "",
		"request_method": "POST", "host": "api.shop", "request_uri": "/v1/orders?page=2", "server_protocol": "HTTP/2.0",
		"status": "504", "bytes_sent": "512", "request_length": "99", "request_time": "2.001",
		"upstream_addr": "10.0.0.1:80, 10.0.0.2:80", "upstream_status": "502, 504", "upstream_response_time": "0.001, 2.000",
		"http_user_agent": "curl", "http_referer": "", "http_x_forwarded_for": "198.51.100.1", "request_id": "r1",
		"http_traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"gw_service":       "orders", "gw_route": "/v1/orders", "gw_consumer": "acme", "gw_plan": "gold", "http_x_api_key": "k", "hostname": "gw-1",
	}
	msg := regexp.MustCompile(`\$[a-z0-9_]+`).ReplaceAllStringFunc(line.String(), func(v string) string {
		value, ok := values[v[1:]]
		if !ok {
			t.Errorf("no value for %s", v)
		}
		return value
	})
	e := decodeOne(t, "nginx_json", msg).Entries.All()[0]
	if !e.Time.Equal(time.UnixMilli(1767323045678)) || e.Method != "POST" || e.Path != "/v1/orders" || e.Status != 504 ||
		e.Latency.Total.V != 2001*time.Millisecond || e.Latency.Upstream.V != 2001*time.Millisecond || e.Upstream != "10.0.0.2:80" ||
		e.Service != "orders" || e.Route != "/v1/orders" || e.Consumer.ID != "acme" || e.Consumer.Plan != "gold" || e.Node != "gw-1" ||
		e.Consumer.KeyID == [16]byte{} || e.TraceID == [16]byte{} || e.RequestBytes.V != 99 || e.ResponseBytes.V != 512 {
		t.Errorf("%+v", e)
	}
}

func TestEnvoyLogFormat(t *testing.T) {
	var conf struct {
		AccessLog []struct {
			Typed struct {
				Format struct {
					JSON map[string]string `yaml:"json_format"`
				} `yaml:"log_format"`
			} `yaml:"typed_config"`
		} `yaml:"access_log"`
	}
	if err := yaml.Unmarshal([]byte(readText(t, deploy+"gateways/envoy/access-log.yaml")), &conf); err != nil {
		t.Fatal(err)
	}
	// Envoy writes numbers for operators that are numbers.
	values := map[string]any{
		"start_time": "2026-01-02T03:04:05.678Z", "method": "POST", "path": "/v1/orders?page=2", "protocol": "HTTP/2",
		"authority": "api.shop", "response_code": 504, "response_flags": "UT", "response_code_details": "upstream_response_timeout",
		"bytes_received": 99, "bytes_sent": 512, "duration": 2001, "x-envoy-upstream-service-time": "1999", "upstream_host": "10.0.0.2:80",
		"upstream_cluster": "orders", "upstream_request_attempt_count": 2, "route_name": "orders-create",
		"downstream_remote_address": "192.0.2.7:4444", "x-forwarded-for": "198.51.100.1", "user-agent": "curl", "x-request-id": "r1",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x-api-key": "k", "node": "gw-3",
	}
	keys := conf.AccessLog[0].Typed.Format.JSON
	msg := map[string]any{}
	for k := range keys {
		v, ok := values[k]
		if !ok {
			t.Errorf("no value for %s", k)
		}
		msg[k] = v
	}
	b, err := yaml.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	e := decodeOne(t, "envoy_json", toJSON(t, b)).Entries.All()[0]
	if !e.Time.Equal(time.Date(2026, 1, 2, 3, 4, 7, 679e6, time.UTC)) || e.Method != "POST" || e.Path != "/v1/orders" || e.Status != 504 ||
		e.Outcome.Class.String() != "upstream_timeout" || e.Upstream != "10.0.0.2:80" || e.Service != "orders" || e.Route != "orders-create" ||
		e.Tries != 2 || e.Node != "gw-3" || e.Consumer.KeyID == [16]byte{} || e.TraceID == [16]byte{} {
		t.Errorf("%+v", e)
	}
}

// toJSON turns YAML of one flat map into JSON.
func toJSON(t *testing.T, b []byte) string {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal(b, &n); err != nil {
		t.Fatal(err)
	}
	m := n.Content[0]
	m.Style = yaml.FlowStyle
	for i, c := range m.Content {
		if i%2 == 0 || c.Tag == "!!str" || c.Tag == "!!timestamp" {
			c.Style = yaml.DoubleQuotedStyle
		}
	}
	out, err := yaml.Marshal(&n)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(out), "\n", " ")
}

func TestEnvelopeOfFluentBit(t *testing.T) {
	e := decodeOne(t, "envoy_json", inFluentBit(strings.NewReplacer("%s", "2026-01-02T03:04:05Z", "%d", "7").Replace(envoyLine))).Entries.All()[0]
	if e.Status != 200 || e.Node != "gw-7" {
		t.Errorf("%+v", e)
	}
}

// compose is the part of a compose file that is checked here. What Compose
// itself makes of it is checked where Docker is.
type compose struct {
	Services map[string]struct {
		Image   string
		Command any
		Volumes []string
		Build   struct{ Context, Dockerfile string }
		Secrets []string
	}
	Volumes map[string]any
	Secrets map[string]any
}

func TestCompose(t *testing.T) {
	dir := deploy + "compose/"
	var c compose
	if err := yaml.Unmarshal([]byte(readText(t, dir+"compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	for name, s := range c.Services {
		if s.Image == "" || strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":") {
			t.Errorf("%s: image %q is not pinned", name, s.Image)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, ".") {
				if _, err := os.Stat(dir + from); err != nil {
					t.Errorf("%s mounts %v", name, err)
				}
			} else if _, ok := c.Volumes[from]; !ok {
				t.Errorf("%s: volume %s is not declared", name, from)
			}
		}
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("%s: secret %s is not declared", name, secret)
			}
		}
	}
	for _, name := range []string{"ingest", "aggregate", "alert", "kafka", "clickhouse", "grafana", "alertmanager"} {
		if _, ok := c.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	cfg, err := config.Load(dir+"gatewatch.yaml", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	text := readText(t, dir+"compose.yaml")
	for _, topic := range cfg.Kafka.Topics {
		if !strings.Contains(text, topic.Name) {
			t.Errorf("topic %s is not made", topic.Name)
		}
		if _, err := findFormat(topic.Format); err != nil {
			t.Error(err)
		}
	}
}

func TestOtherYAML(t *testing.T) {
	for _, f := range []string{"gateways/envoy/fluent-bit.yaml", "grafana/provisioning/datasources/gatewatch.yaml"} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(readText(t, deploy+f)), &v); err != nil || len(v) == 0 {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// systemd reads the units without complaint, but for the binaries that are not installed.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob(deploy + "systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("units: %v, %v", units, err)
	}
	for _, u := range units {
		name := strings.TrimSuffix(filepath.Base(u), ".service")
		text := readText(t, u)
		for _, want := range []string{"ExecStart=/usr/local/bin/" + name + " run", "User=gatewatch", "NoNewPrivileges=yes", "ProtectSystem=strict", "WantedBy=multi-user.target"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %s", u, want)
			}
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed here: syntax not checked")
		return
	}
	out, _ := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "gatewatch-") && !strings.Contains(line, "is not executable") {
			t.Error(line)
		}
	}
}
