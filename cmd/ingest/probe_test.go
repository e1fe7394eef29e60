package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// prepared is a topic's messages; %s is the event time, %d a number.
type prepared struct {
	topic  string
	every  []string // used in turn
	offset time.Duration
	layout string
	count  int
}

const (
	nginxLine = `{"time":"%s","remote_addr":"203.0.113.9","request_method":"GET","host":"api.shop","request_uri":"/v1/orders/%d?token=abc","status":200,"bytes_sent":512,"request_length":200,"request_time":0.021,"upstream_addr":"10.0.0.1:80","upstream_response_time":"0.019","service":"orders","route":"/v1/orders/{id}","consumer":"acme","api_key":"SECRETSECRET","node":"gw-1"}`
	envoyLine = `{"start_time":"%s","method":"GET","path":"/v1/orders/%d","protocol":"HTTP/2","response_code":200,"response_flags":"-","bytes_received":0,"bytes_sent":512,"duration":21,"x-envoy-upstream-service-time":"19","upstream_host":"10.0.0.1:80","upstream_cluster":"orders","authority":"api.shop","user_agent":"curl","x-request-id":"r"}`
	ownLine   = `{"ts":"%s","http":{"verb":"GET","response":{"code":200}},"requestPath":"/v1/orders/%d","took_us":2100,"client_id":"acme","datacentre":"eu"}`
)

func inFluentBit(line string) string {
	b, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	return `{"date":1.5,"log":` + string(b) + `,"kubernetes":{"pod_name":"gw-7","namespace_name":"shop"}}`
}

func cluster(t *testing.T, topics []prepared) (string, time.Time) {
	t.Helper()
	names := make([]string, len(topics))
	for i, p := range topics {
		names[i] = p.topic
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, names...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	broker := c.ListenAddrs()[0]
	conf := kafka.DefaultConfig()
	conf.Brokers = []string{broker}
	client, err := kafka.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	now := time.Now().Truncate(time.Millisecond)
	for _, p := range topics {
		var ms []ingest.Message
		for i := range p.count {
			at := now.Add(time.Duration(i-p.count) * 100 * time.Millisecond)
			layout := p.layout
			if layout == "" {
				layout = time.RFC3339Nano
			}
			text := p.every[i%len(p.every)]
			if strings.Contains(text, "%s") {
				text = fmt.Sprintf(text, at.UTC().Add(p.offset-30*time.Millisecond).Format(layout), i)
			}
			ms = append(ms, ingest.Message{Key: fmt.Append(nil, i), Time: at, Value: []byte(text)})
		}
		if len(ms) > 0 {
			if err := client.Write(t.Context(), p.topic, ms); err != nil {
				t.Fatal(err)
			}
		}
	}
	return broker, now
}

func runCommand(t *testing.T, run func(*daemon.Env, []string) error, args ...string) (stdout string, code int, err error) {
	t.Helper()
	var out bytes.Buffer
	env := &daemon.Env{App: "gatewatch-ingest", Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &out}
	err = run(env, args)
	return out.String(), daemon.ExitCode(err), err
}

func TestProbe(t *testing.T) {
	avro := "\x00\x00\x00\x00\x2a\x0c\x02\x04abcdef"
	broker, _ := cluster(t, []prepared{
		{topic: "nginx", every: []string{nginxLine}, count: 60},
		{topic: "envoy", every: []string{envoyLine}, count: 60},
		{topic: "own", every: []string{ownLine}, count: 60},
		{topic: "fluent", every: []string{inFluentBit(nginxLine)}, count: 60},
		{topic: "half", every: []string{nginxLine, `{"time":"broken`}, count: 60},
		{topic: "avro", every: []string{avro}, count: 10},
		{topic: "local", every: []string{nginxLine}, count: 60, offset: 2 * time.Hour, layout: "2006-01-02T15:04:05.000"},
		{topic: "empty"},
		{topic: "orders-events", every: []string{`{"order":7,"total":12.5}`}, count: 10},
	})
	for _, c := range []struct {
		topic, format, envelope, zone string
		code                          int
		share                         float64
		text                          []string // in the table
		missing                       string
	}{
		{"nginx", "nginx_json", "", "", 0, 1, []string{"nginx: gateway logs, nginx_json, 100 % readable", "messages/s"}, "trace_id"},
		{"envoy", "envoy_json", "", "", 0, 1, []string{"no API key: no figures per key"}, "key_id"},
		{"own", "json", "", "", 0, 1, []string{"guessed from the names"}, "upstream_latency_ms"},
		{"fluent", "nginx_json", "fluent-bit", "", 0, 1, []string{"in an envelope of fluent-bit"}, "trace_id"},
		{"half", "nginx_json", "", "", 1, 0.5, []string{"unread    30 x syntax"}, "trace_id"},
		{"avro", "", "", "", 1, 0, []string{"not readable: schema_framing: Confluent schema-registry framing, schema id 42"}, ""},
		{"local", "nginx_json", "", "UTC+2", 0, 1, []string{"looks like UTC+2: set time_zone", "time_zone: Etc/GMT-2"}, "trace_id"},
		{"empty", "", "", "", 4, 0, []string{"empty: nothing to say yet"}, ""},
	} {
		t.Run(c.topic, func(t *testing.T) {
			probe := func(env *daemon.Env, args []string) error { return runProbe(t.Context(), env, args) }
			out, code, err := runCommand(t, probe, "--brokers", broker, "--topic", c.topic, "-o", "json")
			if code != c.code {
				t.Fatalf("exit %d (%v), want %d\n%s", code, err, c.code, out)
			}
			var a probeAnswer
			if err := json.Unmarshal([]byte(out), &a); err != nil {
				t.Fatal(err)
			}
			r := a.Topics[0]
			if r.Format != c.format || r.Envelope != c.envelope || r.ZoneOffset != c.zone || r.ReadableShare != c.share {
				t.Errorf("format %q envelope %q zone %q share %v\n%s", r.Format, r.Envelope, r.ZoneOffset, r.ReadableShare, out)
			}
			has := false
			for _, m := range r.Missing {
				has = has || m.Field == c.missing
			}
			if has != (c.missing != "") {
				t.Errorf("missing %+v, want %q", r.Missing, c.missing)
			}
			if r.Readable > 0 && (r.DelayP50MS < 20 || r.DelayP50MS > 40 || r.PerSecond < 5 || r.PerSecond > 20) && c.topic != "envoy" {
				t.Errorf("delay %v ms, %v messages/s; sent with 30 ms at 10/s", r.DelayP50MS, r.PerSecond)
			}
			if strings.Contains(out, "SECRET") || strings.Contains(out, "203.0.113.9") || strings.Contains(out, "token=abc") {
				t.Errorf("shows a secret:\n%s", out)
			}
			if a.YAML != "" {
				if _, err := config.Parse("paste.yaml", []byte(a.YAML)); err != nil {
					t.Errorf("YAML to paste: %v\n%s", err, a.YAML)
				}
			}
			table, _, _ := runCommand(t, probe, "--brokers", broker, "--topic", c.topic)
			for _, want := range c.text {
				if !strings.Contains(table, want) {
					t.Errorf("no %q in\n%s", want, table)
				}
			}
		})
	}
}

func TestProbeAllTopics(t *testing.T) {
	broker, _ := cluster(t, []prepared{
		{topic: "gateway", every: []string{nginxLine}, count: 200},
		{topic: "empty"},
		{topic: "orders-events", every: []string{`{"order":7,"total":12.5}`}, count: 10},
	})
	probe := func(env *daemon.Env, args []string) error { return runProbe(t.Context(), env, args) }
	out, code, err := runCommand(t, probe, "--brokers", broker, "-o", "json")
	var a probeAnswer
	if jerr := json.Unmarshal([]byte(out), &a); jerr != nil || code != 0 {
		t.Fatalf("exit %d, %v, %v\n%s", code, err, jerr, out)
	}
	if len(a.Topics) != 1 || a.Topics[0].Name != "gateway" || a.Topics[0].Messages != 200 || len(a.Others) != 2 {
		t.Errorf("%s", out)
	}
}

func TestProbeUnreachable(t *testing.T) {
	broker, _ := cluster(t, nil)
	probe := func(env *daemon.Env, args []string) error { return runProbe(t.Context(), env, args) }
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--brokers", "127.0.0.1:1"}, 3, "127.0.0.1:1"},
		{[]string{"--brokers", broker, "--topic", "absent"}, 3, "absent"},
		{[]string{"--brokers", broker}, 4, ""},
		{[]string{"--brokers", broker, "-n", "0"}, 2, "-n of at least 1"},
		{[]string{"--config", "absent.yaml"}, 2, "--brokers host:port"},
		{[]string{"--brokers", broker, "-o", "xml"}, 2, "want table, json"},
	} {
		_, code, err := runCommand(t, probe, c.args...)
		if code != c.code || c.want != "" && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: exit %d, %v; want %d, %q", c.args, code, err, c.code, c.want)
		}
	}
}
