package formats_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/formats"
	"gatewatch/internal/trace"
)

const page = "../../docs/formats.md"

// docs/formats.md is what the formats say of themselves, and what their decoders
// read from the sample lines. `go test ./internal/formats -update` writes it.
func TestPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Formats

Written by ` + "`go test ./internal/formats -update`" + `; do not edit. "Fills" is what the decoder reads from the
sample lines in the format's testdata folder. The fields are those of ` + "`gatewatch-ingest decode`" + `; every
access-log format also takes its lines out of the envelopes of shippers (Fluent Bit, Fluentd, Filebeat,
Vector, Docker, CRI, syslog, CloudEvents), and every message may be in gzip or zstd. With ` + "`auto`" + ` the first
messages tell the format; two formats that read them differently are named, not guessed between.

A topic of format ` + "`key_events`" + ` holds events about API keys:
` + "`{\"event\":\"created\",\"key\":\"…\",\"consumer\":\"acme\",\"plan\":\"gold\",\"tier\":\"1\",\"owner\":\"…\",\"time\":\"2026-01-31T12:00:00Z\"}`" + `,
event one of created, updated, revoked; key_id instead of key; what is left out stays as it was. An event of a
consumer as a whole leaves key and key_id out. ` + "`{\"event\":\"renamed\",\"consumer\":\"acme-corp\",\"former\":\"acme\"}`" + ` gives a consumer a new
name, or makes it part of another one; what it did before counts for that. The same
names are the columns of the CSV file for ` + "`gatewatch-ingest import consumers`" + `.

A topic of format ` + "`" + `change_events` + "`" + ` holds what was changed on purpose:
` + "`" + `{"time":"2026-01-31T12:00:00Z","service":"payments","kind":"deploy","what":"payments 2.14.0","who":"ci","url":"…"}` + "`" + `,
kind being deploy, gateway_config, flag, key_policy or a word of yours; kind and what are needed. The same names are
the columns of the CSV file, or the keys of JSON Lines, for ` + "`" + `gatewatch-ingest import changes` + "`" + `. Topics of formats
` + "`" + `audit_kong` + "`" + `, ` + "`" + `audit_tyk` + "`" + ` and ` + "`" + `audit_cloudevents` + "`" + ` hold the audit logs of Kong and Tyk, and CloudEvents 1.0.
`)
	b.WriteString("\n## Access logs\n")
	for _, f := range formats.All() {
		if f.Spans == nil {
			describe(t, &b, f)
		}
	}
	b.WriteString("\n## Spans\n")
	for _, f := range formats.All() {
		if f.Spans != nil {
			describe(t, &b, f)
		}
	}
	got := b.String()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("docs/formats.md is stale: go test ./internal/formats -update (-want +got):\n%s", diff)
	}
}

func describe(t *testing.T, b *strings.Builder, f formats.Format) {
	t.Helper()
	fmt.Fprintf(b, "\n### %s\n%s. Described in %s.\n", f.Name, f.Summary, f.Doc)
	if f.Needs != "" {
		fmt.Fprintf(b, "Needs `%s` in the topic's configuration.\n", f.Needs)
	}
	if fields := filled(t, f); len(fields) > 0 {
		fmt.Fprintf(b, "\nFills: %s.\n", strings.Join(fields, ", "))
	}
	if f.Lacks != "" {
		fmt.Fprintf(b, "\nCannot know: %s.\n", f.Lacks)
	}
}

// filled returns the fields that the sample lines of f fill.
func filled(t *testing.T, f formats.Format) []string {
	t.Helper()
	files, err := filepath.Glob("../*/*/testdata/" + f.Name + ".log")
	if err != nil {
		t.Fatal(err)
	}
	if f.Needs == "mapping" {
		return nil
	}
	if len(files) != 1 {
		t.Fatalf("format %s: %d files of sample lines, want one", f.Name, len(files))
	}
	s, err := accesslogtest.ReadSamples(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if f.Spans != nil {
		return spanFields(t, f.Spans(), s.Lines)
	}
	d, err := f.New(s.Options)
	if err != nil {
		t.Fatal(err)
	}
	var out accesslog.Entries
	seen := map[string]bool{}
	for _, line := range s.Lines {
		if err := d.Decode([]byte(line), &out); err != nil {
			t.Fatalf("%s: %q: %v", f.Name, line, err)
		}
	}
	entries := out.All()
	var fields []string
	for i := range entries {
		for _, p := range parts(&entries[i]) {
			if p.present && !seen[p.name] {
				seen[p.name] = true
			}
		}
	}
	for _, p := range parts(&accesslog.Entry{}) {
		if seen[p.name] {
			fields = append(fields, p.name)
		}
	}
	return fields
}

type part struct {
	name    string
	present bool
}

func parts(e *accesslog.Entry) []part {
	return []part{
		{"time", !e.Time.IsZero()},
		{"client address", e.ClientIP != ""},
		{"method", e.Method != ""},
		{"path", e.Path != ""},
		{"host", e.Host != ""},
		{"protocol", e.Protocol != ""},
		{"status", e.Status != 0},
		{"request bytes", e.RequestBytes.OK},
		{"response bytes", e.ResponseBytes.OK},
		{"latency", e.Latency.Total.OK},
		{"upstream latency", e.Latency.Upstream.OK},
		{"gateway latency", e.Latency.Gateway.OK || e.Latency.Total.OK && e.Latency.Upstream.OK},
		{"service", e.Service != ""},
		{"route", e.Route != ""},
		{"upstream", e.Upstream != ""},
		{"upstream status", e.UpstreamStatus != 0},
		{"tries", e.Tries != 0},
		{"gateway's own reason", e.Flags != "" || e.Details != ""},
		{"outcome as stated by the gateway", e.Outcome.Evidence == accesslog.EvidenceStated},
		{"user agent", e.UserAgent != ""},
		{"referer", e.Referer != ""},
		{"request id", e.RequestID != ""},
		{"trace id", e.TraceID != [16]byte{}},
		{"span id", e.SpanID != [8]byte{}},
		{"consumer", e.Consumer.ID != ""},
		{"plan", e.Consumer.Plan != ""},
		{"key", e.APIKey != ""},
		{"node", e.Node != ""},
		{"region", e.Region != ""},
		{"API version", e.APIVersion != ""},
	}
}

func spanFields(t *testing.T, d trace.Decoder, lines []string) []string {
	t.Helper()
	var out trace.Spans
	for _, line := range lines {
		if err := d.Decode([]byte(line), &out); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	seen := map[string]bool{}
	for _, s := range out.All() {
		for _, p := range spanParts(&s) {
			seen[p.name] = seen[p.name] || p.present
		}
	}
	var fields []string
	for _, p := range spanParts(&trace.Span{}) {
		if seen[p.name] {
			fields = append(fields, p.name)
		}
	}
	return fields
}

func spanParts(s *trace.Span) []part {
	return []part{
		{"ids", !s.TraceID.IsZero()},
		{"parent", !s.ParentID.IsZero()},
		{"name", s.Name != ""},
		{"kind", s.Kind != trace.KindUnspecified},
		{"service", s.Service != ""},
		{"node", s.Node != ""},
		{"start", !s.Start.IsZero()},
		{"duration", s.Duration != 0},
		{"status", s.Status != trace.StatusUnset},
		{"HTTP method, route, status", s.HTTPMethod != "" || s.HTTPRoute != "" || s.HTTPStatus != 0},
		{"database", s.DBSystem != "" || s.DBQuery != ""},
		{"peer", s.Peer != ""},
		{"weight", s.Weight > 1},
		{"attributes", len(s.Attrs) > 0},
	}
}
