package aws_test

import (
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/aws"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, aws.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, aws.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, aws.Formats()) }
