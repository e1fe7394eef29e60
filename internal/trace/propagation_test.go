package trace

import (
	"encoding/hex"
	"testing"
)

// The headers are those of the conventions' own documentation.
func TestParseContext(t *testing.T) {
	for _, c := range []struct{ header, id, span string }{
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"},
		{"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90", "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"},
		{"64fe8b2a57d3eff7-e457b5a2e4d86bd1-d", "000000000000000064fe8b2a57d3eff7", "e457b5a2e4d86bd1"},
		{"80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1", "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"},
		{"0", "", ""},
		{"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1", "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"},
		{"Self=1-67891234-12456789abcdef012345678;Root=1-67891233-abcdef012345678912345678", "67891233abcdef012345678912345678", "0000000000000000"},
		{"Root=1-5833732772bd00b0343d75b906739c42", "", ""},
		{"3e3bcee7b63b0d1a:7c2ac1ae3d4e4c1a:0:1", "00000000000000003e3bcee7b63b0d1a", "7c2ac1ae3d4e4c1a"},
		{"5af7183fb1d4cf5f%3A6b221d5bc9e6496c%3A0%3A1", "00000000000000005af7183fb1d4cf5f", "6b221d5bc9e6496c"},
		{"1:2:0:0", "00000000000000000000000000000001", "0000000000000002"},
		{"0:2:0:0", "", ""},
		{"", "", ""},
	} {
		id, span, ok := ParseContext(c.header)
		if ok != (c.id != "") || ok && (hex.EncodeToString(id[:]) != c.id || hex.EncodeToString(span[:]) != c.span) {
			t.Errorf("%q: %x %x %v, want %s %s", c.header, id, span, ok, c.id, c.span)
		}
	}
}

func TestParseDatadogID(t *testing.T) {
	id, ok := ParseDatadogID("11803532876627986230")
	if want := DatadogTraceID(id); !ok || hex.EncodeToString(want[:]) != "0000000000000000a3ce929d0e0e4736" {
		t.Errorf("%x %v", want, ok)
	}
	for _, s := range []string{"", "0", "-1", "18446744073709551616", "a3ce929d0e0e4736"} {
		if id, ok := ParseDatadogID(s); ok {
			t.Errorf("%q: %d", s, id)
		}
	}
}
