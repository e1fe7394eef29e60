// Package alertmanager posts alerts to the API v2 of one or several
// Alertmanagers, which do grouping, silences, repetition and receivers.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"gatewatch/internal/evaluate"
)

// A Client posts to all of a set of Alertmanagers. It implements evaluate.Sender.
type Client struct {
	urls []string
	http *http.Client
}

// timeout bounds one request.
const timeout = 5 * time.Second

// New returns a client for base URLs such as http://alertmanager:9093.
func New(urls []string) *Client {
	c := &Client{http: &http.Client{Timeout: timeout}}
	for _, u := range urls {
		c.urls = append(c.urls, strings.TrimRight(u, "/"))
	}
	return c
}

// A postable is the API's postableAlert.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     string            `json:"startsAt,omitempty"`
	EndsAt       string            `json:"endsAt,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Encode returns the body of POST /api/v2/alerts. Labels without a value are left out.
func Encode(alerts []evaluate.Alert) ([]byte, error) {
	list := make([]postable, 0, len(alerts))
	for _, a := range alerts {
		p := postable{Labels: map[string]string{}, Annotations: a.Annotations, GeneratorURL: a.GeneratorURL}
		for k, v := range a.Labels {
			if v != "" {
				p.Labels[k] = v
			}
		}
		if !a.StartsAt.IsZero() {
			p.StartsAt = a.StartsAt.UTC().Format(time.RFC3339Nano)
		}
		if !a.EndsAt.IsZero() {
			p.EndsAt = a.EndsAt.UTC().Format(time.RFC3339Nano)
		}
		list = append(list, p)
	}
	return json.Marshal(list)
}

// Send posts the alerts to every Alertmanager at the same time. It fails only
// if none took them: the peers of a cluster tell each other.
func (c *Client) Send(ctx context.Context, alerts []evaluate.Alert) error {
	body, err := Encode(alerts)
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	results := make(chan error, len(c.urls))
	for _, u := range c.urls {
		go func() { results <- c.post(ctx, u, body) }()
	}
	var errs []error
	for range c.urls {
		if err := <-results; err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == len(c.urls) {
		return errors.Join(errs...)
	}
	return nil
}

func (c *Client) post(ctx context.Context, base string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v2/alerts", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post to Alertmanager: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("post to Alertmanager: %w", err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("post to Alertmanager %s: %s: %s", base, res.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// Check reports whether an Alertmanager answers at all, one error for each that doesn't.
func (c *Client) Check(ctx context.Context) error {
	var errs []error
	for _, u := range c.urls {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u+"/-/ready", nil)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		res, err := c.http.Do(req)
		if err != nil {
			errs = append(errs, fmt.Errorf("ask Alertmanager: %w", err))
			continue
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			errs = append(errs, fmt.Errorf("Alertmanager %s is not ready: %s", u, res.Status))
		}
	}
	return errors.Join(errs...)
}
