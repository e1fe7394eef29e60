package otlp_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/otlp"
)

type spanRow struct {
	ID, Format, Input string
	Encoding          string `json:"input_encoding"`
	Expect            struct {
		Count int `json:"span_count"`
		Spans []wantSpan
	}
}

type wantSpan struct {
	TraceID  string `json:"trace_id"`
	SpanID   string `json:"span_id"`
	ParentID string `json:"parent_span_id"`
	Name     string
	Kind     string
	Status   string
	Start    string `json:"start_unix_nano"`
	Duration int64  `json:"duration_ns"`
	Service  string
	Root     bool
}

func decoders() map[string]trace.Decoder {
	return map[string]trace.Decoder{"otlp_json": otlp.NewJSON(), "otlp_proto": otlp.NewProto()}
}

func input(t testing.TB, r *spanRow) []byte {
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

func TestCorpus(t *testing.T) {
	ds, n := decoders(), 0
	for _, r := range accesslogtest.Corpus[spanRow](t, "span.jsonl") {
		d := ds[r.Format]
		if d == nil {
			continue
		}
		n++
		var out trace.Spans
		if err := d.Decode(input(t, &r), &out); err != nil {
			t.Errorf("%s: %v", r.ID, err)
			continue
		}
		if len(out.All()) != r.Expect.Count {
			t.Errorf("%s: %d spans, want %d", r.ID, len(out.All()), r.Expect.Count)
		}
		got := map[[3]string]wantSpan{}
		for _, s := range out.All() {
			w := asWanted(&s)
			got[[3]string{w.TraceID, w.SpanID, w.Kind}] = w
		}
		for _, w := range r.Expect.Spans {
			if diff := cmp.Diff(w, got[[3]string{w.TraceID, w.SpanID, w.Kind}]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", r.ID, diff)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d cases, want at least 20", n)
	}
}

func asWanted(s *trace.Span) wantSpan {
	w := wantSpan{
		TraceID: hex.EncodeToString(s.TraceID[:]), SpanID: hex.EncodeToString(s.SpanID[:]),
		Name: s.Name, Kind: strings.ToUpper(s.Kind.String()), Status: strings.ToUpper(s.Status.String()),
		Start: strconv.FormatInt(s.Start.UnixNano(), 10), Duration: s.Duration.Nanoseconds(), Service: s.Service,
	}
	if s.ParentID.IsZero() {
		w.Root = true
	} else {
		w.ParentID = hex.EncodeToString(s.ParentID[:])
	}
	return w
}

// newTraces makes a client span with attributes of the older or the stable conventions.
func newTraces(attrs map[string]any, state string) ptrace.Traces {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "catalog")
	rs.Resource().Attributes().PutStr("host.name", "node-1")
	rs.Resource().Attributes().PutStr("deployment.environment.name", "prod")
	sp := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	sp.SetTraceID(pcommon.TraceID{1})
	sp.SetSpanID(pcommon.SpanID{2})
	sp.SetName("SELECT products")
	sp.SetKind(ptrace.SpanKindClient)
	sp.SetStartTimestamp(1_000_000_000)
	sp.SetEndTimestamp(1_250_000_000)
	sp.Status().SetCode(ptrace.StatusCodeError)
	sp.Status().SetMessage("gone")
	sp.TraceState().FromRaw(state)
	if err := sp.Attributes().FromRaw(attrs); err != nil {
		panic(err)
	}
	return td
}

func TestSemanticConventions(t *testing.T) {
	want := trace.Span{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Name: "SELECT products", Kind: trace.KindClient,
		Service: "catalog", Node: "node-1", Start: time.Unix(1, 0).UTC(), Duration: 250 * time.Millisecond,
		Status: trace.StatusError, Message: "gone",
		HTTPMethod: "GET", HTTPRoute: "/p/{id}", HTTPStatus: 503, DBSystem: "postgresql", DBQuery: "SELECT 1", Peer: "db-1", Weight: 10,
	}
	plain := []trace.Attr{{Key: "deployment.environment.name", Value: "prod"}, {Key: "n", Value: "7"}}
	others := []trace.Attr{ // older names that say something else than the stable ones stay
		{Key: "http.method", Value: "OLD"},
		{Key: "http.status_code", Value: "200"},
		{Key: "db.system", Value: "old"},
		{Key: "db.query.text", Value: "text"},
		{Key: "db.statement", Value: "old"},
		{Key: "server.address", Value: "x"},
	}
	for name, attrs := range map[string]map[string]any{
		"stable": {
			"http.request.method": "GET", "http.route": "/p/{id}", "http.response.status_code": 503,
			"db.system.name": "postgresql", "db.query.text": "SELECT 1", "server.address": "db-1", "n": 7,
		},
		"older": {
			"http.method": "GET", "http.route": "/p/{id}", "http.status_code": 503,
			"db.system": "postgresql", "db.statement": "SELECT 1", "net.peer.name": "db-1", "n": 7,
		},
		"both": {
			"http.method": "OLD", "http.request.method": "GET", "http.route": "/p/{id}", "http.status_code": 200,
			"http.response.status_code": 503, "db.system": "old", "db.system.name": "postgresql",
			"db.query.text": "text", "db.query.summary": "SELECT 1", "db.statement": "old", "peer.service": "db-1", "server.address": "x", "n": 7,
		},
	} {
		td := newTraces(attrs, "vendor=1, ot=rv:ab;th:e666666666666")
		pb, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		js, err := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
		if err != nil {
			t.Fatal(err)
		}
		for format, msg := range map[string][]byte{"otlp_proto": pb, "otlp_json": js} {
			var out trace.Spans
			if err := decoders()[format].Decode(msg, &out); err != nil {
				t.Fatalf("%s %s: %v", name, format, err)
			}
			got := out.All()
			want.Attrs = plain
			if name == "both" {
				want.Attrs = slices.Concat(plain, others)
			}
			if diff := cmp.Diff([]trace.Span{want}, got, cmp.Comparer(func(a, b float64) bool { return a-b < 1e-6 && b-a < 1e-6 }),
				cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b trace.Attr) bool { return a.Key < b.Key })); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", name, format, diff)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	nested := func(n int) string {
		return `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":` +
			strings.Repeat(`{"arrayValue":{"values":[`, n) + strings.Repeat(`]}}`, n) + `}]}]}]}]}`
	}
	// protobuf: AnyValue.array_value (5) { values (1) { … } }
	deep := []byte{}
	for range 1_000 {
		deep = protoField(1, deep)
		deep = protoField(5, deep)
	}
	deep = protoField(2, deep)                                // KeyValue.value
	deep = protoField(9, append(protoField(1, nil), deep...)) // Span.attributes
	deep = protoField(1, protoField(2, protoField(2, deep)))
	for _, c := range []struct {
		format, msg string
		want        accesslog.Reason
	}{
		{"otlp_json", "", accesslog.ReasonEmpty},
		{"otlp_json", " \n", accesslog.ReasonEmpty},
		{"otlp_json", `{"resourceSpans":[]} x`, accesslog.ReasonSyntax},
		{"otlp_json", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}`, accesslog.ReasonSyntax},
		{"otlp_json", `{"method":"GET"}`, accesslog.ReasonWrongFormat},
		{"otlp_json", nested(100_000), accesslog.ReasonTooDeep},
		{"otlp_json", "\x00\x00\x00\x00\x07{}", accesslog.ReasonSchemaFramed},
		{"otlp_proto", "", accesslog.ReasonEmpty},
		{"otlp_proto", "GET / HTTP/1.1", accesslog.ReasonSyntax},
		{"otlp_proto", "\x00\x00\x00\x00\x07abc", accesslog.ReasonSchemaFramed},
		{"otlp_proto", string(deep), accesslog.ReasonTooDeep},
	} {
		var out trace.Spans
		err := decoders()[c.format].Decode([]byte(c.msg), &out)
		var pe *accesslog.ParseError
		if !errors.As(err, &pe) || pe.Reason != c.want || len(out.All()) != 0 {
			t.Errorf("%s %.40q: %v and %d spans, want %s", c.format, c.msg, err, len(out.All()), c.want)
		}
	}
}

func protoField(n byte, content []byte) []byte {
	b := []byte{n<<3 | 2}
	l := len(content)
	for l >= 0x80 {
		b = append(b, byte(l)|0x80)
		l >>= 7
	}
	return append(append(b, byte(l)), content...)
}

func TestOddTimes(t *testing.T) {
	td := newTraces(nil, "")
	sp := td.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	sp.SetEndTimestamp(5) // before its start
	pb, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	if err != nil {
		t.Fatal(err)
	}
	var out trace.Spans
	if err := otlp.NewProto().Decode(pb, &out); err != nil {
		t.Fatal(err)
	}
	if s := out.All()[0]; s.Duration != 0 || s.Weight != 1 {
		t.Errorf("duration %v, weight %v; want 0 and 1", s.Duration, s.Weight)
	}
}

func FuzzDecode(f *testing.F) {
	td := newTraces(map[string]any{"http.method": "GET", "list": []any{"a", 1.5}}, "ot=p:3")
	pb, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	js, _ := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	f.Add(pb)
	f.Add(js)
	f.Fuzz(func(t *testing.T, msg []byte) {
		for name, d := range decoders() {
			var out trace.Spans
			err := d.Decode(msg, &out)
			if err != nil && len(out.All()) != 0 {
				t.Errorf("%s: spans beside an error", name)
			}
			for _, s := range out.All() {
				if s.Duration < 0 || s.Weight < 1 {
					t.Errorf("%s: duration %v, weight %v", name, s.Duration, s.Weight)
				}
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	td := newTraces(map[string]any{"http.request.method": "GET", "http.route": "/p/{id}", "http.response.status_code": 200, "server.address": "x"}, "")
	pb, _ := (&ptrace.ProtoMarshaler{}).MarshalTraces(td)
	js, _ := (&ptrace.JSONMarshaler{}).MarshalTraces(td)
	for format, msg := range map[string][]byte{"otlp_proto": pb, "otlp_json": js} {
		b.Run(format, func(b *testing.B) {
			d := decoders()[format]
			var out trace.Spans
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := d.Decode(msg, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
