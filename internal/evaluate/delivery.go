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
	expiry = 4 * time.Minute  // after which Alertmanager resolves what is not posted again
	again  = time.Second      // how soon a failed post is tried again
)

// A standing alert is posted again and again while it fires.
type standing struct {
	Alert
	held  bool   // not to be sent yet
	event *Event // to be recorded as sent when a post succeeds
}

// A delivery posts what fires and what has ended, and records every change. What
// fails is kept and tried again; a post comes before its record, so that a
// process that is killed in between posts once more instead of never.
type delivery struct {
	query Querier
	send  Sender // nil: nothing is sent
	now   func() time.Time
	m     *metrics
	url   string // where people reach this process

	active map[string]*standing // by objective
	ended  []Alert              // that no Alertmanager has been told yet
	events []Event              // that are not recorded yet
	due    bool                 // something is to be posted at once
	next   time.Time            // of the next post
}

// restore takes over an alert as it was posted and recorded before. One that was
// recorded and never posted stays held for the reason hold, if there is one.
func (d *delivery) restore(r Restored, hold string) {
	if _, ok := d.active[r.SLO]; ok {
		return
	}
	d.active[r.SLO] = &standing{held: hold != "" && !r.Sent, Alert: Alert{
		Labels: r.Labels, Annotations: r.Annotations, StartsAt: r.Since, GeneratorURL: d.url,
	}}
	d.due = true
}

// fire makes a the standing alert of its objective. If its labels differ from
// those of the one before, as its severity does, that one ends.
func (d *delivery) fire(t Transition, a Alert, owner, evidence, hold string) {
	name := t.Status.SLO.Name
	if old, ok := d.active[name]; ok && !old.held && !maps.Equal(old.Labels, a.Labels) {
		d.endOf(old.Alert)
	}
	e := Event{Transition: t, AlertID: t.Status.ID, Owner: owner, Labels: a.Labels, Annotations: a.Annotations, Evidence: evidence, SendError: hold}
	d.events = append(d.events, e)
	d.active[name] = &standing{Alert: a, held: hold != "", event: &e}
}

// end ends what fires for the objective of t; page is what people are told.
func (d *delivery) end(t Transition, page, evidence string) {
	name := t.Status.SLO.Name
	e := Event{Transition: t, AlertID: t.ResolvedID, Evidence: evidence}
	if a, ok := d.active[name]; ok {
		if page != "" {
			a.Annotations = maps.Clone(a.Annotations)
			a.Annotations["page"] = page
			a.Annotations["summary"], _, _ = strings.Cut(page, "\n")
		}
		e.Labels, e.Annotations, e.Owner = a.Labels, a.Annotations, a.Labels["owner"]
		if !a.held {
			d.endOf(a.Alert)
		} else {
			e.quiet, e.SendError = true, "its beginning was not sent"
		}
		delete(d.active, name)
	}
	d.events = append(d.events, e)
}

func (d *delivery) endOf(a Alert) {
	a.EndsAt = d.now()
	d.ended = append(d.ended, a)
}

// release lets everything go out that was held.
func (d *delivery) release() {
	for _, a := range d.active {
		d.due = d.due || a.held
		a.held = false
	}
}

// flush posts what is due and records what is not recorded.
func (d *delivery) flush(ctx context.Context) error {
	err := d.post(ctx)
	if len(d.events) == 0 {
		return err
	}
	if e := d.query.Record(ctx, d.events); e != nil {
		d.m.errors.WithLabelValues("record").Inc()
		return errors.Join(err, fmt.Errorf("record %d changes: %w", len(d.events), e))
	}
	d.events = nil
	return err
}

func (d *delivery) post(ctx context.Context) error {
	at := d.now()
	list := slices.Clone(d.ended)
	for _, name := range slices.Sorted(maps.Keys(d.active)) {
		if a := d.active[name]; !a.held {
			a.EndsAt = at.Add(expiry)
			list = append(list, a.Alert)
		}
	}
	if d.send == nil || len(list) == 0 || !d.due && at.Before(d.next) {
		d.due = false
		return nil
	}
	if err := d.send.Send(ctx, list); err != nil {
		d.due, d.next = false, at.Add(again)
		d.m.errors.WithLabelValues("send").Inc()
		d.outcome(time.Time{}, err.Error())
		return fmt.Errorf("post %d alerts: %w", len(list), err)
	}
	d.m.sent.Add(float64(len(list)))
	d.ended, d.due, d.next = nil, false, at.Add(repeat)
	d.outcome(d.now(), "")
	return nil
}

// outcome writes into events not recorded yet whether they were sent. An event
// that was recorded as not sent is recorded once more when it has been.
func (d *delivery) outcome(sent time.Time, fault string) {
	waiting := map[string]*standing{}
	for _, a := range d.active {
		if a.event != nil && !a.held {
			waiting[key(a.event)] = a
		}
	}
	for i := range d.events {
		e := &d.events[i]
		if _, ok := waiting[key(e)]; ok || e.Status.State == alert.Resolved && !e.quiet {
			e.SentAt, e.SendError = sent, fault
			if fault == "" {
				delete(waiting, key(e))
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

func key(e *Event) string { return e.AlertID + " " + e.At.UTC().Format(time.RFC3339) }
