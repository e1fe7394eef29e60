package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewatch/internal/runbook"
	"gatewatch/runbooks"
)

const (
	settings = `kafka: {brokers: ["127.0.0.1:1"], topics: [{name: a, format: nginx_json}]}
clickhouse: {address: "127.0.0.1:1"}
alert:
  alertmanagers: ["http://127.0.0.1:1"]
  slos: slo
  catalog: catalog
  runbooks: {dir: runbooks}
`
	pets = `apiVersion: openslo/v1
kind: SLO
metadata: {name: pets-availability}
spec:
  service: pets
  indicator:
    metadata: {name: i}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: gatewatch, spec: {kind: availability}}}
        total: {metricSource: {type: gatewatch, spec: {kind: availability}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
`
	component = "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: pets}\nspec: {owner: team-pets}\n"
	book      = "---\ntitle: T\nowner: team-pets\nmatch: {}\nreviewed: 2099-01-02\n---\n## Meaning\n## Impact\n## Diagnosis\n## Mitigation\n1. Look.\n"
)

// folder writes a whole installation, changed by edits, each of file, from and to.
func folder(t *testing.T, edits ...string) (settingsFile string) {
	t.Helper()
	files := map[string]string{
		"gatewatch.yaml": settings + "  default_owner: platform\n", "slo/pets.yaml": pets, "catalog/pets.yaml": component, "runbooks/all.md": book,
	}
	for i := 0; i < len(edits); i += 3 {
		if !strings.Contains(files[edits[i]], edits[i+1]) {
			t.Fatalf("%s has no %q", edits[i], edits[i+1])
		}
		files[edits[i]] = strings.Replace(files[edits[i]], edits[i+1], edits[i+2], 1)
	}
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gatewatch.yaml")
}

func TestCheckCatalogue(t *testing.T) {
	code, stdout, stderr := command(t, "check", "--config", folder(t))
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{"pets-availability", "99 %", "team-pets", "spec.owner of Component pets (pets.yaml:4)", "all", "fallback for every signal"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	code, stdout, _ = command(t, "check", "--config", folder(t, "catalog/pets.yaml", component, component+"---\n"+strings.ReplaceAll(component, "team-pets", "team-b")))
	if code != 0 || !strings.Contains(stdout, "warn  service pets: owner team-pets by") {
		t.Errorf("two owners: exit %d:\n%s", code, stdout)
	}
}

// What is wrong is refused with exit code 2, file and line; run refuses it too.
func TestCheckFaultsOfFolders(t *testing.T) {
	for _, c := range []struct {
		edits []string
		want  string
		run   bool // run refuses it too
	}{
		{[]string{"gatewatch.yaml", "  default_owner: platform\n", ""}, "alert.default_owner: missing", true},
		{[]string{"slo/pets.yaml", "metadata: {name: pets-availability}", "metadata: {name: pets-availability, annotations: {gatewatch/runbook: gone}}"}, "pets.yaml:3: SLO pets-availability names runbook gone, which doesn't exist", true},
		{[]string{"runbooks/all.md", "match: {}", "match: {kind: latency_burn}"}, "SLO pets-availability has no runbook", true},
		{[]string{"runbooks/all.md", "## Impact\n", ""}, `all.md:1: section "## Impact" is missing`, true},
		{[]string{"runbooks/all.md", "## Impact\n", "## Impact\n[gone](gone.md)\n"}, "all.md:9: link gone.md: there is no such runbook", false},
		{[]string{"runbooks/all.md", "owner: team-pets", "owner: nobody"}, "all.md:1: owner nobody is in no catalogue", false},
		{[]string{"runbooks/all.md", "2099", "2001"}, "all.md:1: the last review is", false},
		{[]string{"catalog/pets.yaml", "spec: {owner: team-pets}", "spec: {}"}, "pets.yaml: Component pets has no spec.owner", true},
	} {
		file := folder(t, c.edits...)
		code, _, stderr := command(t, "check", "--config", file)
		if code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit %d, want 2 and %q in\n%s", c.edits, code, c.want, stderr)
		}
		if !c.run {
			continue
		}
		if code, _, stderr := command(t, "run", "--config", file); code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("run with %q: exit %d\n%s", c.edits, code, stderr)
		}
	}
	file := folder(t, "gatewatch.yaml", `  alertmanagers: ["http://127.0.0.1:1"]`+"\n", "")
	if code, _, stderr := command(t, "run", "--config", file); code != 2 || !strings.Contains(stderr, "alert.alertmanagers: missing") {
		t.Errorf("run without Alertmanager: exit %d\n%s", code, stderr)
	}
}

// The links of pages lead to texts that are filled in for the incident.
func TestServeRunbooks(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /runbooks/{name}", serveRunbooks(set))
	f, ok := set.Match(runbook.Signal{Kind: "slo_burn", ErrorClass: "upstream_timeout", Reach: "one_upstream"})
	if !ok {
		t.Fatal("no runbook")
	}
	get := func(link string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		link, _, _ = strings.Cut(link, "#")
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, link, nil))
		return w
	}
	link := f.Link("http://h/runbooks", map[string]string{"service": "o'hara</pre><script>", "upstream": "pay-2:8080"})
	w := get(link)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: %d, %v", link, w.Code, w.Header())
	}
	for _, want := range []string{`service = 'o\'hara</pre><script>'`, `--where service='o'\''hara</pre><script>'`, "Take pay-2:8080 out of rotation"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
	// The link as a browser follows it, with a value that plays with Markdown.
	link, anchor, _ := strings.Cut(f.Link("http://h/runbooks", map[string]string{"service": "o'hara</pre><script>", "upstream": "[pay-2](https://evil.example.com)<b>"}), "#")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, link, nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	page := httptest.NewRecorder()
	mux.ServeHTTP(page, r)
	html := page.Body.String()
	if page.Header().Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(html, `id="`+anchor+`"`) || !strings.Contains(html, "Take [pay-2](https://evil.example.com)&lt;b&gt; out of rotation") {
		t.Errorf("%v\n%s", page.Header(), html)
	}
	if strings.Contains(html, "<script>") || strings.Contains(html, `"https://evil`) {
		t.Errorf("a value is more than text:\n%s", html)
	}
	if w := get("http://h/runbooks/gone"); w.Code != http.StatusNotFound {
		t.Errorf("a runbook that doesn't exist: %d", w.Code)
	}
}
