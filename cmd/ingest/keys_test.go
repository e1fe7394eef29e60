package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/ingest"
)

// A key of an imported file has the id that requests with it get, and the key
// itself is nowhere. The file again changes nothing; a broken one names its line.
func TestImportConsumers(t *testing.T) {
	conn, store := clickhousetest.New(t)
	pepper := filepath.Join(filepath.Dir(store.PasswordFile), "pepper")
	file := writeConfig(t, fmt.Sprintf(`
kafka:
  brokers: ["127.0.0.1:1"]
  topics: [{name: t, format: nginx_json}]
clickhouse: {address: %q, database: %s, username: %q, password_file: %q}
ingest: {pepper_file: %q}
`, store.Address, store.Database, store.Username, store.PasswordFile, pepper))
	csv := filepath.Join(t.TempDir(), "keys.csv")
	write := func(text string) {
		if err := os.WriteFile(csv, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	call := func(args ...string) (string, int, error) {
		return runCommand(t, func(env *daemon.Env, args []string) error { return runImport(t.Context(), env, args) }, append([]string{"--config", file}, args...)...)
	}
	write("key,consumer,plan,owner\ns3cret-key-of-acme,acme,gold,sales\nk2,beta,,\n")
	for range 2 {
		out, code, err := call("consumers", csv)
		if code != 0 || out != "2 keys imported; the same file again changes nothing\n" {
			t.Fatalf("exit %d, %v: %s", code, err, out)
		}
	}
	secret, err := config.ReadSecret(pepper)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNormaliser(ingest.TopicConfig{}, ingest.DefaultConfig(), []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	var arena accesslog.Arena
	e := accesslog.Entry{Time: time.Now(), APIKey: "s3cret-key-of-acme"}
	n.Normalise(&e, &arena)
	rows, err := conn.Query(t.Context(), "SELECT key_id, consumer, plan, owner FROM v_key ORDER BY consumer")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var id, consumer, plan, owner string
		if err := rows.Scan(&id, &consumer, &plan, &owner); err != nil {
			t.Fatal(err)
		}
		got = append(got, id+" "+consumer+" "+plan+" "+owner)
	}
	if want := fmt.Sprintf("%x acme gold sales", e.Consumer.KeyID); len(got) != 2 || got[0] != want {
		t.Errorf("%q, want first %s", got, want)
	}
	write("key,consumer\n,\n")
	if _, code, err := call("consumers", csv); code != 2 || !strings.Contains(fmt.Sprint(err), "keys.csv: line 2: wrong_format: neither key nor key_id nor consumer") {
		t.Errorf("exit %d, %v", code, err)
	}
	if _, code, _ := call("consumers"); code != 2 {
		t.Errorf("without a file: exit %d", code)
	}
}
