// Command decodebench measures how long each format's decoder takes for a
// record, beside encoding/json and regexp on the same records. It prints a
// table, and as its last line all figures as JSON. Arguments are the formats to
// measure; without any it measures all.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/formats"
	"gatewatch/internal/trace"
)

const (
	runs = 5
	// recordBytes is the record that the targets are for; figures of shorter and
	// longer ones are scaled to it.
	recordBytes = 600
	jsonTarget  = 2000 // ns
	textTarget  = 1000 // ns
)

// A figure is what was measured of one decoder.
type figure struct {
	Format    string  `json:"format"`
	Bytes     int     `json:"bytes"` // of the record that was decoded
	MinNS     float64 `json:"ns_min"`
	MedianNS  float64 `json:"ns_median"`
	MaxNS     float64 `json:"ns_max"`
	ScaledNS  float64 `json:"ns_per_600_bytes"` // median
	MBs       float64 `json:"mb_per_s"`
	Allocs    int64   `json:"allocs"`
	TargetNS  float64 `json:"target_ns,omitempty"` // for 600 bytes; spans and yardsticks have none
	TargetMet bool    `json:"target_met"`
}

// result is the last line.
type result struct {
	Schema   string   `json:"schema"`
	Runs     int      `json:"runs"`
	Formats  []figure `json:"formats"`
	Missed   []string `json:"missed"`
	JSONGain float64  `json:"times_faster_than_encoding_json,omitempty"` // format nginx_json
	TextGain float64  `json:"times_faster_than_regexp,omitempty"`        // format nginx_combined
}

func main() {
	testing.Init()
	if err := flag.Set("test.benchtime", "200ms"); err != nil { // five runs of each of some fifty formats
		fmt.Fprintln(os.Stderr, "decodebench:", err)
		os.Exit(1)
	}
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "decodebench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, only []string) error {
	r := result{Schema: "gatewatch/bench-decode/v1", Runs: runs, Missed: []string{}}
	fmt.Fprintf(w, "%-28s %6s %9s %9s %9s %10s %8s %7s\n", "format", "bytes", "ns min", "median", "max", "ns/600 B", "MB/s", "allocs")
	medians := map[string]float64{}
	lines := map[string]string{}
	for _, f := range formats.All() {
		if len(only) > 0 && !slices.Contains(only, f.Name) {
			continue
		}
		line, decode, err := decoder(f)
		if err != nil {
			return err
		}
		if decode == nil {
			continue
		}
		fig := measure(f.Name, line, decode)
		if f.Spans == nil {
			fig.TargetNS = textTarget
			if line[0] == '{' || line[0] == '[' {
				fig.TargetNS = jsonTarget
			}
			if fig.TargetMet = fig.ScaledNS <= fig.TargetNS && fig.Allocs == 0; !fig.TargetMet {
				r.Missed = append(r.Missed, f.Name)
			}
		}
		r.Formats = append(r.Formats, fig)
		medians[f.Name], lines[f.Name] = fig.MedianNS, line
		fig.print(w)
	}
	if len(only) > 0 {
		return json.NewEncoder(w).Encode(r)
	}
	viaJSON := measure("encoding/json on nginx_json", lines["nginx_json"], decodeJSON)
	viaJSON.print(w)
	viaRegexp := measure("regexp on nginx_combined", lines["nginx_combined"], decodeRegexp())
	viaRegexp.print(w)
	r.Formats = append(r.Formats, viaJSON, viaRegexp)
	r.JSONGain = viaJSON.MedianNS / medians["nginx_json"]
	r.TextGain = viaRegexp.MedianNS / medians["nginx_combined"]
	return json.NewEncoder(w).Encode(r)
}

func (f *figure) print(w io.Writer) {
	note := ""
	if f.TargetNS > 0 && !f.TargetMet {
		note = fmt.Sprintf("  over %.0f ns or allocates", f.TargetNS)
	}
	fmt.Fprintf(w, "%-28s %6d %9.0f %9.0f %9.0f %10.0f %8.0f %7d%s\n", f.Format, f.Bytes, f.MinNS, f.MedianNS, f.MaxNS, f.ScaledNS, f.MBs, f.Allocs, note)
}

// decoder returns the sample line of f that is nearest to a usual record's
// length, and what decodes it. Formats that need a mapping have no samples.
func decoder(f formats.Format) (line string, decode func([]byte) error, err error) {
	if f.Needs == "mapping" {
		return "", nil, nil
	}
	files, err := filepath.Glob("internal/*/*/testdata/" + f.Name + ".log")
	if err != nil {
		return "", nil, err
	}
	if len(files) != 1 {
		return "", nil, fmt.Errorf("format %s: %d files of sample lines, want one; run it in the repository's root", f.Name, len(files))
	}
	s, err := accesslogtest.ReadSamples(files[0])
	if err != nil {
		return "", nil, err
	}
	line = slices.MinFunc(s.Lines, func(a, b string) int { return distance(a) - distance(b) })
	if f.Spans != nil {
		d := f.Spans()
		var out trace.Spans
		return line, func(msg []byte) error { out.Reset(); return d.Decode(msg, &out) }, nil
	}
	d, err := f.New(s.Options)
	if err != nil {
		return "", nil, err
	}
	var out accesslog.Entries
	return line, func(msg []byte) error { out.Reset(); return d.Decode(msg, &out) }, nil
}

func distance(line string) int { return max(len(line)-recordBytes, recordBytes-len(line)) }

func measure(name, line string, decode func([]byte) error) figure {
	msg := []byte(line)
	var ns []float64
	var allocs int64
	for range runs {
		r := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(msg); err != nil {
					b.Fatal(err)
				}
			}
		})
		ns = append(ns, float64(r.T.Nanoseconds())/float64(r.N))
		allocs = r.AllocsPerOp()
	}
	slices.Sort(ns)
	median := ns[len(ns)/2]
	return figure{
		Format: name, Bytes: len(line), MinNS: ns[0], MedianNS: median, MaxNS: ns[len(ns)-1],
		ScaledNS: median * recordBytes / float64(len(line)), MBs: float64(len(line)) / median * 1e3, Allocs: allocs,
	}
}

// decodeJSON is the yardstick for JSON: the standard library, into the same fields.
func decodeJSON(msg []byte) error {
	var r struct {
		Time      string  `json:"time"`
		Msec      float64 `json:"msec"`
		Addr      string  `json:"remote_addr"`
		Method    string  `json:"request_method"`
		Host      string  `json:"host"`
		URI       string  `json:"request_uri"`
		Protocol  string  `json:"server_protocol"`
		Status    int     `json:"status"`
		Sent      int64   `json:"bytes_sent"`
		Length    int64   `json:"request_length"`
		Took      float64 `json:"request_time"`
		Upstream  string  `json:"upstream_addr"`
		UpStatus  string  `json:"upstream_status"`
		UpTook    string  `json:"upstream_response_time"`
		Agent     string  `json:"http_user_agent"`
		RequestID string  `json:"request_id"`
		Parent    string  `json:"http_traceparent"`
		Service   string  `json:"service"`
		Route     string  `json:"route"`
		Consumer  string  `json:"consumer"`
		Plan      string  `json:"plan"`
		Key       string  `json:"api_key"`
		Node      string  `json:"node"`
		Region    string  `json:"region"`
	}
	return json.Unmarshal(msg, &r)
}

var errNoMatch = errors.New("no match")

// decodeRegexp is the yardstick for text: the expression that is usual for combined lines.
func decodeRegexp() func([]byte) error {
	re := regexp.MustCompile(`^(\S+) \S+ (\S+) \[([^\]]+)\] "(\S+) (\S+) (\S+)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)"`)
	return func(msg []byte) error {
		if re.FindSubmatchIndex(msg) == nil {
			return errNoMatch
		}
		return nil
	}
}
