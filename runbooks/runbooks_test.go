package runbooks_test

import (
	"context"
	"maps"
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
	usual := map[string]string{
		"service": "payments", "route": "/v1/charges/{id}", "method": "POST", "upstream": "pay-2:8080", "node": "gw-1", "region": "eu",
		"consumer": "c-1", "error_class": "upstream_timeout", "since": "2026-01-02T03:11:00Z", "slo": "payments-availability", "alert": "3f9a",
	}
	hostile := maps.Clone(usual)
	hostile["service"] = `x' OR 1=1; DROP TABLE access_log; -- \' "` + "`\n;"
	ran := 0
	for _, vars := range []map[string]string{usual, hostile} {
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

func run(ctx context.Context, conn interface {
	Exec(ctx context.Context, query string, args ...any) error
}, query string,
) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return conn.Exec(ctx, query)
}
