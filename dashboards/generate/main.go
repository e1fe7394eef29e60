// Command generate writes the dashboards of Grafana and a manifest of what they
// were made from: `make dashboards`. The same sources give the same bytes.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	sources := flag.String("sources", ".", "`folder` of the generator's sources")
	out := flag.String("out", "..", "`folder` to write to")
	flag.Parse()
	if err := run(*sources, *out); err != nil {
		log.Fatal(err)
	}
}

// boards are all dashboards, in the order in which people meet them.
func boards() []board {
	return []board{
		overview(), service(), incident(), budgets(), consumers(), oneConsumer(), product(), inventory(), security(), onCall(), pipeline(), rawRequests(),
	}
}

// A manifest holds the SHA-256 of every source and of every dashboard.
type manifest struct {
	Sources    map[string]string `json:"sources"`
	Dashboards map[string]string `json:"dashboards"`
}

func run(sources, out string) error {
	m := manifest{map[string]string{}, map[string]string{}}
	files, err := filepath.Glob(filepath.Join(sources, "*.go"))
	if err != nil {
		return err
	}
	for _, f := range append(files, filepath.Join(sources, "go.mod"), filepath.Join(sources, "go.sum")) {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		m.Sources[filepath.Base(f)] = sum(b)
	}
	old, err := filepath.Glob(filepath.Join(out, "*.json"))
	if err != nil {
		return err
	}
	for _, b := range boards() {
		d, err := b.build()
		if err != nil {
			return fmt.Errorf("%s: %w", b.uid, err)
		}
		text, err := encode(d)
		if err != nil {
			return fmt.Errorf("%s: %w", b.uid, err)
		}
		name := strings.TrimPrefix(b.uid, "gw-") + ".json"
		m.Dashboards[name] = sum(text)
		if err := os.WriteFile(filepath.Join(out, name), text, 0o644); err != nil {
			return err
		}
		old = slices.DeleteFunc(old, func(f string) bool { return filepath.Base(f) == name })
	}
	for _, f := range old { // of boards that are no more
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(sources, "manifest.json"), append(text, '\n'), 0o644)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// encode writes a dashboard with sorted keys. The library escapes < > &, which
// would make SQL unreadable, so what it wrote is read and written again.
func encode(d dashboard.Dashboard) ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	shape(v)
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(v)
	return buf.Bytes(), err
}

// shape takes out what newer versions of Grafana would hide links and annotations by.
func shape(v map[string]any) {
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if v["placement"] == "inControlsMenu" {
				delete(v, "placement")
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(v)
}
