package apache_test

import (
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/apache"
)

var common = []string{
	`127.0.0.1 bob frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`,
	`::1 - - [26/Dec/2016:16:16:48 +0200] "-" 408 -`,
	`- - - [-] "-" - -`,
	`- - - - - - -`,
}

var combined = []string{
	`host.example - john doe [10/Oct/2000:13:55:36 -0700] "GET /a b HTTP/1.0" 200 - "-" "x \"y\" \\ \xc3\xa9"`,
	`www.example.com:443 192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "OPTIONS * HTTP/1.0" 200 126 "-" "internal dummy connection"`,
}

func TestConformance(t *testing.T) {
	accesslogtest.TestDecoder(t, apache.NewCommon(time.UTC), common...)
	accesslogtest.TestDecoder(t, apache.NewCombined(time.UTC), append(combined, common...)...)
}

func TestCombined(t *testing.T) {
	d := apache.NewCombined(time.UTC)
	var out accesslog.Entries
	for _, l := range combined {
		if err := d.Decode([]byte(l), &out); err != nil {
			t.Fatal(err)
		}
	}
	a, b := out.All()[0], out.All()[1]
	if a.ClientIP != "host.example" || a.Consumer.ID != "john doe" || a.Target != "/a b" || a.ResponseBytes.OK || a.UserAgent != `x "y" \ é` || a.Time.Unix() != 971211336 {
		t.Errorf("%+v", a)
	}
	if b.ClientIP != "192.0.2.7" || b.Host != "www.example.com" || b.Authority != "www.example.com:443" || b.Target != "*" || b.Method != "OPTIONS" {
		t.Errorf("%+v", b)
	}
}

func FuzzDecode(f *testing.F) {
	for _, l := range append(combined, common...) {
		f.Add([]byte(l))
	}
	a, c := apache.NewCommon(time.UTC), apache.NewCombined(time.UTC)
	f.Fuzz(func(t *testing.T, msg []byte) {
		accesslogtest.CheckDecode(t, a, msg)
		accesslogtest.CheckDecode(t, c, msg)
	})
}

func BenchmarkDecode(b *testing.B) {
	d := apache.NewCombined(time.UTC)
	var out accesslog.Entries
	msg := []byte(combined[1])
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := d.Decode(msg, &out); err != nil {
			b.Fatal(err)
		}
	}
}
