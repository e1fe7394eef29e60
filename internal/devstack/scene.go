package devstack

import (
	"context"
	"fmt"
	"time"

	"gatewatch/internal/loadgen"
)

// The SLO that the demo's outage breaks.
const (
	sceneService = "payments"
	sceneTarget  = 0.999
)

// PageDeadline is how long after the formula's moment a page may arrive.
const PageDeadline = 15 * time.Second

// A Page is a page that arrived, measured against the arithmetic.
type Page struct {
	Notification

	// Injected is when the outage began, Formula when the window arithmetic on
	// what was sent first exceeds a page threshold.
	Injected, Formula time.Time
}

// Delay is the time from the formula's moment to the arrival.
func (p Page) Delay() time.Duration { return p.At.Sub(p.Formula) }

// Text returns the page as people read it.
func (n Notification) Text() string { return n.Annotations["page"] }

// Owner returns who answers for the alert.
func (n Notification) Owner() string { return n.Labels["owner"] }

// Runbook returns the runbook that the alert names.
func (n Notification) Runbook() string { return n.Annotations["runbook"] }

// IsPage reports whether the alert is a firing page of the demo's outage.
func IsPage(n Notification) bool {
	return n.Status == "firing" && n.Labels["severity"] == "page" && n.Labels["service"] == sceneService
}

// WaitPage waits for the page of an outage that began at injected.
func (l *Load) WaitPage(ctx context.Context, injected time.Time) (Page, error) {
	n, err := l.stack.Webhook.Wait(ctx, func(n Notification) bool { return IsPage(n) && n.At.After(injected) })
	if err != nil {
		return Page{Injected: injected}, err
	}
	p := Page{Notification: n, Injected: injected}
	formula, ok := l.Account.Exceeded(sceneService, sceneTarget, loadgen.PagePairs(), injected)
	if !ok {
		return p, fmt.Errorf("a page came at %s, but the requests sent since the outage exceed no threshold", n.At.UTC().Format(time.TimeOnly))
	}
	p.Formula = formula
	return p, nil
}

// Check returns what the page lacks.
func (p Page) Check() error {
	switch {
	case p.Owner() == "":
		return fmt.Errorf("the page names no owner")
	case p.Runbook() == "":
		return fmt.Errorf("the page names no runbook")
	case p.Text() == "":
		return fmt.Errorf("the page has no text")
	case p.Delay() > PageDeadline:
		return fmt.Errorf("the page came %.1f s after the formula's moment, more than %s", p.Delay().Seconds(), PageDeadline)
	}
	return nil
}
