package change

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var release = Event{Time: time.Date(2026, 3, 1, 3, 6, 0, 0, time.UTC), Service: "payments", Kind: "deploy", What: "payments 2.14.0", Who: "ci", URL: "https://ci.example/1"}

func TestRead(t *testing.T) {
	for name, text := range map[string]string{
		"CSV":        "\ufefftime,Kind,what,who,url,service\n2026-03-01T04:06:00+01:00,Deploy,payments 2.14.0,ci,https://ci.example/1,payments\n",
		"JSON lines": `{"time":"2026-03-01T03:06:00Z","kind":"deploy","what":"payments 2.14.0","who":"ci","url":"https://ci.example/1","service":"payments"}` + "\n\n",
	} {
		got, err := Read(strings.NewReader(text))
		if diff := cmp.Diff([]Event{release}, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestReadNamesAllFaults(t *testing.T) {
	_, err := Read(strings.NewReader("time,kind,what\nyesterday,deploy,x\n,deploy,x\n2026-03-01T00:00:00Z,,x\n"))
	for _, want := range []string{"line 2: bad_time", "line 3: time is missing", "line 4: wrong_format"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := Read(strings.NewReader("when,kind\n")); err == nil || !strings.Contains(err.Error(), "time, service, kind") {
		t.Errorf("unknown column: %v", err)
	}
}

func TestDecode(t *testing.T) {
	if got, err := Decode([]byte(`[{"kind":"flag","what":"new checkout on"},{"kind":"x","what":"y"}]`)); err != nil || len(got) != 2 || !got[0].Time.IsZero() {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{`{`, `{"kind":"x"}`, `{"kind":"x","what":"y","time":"now"}`, `[1]`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestCandidate(t *testing.T) {
	for _, c := range []struct {
		service string
		after   time.Duration
		want    bool
	}{{"payments", 30 * time.Minute, true}, {"payments", 31 * time.Minute, false}, {"payments", -time.Second, false}, {"orders", time.Minute, false}, {"", time.Minute, true}} {
		if got := release.Candidate(c.service, release.Time.Add(c.after)); got != c.want {
			t.Errorf("%q %s after: %t", c.service, c.after, got)
		}
	}
}
