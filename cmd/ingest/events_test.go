package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
)

// A file of changes is imported once, and an e-mail address in it is hidden.
func TestImportChanges(t *testing.T) {
	conn, store := clickhousetest.New(t)
	file := writeConfig(t, fmt.Sprintf(`
kafka:
  brokers: ["127.0.0.1:1"]
  topics: [{name: t, format: nginx_json}]
clickhouse: {address: %q, database: %s, username: %q, password_file: %q}
`, store.Address, store.Database, store.Username, store.PasswordFile))
	path := filepath.Join(t.TempDir(), "changes.csv")
	call := func(text string) (string, int, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return runCommand(t, func(env *daemon.Env, args []string) error { return runImport(t.Context(), env, args) }, "--config", file, "changes", path)
	}
	for range 2 {
		out, code, err := call("time,service,kind,what,who\n2026-03-01T03:06:00Z,payments,deploy,payments 2.14.0,ada@example.org\n")
		if code != 0 || out != "1 change imported; the same file again changes nothing\n" {
			t.Fatalf("exit %d, %v: %s", code, err, out)
		}
	}
	at := time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
	list, err := conn.Changes(t.Context(), at, at.Add(time.Hour), "payments")
	if err != nil || len(list) != 1 || list[0].What != "payments 2.14.0" || list[0].Who != "{email}" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, code, err := call("time,kind,what\n,deploy,x\n"); code != 2 || !strings.Contains(fmt.Sprint(err), "line 2: time is missing") {
		t.Errorf("exit %d, %v", code, err)
	}
}

// Topics of changes and audit logs give rows, without addresses in full.
func TestEventTopics(t *testing.T) {
	conn, _ := clickhousetest.New(t)
	w := clickhouse.NewWriter(conn)
	defer w.Close()
	now := time.Now().UTC().Truncate(time.Second)
	for _, c := range []struct{ format, msg, query, want string }{
		{"change_events", `{"kind":"flag","what":"new checkout","service":"orders"}`, "SELECT concat(kind, ' ', what, ' ', service, ' ', toString(toUnixTimestamp(time))) FROM v_change WHERE kind = 'flag'", fmt.Sprintf("flag new checkout orders %d", now.Unix())},
		{"audit_kong", `{"client_ip":"10.1.2.3","method":"POST","path":"/services","rbac_user_name":"ada@example.org","request_timestamp":1700000000,"status":201}`, "SELECT concat(toString(class), ' ', actor, ' ', action, ' ', object, ' ', toString(outcome), ' ', toString(client_ip)) FROM v_audit", "configuration {email} POST /services success ::ffff:10.1.2.0"},
	} {
		topic := ingest.TopicConfig{Name: "t-" + c.format, Format: c.format}
		n, err := newNormaliser(topic, ingest.DefaultConfig(), []byte("0123456789abcdef0123456789abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDecoder(topic, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		var r ingest.Records
		if err := d.Decode([]byte(c.msg), &r); err != nil {
			t.Fatal(err)
		}
		b := w.NewBlock(topic)
		at := ingest.Coordinates{KafkaTime: now}
		for i := range r.Changes {
			r.Changes[i].Time = now
			b.AppendChange(at, &r.Changes[i])
		}
		for i := range r.Audits {
			b.AppendAudit(at, &r.Audits[i])
		}
		if b.Rows() != 1 {
			t.Fatalf("%s: %d rows", c.format, b.Rows())
		}
		if err := b.Insert(t.Context(), ingest.LedgerEntry{Range: ingest.Range{Topic: topic.Name}, Messages: 1, Rows: 1, EarliestEvent: now, LatestEvent: now}); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := conn.QueryRow(t.Context(), c.query).Scan(&got); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.format, got, err, c.want)
		}
		if err := d.Decode([]byte(`{"x":1}`), &r); err == nil {
			t.Errorf("%s reads anything", c.format)
		}
	}
}
