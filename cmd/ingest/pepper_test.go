package main

import (
	"strings"
	"testing"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/ingest"
)

const secondPepper = "fedcba9876543210fedcba9876543210"

// A later pepper is used from its day on: keys of before keep their ids.
func TestPeppersByDate(t *testing.T) {
	idOf := func(file string, at time.Time) [16]byte {
		n, err := newNormaliser(ingest.TopicConfig{}, ingest.DefaultConfig(), []byte(file))
		if err != nil {
			t.Fatal(err)
		}
		var arena accesslog.Arena
		e := accesslog.Entry{Time: at, APIKey: "k"}
		n.Normalise(&e, &arena)
		return e.Consumer.KeyID
	}
	before, after := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	both := testPepper + "\n2026-07-01 " + secondPepper + "\n"
	if idOf(both, before) != idOf(testPepper, before) || idOf(both, after) != idOf(secondPepper, after) || idOf(both, before) == idOf(both, after) {
		t.Error("keys aren't hashed with the pepper of their time")
	}
}

func TestPepperFileFaults(t *testing.T) {
	for text, want := range map[string]string{
		testPepper + "\n" + secondPepper: "line 2: want a day",
		testPepper + "\n2026-07-01":      "line 2: want a day",
		testPepper + "\n2026-07-01 " + secondPepper + "\n2026-06-01T00:00:00Z " + secondPepper: "line 3: is from no later",
	} {
		if _, err := parsePeppers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// A file to which a line was added is the same file; one that was changed is another.
func TestFingerprints(t *testing.T) {
	print := func(text string) string {
		ps, err := parsePeppers(text)
		if err != nil {
			t.Fatal(err)
		}
		return fingerprints(ps)
	}
	one, two := print(testPepper), print(testPepper+"\n2026-07-01 "+secondPepper)
	if !strings.HasPrefix(two, one+",") || print(secondPepper) == one || strings.Contains(two, secondPepper[:8]) {
		t.Errorf("%s and %s", one, two)
	}
}
