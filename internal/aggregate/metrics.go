package aggregate

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/rollup"
)

type metrics struct {
	failures                     prometheus.Counter
	seconds                      prometheus.Histogram
	completeUntil, lag, caughtUp *prometheus.GaugeVec
	eventDelay, atRisk           *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_aggregate_" + name, Help: help}, []string{"topic"})
		r.MustRegister(g)
		return g
	}
	m := &metrics{
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatewatch_aggregate_measure_failures_total", Help: "Measurements of completeness that failed for at least one topic.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewatch_aggregate_measure_seconds", Help: "Time that a measurement of completeness took.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		completeUntil: gauge("complete_until_timestamp_seconds", "Kafka time up to which everything of a topic is stored."),
		lag:           gauge("lag_messages", "Messages of a topic that are not stored yet."),
		caughtUp:      gauge("caught_up", "1 once a topic has been read to its end."),
		eventDelay:    gauge("event_delay_p999_seconds", "99.9th percentile of Kafka time minus event time over the last minutes."),
		atRisk:        gauge("retention_at_risk", "1 while messages that are not stored have lived for more than half of the topic's retention in Kafka."),
	}
	r.MustRegister(m.failures, m.seconds)
	return m
}

func (m *metrics) observe(w rollup.Watermark) {
	m.completeUntil.WithLabelValues(w.Topic).Set(float64(w.CompleteUntil.UnixMilli()) / 1000)
	m.lag.WithLabelValues(w.Topic).Set(float64(w.Lag))
	m.caughtUp.WithLabelValues(w.Topic).Set(number(w.CaughtUp))
	m.atRisk.WithLabelValues(w.Topic).Set(number(w.AtRisk()))
	m.eventDelay.WithLabelValues(w.Topic).Set(w.EventDelay.Seconds())
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
