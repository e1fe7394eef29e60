package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/evaluate"
)

func TestMain(m *testing.M) {
	leash.Main()
	os.Exit(m.Run())
}

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// process starts a real Alertmanager on a configuration, without a cluster if
// its address is empty, and returns a client of it.
func process(t *testing.T, settings, cluster string, args ...string) *Client {
	t.Helper()
	bin, err := devstack.BuildAlertmanager(t.Context(), "../..", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	addr := freeAddr(t)
	child, err := leash.Start(log, bin, append([]string{
		"--config.file=" + settings, "--storage.path=" + t.TempDir(), "--web.listen-address=" + addr,
		"--cluster.listen-address=" + cluster, "--web.route-prefix=/am", "--log.level=warn",
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { child.Stop(5 * time.Second) })
	c, err := New([]string{"http://" + addr + "/am/"}, evaluate.AlertmanagerAuth{})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := c.Check(t.Context())
		if err == nil {
			return c
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%v: %s", err, text)
		}
	}
}

// chat is the comment in alertmanager.yml that shows how to notify a chat.
var chat = regexp.MustCompile(`(?m)(?:^  #   slack_configs:\n(?:  #     .*\n)*)`)

// The shipped configuration, with the chat receiver that its comment proposes in
// place of the webhooks, shows the page in whole, and its end.
func TestRealAlertmanagerShowsThePage(t *testing.T) {
	texts := make(chan map[string]any, 10)
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Attachments []map[string]any `json:"attachments"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err == nil && len(body.Attachments) == 1 {
			texts <- body.Attachments[0]
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer slack.Close()
	dir := t.TempDir()
	settings := withChat(t, dir, slack.URL)
	c := process(t, settings, "")
	peers, err := c.Peers(t.Context())
	if err != nil || len(peers) != 1 || peers[0].Cluster != "disabled" {
		t.Errorf("peers %+v, %v", peers, err)
	}

	a := sample()
	a.StartsAt, a.EndsAt = time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	a.Annotations["summary"] = "[PAGE] payments"
	ticket := evaluate.Alert{Labels: map[string]string{"alertname": "SLOBurn", "service": "payments", "severity": "ticket"}, StartsAt: a.StartsAt, EndsAt: a.EndsAt}
	if err := c.Send(t.Context(), []evaluate.Alert{ticket, a}); err != nil {
		t.Fatal(err)
	}
	want := "```\n[PAGE] payments\nImpact   \"all\" <of> it\n```"
	if got := receive(t, texts); got["text"] != want || got["title"] != "[PAGE] payments" {
		t.Errorf("chat got %q, title %q", got["text"], got["title"])
	}
	if state := suppressed(t, c, "ticket"); !state {
		t.Error("the page does not mute the ticket of its service")
	}
	a.EndsAt = time.Now()
	a.Annotations["page"] = "[RESOLVED] payments after 1 m"
	if err := c.Send(t.Context(), []evaluate.Alert{a}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, texts); got["text"] != "```\n[RESOLVED] payments after 1 m\n```" || got["title"] != "[RESOLVED] payments-availability" {
		t.Errorf("chat got %q, title %q", got["text"], got["title"])
	}
	err = c.Send(t.Context(), []evaluate.Alert{{Labels: map[string]string{"": ""}}})
	if err == nil || !strings.Contains(err.Error(), "400 Bad Request") {
		t.Errorf("an alert without labels: %v", err)
	}
}

// withChat writes the shipped configuration and template to dir.
func withChat(t *testing.T, dir, url string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	comment := chat.FindString(string(text))
	if comment == "" {
		t.Fatal("alertmanager.yml shows no chat receiver")
	}
	receiver := strings.ReplaceAll(comment, "  #   ", "    ")
	urlFile := filepath.Join(dir, "slack-url")
	receiver = strings.ReplaceAll(receiver, "/etc/alertmanager/slack-url", urlFile)
	webhooks := regexp.MustCompile(`(?m)^    webhook_configs:\n(?:      .*\n?)*`)
	out := webhooks.ReplaceAllLiteralString(string(text), receiver)
	out = strings.ReplaceAll(out, "group_interval: 1m", "group_interval: 1s")
	template, err := os.ReadFile("../../deploy/alertmanager/gatewatch.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"alertmanager.yml": out, "gatewatch.tmpl": string(template), "slack-url": url} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "alertmanager.yml")
}

func receive(t *testing.T, texts <-chan map[string]any) map[string]any {
	t.Helper()
	select {
	case m := <-texts:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived")
		return nil
	}
}

// suppressed tells whether the alert of that severity is muted by another one.
func suppressed(t *testing.T, c *Client, severity string) bool {
	t.Helper()
	answer, err := c.do(t.Context(), http.MethodGet, c.peers[0].url+"/api/v2/alerts?filter=severity%3D"+severity, nil)
	if err != nil {
		t.Fatal(err)
	}
	var alerts []struct {
		Status struct {
			InhibitedBy []string `json:"inhibitedBy"`
		} `json:"status"`
	}
	if err := json.Unmarshal(answer, &alerts); err != nil || len(alerts) != 1 {
		t.Fatalf("%d alerts, %v: %s", len(alerts), err, answer)
	}
	return len(alerts[0].Status.InhibitedBy) == 1
}

// Two replicas of alert post the same alerts to a pair of Alertmanagers: one notification.
func TestPairNotifiesOnce(t *testing.T) {
	got := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Status string           `json:"status"`
			Alerts []map[string]any `json:"alerts"`
		}
		if json.NewDecoder(r.Body).Decode(&body) == nil {
			got <- fmt.Sprintf("%s %d", body.Status, len(body.Alerts))
		}
	}))
	defer hook.Close()
	settings := filepath.Join(t.TempDir(), "am.yml")
	text := "route: {receiver: r, group_wait: 1s, group_by: [slo]}\nreceivers: [{name: r, webhook_configs: [{url: '" + hook.URL + "'}]}]\n"
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := freeAddr(t), freeAddr(t)
	args := []string{"--cluster.settle-timeout=2s", "--cluster.peer-timeout=3s", "--cluster.gossip-interval=50ms"}
	one := process(t, settings, a, append(args[:3:3], "--cluster.peer="+b)...)
	two := process(t, settings, b, append(args[:3:3], "--cluster.peer="+a)...)
	pair := []string{one.peers[0].url, two.peers[0].url}
	waitCluster(t, one, two)
	alert := sample()
	alert.StartsAt, alert.EndsAt = time.Now(), time.Now().Add(time.Minute)
	for range 2 {
		c, err := New(pair, evaluate.AlertmanagerAuth{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), []evaluate.Alert{alert}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case s := <-got:
		if s != "firing 1" {
			t.Errorf("notified %q", s)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived")
	}
	select { // the second of the pair waits for peer-timeout, then sees that it was sent
	case s := <-got:
		t.Errorf("notified twice: %q", s)
	case <-time.After(6 * time.Second):
	}
}

func waitCluster(t *testing.T, clients ...*Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, c := range clients {
		for {
			peers, err := c.Peers(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if peers[0].Cluster == "ready" {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}
