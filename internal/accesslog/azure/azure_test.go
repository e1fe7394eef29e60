package azure_test

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/azure"
)

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, azure.Formats()) }

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, azure.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, azure.Formats()) }

// Event Hubs gets records in an object.
func TestRecords(t *testing.T) {
	b, err := os.ReadFile("testdata/azure_appgw_json.log")
	if err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	for line := range bytes.Lines(b) {
		if line[0] == '{' {
			records = append(records, bytes.TrimSpace(line))
		}
	}
	d := accesslogtest.Decoder(t, azure.Formats(), "azure_appgw_json", accesslog.Options{})
	var one, all accesslog.Entries
	for _, r := range records {
		if err := d.Decode(r, &one); err != nil {
			t.Fatal(err)
		}
	}
	msg := append(append([]byte(`{ "records" : [`), bytes.Join(records, []byte(",\n"))...), "] }\n"...)
	if err := d.Decode(msg, &all); err != nil || all.Len() != len(records) {
		t.Fatalf("%v, %d of %d", err, all.Len(), len(records))
	}
	if !reflect.DeepEqual(one.All(), all.All()) {
		t.Errorf("records in one message differ from records apart:\n%+v\n%+v", all.All(), one.All())
	}
	for _, bad := range []string{`{"records":7}`, `{"records":[{}]}`, `{"records":[`, `{"records":[]} x`} {
		if err := d.Decode([]byte(bad), &all); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}
