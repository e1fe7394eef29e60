// Package clickhousetest gives a test a migrated database of its own on a real
// ClickHouse: the server at GATEWATCH_TEST_CLICKHOUSE
// (host:port, user and password in GATEWATCH_TEST_CLICKHOUSE_USER and
// GATEWATCH_TEST_CLICKHOUSE_PASSWORD_FILE), or an embedded one that all tests of
// a process share.
package clickhousetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/rollupfill"
)

// shared is the engine of this test process and what starting it said.
type shared struct {
	server *engine.Server
	err    error
}

// start starts the process's engine once. It ends with the process, whose end
// closes the pipe that it watches; its folder is removed by the next start.
var start = sync.OnceValue(func() shared {
	const name = "gatewatch-test-engine-"
	left, err := filepath.Glob(filepath.Join(os.TempDir(), name+"*"))
	if err != nil {
		return shared{err: err}
	}
	for _, dir := range left {
		if owned(dir) {
			os.RemoveAll(dir)
		}
	}
	hidden, err := os.MkdirTemp("", "."+name) // until it is locked
	if err != nil {
		return shared{err: err}
	}
	owned(hidden)
	dir := filepath.Join(filepath.Dir(hidden), strings.TrimPrefix(filepath.Base(hidden), "."))
	if err := os.Rename(hidden, dir); err != nil {
		return shared{err: err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, err := engine.Start(ctx, engine.Config{Dir: dir, Log: os.Stderr})
	return shared{s, err}
})

// owned reports whether dir is this process's now: its lock ends with its owner.
func owned(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // a name that this package gave
	if err != nil {
		return false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return false
	}
	locks = append(locks, f) // a file that is collected is closed
	return true
}

var locks []*os.File

var count atomic.Int64

// Config returns how to reach a fresh, empty database, which is dropped when the test ends.
func Config(t testing.TB) clickhouse.Config {
	t.Helper()
	c := clickhouse.DefaultConfig()
	c.Database = fmt.Sprintf("gatewatch_test_%d_%d", os.Getpid(), count.Add(1))
	if addr := os.Getenv("GATEWATCH_TEST_CLICKHOUSE"); addr != "" {
		c.Address = addr
		if user := os.Getenv("GATEWATCH_TEST_CLICKHOUSE_USER"); user != "" {
			c.Username = user
		}
		c.PasswordFile = os.Getenv("GATEWATCH_TEST_CLICKHOUSE_PASSWORD_FILE")
	} else {
		e := start()
		if e.err != nil {
			t.Fatalf("start ClickHouse: %v", e.err)
		}
		c.Address, c.HTTPAddress, c.Username = e.server.Addr, e.server.HTTPAddr, e.server.Username
		c.PasswordFile = filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(c.PasswordFile, []byte(e.server.Password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := clickhouse.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Drop(context.Background()); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
		conn.Close()
	})
	return c
}

// New returns a connection to a fresh, migrated database.
func New(t testing.TB) (*clickhouse.Conn, clickhouse.Config) {
	t.Helper()
	c := Config(t)
	conn, err := clickhouse.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Migrate(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return conn, c
}

// Rollup adds all raw rows to all levels, for tests that write raw rows by SQL
// instead of through ingest, which fills the levels too.
func Rollup(t testing.TB, conn *clickhouse.Conn) {
	t.Helper()
	if err := rollupfill.FillAll(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
}
