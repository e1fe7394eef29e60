package apisix_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/apisix"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, apisix.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, apisix.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, apisix.Formats()) }
