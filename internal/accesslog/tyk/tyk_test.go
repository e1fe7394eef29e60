package tyk

import (
	"strings"
	"testing"

	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/outcome"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, Formats()) }

// Every flag of internal/errors/classification.go has a row.
func TestTableIsComplete(t *testing.T) {
	table, err := outcome.Parse(outcomesTSV)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, word := range table.Words("flag") {
		rows[word] = true
	}
	const flags = "TLE TLI TLM TLN TLH TLP TLA TLC UCF UCT URR URT EPI CAB NRS DNS NRH NHU CBO CDC URS UPE RLT QEX AMF AKI TKE TKI TCV EAD BTL CLM BIV IHD CRQ CMM"
	for f := range strings.FieldsSeq(flags) {
		if !rows[f] {
			t.Errorf("no row for flag %s", f)
		}
	}
}
