package main

import (
	"strings"
	"testing"
)

func TestMaskExcerpt(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"status":200,"x-api-key":"abc","path":"/v1/orders/7"}`, `{"status":200,"x-api-key":"***","path":"/v1/orders/7"}`},
		{`{"api_key":"broken`, `{"api_key":"***"`},
		{`{"log":"{\"api_key\":\"abc\",\"status\":200}"}`, `{"log":"{\"api_key\":"***",\"status\":200}"}`},
		{`Authorization: Bearer abc.def`, `Authorization: ***`},
		{`{"request_uri":"/a?token=abc","status":200}`, `{"request_uri":"/a?token=***","status":200}`},
		{`{"h":"Bearer abc.def"}`, `{"h":"Bearer ***"}`},
		{`1.2.3.4 - jane@example.com "GET /a?b=c&d=e HTTP/1.1" 200`, `1.2.3.0 - ***@*** "GET /a?b=***&d=*** HTTP/1.1" 200`},
		{`2001:db8:0:1:2:3:4:5 x`, `*** x`},
		{`10:11:12 200 0.004`, `10:11:12 200 0.004`},
		{`id 4bf92f3577b34da6a3ce929d0e0e4736`, `id ***`},
	} {
		if got := maskExcerpt(c.in); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

func FuzzMaskExcerpt(f *testing.F) {
	f.Add(`{"api_key":"`, `"}`)
	f.Add(`GET /?token=`, ` HTTP/1.1`)
	f.Fuzz(func(t *testing.T, before, after string) {
		const key = "SuperSecretKey0123456789"
		if strings.Contains(before+after, "SuperSecret") {
			t.Skip()
		}
		if got := maskExcerpt(before + key + after); strings.Contains(got, key) {
			t.Errorf("%q", got)
		}
	})
}
