package evaluate

import (
	"context"
	"reflect"
	"time"
)

// observeEvery is how often Alertmanager is asked what it does with our alerts.
const observeEvery = 30 * time.Second

// An observation is what was last seen at Alertmanager.
type observation struct {
	next time.Duration
	seen map[string]Delivered
}

// observe reads back whether alerts are active, silenced, inhibited or muted, and
// records what has changed. It is no reason for a round to fail.
func (l *Loop) observe(ctx context.Context) {
	now := l.deps.Elapsed()
	if l.deps.Observe == nil || l.out.send == nil || now < l.observed.next || len(l.out.active)+len(l.observed.seen) == 0 {
		return
	}
	l.observed.next = now + observeEvery
	list, err := l.deps.Observe.States(ctx)
	if err != nil {
		l.m.errors.WithLabelValues("observe").Inc()
		l.log.Debug("what became of alerts is not known", "err", err)
		return
	}
	seen := map[string]Delivered{}
	var changed []Delivered
	for _, d := range list {
		seen[d.AlertID] = d
		if old, ok := l.observed.seen[d.AlertID]; !ok || !reflect.DeepEqual(old, d) {
			changed = append(changed, d)
		}
	}
	for id := range l.observed.seen {
		if _, ok := seen[id]; !ok {
			changed = append(changed, Delivered{AlertID: id, State: "gone"})
		}
	}
	if len(changed) > 0 {
		if err := l.deps.Journal.RecordDelivered(ctx, l.deps.Now(), changed); err != nil {
			l.m.errors.WithLabelValues("record").Inc()
			l.log.Error("what became of alerts is not recorded", "err", err)
			return
		}
	}
	l.observed.seen = seen
}
