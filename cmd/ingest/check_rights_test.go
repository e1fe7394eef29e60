package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
	"gatewatch/internal/devstack/engine"
)

// rightsUsers returns the shipped users.xml with one password for all, and
// beside the full user `gatewatch` a user lacksN without its Nth grant. lacking
// says which right that is.
func rightsUsers(t *testing.T, password string) (xml string, lacking []string) {
	t.Helper()
	b, err := os.ReadFile("../../deploy/clickhouse/users.xml")
	if err != nil {
		t.Fatal(err)
	}
	hash := fmt.Sprintf("<password_sha256_hex>%x</password_sha256_hex>", sha256.Sum256([]byte(password)))
	text := regexp.MustCompile(`<password_sha256_hex from_env="\w+"/>`).ReplaceAllString(string(b), hash)
	full := regexp.MustCompile(`(?s)<gatewatch>.*</gatewatch>`).FindString(text)
	named := func(body, name string) string {
		return strings.NewReplacer("<gatewatch>", "<"+name+">", "</gatewatch>", "</"+name+">").Replace(body)
	}
	users := named(full, "writer") // the test's engine has a user gatewatch of its own
	for i, g := range regexp.MustCompile(`<query>GRANT ([A-Z ]+ ON .+)</query>`).FindAllStringSubmatch(full, -1) {
		users += named(strings.Replace(full, g[0], "", 1), fmt.Sprintf("lacks%d", i))
		lacking = append(lacking, g[1])
	}
	return strings.Replace(text, full, users, 1), lacking
}

// systemLogs returns the elements of the shipped system_logs.xml.
func systemLogs(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../deploy/clickhouse/system_logs.xml")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?s)<clickhouse>(.*)</clickhouse>`).FindStringSubmatch(string(b))[1]
}

// TestCheckRights runs the shipped users.xml on a server of its own: the full
// user migrates and passes, and each right taken away is named.
func TestCheckRights(t *testing.T) {
	dir, password := t.TempDir(), "only for this test"
	users, lacking := rightsUsers(t, password)
	if len(lacking) < 8 {
		t.Fatalf("users.xml grants %q only", lacking)
	}
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	logins := map[string]string{"writer": password, "gatewatch_reader": password, "gatewatch_grafana": password}
	for i := range lacking {
		logins[fmt.Sprintf("lacks%d", i)] = password
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := engine.Start(ctx, engine.Config{Dir: filepath.Join(dir, "engine"), Users: users, Logins: logins, Settings: systemLogs(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(20 * time.Second) }()
	open := func(user string) *clickhouse.Conn {
		t.Helper()
		conn, err := clickhouse.Open(clickhouse.Config{Address: s.Addr, Database: "gatewatch", Username: user, PasswordFile: secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	if _, err := open("writer").Migrate(ctx); err != nil {
		t.Fatalf("the full user can't migrate: %v", err)
	}
	admin, err := clickhouse.Open(clickhouse.Config{Address: s.Addr, Database: "gatewatch", Username: s.Username, PasswordFile: secretFile(t, s.Password)})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.Exec(ctx, "SYSTEM FLUSH LOGS"); err != nil {
		t.Fatal(err)
	}
	var logs, forever uint64
	if err := admin.QueryRow(ctx, "SELECT count(), countIf(engine_full NOT LIKE '% TTL %') FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log'").Scan(&logs, &forever); err != nil || logs == 0 || forever > 0 {
		t.Errorf("%d of %d logs of the server are kept for ever: %v", forever, logs, err)
	}
	for _, user := range []string{"gatewatch_reader", "gatewatch_grafana"} {
		conn := open(user)
		var n uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM access_log").Scan(&n); err != nil {
			t.Errorf("%s can't read: %v", user, err)
		}
		if err := conn.Exec(ctx, "DROP TABLE access_log"); err == nil {
			t.Errorf("%s may drop a table", user)
		}
	}
	broker, _ := cluster(t, []prepared{{topic: "nginx", every: []string{nginxLine}, count: 4}})
	check := func(user string) (string, int) {
		file := writeConfig(t, fmt.Sprintf(`kafka:
  brokers: [%q]
  topics: [{name: nginx, format: nginx_json}]
clickhouse: {address: %q, database: gatewatch, username: %s, password_file: %q}
`, broker, s.Addr, user, secret))
		run := func(env *daemon.Env, args []string) error { return runCheck(t.Context(), env, args) }
		out, code, _ := runCommand(t, run, "--config", file, "--connect")
		if strings.Contains(out, password) {
			t.Errorf("the password is shown:\n%s", out)
		}
		return out, code
	}
	if out, code := check("writer"); code != 0 || !strings.Contains(out, "ok    deduplication") || !strings.Contains(out, "ok    rights") {
		t.Errorf("full user: exit %d\n%s", code, out)
	}
	for i, right := range lacking {
		right = strings.Replace(right, "gatewatch.", "`gatewatch`.", 1)
		user := fmt.Sprintf("lacks%d", i)
		out, code := check(user)
		want := fmt.Sprintf("user %q lacks %s; GRANT %s TO %s", user, right, right, user)
		if code != 3 || !strings.Contains(out, want) || strings.Count(out, "FAIL") != 1 {
			t.Errorf("exit %d, want 3 and only %q\n%s", code, want, out)
		}
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
