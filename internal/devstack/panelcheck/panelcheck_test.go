package panelcheck_test

import (
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/clickhouse/clickhousetest"
	"gatewatch/internal/devstack/panelcheck"
)

// vectors are answers recorded from the real plugin's backend, beside the corpora.
const vectors = "../reference/grafana/plugin_vectors.jsonl"

type vector struct {
	Setup           []string
	Name, SQL       string
	Format          int
	From, To        time.Time
	IntervalMs      int64 `json:"interval_ms"`
	Expanded, Error string
	Rows            int
	Fields          []string
}

func TestVectors(t *testing.T) {
	answers := accesslogtest.Corpus[vector](t, vectors)
	_, config := clickhousetest.New(t)
	db, err := panelcheck.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	n := 0
	for _, v := range answers {
		// The recorded database is gw; the test has one of its own.
		v.SQL, v.Expanded = strings.ReplaceAll(v.SQL, "gw.", config.Database+"."), strings.ReplaceAll(v.Expanded, "gw.", config.Database+".")
		for _, q := range v.Setup {
			if strings.HasPrefix(q, "CREATE DATABASE") {
				continue
			}
			q = strings.ReplaceAll(q, "gw.", config.Database+".")
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatal(q, err)
			}
		}
		if v.Name == "" {
			continue
		}
		n++
		t.Run(v.Name, func(t *testing.T) {
			sql, frame, err := panelcheck.Run(t.Context(), db, panelcheck.Target{RefID: "A", RawSQL: v.SQL, Format: v.Format}, nil,
				backend.TimeRange{From: v.From, To: v.To}, time.Duration(v.IntervalMs)*time.Millisecond)
			if sql != v.Expanded {
				t.Errorf("sql\n got %s\nwant %s", sql, v.Expanded)
			}
			if (err != nil) != (v.Error != "") {
				t.Fatalf("error %v, the plugin said %q", err, v.Error)
			}
			if err != nil {
				return
			}
			var got []string
			for _, f := range frame.Fields {
				got = append(got, strings.TrimSpace(f.Name+" "+f.Type().ItemTypeString()+" "+f.Labels.String()))
			}
			if v.Rows > 0 && strings.Join(got, ";") != strings.Join(v.Fields, ";") {
				t.Errorf("fields\n got %q\nwant %q", got, v.Fields)
			}
			if frame.Rows() != v.Rows {
				t.Errorf("rows %d, want %d", frame.Rows(), v.Rows)
			}
		})
	}
	if n != 43 {
		t.Errorf("%d answers read, want 43", n)
	}
}
