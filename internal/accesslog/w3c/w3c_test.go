package w3c_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/w3c"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, w3c.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, w3c.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, w3c.Formats()) }
