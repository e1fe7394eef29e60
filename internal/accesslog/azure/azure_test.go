package azure_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/azure"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, azure.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, azure.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, azure.Formats()) }
