package clickhouse

import (
	"testing"

	"github.com/ClickHouse/ch-go"
)

func TestWireCompression(t *testing.T) {
	for addr, want := range map[string]ch.Compression{
		"127.0.0.1:9000": ch.CompressionDisabled, "[::1]:9000": ch.CompressionDisabled, "localhost:9000": ch.CompressionDisabled,
		"10.0.0.7:9000": ch.CompressionLZ4, "clickhouse.example.com:9000": ch.CompressionLZ4,
	} {
		if got := wireCompression(addr); got != want {
			t.Errorf("wireCompression(%q) = %v, want %v", addr, got, want)
		}
	}
}
