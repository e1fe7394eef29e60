package zoraxy_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/zoraxy"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, zoraxy.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, zoraxy.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, zoraxy.Formats()) }
