package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
)

// writeConfig writes a configuration file and returns its name.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gatewatch.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheckStatic(t *testing.T) {
	const head = "kafka:\n  brokers: [k:9092]\n  topics:\n    - name: t\n"
	const tail = "clickhouse: {address: c:9000}\n"
	for _, c := range []struct {
		name, text string
		code       int
		want       string
	}{
		{"good", head + "      format: nginx_json\n" + tail, 0, "ok    configuration  "},
		{"format", head + "      format: ngnix_json\n" + tail, 2, `gatewatch.yaml:5: kafka.topics[0].format: format "ngnix_json" is unknown; did you mean "nginx_json"?`},
		{"mapping", head + "      format: json\n      mapping: {stauts: code}\n" + tail, 2, `gatewatch.yaml:6: kafka.topics[0].mapping: format json: mapping stauts: no such field`},
		{"file", head + "      format: nginx_json\n" + "clickhouse:\n  address: c:9000\n  password_file: absent\n", 2, "gatewatch.yaml:8: clickhouse.password_file: "},
		{"key", head + "      fromat: nginx_json\n" + tail, 2, `unknown key "fromat" in kafka.topics[0]; did you mean "format"?`},
	} {
		check := func(env *daemon.Env, args []string) error { return runCheck(t.Context(), env, args) }
		out, code, err := runCommand(t, check, "--config", writeConfig(t, c.text))
		if code != c.code || !strings.Contains(out+fmt.Sprint(err), c.want) {
			t.Errorf("%s: exit %d\n%s\n%v\nwant %d, %q", c.name, code, out, err, c.code, c.want)
		}
	}
	check := func(env *daemon.Env, args []string) error { return runCheck(t.Context(), env, args) }
	out, code, _ := runCommand(t, check, "--print-defaults")
	if code != 0 || !strings.Contains(out, "batch_rows: 200000") || !strings.Contains(out, "access_log: 14d") {
		t.Errorf("defaults: exit %d\n%s", code, out)
	}
}

func TestCheckShippedFile(t *testing.T) {
	check := func(env *daemon.Env, args []string) error { return runCheck(t.Context(), env, args) }
	if out, code, err := runCommand(t, check, "--config", "../../deploy/config/gatewatch.yaml"); code != 0 {
		t.Errorf("exit %d: %v\n%s", code, err, out)
	}
}

func TestCheckConnect(t *testing.T) {
	broker, _ := cluster(t, []prepared{
		{topic: "nginx", every: []string{nginxLine}, count: 40},
		{topic: "half", every: []string{nginxLine, `{"time":"broken`}, count: 40},
		{topic: "empty"},
	})
	conn, ch := clickhousetest.New(t)
	alertmanager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v2/status" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"cluster":{"status":"disabled"},"versionInfo":{"version":"0.31.1"}}`)
	}))
	defer alertmanager.Close()

	check := func(broker, topic string, ch clickhouse.Config, am string) (string, int) {
		t.Helper()
		file := writeConfig(t, fmt.Sprintf(`kafka:
  brokers: [%q]
  topics: [{name: %s, format: nginx_json}]
clickhouse: {address: %q, database: %s, username: %s, password_file: %q}
alert: {alertmanagers: [%q]}
`, broker, topic, ch.Address, ch.Database, ch.Username, ch.PasswordFile, am))
		run := func(env *daemon.Env, args []string) error { return runCheck(t.Context(), env, args) }
		out, code, _ := runCommand(t, run, "--config", file, "--connect")
		return out, code
	}
	wrong := ch
	wrong.PasswordFile = filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong.PasswordFile, []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := ch
	closed.Address = "127.0.0.1:1"
	missing := ch
	missing.Database = "gatewatch_never_made"
	if c, err := clickhouse.Open(missing); err == nil {
		t.Cleanup(func() {
			if err := c.Drop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	for _, c := range []struct {
		name          string
		broker, topic string
		ch            clickhouse.Config
		am            string
		code          int
		want          []string
	}{
		{"well", broker, "nginx", ch, alertmanager.URL, 0, []string{
			"ok    kafka ", "ok    topic          nginx: 40 of 40 messages are readable as nginx_json", "ok    clickhouse     version ",
			"ok    clock ", "ok    schema         database ", "ok    deduplication  one block inserted twice counts once", "ok    alertmanager ",
		}},
		{"half broken", broker, "half", ch, alertmanager.URL, 0, []string{"warn  topic          half: 20 of 40 messages are readable as nginx_json; most often syntax"}},
		{"empty", broker, "empty", ch, alertmanager.URL, 0, []string{"warn  topic          empty is empty"}},
		{"no topic", broker, "absent", ch, alertmanager.URL, 3, []string{"FAIL  topic          absent does not exist; create it"}},
		{"no broker", "127.0.0.1:1", "nginx", ch, alertmanager.URL, 3, []string{"FAIL  kafka ", "ok    deduplication"}},
		{"wrong password", broker, "nginx", wrong, alertmanager.URL, 3, []string{"FAIL  clickhouse     ClickHouse at ", "check clickhouse.username and clickhouse.password_file"}},
		{"no clickhouse", broker, "nginx", closed, alertmanager.URL, 3, []string{"FAIL  clickhouse     ClickHouse at 127.0.0.1:1 can't be reached"}},
		{"no database", broker, "nginx", missing, alertmanager.URL, 0, []string{"warn  schema ", "ok    database       gatewatch_never_made did not exist; made it, empty", "ok    deduplication"}},
		{"alertmanager", broker, "nginx", ch, alertmanager.URL + "/wrong", 3, []string{"FAIL  alertmanager ", "; correct alert.alertmanagers and"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := check(c.broker, c.topic, c.ch, c.am)
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q", want)
				}
			}
			if t.Failed() {
				t.Log("\n" + out)
			}
		})
	}
	var left uint64
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM system.tables WHERE database = ? AND name LIKE 'check%'", conn.Database).Scan(&left); err != nil || left > 0 {
		t.Errorf("%d scratch tables left, %v", left, err)
	}
}
