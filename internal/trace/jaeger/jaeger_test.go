package jaeger_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/jaeger"
)

func decoders() map[string]trace.Decoder {
	return map[string]trace.Decoder{
		"jaeger_trace_json": jaeger.NewJSON(),
		"jaeger_proto":      jaeger.NewProto(),
	}
}

func TestFormats(t *testing.T) {
	for name, d := range decoders() {
		t.Run(name, func(t *testing.T) { accesslogtest.TestSpans(t, name, d) })
	}
}

func FuzzDecode(f *testing.F) { accesslogtest.FuzzSpans(f, decoders()) }
