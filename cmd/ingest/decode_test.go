package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/daemon"
	"gatewatch/internal/formats"
)

// decoded runs the sub-command over messages and returns its records by message.
func decoded(t testing.TB, messages [][]byte, args ...string) map[int][]map[string]any {
	t.Helper()
	var in bytes.Buffer
	for _, m := range messages {
		in.WriteString(base64.StdEncoding.EncodeToString(m) + "\n")
	}
	out := decodeOutput(t, &in, append(args, "--framing", "base64-lines")...)
	records := map[int][]map[string]any{}
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
		d.UseNumber()
		var r map[string]any
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		n, err := r["message"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		records[int(n)] = append(records[int(n)], r)
	}
	return records
}

func decodeOutput(t testing.TB, in io.Reader, args ...string) *bytes.Buffer {
	t.Helper()
	var out, errs bytes.Buffer
	env := &daemon.Env{App: "gatewatch-ingest", Getenv: func(string) string { return "" }, Stdin: in, Stdout: &out, Stderr: &errs}
	if err := runDecode(context.Background(), env, args); err != nil {
		t.Fatalf("decode %v: %v %s", args, err, errs.String())
	}
	return &out
}

type corpusRow struct {
	ID, Format, Input string
	Encoding          string `json:"input_encoding"`
	Expect            map[string]any
	Empty             []string
	Semantics         struct {
		Tolerance float64 `json:"timestamp_tolerance_ms"`
	}
}

func (r *corpusRow) message(t *testing.T) []byte {
	t.Helper()
	if r.Encoding != "base64" {
		return []byte(r.Input)
	}
	b, err := base64.StdEncoding.DecodeString(r.Input)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Access-log lines with the fields that a third party's parser gives.
func TestDecodeAccessLogCorpus(t *testing.T) {
	for _, r := range accesslogtest.Corpus[corpusRow](t, "access_log.jsonl") {
		t.Run(r.Format, func(t *testing.T) {
			got := decoded(t, [][]byte{r.message(t)}, "-format", r.Format, "-redact=false")[0]
			want := []map[string]any{r.Expect}
			if records, ok := r.Expect["records"].([]any); ok {
				want = nil
				for _, w := range records {
					want = append(want, w.(map[string]any))
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s: %d records, want %d", r.ID, len(got), len(want))
			}
			for i := range want {
				checkRecord(t, &r, want[i], got[i])
			}
		})
	}
}

func checkRecord(t *testing.T, r *corpusRow, expect, got map[string]any) {
	t.Helper()
	if expect["all_fields_empty"] == true {
		if len(got) != 1 {
			t.Errorf("%s: got %v, want nothing but the message's number", r.ID, got)
		}
		return
	}
	for field, want := range expect {
		name, raw := strings.CutSuffix(field, "_raw")
		switch text, ok := want.(string); {
		case field == "client_endpoint_raw": // address and port that the third party does not tell apart
			name, want = "client_ip", text[:strings.LastIndexByte(text, ':')]
		case field == "upstream_status_raw": // of all tries; the record has the last one's
			name, want = "upstream_status", lastNumber(t, text)
		case field == "protocol_version":
			name, want = "protocol", "HTTP/"+text
		case raw && ok: // the third party leaves the escapes in
			want = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text)
		}
		if !sameValue(name, got[name], want, r.Semantics.Tolerance) {
			t.Errorf("%s: %s is %v, want %v", r.ID, name, got[name], want)
		}
	}
	for _, field := range r.Empty {
		if v, ok := got[field]; ok {
			t.Errorf("%s: %s is %v, want it absent", r.ID, field, v)
		}
	}
}

// lastNumber returns the last number of a list such as "500, 200 : 200, 200".
func lastNumber(t *testing.T, list string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(list[strings.LastIndexAny(list, ", ")+1:], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sameValue(field string, got, want any, toleranceMS float64) bool {
	if n, ok := got.(json.Number); ok {
		g, _ := n.Float64()
		w, ok := want.(float64)
		return ok && g-w < 1e-3 && w-g < 1e-3
	}
	if field == "timestamp" {
		text, _ := got.(string)
		g, err1 := time.Parse(time.RFC3339Nano, text)
		w, err2 := time.Parse(time.RFC3339Nano, want.(string))
		return err1 == nil && err2 == nil && g.Sub(w).Abs() <= time.Duration(toleranceMS*1e6)
	}
	return got == want
}

// Spans with what the OpenTelemetry Collector's translators give.
func TestDecodeSpanCorpus(t *testing.T) {
	type spanRow struct {
		corpusRow
		Semantics struct {
			OracleError string `json:"oracle_error"`
		}
		Expect struct {
			Count      int  `json:"span_count"`
			ParseError bool `json:"parse_error"`
			Spans      []map[string]any
		}
	}
	for _, r := range accesslogtest.Corpus[spanRow](t, "span.jsonl") {
		t.Run(r.Format, func(t *testing.T) {
			got := decoded(t, [][]byte{r.message(t)}, "-format", r.Format, "-redact=false")[0]
			if r.Expect.ParseError {
				// What only the third party's reader minds, ours may read.
				if r.Semantics.OracleError == "" && (len(got) != 1 || got[0]["parse_error"] != true) {
					t.Errorf("%s: %d records, want a parse error", r.ID, len(got))
				}
				return
			}
			if len(got) != r.Expect.Count {
				t.Errorf("%s: %d spans, want %d", r.ID, len(got), r.Expect.Count)
			}
			for _, want := range r.Expect.Spans {
				checkSpan(t, r.ID, got, want)
			}
		})
	}
}

// checkSpan compares the fields of want with the span that has its ids and kind.
func checkSpan(t *testing.T, id string, got []map[string]any, want map[string]any) {
	t.Helper()
	found := false
	for _, g := range got {
		same := true
		for _, key := range []string{"trace_id", "span_id", "kind"} {
			same = same && (want[key] == nil || g[key] == want[key])
		}
		if !same {
			continue
		}
		found = true
		for field, w := range want {
			if !sameValue(field, g[field], w, 0) {
				t.Errorf("%s: %s is %v, want %v", id, field, g[field], w)
			}
		}
	}
	if !found {
		t.Errorf("%s: no span %v", id, want)
	}
}

// Hostile lines give a whole row or a parse error, one record a message, no crash.
func TestDecodeHostileLines(t *testing.T) {
	type row struct {
		ID   string
		Line []byte `json:"line_b64"`
	}
	rows := accesslogtest.Corpus[row](t, "hostile_access_log_lines.jsonl")
	var messages [][]byte
	for _, r := range rows {
		messages = append(messages, r.Line)
	}
	read := 0
	for _, f := range formats.All() {
		if f.Needs != "" {
			continue
		}
		got := decoded(t, messages, "-format", f.Name, "-redact=false")
		for i, r := range rows {
			if len(got[i]) != 1 {
				t.Errorf("%s as %s: %d records, want 1", r.ID, f.Name, len(got[i]))
				continue
			}
			g := got[i][0]
			if g["parse_error"] == true {
				if g["reason"] == nil || g["reason"] == "decoder_panic" || g["status"] != nil {
					t.Errorf("%s as %s: %v", r.ID, f.Name, g)
				}
				continue
			}
			read++
			if g["client_ip"] == nil || g["timestamp"] == nil || g["status"] == nil {
				t.Errorf("%s as %s: half a row: %v", r.ID, f.Name, g)
			}
		}
	}
	if read < len(rows) {
		t.Errorf("%d of %d lines were read as some format", read, len(rows))
	}
}

// Hostile strings come back byte for byte, as one value of one record.
func TestDecodeHostileStrings(t *testing.T) {
	type row struct {
		ID  string
		S   string `json:"string"`
		B64 []byte `json:"string_b64"`
	}
	rows := accesslogtest.Corpus[row](t, "hostile_strings.jsonl")
	var asJSON, asText [][]byte
	var want []string
	for _, r := range rows {
		s := r.S
		if s == "" {
			s = string(r.B64)
		}
		s = strings.ToValidUTF8(s, "\uFFFD")
		want = append(want, s)
		b, err := json.Marshal(map[string]any{
			"time": "2026-01-02T03:04:05Z", "status": 200, "http_user_agent": s,
			"request_method": "GET", "request_uri": "/" + s, "http_x_forwarded_for": s,
		})
		if err != nil {
			t.Fatal(err)
		}
		asJSON = append(asJSON, b)
		asText = append(asText, []byte(`192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET /`+nginxEscape(s)+` HTTP/1.1" 200 5 "`+nginxEscape(s)+`" "`+nginxEscape(s)+`"`))
	}
	for format, messages := range map[string][][]byte{"nginx_json": asJSON, "nginx_combined": asText, "apache_combined": asText} {
		got := decoded(t, messages, "-format", format, "-redact=false")
		for i, w := range want {
			if len(got[i]) != 1 || got[i][0]["parse_error"] != nil {
				t.Errorf("%s as %s: %v", rows[i].ID, format, got[i])
				continue
			}
			g := got[i][0]
			if g["target"] != "/"+w {
				t.Errorf("%s as %s: target %q, want %q", rows[i].ID, format, g["target"], "/"+w)
			}
			if agent, _ := g["user_agent"].(string); agent != w && w != "-" {
				t.Errorf("%s as %s: user agent %q, want %q", rows[i].ID, format, agent, w)
			}
		}
	}
}

// nginxEscape is what ngx_http_log_module does with escape=default.
func nginxEscape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 32 || c > 126 || c == '"' || c == '\\' {
			b.WriteString(`\x` + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// What isn't JSON is a parse error in every JSON format, alone and as a value.
func TestDecodeBadJSON(t *testing.T) {
	type row struct {
		ID     string
		Input  []byte `json:"input_b64"`
		Expect string
	}
	rows := accesslogtest.Corpus[row](t, "bad_json.jsonl")
	var alone, inside [][]byte
	for _, r := range rows {
		alone = append(alone, r.Input)
		inside = append(inside, []byte(`{"status":200,"request_method":"GET","x":`+string(r.Input)+`}`))
	}
	for _, format := range []string{"nginx_json", "envoy_json", "otlp_json"} {
		got := decoded(t, alone, "-format", format)
		for i, r := range rows {
			for _, g := range got[i] {
				if r.Expect == "reject" && g["parse_error"] != true {
					t.Errorf("%s as %s: %v", r.ID, format, g)
				}
			}
		}
	}
	got := decoded(t, inside, "-format", "nginx_json")
	for i, r := range rows {
		if len(got[i]) != 1 {
			t.Errorf("%s: %d records", r.ID, len(got[i]))
			continue
		}
		bad := got[i][0]["parse_error"] == true
		// A text that ends its own object early, or holds more than one value, can be right inside another.
		if r.Expect == "accept" && bad || r.Expect == "reject" && !bad {
			t.Errorf("%s inside: %v, want %s", r.ID, got[i][0], r.Expect)
		}
	}
}

// GoAccess's totals for 10,000 lines of real traffic.
func TestDecodeApacheFile(t *testing.T) {
	f, err := os.Open(filepath.Join(accesslogtest.CorpusDir(t), "apache_logs.log.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := decodeOutput(t, z, "--format", "apache_combined", "--strict")
	statuses, size, rows := map[int]int{}, int64(0), 0
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var r struct {
			Status int
			Bytes  int64 `json:"response_bytes"`
		}
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		rows++
		statuses[r.Status]++
		size += r.Bytes
	}
	if rows != 10_000 || size != 2_747_282_740 {
		t.Errorf("%d rows and %d bytes, want 10000 and 2747282740", rows, size)
	}
	for status, want := range map[int]int{200: 9126, 206: 45, 301: 164, 304: 445, 403: 2, 404: 213, 416: 2, 500: 3} {
		if statuses[status] != want {
			t.Errorf("status %d: %d, want %d", status, statuses[status], want)
		}
	}
}

func TestDecodeFraming(t *testing.T) {
	line := `192.0.2.7 - - [02/Jan/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5` // without an end of line
	long := line + ` "-" "` + strings.Repeat("x", 1<<17) + `"`
	var records []string
	for r := range strings.SplitSeq(strings.TrimSpace(decodeOutput(t, strings.NewReader(line+"\r\n\n"+long+"\n"+line), "-format", "nginx_combined").String()), "\n") {
		records = append(records, r[:min(len(r), 61)])
	}
	want := []string{
		`{"message":0,"timestamp":"2026-01-02T03:04:05Z","client_ip":"`,
		`{"message":1,"parse_error":true,"reason":"empty"}`,
		`{"message":2,"timestamp":"2026-01-02T03:04:05Z","client_ip":"`,
		`{"message":3,"timestamp":"2026-01-02T03:04:05Z","client_ip":"`,
	}
	if diff := cmp.Diff(want, records); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := decodeOutput(t, strings.NewReader("not base64!\n"), "-format", "nginx_json", "-framing", "base64-lines").String(); !strings.Contains(got, `"reason":"encoding"`) {
		t.Errorf("got %s", got)
	}
	if got := decodeOutput(t, strings.NewReader("{\n\"status\":\n200}\n"), "-format", "nginx_json", "-framing", "message").String(); !strings.Contains(got, `"status":200`) {
		t.Errorf("got %s", got)
	}
}

func TestDecodeUsage(t *testing.T) {
	mapping := filepath.Join(t.TempDir(), "mapping.yaml")
	if err := os.WriteFile(mapping, []byte("status: {path: a.b}\nlatency_ms: {path: took, unit: s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		in   string
		code int
		want string
	}{
		{[]string{"-format", "nginx_combined", "-strict"}, "rubbish\n", daemon.CodeNo, `"parse_error":true`},
		{[]string{"-format", "nginx_combined"}, "rubbish\n", 0, `"parse_error":true`},
		{[]string{"--formats"}, "", 0, "otlp_proto"},
		{[]string{"--format", "json", "--mapping", mapping}, `{"a":{"b":404},"took":0.5}`, 0, `"status":404,"latency_ms":500`},
		{[]string{"--format", "json"}, "", daemon.CodeUsage, ""},
		{[]string{"--format", "nope"}, "", daemon.CodeUsage, ""},
		{[]string{"--format", "nginx_json", "--time-zone", "Mars/Olympus"}, "", daemon.CodeUsage, ""},
		{[]string{"--format", "nginx_json", "--framing", "xml"}, "", daemon.CodeUsage, ""},
		{nil, "", daemon.CodeUsage, ""},
	} {
		var out, errs bytes.Buffer
		env := &daemon.Env{App: "gatewatch-ingest", Stdin: strings.NewReader(c.in), Stdout: &out, Stderr: &errs}
		err := runDecode(t.Context(), env, c.args)
		if code := daemon.ExitCode(err); err != nil && code != c.code || err == nil && c.code != 0 || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: %v and %q, want code %d and %q", c.args, err, out.String(), c.code, c.want)
		}
	}
}

// What is masked by default shows in no form, an API key not even with redaction off.
func TestDecodeRedacts(t *testing.T) {
	msg := `{"status":200,"request_uri":"/u/joe@example.com?token=s3cr3t","remote_addr":"198.51.100.77","http_x_forwarded_for":"198.51.100.78",` +
		`"http_referer":"https://x.example/?q=s3cr3t","http_user_agent":"a joe@example.com","api_key":"topkey","http_authorization":"Bearer topkey"}` + "\n"
	masked := decodeOutput(t, strings.NewReader(msg), "-format", "nginx_json").String()
	for _, private := range []string{"joe", "s3cr3t", "198.51.100.7", "topkey"} {
		if strings.Contains(masked, private) {
			t.Errorf("%q shows in %s", private, masked)
		}
	}
	raw := decodeOutput(t, strings.NewReader(msg), "-format", "nginx_json", "-redact=false").String()
	for _, shown := range []string{"joe@example.com", "s3cr3t", "198.51.100.77", "key_id"} {
		if !strings.Contains(raw, shown) {
			t.Errorf("%q is missing in %s", shown, raw)
		}
	}
	if strings.Contains(raw, "topkey") {
		t.Errorf("the API key shows in %s", raw)
	}
}
