// Package replay sends logs and spans of the past through the whole path in
// accelerated time: an embedded Kafka broker, the built ingest, ClickHouse,
// aggregate's derived tables and alert's evaluation loop, whose clock is the
// data's own. What a tick of the evaluation sees has arrived by then: messages
// reach Kafka in the order and with the time of their arrival, and everything
// that is read is bounded by the tick.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/config"
	"gatewatch/internal/devstack"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/owner"
	"gatewatch/internal/rollup"
	"gatewatch/internal/runbook"
	"gatewatch/internal/slo"
	"gatewatch/runbooks"
)

// The topics of a replay.
const (
	TopicLog     = "access-log"
	TopicSpans   = "spans"
	TopicChanges = "changes"
	TopicKeys    = "keys"
)

// A Message is what a shipper hands to Kafka.
type Message struct {
	Topic   string
	Arrived time.Time // at Kafka; never before that of the message before
	Event   time.Time // what it tells of ended then; zero: at its arrival
	Value   []byte    // valid until the next call of Next
}

// A Source gives messages in the order of their arrival, and io.EOF at the end.
type Source interface{ Next() (Message, error) }

// Config says what to replay on what.
type Config struct {
	// Root is the repository, Bin the folder of the built binaries, Dir an empty
	// folder for all data.
	Root, Bin, Dir string
	// Objectives and Catalog are folders; Runbooks too, empty: those shipped.
	Objectives, Catalog, Runbooks string
	// OpenAPI are files whose paths are routes.
	OpenAPI []string
	// Alertmanager is the configuration that decides who receives what and what is
	// inhibited.
	Alertmanager string
	// LogFormat is the format of the access log, such as envoy_json.
	LogFormat string
	// Settings are further fields of gatewatch.yaml.
	Settings map[string]any
	// Speed is how many seconds of the data pass in one; 0: as many as can.
	Speed float64
	// Signals is how far apart looks for signals beyond objectives are, whole
	// minutes. Default: one, as live.
	Signals time.Duration
	// Log receives what goes on, for people.
	Log io.Writer
}

// A Replay is a running stack with the data's clock.
type Replay struct {
	config   Config
	settings *config.Config
	stack    *devstack.Stack
	feed     *feed
	view     *view
	loop     *evaluate.Loop
	windows  *aggregate.Windows
	receiver *receiver
	log      *os.File
	now      time.Time // the data's clock
	begun    time.Time // where it began
	shown    time.Time // when people were last told how far it is
}

// A ContentError is about what is to be replayed.
type ContentError struct{ error }

// Unwrap returns what is wrong.
func (e ContentError) Unwrap() error { return e.error }

// Start starts everything but the evaluation, which begins with the data.
func Start(ctx context.Context, c Config) (*Replay, error) {
	r := &Replay{config: c}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// topics are those of gatewatch.yaml.
func (c Config) topics() []map[string]any {
	log := map[string]any{"name": TopicLog, "format": c.LogFormat}
	if len(c.OpenAPI) > 0 {
		log["openapi"] = c.OpenAPI
	}
	return []map[string]any{
		log,
		{"name": TopicSpans, "format": "otlp_json"},
		{"name": TopicChanges, "format": "change_events"},
		{"name": TopicKeys, "format": "key_events"},
	}
}

// batchAge closes ingest's batches soon after all that has arrived is read.
const batchAge = "100ms"

func (r *Replay) start(ctx context.Context) error {
	c := r.config
	settings := map[string]any{
		"ingest": map[string]any{"any_event_time": true, "batch_age": batchAge},
		"alert":  map[string]any{"slos": c.Objectives, "catalog": c.Catalog, "runbooks": map[string]any{"dir": c.Runbooks}},
	}
	overlay(settings, c.Settings)
	stack, err := devstack.Start(ctx, devstack.Config{
		Root: c.Root, Bin: c.Bin, Dir: c.Dir, Partitions: 1, Topics: c.topics(), Settings: settings, WithoutAlert: true, Log: c.Log,
	})
	if err != nil {
		return err
	}
	r.stack = stack
	if _, err := stack.Command(ctx, "alert", "check"); err != nil {
		return ContentError{fmt.Errorf("the objectives, owners and runbooks: %w", err)}
	}
	if err := stack.Run(ctx, "ingest"); err != nil {
		return err
	}
	if err := keepAll(ctx, stack); err != nil {
		return err
	}
	if r.receiver, err = newReceiver(c.Alertmanager); err != nil {
		return err
	}
	if r.log, err = os.Create(filepath.Join(c.Dir, "evaluation.log")); err != nil {
		return err
	}
	if r.feed, err = newFeed(stack); err != nil {
		return err
	}
	return r.wire()
}

// keepAll lets no table forget: what a schema keeps for so many days counts from
// today, and the past may be any.
func keepAll(ctx context.Context, stack *devstack.Stack) error {
	rows, err := stack.Store.Query(ctx, "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND create_table_query LIKE '%TTL%'")
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if err := stack.Store.Exec(ctx, "ALTER TABLE "+name+" REMOVE TTL"); err != nil {
			return fmt.Errorf("keep all rows of %s: %w", name, err)
		}
	}
	return rows.Err()
}

// overlay puts further settings over others.
func overlay(into, from map[string]any) {
	for k, v := range from {
		inner, ok := v.(map[string]any)
		target, same := into[k].(map[string]any)
		if ok && same {
			overlay(target, inner)
			continue
		}
		into[k] = v
	}
}

// wire makes aggregate's and alert's parts, which run in this process for the
// sake of their clock.
func (r *Replay) wire() error {
	conf, err := config.Load(r.stack.Settings, os.Getenv)
	if err != nil {
		return err
	}
	r.settings = conf
	set, err := slo.Load(os.DirFS(conf.Alert.SLOs))
	if err != nil {
		return err
	}
	owners, err := owner.Load(os.DirFS(conf.Alert.Catalog))
	if err != nil {
		return err
	}
	books, err := runbook.Load(runbooks.FS)
	if dir := conf.Alert.Runbooks.Dir; dir != "" {
		books, err = runbook.Load(os.DirFS(dir))
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	// Derived tables are told late rows by the ledger, which is written by the
	// store's clock.
	r.windows = &aggregate.Windows{Store: r.stack.Store, Derivations: derivations(), Now: time.Now, Log: log}
	r.view = &view{Conn: r.stack.Store, now: func() time.Time { return r.now }, topic: TopicLog, every: r.config.Signals}
	r.loop = evaluate.New(conf.Alert, evaluate.Deps{
		Query: r.view, Journal: journal{r.stack.Store}, Send: r.receiver, Set: set, Owners: owners, Runbooks: books, Topics: []string{TopicLog},
		Now: func() time.Time { return r.now }, Elapsed: func() time.Duration { return r.now.Sub(r.begun) },
	}, log, prometheus.NewRegistry())
	return nil
}

// derivations are those that alert reads.
func derivations() []aggregate.Derivation {
	return slices.DeleteFunc(aggregate.Derivations(), func(d aggregate.Derivation) bool { return d.Name != "layer_1m" && d.Name != "dimension_1h" })
}

// journal keeps what alert records, but for the checkpoints of a restart that
// does not come.
type journal struct{ evaluate.Journal }

func (journal) Keep(context.Context, evaluate.Checkpoint) error { return nil }

// step is how far the clock goes between two rounds of the evaluation.
const step = time.Duration(rollup.Grain10s)

// progressEvery is how far apart the lines are that tell how far a replay is.
const progressEvery = 20 * time.Second

// Run replays a source; receive is called with what each receiver gets, in
// order. The clock goes on for calm after the last message, so that what fires
// can end.
func (r *Replay) Run(ctx context.Context, source Source, calm time.Duration, receive func(Notification) error) error {
	in := &reader{source: source}
	pace := pacer{speed: r.config.Speed}
	r.shown = time.Now()
	for {
		part, err := r.feed.load(ctx, in)
		if err != nil {
			return err
		}
		if part.end.IsZero() {
			return ContentError{errors.New("there is nothing to replay: no message with a time was read")}
		}
		if part.last {
			part.end = part.end.Add(calm)
		}
		if err := r.pass(ctx, part, &pace, receive); err != nil || part.last {
			return err
		}
	}
}

// pass lets the time of a part pass, whose messages are stored.
func (r *Replay) pass(ctx context.Context, p part, pace *pacer, receive func(Notification) error) error {
	if r.begun.IsZero() {
		r.begun, r.now = p.begin, p.begin
	}
	complete := rollup.Watermark{Topic: TopicLog, MeasuredAt: p.end, CompleteUntil: p.end, CaughtUp: true}
	spans := complete
	spans.Topic = TopicSpans
	if err := r.stack.Store.InsertWatermarks(ctx, []rollup.Watermark{complete, spans}); err != nil {
		return err
	}
	if err := r.windows.Step(ctx); err != nil {
		return err
	}
	r.view.loaded(p)
	for tick := p.begin.Truncate(step).Add(step); !tick.After(p.end); tick = tick.Add(step) {
		r.now = tick.Add(r.settings.Alert.Grace)
		if err := pace.wait(ctx, r.now); err != nil {
			return err
		}
		if err := r.loop.Step(ctx); err != nil {
			return fmt.Errorf("evaluate at %s: %w", tick.Format(time.RFC3339), err)
		}
		for _, n := range r.receiver.flush(r.now) {
			if err := receive(n); err != nil {
				return err
			}
		}
		if time.Since(r.shown) > progressEvery {
			r.shown = time.Now()
			fmt.Fprintf(r.config.Log, "replay: %s passed, until %s, %d messages\n", slo.Span(r.Passed().Truncate(time.Minute)), r.now.UTC().Format(time.DateTime), r.feed.sent)
		}
	}
	return nil
}

// Stack returns what the replay runs on, to ask it more.
func (r *Replay) Stack() *devstack.Stack { return r.stack }

// Passed returns how much of the data's time has passed.
func (r *Replay) Passed() time.Duration { return r.now.Sub(r.begun) }

// Stop ends everything.
func (r *Replay) Stop() error {
	if r.feed != nil {
		r.feed.close()
	}
	if r.log != nil {
		r.log.Close()
	}
	if r.stack == nil {
		return nil
	}
	return r.stack.Stop()
}

// A pacer holds the data's clock back to a multiple of real time.
type pacer struct {
	speed float64
	from  time.Time // of the data
	began time.Time // of the world
}

func (p *pacer) wait(ctx context.Context, now time.Time) error {
	if p.speed <= 0 {
		return ctx.Err()
	}
	if p.from.IsZero() {
		p.from, p.began = now, time.Now()
	}
	due := p.began.Add(time.Duration(float64(now.Sub(p.from)) / p.speed))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
	}
}
