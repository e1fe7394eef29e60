package traefik_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/traefik"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, traefik.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, traefik.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, traefik.Formats()) }
