package audit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecode(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	for _, c := range []struct {
		format, msg string
		want        Event
	}{
		{
			"audit_kong", `{"client_ip":"10.0.0.7","method":"POST","path":"/services?x=1","rbac_user_name":"ada","request_timestamp":1700000000,"status":201,"workspace":"w1","ttl":1}`,
			Event{Time: at, Class: Configuration, Source: "kong", Actor: "ada", Action: "POST", Object: "/services", ClientIP: "10.0.0.7", Outcome: Success, Detail: "w1"},
		},
		{
			"audit_kong", `{"client_ip":"10.0.0.7","method":"GET","path":"/auth","request_timestamp":1700000000,"status":401}`,
			Event{Time: at, Class: Authentication, Source: "kong", Action: "GET", Object: "/auth", ClientIP: "10.0.0.7", Outcome: Failure},
		},
		{
			"audit_kong", `{"dao_name":"consumers","entity":"{}","entity_key":"16787ed7","operation":"create","rbac_user_id":"2e959b45","request_timestamp":1700000000}`,
			Event{Time: at, Class: Configuration, Source: "kong", Actor: "2e959b45", Action: "create", Object: "consumers 16787ed7", Outcome: Success},
		},
		{
			"audit_tyk", `{"req_id":"1","org_id":"o","date":"x","timestamp":1700000000,"ip":"::1","user":"5ed:ada","action":"DeleteAPI","method":"DELETE","url":"/api/apis/7","status":500,"diff":""}`,
			Event{Time: at, Class: Configuration, Source: "tyk", Actor: "5ed:ada", Action: "DeleteAPI", Object: "/api/apis/7", ClientIP: "::1", Outcome: Failure, Detail: "DELETE"},
		},
		{
			"audit_cloudevents", `{"specversion":"1.0","id":"a","source":"/iam","type":"com.example.user.login","subject":"ada","time":"2023-11-14T22:13:20Z","data":{"user":"ada","ip":"10.1.1.1","outcome":"denied"}}`,
			Event{Time: at, Class: Authentication, Source: "/iam", Actor: "ada", Action: "com.example.user.login", Object: "ada", ClientIP: "10.1.1.1", Outcome: Failure},
		},
	} {
		got, err := Decode(c.format, []byte(c.msg))
		if diff := cmp.Diff([]Event{c.want}, got, cmp.Comparer(func(a, b Event) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.msg, err, diff)
		}
	}
}

func TestDecodeBad(t *testing.T) {
	for _, c := range [][2]string{
		{"audit_kong", `{`},
		{"audit_kong", `{"method":"GET"}`},
		{"audit_kong", `{"path":"/x","request_timestamp":1e300}`},
		{"audit_tyk", `{"user":"x"}`},
		{"audit_cloudevents", `{"type":"x"}`},
		{"audit_cloudevents", `{"specversion":"1.0","type":"x","time":"noon"}`},
		{"audit_tyk", `[1]`},
	} {
		if got, err := Decode(c[0], []byte(c[1])); err == nil {
			t.Errorf("%s reads %s as %+v", c[0], c[1], got)
		}
	}
	if got, err := Decode("audit_kong", []byte(`[{"path":"/a"},{"path":"/b"}]`)); err != nil || len(got) != 2 {
		t.Errorf("a list: %v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("audit_kong", []byte(`{"path":"/x","request_timestamp":1}`))
	f.Fuzz(func(t *testing.T, format string, msg []byte) { _, _ = Decode(format, msg) })
}
