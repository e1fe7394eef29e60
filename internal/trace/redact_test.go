package trace_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/trace"
)

func TestRedact(t *testing.T) {
	s := trace.Span{
		Message: "no such user joe@example.com",
		DBQuery: `SELECT a1 FROM t WHERE name = 'O''Brien' AND n IN (1, 2.5) AND c = "x\"y"`,
		Attrs: []trace.Attr{
			{Key: "url.full", Value: "https://u:p@h.example/a?token=1#f"},
			{Key: "http.target", Value: "/a/joe@example.com?x=1"},
			{Key: "http.url", Value: "https://h.example/reset/ghp_0123456789abcdefghij/a%40b.example"},
			{Key: "url.query", Value: "a=b"},
			{Key: "http.request.header.authorization", Value: "Bearer x"},
			{Key: "my.api_key", Value: "k"},
			{Key: "enduser.id", Value: "joe"},
			{Key: "client.address", Value: "198.51.100.77"},
			{Key: "network.peer.address", Value: "2001:db8:1:2::3"},
			{Key: "db.statement", Value: "x = 'y'"},
			{Key: "thread.id", Value: "7"},
		},
	}
	var arena accesslog.Arena
	trace.NewRedactor().Redact(&s, &arena)
	want := trace.Span{
		Message: "no such user {email}",
		DBQuery: `SELECT a1 FROM t WHERE name = ? AND n IN (?, ?) AND c = ?`,
		Attrs: []trace.Attr{
			{Key: "url.full", Value: "https://h.example/a"},
			{Key: "http.target", Value: "/a/{email}"},
			{Key: "http.url", Value: "https://h.example/reset/{token}/{email}"},
			{Key: "client.address", Value: "198.51.100.0"},
			{Key: "network.peer.address", Value: "2001:db8:1::"},
			{Key: "db.statement", Value: "x = ?"},
			{Key: "thread.id", Value: "7"},
		},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("SELECT 'a' \\", "http://a@b?c")
	f.Fuzz(func(_ *testing.T, query, url string) {
		s := trace.Span{DBQuery: query, Message: url, Attrs: []trace.Attr{{Key: "url.full", Value: url}, {Key: "client.address", Value: query}}}
		var arena accesslog.Arena
		trace.NewRedactor().Redact(&s, &arena)
	})
}
