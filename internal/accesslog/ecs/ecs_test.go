package ecs_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/ecs"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, ecs.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, ecs.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, ecs.Formats()) }
