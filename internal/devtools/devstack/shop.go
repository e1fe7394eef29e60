package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/devstack"
	"gatewatch/internal/loadgen"
)

const (
	seed          = 1
	liveRate      = 600.0 // requests a second
	outageAfter   = 40 * time.Second
	outageLasts   = 3 * time.Minute
	slowAfter     = 5 * time.Minute
	badAfter      = 8 * time.Minute
	scenarioLasts = 2 * time.Minute
	// patience is how long after the outage a run of limited time waits for the page.
	patience = time.Minute
)

// A result is the last line of a run of limited time.
type result struct {
	Demo      string  `json:"demo"` // passed or failed
	Reason    string  `json:"reason,omitempty"`
	Page      bool    `json:"page"`
	Owner     string  `json:"owner"`
	Runbook   string  `json:"runbook"`
	PageDelay float64 `json:"page_delay_s"` // from the formula's moment to the arrival
	Formula   float64 `json:"formula_s"`    // from the outage to the formula's moment
	Rows      int64   `json:"rows"`
	Lost      int64   `json:"lost"`
	Doubled   int64   `json:"doubled"`
}

// shop runs the shop on a stack. With seconds > 0 it ends by itself and prints its result.
func shop(ctx context.Context, c devstack.Config, s *screen, begin time.Time, seconds int) error {
	s.printf("%s starting on 127.0.0.1; Ctrl-C ends it\n", s.paint(bold, "gatewatch demo"))
	r := result{Demo: "passed"}
	err := perform(ctx, c, s, begin, seconds, &r)
	if errors.Is(err, errStopped) || seconds == 0 {
		return err
	}
	if err != nil {
		r.Demo, r.Reason = "failed", err.Error()
	}
	line, jsonErr := json.Marshal(r)
	if jsonErr != nil {
		return jsonErr
	}
	s.printf("%s\n", line)
	return err
}

// perform starts a stack, plays the scene on it and stops it.
func perform(ctx context.Context, c devstack.Config, s *screen, begin time.Time, seconds int, r *result) error {
	stack, err := devstack.Start(ctx, c)
	if err != nil {
		return interrupted(ctx, err)
	}
	err = scene(ctx, s, stack, begin, seconds, r)
	stopping := time.Now()
	if stopErr := stack.Stop(); stopErr != nil {
		s.printf("%v\n", stopErr)
	}
	s.printf("stopped in %.1f s\n", time.Since(stopping).Seconds())
	return err
}

// scene plays the history, the live traffic and the outage, and fills the result.
func scene(ctx context.Context, s *screen, stack *devstack.Stack, begin time.Time, seconds int, r *result) error {
	load := stack.NewLoad(seed)
	if err := history(ctx, s, stack, load); err != nil {
		return interrupted(ctx, err)
	}
	if err := stack.Run(ctx, "alert"); err != nil {
		return interrupted(ctx, err)
	}
	addresses(s, stack)

	live, endLive := context.WithCancel(ctx)
	defer endLive()
	start := time.Now()
	outage := start.Add(outageAfter)
	sent := make(chan error, 1)
	go func() {
		sent <- load.Live(live, liveRate,
			loadgen.Scenario{Kind: loadgen.Outage, From: outage, To: outage.Add(outageLasts)},
			loadgen.Scenario{Kind: loadgen.SlowDatabase, From: start.Add(slowAfter), To: start.Add(slowAfter + scenarioLasts)},
			loadgen.Scenario{Kind: loadgen.BadClient, From: start.Add(badAfter), To: start.Add(badAfter + scenarioLasts)})
	}()
	w := &watch{stack: stack, load: load, screen: s, outage: outage, sent: sent}
	if seconds > 0 {
		w.end = begin.Add(time.Duration(seconds) * time.Second)
	}
	if err := w.run(ctx); err != nil {
		return interrupted(ctx, err)
	}
	endLive()
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return conclude(ctx, s, load, w, r)
}

// interrupted tells an error from a Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errStopped
	}
	return err
}

// history sends the past to Kafka, starts the pipelines and waits until they have read it.
func history(ctx context.Context, s *screen, stack *devstack.Stack, load *devstack.Load) error {
	h := devstack.DemoHistory()
	begin := time.Now()
	var last time.Time
	draw := func(what string, share float64, more string) {
		if s.terminal || time.Since(last) >= s.interval() {
			last = time.Now()
			s.draw([]string{fmt.Sprintf("  %s %s %3.0f %% %s", what, bar(share), 100*share, more)})
		}
	}
	err := load.SendHistory(ctx, h, func(n int64, until time.Time) {
		draw("35 days to Kafka     ", float64(n)/float64(h.Requests), fmt.Sprintf(" %d requests, up to %s", n, until.Format("Jan 2")))
	})
	if err != nil {
		return err
	}
	n, sent := load.Account.Requests(), time.Since(begin)
	s.printf("  %s %-18s %6.2f s  %d requests and %d spans of 35 days in Kafka\n",
		s.paint(green, "ready"), "history", sent.Seconds(), n, load.Account.Spans())
	if err := load.Announce(ctx); err != nil {
		return err
	}
	if err := stack.Run(ctx, "ingest", "aggregate"); err != nil {
		return err
	}
	reading := time.Now()
	if err := load.Settle(ctx, func(share float64) { draw("Kafka to ClickHouse  ", share, "") }); err != nil {
		return err
	}
	s.printf("  %s %-18s %6.2f s  all of it in ClickHouse, %.0f requests/s; sent and stored in %.1f s\n",
		s.paint(green, "ready"), "catching up", time.Since(reading).Seconds(), float64(n)/time.Since(reading).Seconds(), time.Since(begin).Seconds())
	return nil
}

func addresses(s *screen, stack *devstack.Stack) {
	s.printf(`
  Alertmanager  %s
  ClickHouse    http://%s/play  database gatewatch
                user %s, password %s
  metrics       http://%s/metrics (ingest), http://%s/metrics (aggregate),
                http://%s/metrics (alert), http://%[7]s/runbooks/slo-burn
  settings      %s
  product       bin/aggregate report digest --config %[8]s
`, stack.Alertmanager.URL, stack.Engine.HTTPAddr, stack.Engine.Username, stack.Engine.Password,
		stack.Ingest, stack.Aggregate, stack.Alert, stack.Settings)
	if dir, err := stack.WriteGrafana(); err == nil {
		if _, err := exec.LookPath("docker"); err == nil {
			s.printf("  Grafana       %s\n", devstack.GrafanaCommand(dir))
		}
	}
	s.printf("\n")
}

// A watch shows the traffic and waits for the page.
type watch struct {
	stack  *devstack.Stack
	load   *devstack.Load
	screen *screen
	outage time.Time
	end    time.Time // zero: never
	sent   <-chan error

	page    devstack.Page
	pageErr error
	arrived bool
	broken  bool // the outage has been announced
}

func (w *watch) run(ctx context.Context) error {
	tick := time.NewTicker(w.screen.interval())
	defer tick.Stop()
	pages := make(chan struct{})
	pageCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(pages)
		w.page, w.pageErr = w.load.WaitPage(pageCtx, w.outage)
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.sent:
			return fmt.Errorf("the load generator ended: %w", err)
		case <-pages:
			pages = nil
			w.arrived = true
			w.announce()
		case <-tick.C:
			if err := w.stack.Failed(); err != nil {
				return err
			}
			if !w.broken && time.Now().After(w.outage) {
				w.broken = true
				w.screen.printf("%s %s host pay-2 stops answering the writes of payments\n", w.outage.UTC().Format(time.TimeOnly), w.screen.paint(red, "OUTAGE INJECTED"))
			}
			snap, err := w.stack.Snapshot(ctx)
			if err != nil {
				return err
			}
			w.screen.draw(w.screen.view(snap, w.note()))
		}
		if w.over() {
			cancel()
			return nil
		}
	}
}

// over reports whether a run of limited time has reached its end.
func (w *watch) over() bool {
	if w.end.IsZero() {
		return false
	}
	now := time.Now()
	return now.After(w.end) && (w.arrived || now.After(w.outage.Add(patience)))
}

func (w *watch) note() string {
	switch {
	case !w.broken:
		return fmt.Sprintf("an upstream of payments fails in %.0f s", time.Until(w.outage).Seconds())
	case !w.arrived:
		return fmt.Sprintf("outage since %.0f s; waiting for the page", time.Since(w.outage).Seconds())
	default:
		return ""
	}
}

// announce prints the page as it was received.
func (w *watch) announce() {
	p := w.page
	if p.At.IsZero() {
		return
	}
	s := w.screen
	rule := s.paint(dim, strings.Repeat("─", 80))
	s.printf("\n%s received by the webhook, %s\n%s\n%s\n%s\n", s.paint(bold, p.At.UTC().Format("15:04:05.0")),
		labels(p.Labels), rule, strings.TrimRight(p.Text(), "\n"), rule)
	if w.pageErr != nil {
		s.printf("%v\n\n", w.pageErr)
		return
	}
	s.printf("outage injected → page received: %s, formula at +%.1f s (%.1f s before the page)\n\n",
		s.paint(bold, fmt.Sprintf("%.1f s", p.At.Sub(p.Injected).Seconds())), p.Formula.Sub(p.Injected).Seconds(), p.Delay().Seconds())
}

// labels writes an alert's labels as Alertmanager does.
func labels(set map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(set)) {
		parts = append(parts, fmt.Sprintf("%s=%q", k, set[k]))
	}
	return strings.Join(parts, " ")
}

// conclude checks everything that was sent and fills the result.
func conclude(ctx context.Context, s *screen, load *devstack.Load, w *watch, r *result) error {
	settle, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := load.Settle(settle, nil); err != nil {
		return err
	}
	v, err := load.Verify(ctx, devstack.VerifyOptions{})
	if err != nil {
		return err
	}
	r.Page, r.Rows, r.Lost, r.Doubled = w.arrived, v.Rows, v.Lost, v.Doubled
	switch {
	case !w.arrived:
		err = errors.New("no page arrived")
	case w.pageErr != nil:
		err = w.pageErr
	default:
		err = w.page.Check()
		r.Owner, r.Runbook = w.page.Owner(), w.page.Runbook()
		r.PageDelay, r.Formula = tenths(w.page.Delay()), tenths(w.page.Formula.Sub(w.page.Injected))
	}
	if v.Err() == nil {
		s.printf("ingest verify: nothing lost, nothing doubled; counts equal what was sent\n")
	}
	return errors.Join(err, v.Err())
}

func tenths(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }
