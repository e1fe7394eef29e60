package main

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/runbook"
)

// answer sends a text: as HTML that a phone can show to whoever asks for HTML,
// as it is to all others, such as curl.
func answer(w http.ResponseWriter, r *http.Request, text []byte, html func() (document, error)) {
	h := w.Header()
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(text) // whoever asked has gone
		return
	}
	d, err := html()
	var body bytes.Buffer
	if err == nil {
		err = layout.Execute(&body, d)
	}
	if err != nil {
		http.Error(w, "the page can't be drawn: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(body.Bytes())
}

// A document is what layout shows.
type document struct {
	Title    string
	Markdown template.HTML // a runbook
	Page     []pageLine    // of an alert, without its first line
	Why      []pageLine
	History  [][]string
}

// A pageLine is a name and what it says; a line that goes on has no name.
type pageLine struct {
	Name string
	Text template.HTML
}

var layout = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Title}}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 50rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word }
h1 { font-size: 1.25rem; line-height: 1.3 }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }
dl { margin: 0 } dt { font-weight: 600; margin-top: .7rem } dd { margin: 0 }
code, pre { font: .875rem/1.4 ui-monospace, monospace; background: #8882; border-radius: 3px }
code { padding: .1em .25em } pre { padding: .6rem; overflow-x: auto } pre code { background: none; padding: 0 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .875rem; white-space: nowrap } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
@media (min-width: 40rem) { dl { display: grid; grid-template-columns: 6rem 1fr; gap: .35rem } dt { margin: 0 } dd { grid-column: 2 } }
</style></head><body>
{{with .Markdown}}{{.}}{{else}}<h1>{{.Title}}</h1>
<dl>{{range .Page}}{{with .Name}}<dt>{{.}}</dt>{{end}}<dd>{{.Text}}</dd>{{end}}</dl>
<h2>Why</h2>
<dl>{{range .Why}}{{with .Name}}<dt>{{.}}</dt>{{end}}<dd>{{.Text}}</dd>{{end}}</dl>
<h2>What happened</h2>
<div class="wide"><table>{{range .History}}<tr>{{range .}}<td>{{.}}</td>{{end}}</tr>{{end}}</table></div>
{{end}}</body></html>
`))

// renderer renders runbooks. It leaves HTML in them out.
var renderer = goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))

// serveRunbooks shows the runbooks in use, for the links of pages; the link's
// parameters are filled in.
func serveRunbooks(set *runbook.Set) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		vars := map[string]string{}
		for name, values := range r.URL.Query() {
			vars[name] = values[0]
		}
		book, ok := set.Find(r.PathValue("name"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		text, _ := set.Filled(book.Name, vars)
		if vars["v"] != "" && vars["v"] != book.Version {
			text = append([]byte("(This text has changed since the alert that leads here.)\n\n"), text...)
		}
		answer(w, r, text, func() (document, error) {
			var html bytes.Buffer
			err := renderer.Convert(text, &html)
			return document{Title: book.Title, Markdown: template.HTML(html.String())}, err //nolint:gosec // goldmark escapes
		})
	})
}

// serveAlert shows what was sent of an alert and why, for the links of pages.
func serveAlert(store *clickhouse.Conn) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		events, err := store.AlertEvents(r.Context(), r.PathValue("id"))
		if err != nil {
			http.Error(w, "alerts can't be read from ClickHouse", http.StatusBadGateway)
			return
		}
		if len(events) == 0 {
			http.NotFound(w, r)
			return
		}
		var text bytes.Buffer
		if err := explainText(&text, events); err != nil {
			http.Error(w, "what is kept of the alert can't be read", http.StatusInternalServerError)
			return
		}
		answer(w, r, text.Bytes(), func() (document, error) { return alertDocument(events) })
	})
}

func alertDocument(events []clickhouse.AlertEvent) (document, error) {
	why, err := reasons(raised(events))
	if err != nil {
		return document{}, err
	}
	first, rest, _ := strings.Cut(events[len(events)-1].Annotations["page"], "\n")
	return document{Title: first, Page: pageLines(rest), Why: pageLines(why), History: changes(events)}, nil
}

// nameWidth is the width of the column of names in a page.
const nameWidth = 9

func pageLines(text string) []pageLine {
	var list []pageLine
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if len(line) > nameWidth {
			list = append(list, pageLine{strings.TrimSpace(line[:nameWidth]), linked(line[nameWidth:])})
		}
	}
	return list
}

var (
	address = regexp.MustCompile(`https?://[^\s<>"]*[^\s<>".,;:)]`)
	code    = regexp.MustCompile("`([^`]+)`")
)

// linked makes addresses links and marks code.
func linked(text string) template.HTML {
	var b strings.Builder
	end := 0
	for _, at := range address.FindAllStringIndex(text, -1) {
		b.WriteString(template.HTMLEscapeString(text[end:at[0]]))
		u := template.HTMLEscapeString(text[at[0]:at[1]])
		fmt.Fprintf(&b, `<a href="%s">%s</a>`, u, u)
		end = at[1]
	}
	b.WriteString(template.HTMLEscapeString(text[end:]))
	return template.HTML(code.ReplaceAllString(b.String(), "<code>$1</code>")) //nolint:gosec // escaped above
}
