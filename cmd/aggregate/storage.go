package main

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
)

// storageEvery is how often disks and retention are looked at.
const storageEvery = 10 * time.Minute

// A storageWatch tells when a disk will be full and when the server keeps rows
// for another time than configured.
type storageWatch struct {
	store    *clickhouse.Conn
	conf     *config.Config
	log      *slog.Logger
	fullIn   *prometheus.GaugeVec
	drift    prometheus.Gauge
	bytes    *prometheus.GaugeVec
	complain string // what was logged last
}

func newStorageWatch(store *clickhouse.Conn, c *config.Config, log *slog.Logger, r prometheus.Registerer) *storageWatch {
	w := &storageWatch{
		store: store, conf: c, log: log,
		fullIn: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_aggregate_disk_full_in_seconds", Help: "When a disk of the store is full at the present growth; +Inf if it is not growing."}, []string{"disk"}),
		drift:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_aggregate_retention_drift", Help: "Tables whose retention on the server is not the configured one."}),
		bytes:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_aggregate_table_bytes", Help: "Bytes on disk of each level."}, []string{"table"}),
	}
	r.MustRegister(w.fullIn, w.drift, w.bytes)
	return w
}

// Run looks every ten minutes until ctx ends.
func (w *storageWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(storageEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *storageWatch) look(ctx context.Context) {
	r, err := measureRetention(ctx, w.store, w.conf, nil, time.Now())
	if err != nil {
		if ctx.Err() == nil {
			w.log.Error("disks and retention not measured", "err", err)
		}
		return
	}
	for _, d := range r.Disks {
		in := math.Inf(1)
		if d.FullIn != nil {
			in = *d.FullIn * 86400
		}
		w.fullIn.WithLabelValues(d.Name).Set(in)
	}
	for _, t := range r.Tables {
		w.bytes.WithLabelValues(t.Table).Set(float64(t.Bytes))
	}
	w.drift.Set(float64(len(r.Drift)))
	complain := strings.Join(r.faults(), "; ")
	if complain != "" && complain != w.complain {
		w.log.Warn("storage needs a hand: see gatewatch-aggregate retention", "what", complain)
	}
	w.complain = complain
}
