package outcome_test

import (
	"slices"
	"strings"
	"testing"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/accesslog/outcome"
)

const table = `# comment
flag	none		upstream	none	yes	all is well
flag	LIMIT	RateLimited	gateway	client_quota	no	too many
details	reset*		gateway	upstream_reset	yes	broke off
flag	REPLY		upstream	-	unknown	the upstream's own answer
`

func TestOf(t *testing.T) {
	tab, err := outcome.Parse(table)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		e    accesslog.Entry
		want string
	}{
		{accesslog.Entry{}, "unknown none unknown none"},
		{accesslog.Entry{Flags: "OTHER", Status: 500}, "unknown none unknown none"},
		{accesslog.Entry{Flags: "none", Status: 200}, "upstream none yes none"},
		{accesslog.Entry{Flags: "RateLimited"}, "gateway client_quota no stated"},
		{accesslog.Entry{Flags: "X,LIMIT", Details: "reset"}, "gateway client_quota no stated"},
		{accesslog.Entry{Flags: "REPLY", Details: "reset{by peer}", Status: 500}, "gateway upstream_reset yes stated"},
		{accesslog.Entry{Flags: "REPLY", Status: 503}, "upstream upstream_5xx unknown stated"},
		{accesslog.Entry{Flags: "REPLY", Status: 404, Upstream: "a:1"}, "upstream client_not_found yes stated"},
		{accesslog.Entry{Flags: "REPLY", Status: 302}, "upstream none unknown none"},
	} {
		o := tab.Of(&c.e)
		got := strings.Join([]string{o.Responder.String(), o.Class.String(), o.UpstreamReached.String(), o.Evidence.String()}, " ")
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.e, got, c.want)
		}
	}
	if got, want := tab.Words("flag"), []string{"none", "LIMIT", "RateLimited", "REPLY"}; !slices.Equal(got, want) {
		t.Errorf("flags %v, want %v", got, want)
	}
	if got := tab.Words("details"); !slices.Equal(got, []string{"reset*"}) {
		t.Errorf("details %v", got)
	}
}

func TestParseNamesTheFault(t *testing.T) {
	for row, want := range map[string]string{
		"flag\tA\t\tgateway\tnone\tno":                                      "6 fields",
		"flag\tA\t\tgateway\tnone\tno\t":                                    "not empty",
		"word\tA\t\tgateway\tnone\tno\tx":                                   "neither flag nor details",
		"flag\tA\t\tproxy\tnone\tno\tx":                                     `unknown responder "proxy"`,
		"flag\tA\t\tgateway\tbad\tno\tx":                                    `unknown class "bad"`,
		"flag\tA\t\tgateway\tnone\tperhaps\tx":                              `unknown answer "perhaps"`,
		"flag\tA\t\tgateway\tnone\tno\tx\nflag\tB\tA\tgateway\tnone\tno\tx": "comes twice",
	} {
		if _, err := outcome.Parse(row); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", row, err, want)
		}
	}
}
