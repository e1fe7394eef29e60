package zipkin_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/trace"
	"gatewatch/internal/trace/zipkin"
)

func decoders() map[string]trace.Decoder {
	return map[string]trace.Decoder{
		"zipkin_v1_json":  zipkin.NewJSONv1(),
		"zipkin_v2_json":  zipkin.NewJSON(),
		"zipkin_v2_proto": zipkin.NewProto(),
	}
}

func TestFormats(t *testing.T) {
	for name, d := range decoders() {
		t.Run(name, func(t *testing.T) { accesslogtest.TestSpans(t, name, d) })
	}
}

func FuzzDecode(f *testing.F) { accesslogtest.FuzzSpans(f, decoders()) }
