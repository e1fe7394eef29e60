package apache_test

import (
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/accesslogtest"
	"gatewatch/internal/accesslog/apache"
)

var combined = []string{
	`host.example - john doe [10/Oct/2000:13:55:36 -0700] "GET /a b HTTP/1.0" 200 - "-" "x \"y\" \\ \xc3\xa9"`,
	`www.example.com:443 192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "OPTIONS * HTTP/1.0" 200 126 "-" "internal dummy connection"`,
}

func TestFormats(t *testing.T) { accesslogtest.TestFormats(t, apache.Formats()) }

func TestCombined(t *testing.T) {
	d := accesslogtest.Decoder(t, apache.Formats(), "apache_combined", accesslog.Options{})
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

func FuzzDecode(f *testing.F) { accesslogtest.Fuzz(f, apache.Formats()) }

func BenchmarkDecode(b *testing.B) { accesslogtest.Benchmark(b, apache.Formats()) }

// A plain ProxyPass names no worker, so a log without one doesn't tell who answered.
func TestNoWorker(t *testing.T) {
	d := accesslogtest.Decoder(t, apache.Formats(), "apache_custom", accesslog.Options{LogFormat: `%a "%r" %>s %D %{usec}t %{BALANCER_WORKER_NAME}e`})
	var out accesslog.Entries
	if err := d.Decode([]byte(`192.0.2.7 "GET / HTTP/1.1" 503 900 1700000000000000 -`), &out); err != nil {
		t.Fatal(err)
	}
	if o := accesslog.Infer(&out.All()[0]); o.Responder != accesslog.ResponderUnknown || o.UpstreamReached != accesslog.ReachedUnknown {
		t.Errorf("%+v", o)
	}
}
