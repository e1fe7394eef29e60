package evaluate

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatewatch/internal/alert"
	"gatewatch/internal/slo"
)

// metrics are what the loop tells about itself.
type metrics struct {
	ticks     prometheus.Counter
	lastTick  prometheus.Gauge
	duration  prometheus.Histogram
	errors    *prometheus.CounterVec
	remaining *prometheus.GaugeVec
	burn      *prometheus.GaugeVec
	firing    *prometheus.GaugeVec
	sent      prometheus.Counter
	age       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ticks:     prometheus.NewCounter(prometheus.CounterOpts{Name: "gatewatch_alert_ticks_total", Help: "Ticks evaluated."}),
		lastTick:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_last_tick_timestamp_seconds", Help: "Event time of the last tick."}),
		duration:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gatewatch_alert_evaluation_duration_seconds", Help: "Time that one round of evaluation took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
		errors:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewatch_alert_errors_total", Help: "Rounds that failed, by what failed: query, record or send."}, []string{"reason"}),
		remaining: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_error_budget_remaining_ratio", Help: "Share of the error budget of the period that is left."}, []string{"slo"}),
		burn:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_burn_rate", Help: "How many times faster than allowed the budget is spent."}, []string{"slo", "window"}),
		firing:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_firing", Help: "1 while the objective's alert fires."}, []string{"slo", "severity"}),
		sent:      prometheus.NewCounter(prometheus.CounterOpts{Name: "gatewatch_alert_notifications_total", Help: "Alerts posted to Alertmanager, repetitions included."}),
		age:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_data_age_seconds", Help: "How long ago data was last complete."}),
	}
	reg.MustRegister(m.ticks, m.lastTick, m.duration, m.errors, m.remaining, m.burn, m.firing, m.sent, m.age)
	for _, r := range []string{"query", "record", "send"} {
		m.errors.WithLabelValues(r)
	}
	return m
}

// show publishes the state after a tick.
func (m *metrics) show(tick time.Time, list []Status) {
	m.lastTick.Set(float64(tick.Unix()))
	for _, st := range list {
		name := st.SLO.Name
		m.remaining.WithLabelValues(name).Set(st.SLO.Remaining(st.Period))
		m.burn.WithLabelValues(name, "1h").Set(st.SLO.Burn(st.Hour))
		m.burn.WithLabelValues(name, strings.ReplaceAll(slo.Span(st.SLO.Period), " ", "")).Set(st.SLO.Burn(st.Period))
		for _, sev := range []alert.Severity{alert.Page, alert.Ticket} {
			on := 0.0
			if st.State == alert.Firing && st.Severity == sev {
				on = 1
			}
			m.firing.WithLabelValues(name, sev.String()).Set(on)
		}
	}
}
