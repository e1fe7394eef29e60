package main

import (
	"regexp"
	"strings"
	"testing"

	"gatewatch/internal/config"

	"gatewatch/internal/formats"
)

// readmeBlock returns the block of README.md that is marked with name.
func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readText(t, "../../README.md"), "<!-- readme: "+name+" -->\n```")
	_, rest, ok2 := strings.Cut(rest, "\n")
	block, _, ok3 := strings.Cut(rest, "```\n")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("README.md has no block %q", name)
	}
	return block
}

// The lines that README asks people to write are a whole configuration.
func TestReadmeConfiguration(t *testing.T) {
	text := readmeBlock(t, "gatewatch.yaml")
	if n := strings.Count(text, "\n"); n > 15 {
		t.Errorf("%d lines; a start needs at most 15", n)
	}
	cfg, err := config.Parse("gatewatch.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStatic(cfg); err != nil {
		t.Error(err)
	}
}

// Formats that README names are those that there are.
func TestReadmeFormats(t *testing.T) {
	text := readText(t, "../../README.md")
	_, text, _ = strings.Cut(text, "\nFormats: ")
	text, _, _ = strings.Cut(text, "With `format: auto`")
	var named []string
	for _, m := range regexp.MustCompile("`([a-z_0-9]+)`").FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	var known []string
	for _, f := range formats.All() {
		known = append(known, f.Name)
	}
	if got, want := strings.Join(named, " "), strings.Join(known, " "); got != want {
		t.Errorf("README names %s; there are %s", got, want)
	}
}

func TestReadmeGlossary(t *testing.T) {
	_, text, _ := strings.Cut(readText(t, "../../README.md"), "## Glossary\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if rows := strings.Count(text, "\n| ") - 1; rows < 5 || rows > 20 {
		t.Errorf("%d words", rows)
	}
}
