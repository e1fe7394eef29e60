package ingest

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	messages, rows, bytes, batches, deadLetters, retries *prometheus.CounterVec
	seconds                                              *prometheus.CounterVec
	lag, held                                            *prometheus.GaugeVec
	freshness                                            prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewatch_ingest_" + name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	m := &metrics{
		messages:    counter("messages_total", "Messages that are stored.", "topic"),
		rows:        counter("rows_total", "Rows that are stored.", "topic"),
		bytes:       counter("message_bytes_total", "Bytes of messages that are stored.", "topic"),
		batches:     counter("batches_total", "Batches that are stored.", "topic"),
		deadLetters: counter("dead_letters_total", "Messages that could not be read.", "topic", "reason"),
		retries:     counter("retries_total", "Calls that failed and were tried again.", "stage"),
		seconds:     counter("stage_seconds_total", "Wall time spent in each stage, summed over partitions.", "stage"),
		lag:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_ingest_lag_messages", Help: "Messages of a partition that are not read yet."}, []string{"topic", "partition"}),
		held:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_ingest_held_partitions", Help: "Partitions that are not read until somebody decides; the log and /readyz say why."}, []string{"topic"}),
		freshness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatewatch_ingest_freshness_seconds", Help: "From a batch's first Kafka time to its rows being visible.",
			Buckets: []float64{.1, .25, .5, 1, 2, 3, 5, 10, 30, 60, 300, 3600},
		}),
	}
	r.MustRegister(m.lag, m.held, m.freshness)
	return m
}
