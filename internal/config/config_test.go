package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"gatewatch/internal/ingest"
)

func noEnv(string) string { return "" }

func TestLoadGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	for _, f := range append(files, "../../deploy/config/gatewatch.yaml") {
		if _, err := Load(f, noEnv); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Every file in testdata/bad begins with "# want " and what its error has to say.
func TestLoadBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("fixtures: %v, %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(data), "\n")
		want, ok := strings.CutPrefix(first, "# want ")
		if !ok {
			t.Fatalf("%s: first line is %q", f, first)
		}
		_, err = Load(f, noEnv)
		if err == nil {
			t.Errorf("%s: loaded; want %q", f, want)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %q", f, err, want)
		}
		if !strings.HasPrefix(err.Error(), f+":") {
			t.Errorf("%s: error does not begin with the file: %v", f, err)
		}
		if len(Faults(err)) == 0 {
			t.Errorf("%s: no Faults in %v", f, err)
		}
	}
}

func TestLoadReportsAllFaults(t *testing.T) {
	_, err := Parse("x.yaml", []byte("kafka:\n  brokers: [a]\n  topics: [{format: f}]\ningest:\n  client_ip: x\n  batch_rows: 0\n"))
	var got []string
	for _, f := range Faults(err) {
		got = append(got, f.Error())
	}
	want := []string{
		`x.yaml: clickhouse.address: missing; write host:port of the native protocol, such as clickhouse:9000`,
		`x.yaml:2: kafka.brokers[0]: "a": want host:port`,
		`x.yaml:3: kafka.topics[0].name: missing; write the topic's name`,
		`x.yaml:5: ingest.client_ip: "x": want truncated, full or none`,
		`x.yaml:6: ingest.batch_rows: 0: want 1 to 10000000`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("faults (-want +got):\n%s", d)
	}
}

func TestLoadFull(t *testing.T) {
	got, err := Load("testdata/good/full.yaml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	dir := "testdata/good"
	k := &want.Kafka
	k.Brokers, k.GroupPrefix = []string{"kafka-1:9093", "[::1]:9093"}, "shop.gatewatch"
	k.TLS.Enabled, k.TLS.CAFile, k.TLS.CertFile, k.TLS.KeyFile = true, dir+"/tls/ca.pem", dir+"/tls/me.pem", "/etc/tls/me.key"
	k.SASL.Mechanism, k.SASL.Username, k.SASL.PasswordFile = "SCRAM-SHA-512", "gatewatch", dir+"/secret/kafka"
	k.Topics = []ingest.TopicConfig{
		{
			Name: "edge", Format: "json", TimeZone: "Europe/Berlin", Tenant: "shop", Environment: "production", Region: "eu-1",
			Mapping: map[string]ingest.FieldMapping{
				"timestamp": {Path: "ts", Layout: "epoch", Unit: "ms"},
				"status":    {Path: "response.code"},
				"latency":   {Path: "took", Unit: "us"},
				"host":      {Path: `kubernetes\.io/host`},
			},
			Routes: []string{"/v1/orders/{id}"},
		},
		{Name: "spans#eu", Format: "otlp_proto"},
	}
	ch := &want.ClickHouse
	ch.Address, ch.Database, ch.Username, ch.PasswordFile = "ch:9440", "gw", "writer", dir+"/secret/ch"
	ch.Secure, ch.CAFile = true, dir+"/tls/ca.pem"
	ch.Cluster, ch.Shards = "shop", [][]string{{"ch-1:9440", "ch-2:9440"}, {"ch-3:9440", "ch-4:9440"}}
	in := &want.Ingest
	in.Start, in.BatchRows, in.BatchBytes, in.BatchAge = "2026-01-02T03:04:05Z", 50_000, 16<<20, 250*time.Millisecond
	in.MaxMemory, in.PepperFile, in.ClientIP, in.QueryAllow = 1<<30, dir+"/pepper", "none", []string{"page", "sort"}
	want.Aggregate.Lateness = time.Hour
	a := &want.Alert
	a.Listen, a.DefaultOwner, a.SLOs = "0.0.0.0:9363", "platform", dir+"/slo"
	a.Alertmanagers = []string{"http://am-1:9093", "https://am-2/alertmanager"}
	a.AlertmanagerAuth.Username, a.AlertmanagerAuth.PasswordFile, a.AlertmanagerAuth.CAFile = "gatewatch", dir+"/secret/am", dir+"/tls/ca.pem"
	a.SeverityMap, a.ExtraLabels = map[string]string{"page": "critical"}, map[string]string{"cluster": "eu-1"}
	a.Runbooks.BaseURL = "https://wiki/runbooks"
	want.Retention.AccessLog, want.Retention.Span, want.Retention.Request1h = 365*day, 36*time.Hour, 0
	if d := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(Config{})); d != "" {
		t.Errorf("full.yaml (-want +got):\n%s", d)
	}
}

// What users of gatewatch rely on in the shipped file: the demo's topics and formats.
func TestShippedFile(t *testing.T) {
	c, err := Load("../../deploy/config/gatewatch.yaml", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, topic := range c.Kafka.Topics {
		got[topic.Name] = topic.Format
	}
	want := map[string]string{"gateway-nginx": "nginx_json", "gateway-envoy": "envoy_json", "spans": "otlp_proto"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("topics (-want +got):\n%s", d)
	}
	if c.Alert.Grace != 2*time.Second || c.Alert.DefaultOwner == "" {
		t.Errorf("grace %s, default_owner %q", c.Alert.Grace, c.Alert.DefaultOwner)
	}
}

func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	env := func(string) string { return "" }
	if got := Find("", env); got != "/etc/gatewatch/gatewatch.yaml" {
		t.Errorf("nothing given: %s", got)
	}
	if err := os.WriteFile("gatewatch.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Find("", env); got != "gatewatch.yaml" {
		t.Errorf("in the current folder: %s", got)
	}
	env = func(k string) string { return map[string]string{"GATEWATCH_CONFIG": "e.yaml"}[k] }
	if got := Find("", env); got != "e.yaml" {
		t.Errorf("environment: %s", got)
	}
	if got := Find("a.yaml", env); got != "a.yaml" {
		t.Errorf("argument: %s", got)
	}
	if _, err := Load("absent.yaml", env); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("absent file: %v", err)
	}
}

// Defaults print as YAML that loads to the same configuration.
func TestDefaultsRoundTrip(t *testing.T) {
	text := Defaults()
	c := DefaultConfig()
	d := decoder{file: "defaults", lines: map[string]int{}}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var zero Config
	d.decode(doc.Content[0], &zero)
	if len(d.faults) > 0 {
		t.Fatal(d.faults)
	}
	if diff := cmp.Diff(c, zero, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-defaults +printed):\n%s\n%s", diff, text)
	}
}

// Every field can be set from YAML, and has its place in the printed defaults.
func TestEveryFieldHasATag(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		for f := range typ.Fields() {
			if !f.IsExported() {
				continue
			}
			name, inline := tag(f)
			if name == "" && !inline {
				t.Errorf("%s.%s has no yaml tag", path, f.Name)
			}
			ft := f.Type
			for ft.Kind() == reflect.Slice || ft.Kind() == reflect.Map {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, path+"."+f.Name)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "Config")
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"brokrs", "brokers"}, {"Brokers", "brokers"}, {"borkers", "brokers"}, {"address", "address"}, {"xyz", ""},
	} {
		if got := Nearest(c.word, []string{"address", "brokers", "topics"}); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", "../../deploy/config/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		if err != nil {
			if len(Faults(err)) == 0 {
				t.Fatalf("no Fault in %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("loaded, and then: %v", err)
		}
	})
}
