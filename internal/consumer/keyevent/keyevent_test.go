package keyevent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/consumer"
	"gatewatch/internal/consumer/keyevent"
)

func TestDecode(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		msg    string
		want   []consumer.Event
		reason accesslog.Reason
	}{
		{
			`{"event":"created","key":"s3cret","consumer":"acme","plan":"gold","tier":"1","owner":"sales@example.com","time":"2026-01-02T04:04:05+01:00"}`,
			[]consumer.Event{{Time: at, Action: consumer.Created, Key: "s3cret", Consumer: "acme", Plan: "gold", Tier: "1", Owner: "sales@example.com"}},
			"",
		},
		{
			`[{"event":"updated","consumer":"acme","plan":"silver"},{"event":"revoked","key_id":"000102030405060708090a0b0c0d0e0f"}]`,
			[]consumer.Event{{Action: consumer.Updated, Consumer: "acme", Plan: "silver"}, {Action: consumer.Revoked, KeyID: [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}}},
			"",
		},
		{`{"event":"lost","key":"k"}`, nil, accesslog.ReasonWrongFormat},
		{`{"event":"created"}`, nil, accesslog.ReasonWrongFormat},
		{`{"event":"created","key_id":"xyz"}`, nil, accesslog.ReasonBadNumber},
		{`{"event":"created","key":"k","time":"yesterday"}`, nil, accesslog.ReasonBadTime},
		{`created`, nil, accesslog.ReasonSyntax},
	} {
		got, err := keyevent.Decode([]byte(c.msg))
		var pe *accesslog.ParseError
		if errors.As(err, &pe) != (c.reason != "") || pe != nil && pe.Reason != c.reason {
			t.Errorf("%s: %v, want %q", c.msg, err, c.reason)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.msg, diff)
		}
	}
}

func TestReadCSV(t *testing.T) {
	got, err := keyevent.ReadCSV(strings.NewReader("\ufeffKey,consumer,plan\nk1,acme,gold\nk2,\"Shop, Ltd\",\n"))
	want := []consumer.Event{
		{Action: consumer.Created, Key: "k1", Consumer: "acme", Plan: "gold"},
		{Action: consumer.Created, Key: "k2", Consumer: "Shop, Ltd"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"":                              "line 1: want the names",
		"kee,consumer\nk,a\n":           `no column "kee"; the columns are event, key`,
		"event,key\nmade,k\ncreated,\n": "line 2: wrong_format: event is not created",
		"key,plan\nk\n":                 "record on line 2: wrong number of fields",
	} {
		if _, err := keyevent.ReadCSV(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"created","key":"s3cret","consumer":"acme"}`))
	f.Add([]byte(`[{"event":"revoked","key_id":"000102030405060708090a0b0c0d0e0f"}]`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var pe *accesslog.ParseError
		if _, err := keyevent.Decode(msg); err != nil && !errors.As(err, &pe) {
			t.Errorf("%q: %v has no reason", msg, err)
		}
	})
}
