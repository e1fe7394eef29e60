package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	var out bytes.Buffer
	if err := draw(strings.NewReader("plain <&>\n\x1b[1;31mred\x1b[0m and \x1b[92mgreen\x1b[K\n\n"), &out); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(out.Bytes()))
	var text strings.Builder
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, out.String())
		}
		if c, ok := tok.(xml.CharData); ok {
			text.Write(c)
		}
	}
	for _, want := range []string{"plain\u00a0<&>", "red", "\u00a0and\u00a0", "green"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("picture lacks %q", want)
		}
	}
	if !strings.Contains(out.String(), `fill="#ff7b72" font-weight="bold">red`) || !strings.Contains(out.String(), `fill="#a5f0ae">green`) {
		t.Errorf("colours are wrong:\n%s", out.String())
	}
}
