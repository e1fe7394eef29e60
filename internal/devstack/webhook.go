package devstack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A Notification is one alert as a receiver gets it from Alertmanager.
type Notification struct {
	At          time.Time // when it was received
	Status      string    // firing or resolved
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
}

// A Webhook receives Alertmanager's notifications (webhook version 4) and keeps them.
type Webhook struct {
	URL string

	server *http.Server
	mu     sync.Mutex
	list   []Notification
	more   chan struct{} // closed and replaced when the list grows
}

func startWebhook() (*Webhook, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	w := &Webhook{URL: "http://" + l.Addr().String() + "/alerts", more: make(chan struct{})}
	w.server = &http.Server{Handler: w, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = w.server.Serve(l) }() // ends with Close
	return w, nil
}

// ServeHTTP takes one notification.
func (w *Webhook) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	at := time.Now()
	var body struct {
		Alerts []struct {
			Status      string
			Labels      map[string]string
			Annotations map[string]string
			StartsAt    time.Time
		}
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 4<<20)).Decode(&body); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range body.Alerts {
		w.list = append(w.list, Notification{At: at, Status: a.Status, Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt})
	}
	close(w.more)
	w.more = make(chan struct{})
}

// Received returns all notifications so far, in their order.
func (w *Webhook) Received() []Notification {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clip(w.list)
}

// Wait returns the first notification that match accepts, as soon as there is one.
func (w *Webhook) Wait(ctx context.Context, match func(Notification) bool) (Notification, error) {
	for seen := 0; ; {
		w.mu.Lock()
		list, more := w.list, w.more
		w.mu.Unlock()
		for ; seen < len(list); seen++ {
			if match(list[seen]) {
				return list[seen], nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Notification{}, ctx.Err()
		}
	}
}

func (w *Webhook) close() { _ = w.server.Close() }
