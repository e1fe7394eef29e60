package main

import (
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/formats"
	"gatewatch/internal/ingest"
)

// Each format's own sample lines, repeated, are found out as that format, or as
// one that reads them alike; the messages read before it has settled aren't lost.
func TestAuto(t *testing.T) {
	alike := map[string]string{
		"apache_combined": "nginx_combined", "apache_common": "nginx_combined", "apisix_json_batch": "apisix_json", "apache_vhost_combined": "nginx_combined",
	}
	for _, f := range formats.All() {
		if f.Needs != "" {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			files, err := filepath.Glob("../../internal/*/*/testdata/" + f.Name + ".log")
			if err != nil || len(files) != 1 {
				t.Fatalf("%v %v", files, err)
			}
			s, err := accesslogtest.ReadSamples(files[0])
			if err != nil {
				t.Fatal(err)
			}
			settled := ""
			d, err := newDecoder(ingest.TopicConfig{Format: formatAuto, TimeZone: "UTC"}, nil, func(format, _ string) { settled = format })
			if err != nil {
				t.Fatal(err)
			}
			read := 0
			var refused error
			for range 3 * autoAfter {
				line := s.Lines[0]
				var out ingest.Records
				if err := d.Decode([]byte(line), &out); err != nil {
					refused = err
					continue
				}
				read++
			}
			want := f.Name
			if w, ok := alike[want]; ok {
				want = w
			}
			if refused != nil {
				if !strings.Contains(refused.Error(), "set format") {
					t.Errorf("refused without a remedy: %v", refused)
				}
				t.Logf("not told by its look: %v", refused)
				return
			}
			if settled != want || read != 3*autoAfter {
				t.Errorf("settled on %q after %d messages, want %s", settled, read, want)
			}
		})
	}
}

// What two formats read differently is refused by name, not guessed.
func TestAutoRefusesToGuess(t *testing.T) {
	d, err := newDecoder(ingest.TopicConfig{Format: formatAuto, TimeZone: "UTC"}, nil, func(string, string) { t.Error("settled") })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * autoAfter {
		var out ingest.Records
		err := d.Decode([]byte(`{"time":"2026-01-02T03:04:05Z","method":"GET","status":200,"remote_addr":"192.0.2.1","client_ip":"192.0.2.2"}`), &out)
		if err == nil || !strings.Contains(err.Error(), "differently; set format") {
			t.Fatalf("%v", err)
		}
	}
}
