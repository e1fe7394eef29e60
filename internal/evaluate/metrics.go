package evaluate

import (
	"strings"

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
	series    *prometheus.GaugeVec
	sent      prometheus.Counter
	waiting   prometheus.Gauge
	age       prometheus.Gauge

	undelivered prometheus.Gauge
	incomplete  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ticks:       prometheus.NewCounter(prometheus.CounterOpts{Name: "gatewatch_alert_ticks_total", Help: "Ticks evaluated."}),
		lastTick:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_last_tick_timestamp_seconds", Help: "Event time of the last tick."}),
		duration:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gatewatch_alert_evaluation_duration_seconds", Help: "Time that one round of evaluation took.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}),
		errors:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewatch_alert_errors_total", Help: "What failed: query, record, send or observe."}, []string{"reason"}),
		remaining:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_error_budget_remaining_ratio", Help: "Share of the error budget of the period that is left."}, []string{"slo"}),
		burn:        prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_burn_rate", Help: "How many times faster than allowed the budget is spent."}, []string{"slo", "window"}),
		firing:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_firing", Help: "How many of the objective's alerts fire: one, or one a group."}, []string{"slo", "severity"}),
		sent:        prometheus.NewCounter(prometheus.CounterOpts{Name: "gatewatch_alert_notifications_total", Help: "Alerts posted to Alertmanager, repetitions included."}),
		series:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatewatch_alert_series", Help: "Series that are judged, by objective: more than one where it is judged apart."}, []string{"slo"}),
		waiting:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_delivery_failing_seconds", Help: "How long no Alertmanager has taken alerts; 0: one does."}),
		incomplete:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_incomplete", Help: "1 while data is not complete enough to judge by: objectives are neither good nor bad."}),
		undelivered: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_undelivered", Help: "Alerts of the last post that no Alertmanager took."}),
		age:         prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatewatch_alert_data_age_seconds", Help: "How long ago data was last complete."}),
	}
	reg.MustRegister(m.ticks, m.lastTick, m.duration, m.errors, m.remaining, m.burn, m.firing, m.series, m.sent, m.waiting, m.incomplete, m.undelivered, m.age)
	for _, r := range []string{"query", "record", "send", "observe"} {
		m.errors.WithLabelValues(r)
	}
	return m
}

// show publishes the state after a tick. Objectives that are judged apart show how
// many of their groups fire, not each.
func (m *metrics) show(e *Evaluator) {
	m.lastTick.Set(float64(e.Tick().Unix()))
	for _, j := range e.objectives {
		name := j.slo.Name
		firing := map[alert.Severity]int{}
		for _, it := range j.items {
			if it.status.State == alert.Firing {
				firing[it.status.Severity]++
			}
		}
		for _, sev := range []alert.Severity{alert.Page, alert.Ticket} {
			m.firing.WithLabelValues(name, sev.String()).Set(float64(firing[sev]))
		}
		m.series.WithLabelValues(name).Set(float64(len(j.items)))
		if j.slo.Group != slo.Whole {
			continue
		}
		st := &j.items[0].status
		m.remaining.WithLabelValues(name).Set(st.SLO.Remaining(st.Period))
		m.burn.WithLabelValues(name, "1h").Set(st.SLO.Burn(st.Hour))
		m.burn.WithLabelValues(name, strings.ReplaceAll(slo.Span(st.SLO.Period), " ", "")).Set(st.SLO.Burn(st.Period))
	}
}
