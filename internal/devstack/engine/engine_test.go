package engine

import (
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(t.Context(), Config{Dir: dir, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSurvivesRefusedLogins(t *testing.T) {
	s := start(t, t.TempDir())
	for _, tt := range []struct {
		name string
		auth clickhouse.Auth
		code int32
	}{
		{"unknown database", clickhouse.Auth{Database: "gatewatch_none", Username: s.Username, Password: s.Password}, 81},
		{"wrong password", clickhouse.Auth{Username: s.Username, Password: "x"}, 516},
		{"unknown user", clickhouse.Auth{Username: "nobody"}, 516},
	} {
		for range 3 {
			conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{s.Addr}, Auth: tt.auth})
			if err != nil {
				t.Fatal(err)
			}
			err = conn.Ping(t.Context())
			conn.Close()
			if e, ok := err.(*clickhouse.Exception); !ok || e.Code != tt.code {
				t.Fatalf("%s: Ping = %v, want code %d", tt.name, err, tt.code)
			}
		}
	}
	if _, err := s.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
}

// A crash and a clean stop both leave a folder that the next start serves at
// the same addresses with the same password.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	if first.Reused {
		t.Error("an empty folder counts as reused")
	}
	first.Kill()
	second := start(t, dir)
	if !second.Reused || second.Addr != first.Addr || second.HTTPAddr != first.HTTPAddr || second.Password != first.Password {
		t.Errorf("restart changed the server: %s %s to %s %s", first.Addr, first.HTTPAddr, second.Addr, second.HTTPAddr)
	}
	if _, err := second.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	if other, err := Start(t.Context(), Config{Dir: dir}); err == nil {
		other.Kill()
		t.Error("two servers started on one folder")
	}
	if err := second.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
}
