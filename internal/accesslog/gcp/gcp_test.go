package gcp_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/gcp"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, gcp.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, gcp.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, gcp.Formats()) }
