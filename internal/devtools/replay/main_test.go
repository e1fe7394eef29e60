package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsage: what was asked for wrongly, or what the folder lacks, is said and
// ends with 2.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.ndjson"), []byte(`{"start_time":"2026-03-02T12:00:00Z","response_code":200}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--dir is missing"},
		{[]string{"--dir", dir}, "no objectives found"},
		{[]string{"--dir", filepath.Join(dir, "none")}, "no such file"},
		{[]string{"--dir", dir, "--speed", "-1"}, "--speed -1 is negative"},
		{[]string{"--dir", dir, "--example", "earthquake"}, "--example earthquake is unknown"},
	} {
		var out, log bytes.Buffer
		if code := run(t.Context(), c.args, &out, &log); code != exitUsage || !strings.Contains(log.String(), c.want) || out.Len() > 0 {
			t.Errorf("%v ends with %d, says %q, writes %q", c.args, code, &log, &out)
		}
	}
}
