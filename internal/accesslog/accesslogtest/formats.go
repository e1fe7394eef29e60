package accesslogtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
)

// Decoder returns a new decoder of the format of that name.
func Decoder(t testing.TB, formats []accesslog.Format, name string, o accesslog.Options) accesslog.Decoder {
	t.Helper()
	for _, f := range formats {
		if f.Name != name {
			continue
		}
		d, err := f.New(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return d
	}
	t.Fatalf("no format %s", name)
	return nil
}

// TestFormats checks every format of a package on its sample lines: what all
// decoders must keep to (TestDecoder), and that each line is read as
// testdata/FORMAT.golden says. `go test -run TestFormats -update` writes the
// golden files anew; read them before they are committed.
func TestFormats(t *testing.T, formats []accesslog.Format) {
	for _, f := range formats {
		t.Run(f.Name, func(t *testing.T) {
			if f.Summary == "" || f.Doc == "" {
				t.Error("a format needs a summary and the address of its description")
			}
			s := readSamples(t, f.Name)
			d := Decoder(t, formats, f.Name, s.Options)
			TestDecoder(t, d, s.Lines...)
			var got bytes.Buffer
			for _, line := range s.Lines {
				fmt.Fprintf(&got, "%s\n", line)
				for i, e := range entries(t, d, []byte(line)) {
					if i > 0 {
						got.WriteString("\t--\n")
					}
					got.WriteString(dump(&e))
				}
				got.WriteByte('\n')
			}
			golden(t, filepath.Join("testdata", f.Name+".golden"), got.Bytes())
		})
	}
}

// TestSpans is TestFormats for a format of spans; it doesn't ask for decoding without allocation.
func TestSpans(t *testing.T, format string, d trace.Decoder) {
	t.Helper()
	s := readSamples(t, format)
	var got bytes.Buffer
	for _, line := range s.Lines {
		msg := []byte(line)
		var out trace.Spans
		if err := d.Decode(msg, &out); err != nil {
			t.Errorf("%.80q: %v", line, err)
		}
		fmt.Fprintf(&got, "%s\n", printable(line))
		for i, span := range out.All() {
			if i > 0 {
				got.WriteString("\t--\n")
			}
			got.WriteString(dumpValue(span))
		}
		got.WriteByte('\n')
		for i := range msg {
			CheckSpans(t, d, msg[:i])
			hurt := append([]byte(nil), msg...)
			hurt[i] ^= 0x95
			CheckSpans(t, d, hurt)
		}
	}
	golden(t, filepath.Join("testdata", format+".golden"), got.Bytes())
}

// printable returns a text line as it is, and base64 of what is none.
func printable(line string) string {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
		return base64.StdEncoding.EncodeToString([]byte(line))
	}
	return line
}

// CheckSpans decodes any message and checks what holds for all: it is what fuzz tests call.
func CheckSpans(t testing.TB, d trace.Decoder, msg []byte) {
	t.Helper()
	var out trace.Spans
	if err := d.Decode(msg, &out); err != nil {
		var pe *accesslog.ParseError
		if !errors.As(err, &pe) || pe.Reason == "" {
			t.Fatalf("%q: the error %v has no reason", msg, err)
		}
		return
	}
	for _, s := range out.All() {
		if s.Duration < 0 || s.HTTPStatus < 0 || s.HTTPStatus > 999 || !(s.Weight >= 1) {
			t.Fatalf("%q: impossible numbers: %+v", msg, s)
		}
		for _, text := range []string{s.Name, s.Service, s.Node, s.Message, s.HTTPRoute, s.DBQuery} {
			if !utf8.ValidString(text) {
				t.Fatalf("%q: %q is not UTF-8", msg, text)
			}
		}
	}
}

// FuzzSpans decodes mutated sample messages of formats of spans, by name.
func FuzzSpans(f *testing.F, decoders map[string]trace.Decoder) {
	names := slices.Sorted(maps.Keys(decoders))
	for i, name := range names {
		for _, line := range readSamples(f, name).Lines {
			f.Add(uint8(i), []byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, msg []byte) {
		CheckSpans(t, decoders[names[int(which)%len(names)]], msg)
	})
}

// Fuzz decodes mutated sample lines with every format of a package.
func Fuzz(f *testing.F, formats []accesslog.Format) {
	decoders := make([]accesslog.Decoder, len(formats))
	for i, format := range formats {
		s := readSamples(f, format.Name)
		decoders[i] = Decoder(f, formats, format.Name, s.Options)
		for _, line := range s.Lines {
			f.Add(uint8(i), []byte(line))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, msg []byte) {
		d := decoders[int(which)%len(decoders)]
		checkAllocation(t, d, msg)
		CheckDecode(t, d, msg)
	})
}

// Benchmark decodes each format's sample lines in turn.
func Benchmark(b *testing.B, formats []accesslog.Format) {
	for _, f := range formats {
		b.Run(f.Name, func(b *testing.B) {
			s := readSamples(b, f.Name)
			d := Decoder(b, formats, f.Name, s.Options)
			var messages [][]byte
			size := 0
			for _, line := range s.Lines {
				messages = append(messages, []byte(line))
				size += len(line)
			}
			b.SetBytes(int64(size / len(messages)))
			b.ReportAllocs()
			var out accesslog.Entries
			for i := 0; b.Loop(); i++ {
				out.Reset()
				if err := d.Decode(messages[i%len(messages)], &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Samples is a file of sample lines.
type Samples struct {
	Lines   []string
	Options accesslog.Options // that the lines were written with
}

// ReadSamples reads the sample lines of a format: a message a line, in base64
// after a line "# base64". Other lines that start with "# " are comments;
// "# log_format: TEXT" is the format string of the lines, "# time_zone: ZONE" the
// zone of their times.
func ReadSamples(file string) (*Samples, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Samples{}
	encoded := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "# log_format: "); ok {
			s.Options.LogFormat = v
		}
		if v, ok := strings.CutPrefix(line, "# time_zone: "); ok {
			if s.Options.Location, err = time.LoadLocation(v); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		encoded = encoded || line == "# base64"
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if encoded {
			b, err := base64.StdEncoding.DecodeString(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			line = string(b)
		}
		s.Lines = append(s.Lines, line)
	}
	if len(s.Lines) == 0 {
		return nil, fmt.Errorf("%s: no sample lines", file)
	}
	return s, nil
}

func readSamples(t testing.TB, format string) *Samples {
	t.Helper()
	s, err := ReadSamples(filepath.Join("testdata", format+".log"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dump writes what is present in e, a field a line.
func dump(e *accesslog.Entry) string { return dumpValue(*e) }

func dumpValue(v any) string {
	var b strings.Builder
	dumpStruct(&b, "", reflect.ValueOf(v))
	return b.String()
}

func dumpStruct(b *strings.Builder, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Name
		if f.IsZero() {
			continue
		}
		if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct && f.Type().Elem() != reflect.TypeFor[trace.Attr]() {
			for j := range f.Len() {
				dumpStruct(b, fmt.Sprintf("%s[%d].", name, j), f.Index(j))
			}
			continue
		}
		if ok := f.Kind() == reflect.Struct && f.NumField() == 2 && f.Type().Field(1).Name == "OK"; ok {
			fmt.Fprintf(b, "\t%s: %v\n", name, f.Field(0))
			continue
		}
		switch x := f.Interface().(type) {
		case time.Time:
			fmt.Fprintf(b, "\t%s: %s\n", name, x.UTC().Format(time.RFC3339Nano))
		case fmt.Stringer:
			fmt.Fprintf(b, "\t%s: %v\n", name, x)
		case string:
			fmt.Fprintf(b, "\t%s: %q\n", name, x)
		case trace.TraceID:
			fmt.Fprintf(b, "\t%s: %x\n", name, x)
		case trace.SpanID:
			fmt.Fprintf(b, "\t%s: %x\n", name, x)
		case []trace.Attr:
			for _, a := range x {
				fmt.Fprintf(b, "\t%s: %q = %q\n", name, a.Key, a.Value)
			}
		case [16]byte:
			fmt.Fprintf(b, "\t%s: %x\n", name, x)
		case [8]byte:
			fmt.Fprintf(b, "\t%s: %x\n", name, x)
		default:
			if f.Kind() == reflect.Struct {
				dumpStruct(b, name+".", f)
				continue
			}
			fmt.Fprintf(b, "\t%s: %v\n", name, x)
		}
	}
}

// update is registered here, so that all packages of formats have it.
var update = flag.Bool("update", false, "write golden files anew")

// golden compares got with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// A decoder may allocate maxAllocation bytes for each byte of a message,
// beyond fixedAllocation for any message.
const (
	maxAllocation   = 64
	fixedAllocation = 64 << 10
)

// checkAllocation fails if decoding msg allocates out of proportion. The
// figure is the process's: what happens beside it is told apart by trying again.
func checkAllocation(t testing.TB, d accesslog.Decoder, msg []byte) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var allocated uint64
	for range 5 {
		var out accesslog.Entries
		metrics.Read(sample)
		before := sample[0].Value.Uint64()
		_ = d.Decode(msg, &out) // whatever it says: the caller checks that
		metrics.Read(sample)
		if allocated = sample[0].Value.Uint64() - before; allocated <= maxAllocation*uint64(len(msg))+fixedAllocation {
			return
		}
	}
	t.Fatalf("%.200q (%d bytes): allocates %d bytes", msg, len(msg), allocated)
}
