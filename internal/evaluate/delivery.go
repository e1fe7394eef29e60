package evaluate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/alert"
)

const (
	repeat = 30 * time.Second // how often firing alerts are posted again
	again  = time.Second      // how soon a failed post is tried again
)

// A standing alert is posted again and again while it fires.
type standing struct {
	Alert
	held    bool   // not to be sent yet
	preview bool   // nor ever
	event   *Event // to be recorded as sent when a post succeeds
}

// A delivery posts what fires and what has ended, and records every change. What
// fails is kept and tried again; a post comes before its record, so that a
// process that is killed in between posts once more instead of never.
type delivery struct {
	journal Journal
	send    Sender // nil: nothing is sent
	now     func() time.Time
	elapsed func() time.Duration // a clock that nobody sets
	m       *metrics
	url     string // where people reach this process
	deadman *Alert // that shows that this process is alive; nil: none
	alive   bool   // everything is judged

	active map[string]*standing // by series
	ended  []Alert              // that no Alertmanager has been told yet
	events []Event              // that are not recorded yet
	due    bool                 // something is to be posted at once
	next   time.Duration        // of the next post
	failed time.Duration        // since when posts have failed; 0: they do not
}

// deadman returns the alert that fires for as long as all is well.
func deadman(c Config) *Alert {
	if !c.DeadMansSwitch {
		return nil
	}
	labels := map[string]string{"alertname": "GatewatchAlive", "slo": "alive", "service": "gatewatch", "owner": c.DefaultOwner, "severity": "none"}
	maps.Copy(labels, c.ExtraLabels)
	return &Alert{Labels: labels, Annotations: map[string]string{
		"summary": "gatewatch judges all objectives; when this alert ends, it does not", "page": "gatewatch judges all objectives; when this alert ends, it does not",
	}, GeneratorURL: c.external() + "/"}
}

// restore takes over an alert as it was posted and recorded before. One that was
// recorded and never posted stays held for the reason hold, if there is one.
func (d *delivery) restore(series string, r Restored, hold string) {
	if _, ok := d.active[series]; ok {
		return
	}
	d.active[series] = &standing{held: hold != "" && !r.Sent, Alert: Alert{
		Labels: r.Labels, Annotations: r.Annotations, StartsAt: r.Since, GeneratorURL: d.url,
	}}
	d.due = true
}

// fire makes a the standing alert of its objective. If its labels differ from
// those of the one before, as its severity does, that one ends.
func (d *delivery) fire(t Transition, a Alert, owner, evidence, hold string) {
	name := t.Status.Series()
	if old, ok := d.active[name]; ok && !old.held && !maps.Equal(old.Labels, a.Labels) {
		d.endOf(old.Alert, t.At)
	}
	e := Event{Transition: t, AlertID: t.Status.ID, Owner: owner, Labels: a.Labels, Annotations: a.Annotations, Evidence: evidence, SendError: hold}
	d.events = append(d.events, e)
	d.active[name] = &standing{Alert: a, held: hold != "", preview: hold == preview || hold == unsendable, event: &e}
}

// end ends what fires for the objective of t; page is what people are told.
func (d *delivery) end(t Transition, page, evidence string) {
	name := t.Status.Series()
	e := Event{Transition: t, AlertID: t.ResolvedID, Evidence: evidence}
	if a, ok := d.active[name]; ok {
		if page != "" {
			a.Annotations = maps.Clone(a.Annotations)
			a.Annotations["page"] = page
			a.Annotations["summary"], _, _ = strings.Cut(page, "\n")
		}
		e.Labels, e.Annotations, e.Owner = a.Labels, a.Annotations, a.Labels["owner"]
		if !a.held {
			d.endOf(a.Alert, t.At)
		} else {
			e.quiet, e.SendError = true, "its beginning was not sent"
		}
		delete(d.active, name)
	}
	d.events = append(d.events, e)
}

// endOf ends an alert at a tick: a time that has passed by every clock, ours may
// be wrong. What fires has no end for the same reason: Alertmanager ends it when
// it is not posted again within its resolve_timeout.
func (d *delivery) endOf(a Alert, at time.Time) {
	if a.EndsAt = at; !at.After(a.StartsAt) {
		a.EndsAt = a.StartsAt.Add(time.Second)
	}
	d.ended = append(d.ended, a)
}

// Why some alerts are recorded and never sent: their objective is in preview, or
// they are about the Alertmanagers themselves.
const (
	preview    = "preview: recorded, not sent"
	unsendable = "recorded, not sent: it is about those that would send it"
)

// release lets everything go out that was held, but for what is in preview.
func (d *delivery) release() {
	for _, a := range d.active {
		if a.held && !a.preview {
			d.due = true
			a.held = false
		}
	}
}

// flush posts what is due and records what is not recorded.
func (d *delivery) flush(ctx context.Context) error {
	err := d.post(ctx)
	if len(d.events) == 0 {
		return err
	}
	if e := d.journal.Record(ctx, d.events); e != nil {
		d.m.errors.WithLabelValues("record").Inc()
		return errors.Join(err, fmt.Errorf("record %d changes: %w", len(d.events), e))
	}
	d.events = nil
	return err
}

func (d *delivery) post(ctx context.Context) error {
	list := slices.Clone(d.ended)
	for _, name := range slices.Sorted(maps.Keys(d.active)) {
		if a := d.active[name]; !a.held {
			list = append(list, a.Alert)
		}
	}
	if d.deadman != nil && d.alive {
		list = append(list, *d.deadman)
	}
	if d.send == nil || len(list) == 0 || !d.due && d.elapsed() < d.next {
		d.due = false
		return nil
	}
	if err := d.send.Send(ctx, list); err != nil {
		d.due, d.next = false, d.elapsed()+again
		if d.failed == 0 {
			d.failed = max(1, d.elapsed())
		}
		d.m.undelivered.Set(float64(len(list)))
		d.m.errors.WithLabelValues("send").Inc()
		d.outcome(time.Time{}, err.Error())
		return fmt.Errorf("post %d alerts: %w", len(list), err)
	}
	d.m.sent.Add(float64(len(list)))
	d.m.undelivered.Set(0)
	d.ended, d.due, d.next, d.failed = nil, false, d.elapsed()+repeat, 0
	d.outcome(d.now(), "")
	return nil
}

// outcome writes into events not recorded yet whether they were sent. An event
// that was recorded as not sent is recorded once more when it has been.
func (d *delivery) outcome(sent time.Time, fault string) {
	waiting := map[string]*standing{}
	for _, a := range d.active {
		if a.event != nil && !a.held {
			waiting[a.event.Key()] = a
		}
	}
	for i := range d.events {
		e := &d.events[i]
		if _, ok := waiting[e.Key()]; ok || e.Status.State == alert.Resolved && !e.quiet {
			e.SentAt, e.SendError = sent, fault
			if fault == "" {
				delete(waiting, e.Key())
			}
		}
	}
	if fault != "" {
		return
	}
	for _, a := range waiting {
		again := *a.event
		again.SentAt, again.SendError = sent, ""
		d.events = append(d.events, again)
	}
	for _, a := range d.active {
		if !a.held {
			a.event = nil
		}
	}
}
