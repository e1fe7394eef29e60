package runbooks_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/runbook"
	"gatewatch/runbooks"
)

var (
	sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")
	sqlStep  = regexp.MustCompile("`(SELECT[^`]*)`")
)

// Every query of every runbook runs on the real schema, also when what it is
// filled with was chosen by an attacker.
func TestQueriesRun(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	conn, c := clickhousetest.New(t)
	ran := 0
	for _, vars := range []map[string]string{usual(), hostile()} {
		for _, r := range set.Runbooks() {
			text, ok := set.Filled(r.Name, vars)
			if !ok {
				t.Fatalf("%s has no text", r.Name)
			}
			queries := sqlBlock.FindAllStringSubmatch(string(text), -1)
			for _, sec := range r.Sections {
				for _, step := range sec.Steps {
					queries = append(queries, sqlStep.FindAllStringSubmatch("`"+strings.Trim(step, "`")+"`", -1)...)
				}
			}
			for _, q := range queries {
				query := strings.ReplaceAll(q[1], "gatewatch.v_", c.Database+".v_")
				if err := run(t.Context(), conn, query); err != nil {
					t.Errorf("%s: %v\n%s", r.Name, err, query)
				}
				ran++
			}
		}
	}
	if ran < 20 {
		t.Errorf("only %d queries were found", ran)
	}
	if err := run(t.Context(), conn, "SELECT * FROM "+c.Database+".access_log LIMIT 1"); err != nil {
		t.Errorf("the table is gone: %v", err)
	}
}

func usual() map[string]string {
	return map[string]string{
		"service": "payments", "route": "/v1/charges/{id}", "method": "POST", "upstream": "pay-2:8080", "node": "gw-1", "region": "eu",
		"consumer": "c-1", "error_class": "upstream_timeout", "since": "2026-01-02T03:11:00Z", "slo": "payments-availability", "alert": "3f9a", "topic": "logs", "version": "v1",
	}
}

// hostile has values that a client may have chosen.
func hostile() map[string]string {
	m := maps.Clone(usual())
	for _, name := range []string{"service", "route", "upstream", "consumer", "version"} {
		m[name] = `x' OR 1=1; DROP TABLE access_log; -- \' "` + "`\n$(touch pwned); touch pwned"
	}
	return m
}

var command = regexp.MustCompile("`(gatewatch-[a-z]+ [^`]*)`")

// Every command of every first step is one that the shipped programs take. Those
// that need Kafka say that it can't be reached (3); the others answer.
func TestCommandsRun(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	conn, c := clickhousetest.New(t)
	if err := conn.Exec(t.Context(), `INSERT INTO access_log (ts, kafka_time, service, route, status, error_class, responder, latency_us, upstream, consumer)
		SELECT now64(6) - 1, now64(3), 'payments', '/v1/charges/{id}', 504, 'upstream_timeout', 'gateway', 10, 'pay-2:8080', 'c-1' FROM numbers(10)`); err != nil {
		t.Fatal(err)
	}
	clickhousetest.Rollup(t, conn)
	dir := t.TempDir()
	settings := fmt.Sprintf("kafka: {brokers: [\"127.0.0.1:1\"], topics: [{name: a, format: nginx_json}]}\nclickhouse: {address: %q, database: %q, username: %q, password_file: %q}\n", c.Address, c.Database, c.Username, c.PasswordFile)
	if err := os.WriteFile(filepath.Join(dir, "gatewatch.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ingest", "aggregate", "alert"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "gatewatch-"+name), "../cmd/"+name).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v: %s", name, err, out)
		}
	}
	attack := hostile()
	for name, v := range attack {
		attack[name] = strings.ReplaceAll(v, "`", "") // it would end the code in which commands are looked for
	}
	ran := map[string]bool{}
	for _, vars := range []map[string]string{usual(), attack} {
		for _, r := range set.Runbooks() {
			text, _ := set.Filled(r.Name, vars)
			for line := range strings.Lines(string(text)) {
				for _, m := range command.FindAllStringSubmatch(line, -1) {
					if !ran[m[1]] {
						ran[m[1]] = true
						shell(t, dir, r.Name, m[1])
					}
				}
			}
		}
	}
	if len(ran) < 20 {
		t.Errorf("only %d commands were found", len(ran))
	}
	if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
		t.Error("a value was run as a command")
	}
}

func shell(t *testing.T, dir, book, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "GATEWATCH_CONFIG=gatewatch.yaml")
	out, err := cmd.CombinedOutput()
	var code int
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != 0 && code != 4 && (code != 3 || !strings.HasPrefix(text, "gatewatch-ingest")) {
		t.Errorf("%s: %s: exit %d: %s", book, text, code, out)
	}
}

func run(ctx context.Context, conn interface {
	Exec(ctx context.Context, query string, args ...any) error
}, query string,
) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return conn.Exec(ctx, query)
}
