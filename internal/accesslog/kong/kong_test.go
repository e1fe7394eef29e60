package kong_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/kong"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, kong.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, kong.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, kong.Formats()) }
