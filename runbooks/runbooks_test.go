package runbooks_test

import (
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

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/config"
	"gatewatch/internal/runbook"
	"gatewatch/runbooks"
)

// A bench is a store with the incidents of all runbooks, and the shipped programs.
type bench struct {
	conn   *clickhouse.Conn
	config clickhouse.Config
	dir    string
	ran    map[string]bool
}

func newBench(t *testing.T, onset time.Time) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), ran: map[string]bool{}}
	b.conn, b.config = clickhousetest.New(t)
	for name, i := range incidents() {
		if err := i.fill(t.Context(), b.conn, name, onset); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	clickhousetest.Rollup(t, b.conn)
	c := b.config
	file := filepath.Join(b.dir, "gatewatch.yaml")
	for name, text := range map[string]string{
		file: fmt.Sprintf("kafka: {brokers: [\"127.0.0.1:1\"], topics: [{name: a, format: nginx_json}]}\nclickhouse: {address: %q, database: %q, username: %q, password_file: %q}\nalert: {default_owner: platform, preview: true, slos: %q}\n",
			c.Address, c.Database, c.Username, c.PasswordFile, filepath.Join(b.dir, "slo")),
		filepath.Join(b.dir, "slo", "o.yaml"): "service: budget-low\nobjective: 99.9 %\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := config.Load(file, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.conn.ApplyRetention(t.Context(), conf.Retention.TTLs()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ingest", "aggregate", "alert"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(b.dir, "gatewatch-"+name), "../cmd/"+name).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v: %s", name, err, out)
		}
	}
	return b
}

// TestRunbooks tries every runbook on its own incident, and every command and
// query of every text on the real schema, also when what they are filled with
// was chosen by an attacker.
func TestRunbooks(t *testing.T) {
	onset := time.Now().UTC().Add(-10 * time.Minute).Truncate(time.Second)
	b := newBench(t, onset)
	t.Run("incidents", func(t *testing.T) { b.tryIncidents(t, onset) })
	t.Run("queries", b.allQueries)
	t.Run("commands", b.allCommands)
}

var (
	sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")
	sqlStep  = regexp.MustCompile("`(SELECT[^`]*)`")
)

func (b *bench) allQueries(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
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
				query := strings.ReplaceAll(q[1], "gatewatch.v_", b.config.Database+".v_")
				if err := b.conn.Exec(t.Context(), query); err != nil {
					t.Errorf("%s: %v\n%s", r.Name, err, query)
				}
				ran++
			}
		}
	}
	if ran < 50 {
		t.Errorf("only %d queries were found", ran)
	}
	if err := b.conn.Exec(t.Context(), "SELECT * FROM access_log LIMIT 1"); err != nil {
		t.Errorf("the table is gone: %v", err)
	}
}

func usual() map[string]string {
	return map[string]string{
		"service": "upstream-timeout", "route": "/b", "method": "POST", "upstream": "u2", "node": "n1", "region": "eu", "key": "00000000", "plan": "gold", "objective": "o", "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
		"consumer": "upstream-timeout-c1", "error_class": "upstream_timeout", "since": time.Now().UTC().Add(-10 * time.Minute).Format(time.RFC3339), "slo": "payments-availability", "alert": "3f9a", "topic": "logs", "version": "v1",
	}
}

// hostile has values that a client may have chosen.
func hostile() map[string]string {
	m := maps.Clone(usual())
	for _, name := range []string{"service", "route", "upstream", "consumer", "version", "node", "region", "plan"} {
		m[name] = `x' OR 1=1; DROP TABLE access_log; -- \' "` + "`\n$(touch pwned); touch pwned"
	}
	return m
}

// Every command is one that the shipped programs take. Those that need Kafka say
// that it can't be reached (3); the others answer.
func (b *bench) allCommands(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	attack := hostile()
	for name, v := range attack {
		attack[name] = strings.ReplaceAll(v, "`", "") // it would end the code in which commands are looked for
	}
	for _, vars := range []map[string]string{usual(), attack} {
		for _, r := range set.Runbooks() {
			text, _ := set.Filled(r.Name, vars)
			for line := range strings.Lines(string(text)) {
				for _, m := range stepCommand.FindAllStringSubmatch(line, -1) {
					if !b.ran[m[1]] {
						b.shell(t, r.Name, m[1])
					}
				}
			}
		}
	}
	if len(b.ran) < 40 {
		t.Errorf("only %d commands were found", len(b.ran))
	}
	if _, err := os.Stat(filepath.Join(b.dir, "pwned")); err == nil {
		t.Error("a value was run as a command")
	}
}

// shell runs a line as somebody would who pastes it, and returns what it prints.
func (b *bench) shell(t *testing.T, book, text string) string {
	t.Helper()
	b.ran[text] = true
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "PATH="+b.dir+":"+os.Getenv("PATH"), "GATEWATCH_CONFIG=gatewatch.yaml")
	out, err := cmd.CombinedOutput()
	var code int
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	// The budget of the incident is spent: that is an answer too.
	answered := code == 0 || code == 4 || code == 3 && strings.HasPrefix(text, "gatewatch-ingest") || code == 1 && strings.HasPrefix(text, "gatewatch-alert budget")
	if !answered {
		t.Errorf("%s: %s: exit %d: %s", book, text, code, out)
	}
	return string(out)
}
