package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/runbook"
	"gatewatch/runbooks"
)

// Links to sections lead to them: renderers make the same anchors as we do.
func TestAnchors(t *testing.T) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, book := range set.Runbooks() {
		text, _ := set.Filled(book.Name, nil)
		var html bytes.Buffer
		if err := renderer.Convert(text, &html); err != nil {
			t.Fatal(err)
		}
		for _, s := range book.Sections {
			if !strings.Contains(html.String(), `<h2 id="`+s.Anchor+`">`) {
				t.Errorf("%s has no #%s", book.Name, s.Anchor)
			}
		}
	}
}

// An alert as a browser shows it: what was sent, why and when, as text, with
// addresses that can be followed.
func TestAlertDocument(t *testing.T) {
	events := []clickhouse.AlertEvent{{
		At: time.Date(2026, 3, 2, 3, 12, 0, 0, time.UTC), ID: "3f9a11bb", SLO: "a", Severity: "page", From: "inactive", To: "firing", Owner: "team-<b>",
		Evidence: `{"reason": "burn 18x", "owner": {"name": "team-<b>", "source": "default_owner"}}`,
		Annotations: map[string]string{"page": "[PAGE] a <script>\n" +
			"Impact   5 & 6\n" +
			"         more\n" +
			"Links    `gatewatch-alert explain 3f9a11bb` · dashboard https://g.example.com/d/x?a=1&b=2, https://g.example.com/y."},
	}}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/alerts/3f9a11bb", nil)
	r.Header.Set("Accept", "text/html")
	answer(w, r, nil, func() (document, error) { return alertDocument(events) })
	html := w.Body.String()
	for _, want := range []string{
		"<h1>[PAGE] a &lt;script&gt;</h1>", "<dt>Impact</dt><dd>5 &amp; 6</dd><dd>more</dd>", "<code>gatewatch-alert explain 3f9a11bb</code>",
		`<a href="https://g.example.com/d/x?a=1&amp;b=2">`, `<a href="https://g.example.com/y">https://g.example.com/y</a>.`,
		"<dt>Raised</dt><dd>burn 18x</dd>", "<td>inactive → firing</td>", "team-&lt;b&gt;",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s in\n%s", want, html)
		}
	}
}
