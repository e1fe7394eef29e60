package runbook

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog/accesslogtest"
)

const fillSample = `---
title: T
owner: o
match: {}
reviewed: 2026-01-02
---
## Meaning
About {service} and {route}.
## Impact
## Diagnosis
` + "```sql\nSELECT 1 FROM t WHERE service = {service} AND route = {route}\n```\n```sh\nreport --where service={service} {{x}\n```\n" + `
## Mitigation
1. ` + "`report --where service={service}`" + `
2. ` + "`SELECT 1 WHERE s={service}`" + `
3. Tell {service}.
`

func fillSet(t *testing.T) (*Set, Found) {
	t.Helper()
	s, err := Load(fstest.MapFS{"x.md": {Data: []byte(fillSample)}})
	if err != nil {
		t.Fatal(err)
	}
	f, ok := s.Match(Signal{})
	if !ok {
		t.Fatal("no match")
	}
	return s, f
}

func TestStepsQuote(t *testing.T) {
	_, f := fillSet(t)
	for _, c := range []struct {
		value string
		want  []string
	}{
		{"payments", []string{"`report --where service=payments`", "`SELECT 1 WHERE s='payments'`", "Tell payments."}},
		{"a b", []string{"`report --where service='a b'`", "`SELECT 1 WHERE s='a b'`", "Tell a b."}},
		{`x'; rm -rf / #\`, []string{"`report --where service='x'\\''; rm -rf / #\\'`", `` + "`SELECT 1 WHERE s='x\\'; rm -rf / #\\\\'`", `Tell x'; rm -rf / #\.`}},
		{"a\nOwner    me\u202e\x00", []string{"`report --where service='a Owner    me'`", "`SELECT 1 WHERE s='a Owner    me'`", "Tell a Owner    me."}},
		{"{route}`", []string{"`report --where service='{route}`'`", "`SELECT 1 WHERE s='{route}`'`", "Tell {route}'."}},
		{strings.Repeat("x", maxValue+1), []string{"Tell " + strings.Repeat("x", maxValue) + "…."}},
		{" \t", nil},
	} {
		if d := cmp.Diff(c.want, f.Steps(map[string]string{"service": c.value, "route": "/r"})); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.value, d)
		}
	}
}

func TestFilledAndLink(t *testing.T) {
	s, f := fillSet(t)
	got, ok := s.Filled("x", map[string]string{"service": "o'hara"})
	want := "## Meaning\nAbout o'hara and {route}.\n## Impact\n## Diagnosis\n```sql\nSELECT 1 FROM t WHERE service = 'o\\'hara' AND route = {route}\n```\n" +
		"```sh\nreport --where service='o'\\''hara' {{x}\n```\n\n## Mitigation\n1. `report --where service='o'\\''hara'`\n2. `SELECT 1 WHERE s='o\\'hara'`\n3. Tell o'hara.\n"
	if d := cmp.Diff(want, string(got)); !ok || d != "" {
		t.Errorf("filled %v (-want +got):\n%s", ok, d)
	}
	if _, ok := s.Filled("y", nil); ok {
		t.Error("there is no runbook y")
	}
	link := f.Link("http://h/runbooks/", map[string]string{"service": "a&b", "node": "n", "route": "/v1/{id}"})
	if want := "http://h/runbooks/x?route=%2Fv1%2F%7Bid%7D&service=a%26b&v=" + f.Runbook.Version + "#mitigation"; link != want {
		t.Errorf("link %s, want %s", link, want)
	}
}

func TestOptionsAreNoWords(t *testing.T) {
	s, err := Load(fstest.MapFS{"x.md": {Data: []byte(strings.Replace(fillSample, "report --where service={service}`", "ping {service}`", 1))}})
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.Match(Signal{})
	if got := f.Steps(map[string]string{"service": "-f"}); len(got) != 2 {
		t.Errorf("a value with a dash became an option: %q", got)
	}
}

// A shell reads back exactly the value, however naughty, and runs nothing.
func TestShellReadsValuesBack(t *testing.T) {
	file, err := os.Open(filepath.Join(accesslogtest.CorpusDir(t), "hostile_strings.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	var script, want strings.Builder
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var c struct {
			String string
			Base64 []byte `json:"string_b64"`
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		c.String += string(c.Base64)
		step, ok := fillStep("`printf '%s\\n' x={service}`", map[string]string{"service": c.String})
		if !ok {
			continue
		}
		script.WriteString(strings.TrimSuffix(strings.TrimPrefix(step, "`"), "`") + "\n")
		want.WriteString("x=" + clean(c.String) + "\n")
		n++
	}
	if n < 600 {
		t.Fatalf("only %d strings were tried", n)
	}
	cmd := exec.CommandContext(t.Context(), sh)
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if d := cmp.Diff(strings.Split(want.String(), "\n"), strings.Split(string(out), "\n")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestQuotedPlaces(t *testing.T) {
	for _, code := range []string{"```sql\nSELECT '{service}'\n```", "`echo \"{service}\"`"} {
		_, err := Load(fstest.MapFS{"x.md": {Data: []byte(fillSample + code + "\n")}})
		if err == nil || !strings.Contains(err.Error(), "{service} stands between quotes") {
			t.Errorf("%s: error %v", code, err)
		}
	}
}

// FuzzQuote: whatever a value is, a shell and ClickHouse read one word back, the
// value without what hides or forges.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"pay-2:8080", "o'hara", `a\' OR 1=1 --`, "$(reboot)`x`", "-rf", "a\nb\u202e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		want := clean(value)
		if want == "" {
			return
		}
		if got, ok := shellQuote(want, "--where service="); ok {
			if word, whole := unquoteShell(got); !whole || word != want {
				t.Errorf("a shell reads %q as %q (one word: %t)", got, word, whole)
			}
		}
		if got, ok := sqlQuote(want, ""); ok {
			if word, whole := unquoteSQL(got); !whole || word != want {
				t.Errorf("ClickHouse reads %q as %q (one literal: %t)", got, word, whole)
			}
		}
		step, ok := fillStep("`report --where service={service}`", map[string]string{"service": value})
		if ok && (strings.ContainsAny(step, "\n\r\x00") || !strings.HasPrefix(step, "`report --where service=")) {
			t.Errorf("step %q", step)
		}
	})
}

// unquoteShell reads a word as POSIX sh does, without expansions: it is not
// whole if anything could be expanded or end the word.
func unquoteShell(s string) (word string, whole bool) {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c != '\'':
			b.WriteByte(c)
		case c == '\'':
			quoted = !quoted
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case strings.IndexByte(" \t\n|&;<>()$`\"*?[#~!{}", c) >= 0:
			return b.String(), false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), !quoted
}

// unquoteSQL reads a string literal of ClickHouse's.
func unquoteSQL(s string) (word string, whole bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		switch s[i] {
		case '\'':
			return b.String(), false
		case '\\':
			i++
			if i == len(s)-1 {
				return b.String(), false
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), true
}
