package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testApp() App {
	return App{Name: "gatewatch-x", Summary: "does x", Default: "run", Commands: []Command{
		{"run", "runs", func(_ context.Context, env *Env, args []string) error {
			fs := Flags(env, "run", "run it", "gatewatch-x run --n 3")
			n := fs.Int("n", 1, "how many `things`")
			if err := ParseFlags(fs, args); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "n=%d %v", *n, fs.Args())
			return nil
		}},
		{"no", "says no", func(context.Context, *Env, []string) error { return No(nil) }},
		{"far", "is far", func(context.Context, *Env, []string) error {
			return fmt.Errorf("ping: %w", Unreachable(errors.New("refused")))
		}},
		{"deadline", "", func(context.Context, *Env, []string) error { return context.DeadlineExceeded }},
	}}
}

func TestApp(t *testing.T) {
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string // contained in
	}{
		{"", 0, "n=1 []", ""},
		{"--n 2 a", 0, "n=2 [a]", ""},
		{"run --n 2", 0, "n=2", ""},
		{"run --n x", 2, "", `gatewatch-x: run: invalid value "x"`},
		{"run -h", 0, "-n things\n        how many things (default 1)", ""},
		{"run -h", 0, "Example:\n  gatewatch-x run --n 3\n", ""},
		{"-h", 0, "runs (the default)", ""},
		{"help", 0, "4 not enough data", ""},
		{"--version", 0, "gatewatch-x ", ""},
		{"frob", 2, "", "gatewatch-x: unknown command \"frob\""},
		{"no", 1, "", ""},
		{"far", 3, "", "gatewatch-x: ping: refused\n"},
		{"deadline", 3, "", "deadline"},
	} {
		var out, errs bytes.Buffer
		code := testApp().Main(t.Context(), &Env{Stdout: &out, Stderr: &errs}, strings.Fields(c.args))
		if code != c.code || !strings.Contains(out.String(), c.stdout) || !strings.Contains(errs.String(), c.stderr) {
			t.Errorf("%q: code %d, want %d\nstdout %q, want %q\nstderr %q, want %q", c.args, code, c.code, out.String(), c.stdout, errs.String(), c.stderr)
		}
		if c.stderr == "" && errs.Len() > 0 {
			t.Errorf("%q: stderr %q", c.args, errs.String())
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestRunStages(t *testing.T) {
	stage := func(name string, record func(string), drain time.Duration, fail error) Stage {
		return Stage{name, func(ctx context.Context) error {
			if fail != nil {
				time.Sleep(time.Second)
				return fail
			}
			<-ctx.Done()
			time.Sleep(drain)
			record(name)
			return ctx.Err()
		}}
	}
	for _, c := range []struct {
		name       string
		drain      time.Duration
		fail       error
		want       []string
		wantErr    string
		wantWithin time.Duration
	}{
		{"in order", time.Second, nil, []string{"poll", "commit", "admin"}, "", 13 * time.Second},
		{"a failure ends all", time.Second, errors.New("broken"), []string{"poll", "commit", "admin"}, "fails: broken", 4 * time.Second},
		{"late", time.Minute, nil, []string{}, "poll did not stop within 10s\ncommit did not stop within 10s\nadmin did not stop within 10s", 21 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				order := []string{}
				record := func(s string) { mu.Lock(); order = append(order, s); mu.Unlock() }
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				stages := []Stage{stage("poll", record, c.drain, nil), stage("commit", record, c.drain, nil), stage("admin", record, c.drain, nil)}
				if c.fail != nil {
					stages = append(stages, stage("fails", record, 0, c.fail))
				}
				begun := time.Now()
				err := RunStages(ctx, discard(), 10*time.Second, stages...)
				if got := fmt.Sprint(err); (c.wantErr == "") != (err == nil) || (err != nil && got != c.wantErr) {
					t.Errorf("error %v, want %q", err, c.wantErr)
				}
				if took := time.Since(begun); took > c.wantWithin {
					t.Errorf("took %s, want within %s", took, c.wantWithin)
				}
				mu.Lock()
				got := slices.Clone(order)
				mu.Unlock()
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("order (-want +got):\n%s", d)
				}
				time.Sleep(time.Hour) // let the late ones return
			})
		})
	}
}

func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAdmin(t *testing.T) {
	failing := errors.New("connection refused")
	var mu sync.Mutex
	broken := func() error { mu.Lock(); defer mu.Unlock(); return failing }
	a := NewAdmin("127.0.0.1:0", false, NewRegistry(), discard(),
		Check{"kafka", func(context.Context) error { return nil }},
		Check{"clickhouse", func(context.Context) error { return broken() }},
	)
	a.Handle("GET /runbooks/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "runbook") }))
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	base := "http://" + a.Addr()

	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 503, "ok   kafka\nFAIL clickhouse: connection refused\n"},
		{"/metrics", 200, "gatewatch_build_info{version="},
		{"/runbooks/x", 200, "runbook"},
		{"/debug/pprof/", 404, ""},
	} {
		code, body := get(t, base+c.path)
		if code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %q, want %d %q", c.path, code, body, c.code, c.want)
		}
	}
	code, body := get(t, base+"/readyz", "Accept", "application/json")
	var answer struct {
		Ready  bool
		Checks []checkResult
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 503 || answer.Ready || len(answer.Checks) != 2 || answer.Checks[1].Reason != "connection refused" {
		t.Errorf("JSON: %d %s %v", code, body, err)
	}
	mu.Lock()
	failing = nil
	mu.Unlock()
	if code, body := get(t, base+"/readyz"); code != 200 {
		t.Errorf("ready: %d %s", code, body)
	}

	taken := NewAdmin(a.Addr(), false, NewRegistry(), discard())
	if err := taken.Listen(); ExitCode(err) != CodeUsage || !strings.Contains(err.Error(), "set another `listen` address") {
		t.Errorf("taken address: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestReadyDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := probe(t.Context(), Check{"deaf", func(context.Context) error { <-release; return nil }})
		if got.OK || !strings.Contains(got.Reason, "no answer within 2s") {
			t.Errorf("%+v", got)
		}
		close(release)
	})
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, "warn")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("not shown")
	log.Warn("shown", "took", 1500*time.Millisecond)
	var line struct{ Msg, Took, Time string }
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line.Msg != "shown" || line.Took != "1.5s" || !strings.HasSuffix(line.Time, "Z") {
		t.Errorf("%s: %v", b.Bytes(), err)
	}
	if _, err := NewLogger(&b, "loud"); ExitCode(err) != CodeUsage {
		t.Errorf("level loud: %v", err)
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		in   string
		want time.Time
	}{
		{"now", now},
		{"-2h", now.Add(-2 * time.Hour)},
		{"7d", now.AddDate(0, 0, -7)},
		{"1d12h", now.Add(-36 * time.Hour)},
		{"2026-03-01T01:00:00+01:00", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)},
		{"", time.Time{}},
		{"yesterday", time.Time{}},
		{"--2h", time.Time{}},
		{"9999999999y", time.Time{}},
		{"5", time.Time{}},
	} {
		got, err := ParseTime(c.in, now)
		if !got.Equal(c.want) || (err != nil) != c.want.IsZero() {
			t.Errorf("ParseTime(%q) = %s, %v; want %s", c.in, got, err, c.want)
		}
	}
}

func TestWriteTable(t *testing.T) {
	rows := [][]string{{"a", "1"}, {"long,er", "2"}}
	var b bytes.Buffer
	if err := WriteTable(&b, true, []string{"NAME", "N"}, rows); err != nil || b.String() != "NAME,N\na,1\n\"long,er\",2\n" {
		t.Errorf("csv %q %v", b.String(), err)
	}
	b.Reset()
	if err := WriteTable(&b, false, []string{"NAME", "N"}, rows); err != nil || b.String() != "NAME     N\na        1\nlong,er  2\n" {
		t.Errorf("table %q %v", b.String(), err)
	}
}

func TestAwait(t *testing.T) {
	final := errors.New("refused")
	tries := 0
	err := Await(t.Context(), discard(), "it", func(context.Context) error {
		if tries++; tries < 2 {
			return errors.New("not yet")
		}
		return nil
	}, func(err error) bool { return errors.Is(err, final) })
	if err != nil || tries != 2 {
		t.Errorf("Await = %v after %d tries, want nil after 2", err, tries)
	}
	err = Await(t.Context(), discard(), "it", func(context.Context) error { return final }, func(err error) bool { return errors.Is(err, final) })
	if ExitCode(err) != CodeUnreachable || !errors.Is(err, final) {
		t.Errorf("Await of a final error = %v, exit code %d", err, ExitCode(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Await(ctx, discard(), "it", func(context.Context) error { return errors.New("not yet") }, func(error) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("Await of an ended context = %v", err)
	}
}
