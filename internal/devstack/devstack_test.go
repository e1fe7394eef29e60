package devstack

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack/leash"
)

func TestMain(m *testing.M) {
	leash.Main()
	os.Exit(m.Run())
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Root(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPageReachesWebhook sends a page to the real Alertmanager with the shipped
// configuration and waits for it at the receiver.
func TestPageReachesWebhook(t *testing.T) {
	hook, err := startWebhook()
	if err != nil {
		t.Fatal(err)
	}
	defer hook.close()
	am, err := startAlertmanager(t.Context(), Config{Root: root(t), Dir: t.TempDir(), Log: os.Stderr}, hook.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer am.stop()
	body := `[{"labels":{"alertname":"A","service":"payments","severity":"page"},"annotations":{"text":"line 1\nline 2"}}]`
	sent := time.Now()
	res, err := http.Post(am.URL+"/api/v2/alerts", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager answered %s", res.Status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := hook.Wait(ctx, func(n Notification) bool { return n.Labels["severity"] == "page" })
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Annotations["text"]; got != "line 1\nline 2" || n.Status != "firing" {
		t.Errorf("received %+v", n)
	}
	// group_wait is 1 s: more would eat into the time that a page may take.
	if delay := n.At.Sub(sent); delay > 3*time.Second {
		t.Errorf("the page took %s from Alertmanager to the receiver", delay)
	}
}

func TestMergeSettings(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	if err := os.WriteFile(from, []byte("kafka:\n  brokers: [kafka:9092]\n  topics: [{name: a}]\ningest:\n  start: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	overrides := map[string]any{"kafka": map[string]any{"brokers": []string{"127.0.0.1:1"}}, "alert": map[string]any{"listen": "x"}}
	if err := writeSettings(from, to, overrides); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := yaml.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"kafka":  map[string]any{"brokers": []any{"127.0.0.1:1"}, "topics": []any{map[string]any{"name": "a"}}},
		"ingest": map[string]any{"start": "1h"}, "alert": map[string]any{"listen": "x"},
	}
	if diff := cmp.Diff(got, any(want)); diff != "" {
		t.Errorf("settings (-got +want):\n%s", diff)
	}
}
