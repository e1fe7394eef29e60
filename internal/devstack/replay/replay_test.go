package replay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/evaluate"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func logLine(begin time.Time, ms int, path string) string {
	return fmt.Sprintf(`{"start_time":%q,"method":"GET","path":%q,"response_code":200,"response_flags":"-","duration":%d,"upstream_cluster":"a"}`, begin.Format("2006-01-02T15:04:05.000Z"), path, ms)
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestArrivals: a request arrives when it ends; a line far behind the newest one
// in its file arrives when it is its turn; files are merged.
func TestArrivals(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.ndjson": strings.Join([]string{
			logLine(noon, 30_000, "/slow"), logLine(noon.Add(time.Second), 1000, "/quick"),
			logLine(noon.Add(10*time.Minute), 0, "/later"), logLine(noon.Add(5*time.Second), 0, "/late"), "no time in it",
		}, "\n"),
		"spans/s.jsonl": `{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":"` + fmt.Sprint(noon.Add(4*time.Second).UnixNano()) + `"}]}]}]}`,
		"slo/a.yaml":    "apiVersion: openslo/v1\n",
	})
	f, err := ReadFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	source, stop, err := f.Open()
	defer stop()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		m, err := source.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		what := "span"
		if m.Topic == TopicLog {
			if _, rest, ok := strings.Cut(string(m.Value), `"path":"`); ok {
				what, _, _ = strings.Cut(rest, `"`)
			} else {
				what = string(m.Value)
			}
		}
		got = append(got, fmt.Sprintf("%s %s late %s", what, m.Arrived.Format(time.TimeOnly), m.Arrived.Sub(m.Event)))
	}
	want := []string{
		"/quick 12:00:02 late 0s", "span 12:00:04 late 0s", "/slow 12:00:30 late 0s", "/late 12:00:30 late 25s", "/later 12:10:00 late 0s", "no time in it 12:10:00 late 0s",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestReadFolder: files are known by what is in them, and what is missing is said.
func TestReadFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"notes.yaml": "a: b\n", "truth.json": "{\n \"page\": true\n}", "c.json": `{"openapi":"3.1.0"}`, "changes.ndjson": `{"time":"2026-03-02T12:00:00Z","kind":"deploy","what":"a 2"}`})
	f, err := ReadFolder(dir)
	for _, want := range []string{"no access log found", "no objectives found"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	if len(f.Ignored) != 2 || len(f.Changes) != 1 || len(f.OpenAPI) != 1 || len(f.Logs) != 0 {
		t.Errorf("found %+v", f)
	}
}

// TestParts: a message that came late ends the part before it, so that nothing
// before its arrival sees it.
func TestParts(t *testing.T) {
	p := part{begin: noon}
	for _, c := range []struct {
		name string
		m    Message
		want bool
	}{
		{"in time", Message{Arrived: noon.Add(time.Hour), Event: noon.Add(time.Hour)}, false},
		{"late", Message{Arrived: noon.Add(time.Hour), Event: noon.Add(50 * time.Minute)}, true},
		{"late in the first slot", Message{Arrived: noon.Add(5 * time.Second), Event: noon.Add(-time.Hour)}, false},
		{"of the next part", Message{Arrived: noon.Add(longest), Event: noon.Add(longest)}, true},
	} {
		if got := p.ends(c.m); got != c.want {
			t.Errorf("%s: ends %v, want %v", c.name, got, c.want)
		}
	}
}

// TestReceiver: alerts are routed, grouped and inhibited as by the shipped
// configuration, each is told once, and its end.
func TestReceiver(t *testing.T) {
	r, err := newReceiver("../../../deploy/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	alertOf := func(name, service, severity string, ended bool) evaluate.Alert {
		a := evaluate.Alert{Labels: map[string]string{"alertname": name, "slo": name, "service": service, "severity": severity}, StartsAt: noon}
		if ended {
			a.EndsAt = noon.Add(time.Hour)
		}
		return a
	}
	var got []string
	post := func(at time.Duration, alerts ...evaluate.Alert) {
		if err := r.Send(t.Context(), alerts); err != nil {
			t.Fatal(err)
		}
		for _, n := range r.flush(noon.Add(at)) {
			for _, a := range n.Alerts {
				got = append(got, fmt.Sprintf("%s %s %s %s %s", at, n.Receiver, a.Labels["alertname"], a.Labels["service"], a.Status))
			}
		}
	}
	page, ticket, other := alertOf("SLOBurn", "a", "page", false), alertOf("TrafficDip", "a", "ticket", false), alertOf("TrafficDip", "b", "ticket", false)
	post(0, page, ticket, other)
	post(30*time.Second, page, ticket, other)
	post(10*time.Minute, page, ticket, other)
	post(20*time.Minute, alertOf("SLOBurn", "a", "page", true), ticket, alertOf("TrafficDip", "b", "ticket", true))
	post(40*time.Minute, ticket)
	post(50*time.Minute, ticket)
	want := []string{
		"0s pages SLOBurn a firing", "30s tickets TrafficDip b firing",
		"20m0s pages SLOBurn a resolved", "20m0s tickets TrafficDip a firing", "20m0s tickets TrafficDip b resolved",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}
