// Package aggregate measures how far each topic is complete (DESIGN D4) and
// repairs rollups that differ from the raw rows. The first levels of the rollups
// are fed by the insert itself; this package never writes them in live running.
// Several instances may run side by side: each writes what it has measured, and
// all measurements are true.
package aggregate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/rollup"
)

// A Broker knows where topics end.
type Broker interface {
	// Ends returns the bounds of all partitions of a topic as of now.
	Ends(ctx context.Context, topic string) ([]rollup.PartitionEnd, error)
	// MessageTime returns Kafka's time of the first message at or after offset; ok
	// is false if it could not be seen.
	MessageTime(ctx context.Context, topic string, partition int32, offset int64) (t time.Time, ok bool, err error)
	// Retention returns how long a topic's messages are kept, 0 if for ever.
	Retention(ctx context.Context, topic string) (time.Duration, error)
}

// A Ledger knows what is stored.
type Ledger interface {
	// Reaches returns how far the ledger has come in each partition of topics that
	// has a batch. Since holds what is known already; a partition in it is looked
	// for from there on only.
	Reaches(ctx context.Context, topics []string, since []rollup.Reach) ([]rollup.Reach, error)
	// EventDelays returns, per topic, the 99.9th percentile of Kafka time minus
	// event time over the rows that came since then.
	EventDelays(ctx context.Context, since time.Time) (map[string]time.Duration, error)
}

// A Record keeps measurements.
type Record interface {
	// Watermarks returns the newest measurement of each topic.
	Watermarks(ctx context.Context) ([]rollup.Watermark, error)
	InsertWatermarks(ctx context.Context, ws []rollup.Watermark) error
}

const (
	// delayEvery is how often the event delay is measured, over delayWindow.
	delayEvery  = 30 * time.Second
	delayWindow = 5 * time.Minute
	// rereadEvery is how often the ledger is read from its beginning, in case the
	// database was replaced.
	rereadEvery = 10 * time.Minute
	// retentionEvery is how often the topics' retention is asked for.
	retentionEvery = 10 * time.Minute
	// measureTimeout bounds one measurement.
	measureTimeout = 20 * time.Second
	// logEvery limits how often one trouble is logged.
	logEvery = time.Minute
)

// partition names a partition.
type partition struct {
	topic string
	id    int32
}

// seen is the Kafka time of the message at an offset.
type seen struct {
	offset int64
	time   time.Time
}

// A Measurer measures completeness. It is used by one goroutine.
type Measurer struct {
	conf    Config
	topics  []string
	broker  Broker
	ledger  Ledger
	record  Record
	now     func() time.Time
	log     *slog.Logger
	metrics *metrics

	reaches  map[partition]int64
	rereadAt time.Time
	first    map[partition]seen // the first message that is not stored, where one was looked up
	caughtUp map[string]bool    // nil: not read from the record yet
	delays   map[string]time.Duration
	delaysAt time.Time
	loggedAt time.Time

	retention   map[string]time.Duration // of topics that say it
	retentionAt time.Time
	warnedAt    map[string]time.Time // of topics at risk
}

// Deps is what a Measurer works with.
type Deps struct {
	Broker   Broker
	Ledger   Ledger
	Record   Record
	Now      func() time.Time
	Log      *slog.Logger
	Registry prometheus.Registerer
}

// New returns a measurer for topics.
func New(c Config, topics []string, d Deps) *Measurer {
	return &Measurer{
		conf: c, topics: topics, broker: d.Broker, ledger: d.Ledger, record: d.Record, now: d.Now, log: d.Log,
		metrics: newMetrics(d.Registry),
		reaches: map[partition]int64{}, first: map[partition]seen{}, retention: map[string]time.Duration{}, warnedAt: map[string]time.Time{},
	}
}

// Run measures at every interval until ctx ends. A measurement that fails is
// logged and tried again at the next interval; until then readers see an older
// one, which stays true.
func (m *Measurer) Run(ctx context.Context) error {
	tick := time.NewTicker(m.conf.Interval)
	defer tick.Stop()
	for {
		begin := m.now()
		if _, err := m.Measure(ctx); err != nil && ctx.Err() == nil {
			m.metrics.failures.Inc()
			if m.now().Sub(m.loggedAt) >= logEvery {
				m.loggedAt = m.now()
				m.log.Error("completeness not measured", "err", err)
			}
		}
		m.metrics.seconds.Observe(m.now().Sub(begin).Seconds())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Measure measures all topics once and records the result. A topic that can't
// be measured does not keep the others from it.
func (m *Measurer) Measure(ctx context.Context) ([]rollup.Watermark, error) {
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	if err := m.remember(ctx); err != nil {
		return nil, err
	}
	var errs []error
	// The ends are asked for before the ledger is read: what was stored in
	// between only makes the answer too careful.
	ends := map[string][]rollup.PartitionEnd{}
	for _, topic := range m.topics {
		e, err := m.broker.Ends(ctx, topic)
		if err != nil {
			errs = append(errs, fmt.Errorf("end of topic %s: %w", topic, err))
			continue
		}
		ends[topic] = e
	}
	if err := m.readLedger(ctx); err != nil {
		return nil, errors.Join(append(errs, err)...)
	}
	m.measureDelays(ctx)
	m.readRetention(ctx)

	var ws []rollup.Watermark
	for _, topic := range m.topics {
		w, ok, err := m.topic(ctx, topic, ends[topic])
		if err != nil {
			errs = append(errs, err)
		}
		if ok {
			ws = append(ws, w)
		}
	}
	if len(ws) > 0 {
		if err := m.record.InsertWatermarks(ctx, ws); err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		for _, w := range ws {
			m.caughtUp[w.Topic] = w.CaughtUp
			m.metrics.observe(w)
			m.warn(w)
		}
	}
	return ws, errors.Join(errs...)
}

// remember reads once which topics had caught up before this process began.
func (m *Measurer) remember(ctx context.Context) error {
	if m.caughtUp != nil {
		return nil
	}
	ws, err := m.record.Watermarks(ctx)
	if err != nil {
		return err
	}
	m.caughtUp = map[string]bool{}
	for _, w := range ws {
		m.caughtUp[w.Topic] = w.CaughtUp
	}
	return nil
}

func (m *Measurer) readLedger(ctx context.Context) error {
	var since []rollup.Reach
	if m.now().Sub(m.rereadAt) < rereadEvery {
		for p, next := range m.reaches {
			since = append(since, rollup.Reach{Topic: p.topic, Partition: p.id, Next: next})
		}
	}
	reaches, err := m.ledger.Reaches(ctx, m.topics, since)
	if err != nil {
		return err
	}
	if since == nil {
		m.reaches, m.rereadAt = map[partition]int64{}, m.now()
	}
	for _, r := range reaches {
		p := partition{r.Topic, r.Partition}
		m.reaches[p] = max(m.reaches[p], r.Next)
	}
	return nil
}

// measureDelays renews the event delays now and then. They are shown beside the
// completeness and decide nothing, so a failure is only counted.
func (m *Measurer) measureDelays(ctx context.Context) {
	if now := m.now(); now.Sub(m.delaysAt) >= delayEvery {
		m.delaysAt = now
		delays, err := m.ledger.EventDelays(ctx, now.Add(-delayWindow))
		if err != nil {
			m.metrics.failures.Inc()
			return
		}
		m.delays = delays
	}
}

// readRetention asks for the topics' retention now and then. Who may not know it
// (it takes DescribeConfigs on the topic) is not warned, so a failure is logged.
func (m *Measurer) readRetention(ctx context.Context) {
	now := m.now()
	if now.Sub(m.retentionAt) < retentionEvery {
		return
	}
	m.retentionAt = now
	for _, topic := range m.topics {
		keep, err := m.broker.Retention(ctx, topic)
		if err != nil {
			m.log.Warn("retention not known: allow DescribeConfigs on the topic to be warned before Kafka deletes what is not stored", "topic", topic, "err", err)
			continue
		}
		m.retention[topic] = keep
	}
}

// warn logs once a minute that a topic is so far behind that it may lose messages.
func (m *Measurer) warn(w rollup.Watermark) {
	if now := m.now(); w.AtRisk() && now.Sub(m.warnedAt[w.Topic]) >= logEvery {
		m.warnedAt[w.Topic] = now
		m.log.Error("messages will be lost: what is not stored has lived for more than half of Kafka's retention",
			"topic", w.Topic, "behind", w.MeasuredAt.Sub(w.CompleteUntil).Round(time.Second), "retention", w.Retention, "lag", w.Lag)
	}
}

// topic returns a topic's watermark.
func (m *Measurer) topic(ctx context.Context, topic string, ends []rollup.PartitionEnd) (rollup.Watermark, bool, error) {
	var parts []rollup.PartitionState
	for _, e := range ends {
		s, err := m.partition(ctx, e)
		if err != nil {
			return rollup.Watermark{}, false, err
		}
		parts = append(parts, s)
	}
	w, ok := rollup.Combine(topic, m.caughtUp[topic], parts)
	w.EventDelay, w.Retention = m.delays[topic], m.retention[topic]
	return w, ok, nil
}

// partition says how far a partition is complete: until its end was asked for
// if nothing is missing, else until the first message that is.
func (m *Measurer) partition(ctx context.Context, e rollup.PartitionEnd) (rollup.PartitionState, error) {
	p := partition{e.Topic, e.Partition}
	first, n := e.Missing(m.reaches[p])
	state := rollup.PartitionState{CompleteUntil: e.AsOf, AsOf: e.AsOf, Lag: n}
	if n == 0 {
		delete(m.first, p)
		return state, nil
	}
	if s, ok := m.first[p]; ok && s.offset == first {
		state.CompleteUntil = s.time
		return state, nil
	}
	t, ok, err := m.broker.MessageTime(ctx, e.Topic, e.Partition, first)
	if err != nil {
		return state, fmt.Errorf("time of message %d of %s/%d: %w", first, e.Topic, e.Partition, err)
	}
	if !ok {
		return state, fmt.Errorf("message %d of %s/%d could not be read", first, e.Topic, e.Partition)
	}
	m.first[p] = seen{first, t}
	state.CompleteUntil = t
	return state, nil
}
