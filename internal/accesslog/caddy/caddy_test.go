package caddy_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/caddy"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, caddy.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, caddy.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, caddy.Formats()) }
