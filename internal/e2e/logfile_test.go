package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/devstack"
)

// TestApacheLog feeds a real web server's log of 2015 through the whole path
// and expects exactly what GoAccess counts (README of the corpora).
func TestApacheLog(t *testing.T) {
	path := filepath.Join(accesslogtest.CorpusDir(t), "apache_logs.log.gz")
	s := start(t, func(c devstack.Config) devstack.Config { return devstack.LogFileConfig(c, "apache_combined") })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, _, err := devstack.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := s.SendLog(ctx, r, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	if n != 10_000 {
		t.Errorf("%d lines were sent, want 10000", n)
	}
	if err := s.WaitStored(ctx, n, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	out, err := s.Command(ctx, "aggregate", "report", "-o", "json", "summary")
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Total struct {
			Requests int64
			BytesOut int64 `json:"bytes_out"`
		}
		Statuses []struct {
			Group    struct{ Status string }
			Requests int64
		}
		Unreadable int64 `json:"unreadable_messages"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if report.Total.Requests != 10_000 || report.Total.BytesOut != 2_747_282_740 || report.Unreadable != 0 {
		t.Errorf("%+v and %d unreadable, want 10000 requests, 2747282740 bytes and none", report.Total, report.Unreadable)
	}
	statuses := map[string]int64{}
	for _, s := range report.Statuses {
		statuses[s.Group.Status] += s.Requests
	}
	want := map[string]int64{"200": 9126, "206": 45, "301": 164, "304": 445, "403": 2, "404": 213, "416": 2, "500": 3}
	if diff := cmp.Diff(statuses, want); diff != "" {
		t.Errorf("statuses (-got +want):\n%s", diff)
	}
	if _, err := s.Command(ctx, "ingest", "verify"); err != nil {
		t.Error(err)
	}
	text, err := s.Command(ctx, "aggregate", "report", "summary")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"10,000", "404"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report for people lacks %q:\n%s", want, text)
		}
	}
}
