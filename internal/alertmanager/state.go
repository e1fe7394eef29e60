package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/evaluate"
)

// gettable is the API's gettableAlert, as far as it is read.
type gettable struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Receivers   []struct {
		Name string `json:"name"`
	} `json:"receivers"`
	Status struct {
		State       string   `json:"state"`
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
		MutedBy     []string `json:"mutedBy"`
	} `json:"status"`
}

// alerts returns what one Alertmanager knows of the alerts that all filters match.
func (c *Client) alerts(ctx context.Context, base string, filters ...string) ([]gettable, error) {
	target := base + "/api/v2/alerts?" + url.Values{"filter": filters}.Encode()
	answer, err := c.do(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, fmt.Errorf("ask Alertmanager %s for alerts: %w", base, err)
	}
	var list []gettable
	if err := json.Unmarshal(answer, &list); err != nil {
		return nil, fmt.Errorf("ask Alertmanager %s for alerts: %w", base, err)
	}
	return list, nil
}

// States implements evaluate.Observer: what the first Alertmanager that answers
// does with our alerts.
func (c *Client) States(ctx context.Context) ([]evaluate.Delivered, error) {
	var errs []error
	for _, p := range c.peers {
		list, err := c.alerts(ctx, p.url, `slo=~".+"`)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out := []evaluate.Delivered{}
		for _, a := range list {
			id := a.Annotations["alert_id"]
			if id == "" {
				continue
			}
			d := evaluate.Delivered{AlertID: id, State: a.Status.State, SilencedBy: a.Status.SilencedBy, InhibitedBy: a.Status.InhibitedBy, MutedBy: a.Status.MutedBy}
			for _, r := range a.Receivers {
				d.Receivers = append(d.Receivers, r.Name)
			}
			for _, names := range []*[]string{&d.SilencedBy, &d.InhibitedBy, &d.MutedBy, &d.Receivers} {
				slices.Sort(*names)
			}
			out = append(out, d)
		}
		return out, nil
	}
	return nil, errors.Join(errs...)
}

// Receivers returns who receives the alerts with these labels, by what each
// Alertmanager reports, and which receiver is the default of the routes.
func (c *Client) Receivers(ctx context.Context, labels map[string]string) (names []string, fallback string, err error) {
	var filters []string
	for k, v := range labels {
		filters = append(filters, fmt.Sprintf("%s=%q", k, v))
	}
	slices.Sort(filters)
	var errs []error
	for _, p := range c.peers {
		list, err := c.alerts(ctx, p.url, filters...)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, a := range list {
			for _, r := range a.Receivers {
				if !slices.Contains(names, r.Name) {
					names = append(names, r.Name)
				}
			}
		}
		if f, err := c.defaultReceiver(ctx, p.url); err != nil {
			errs = append(errs, err)
		} else {
			fallback = f
		}
	}
	slices.Sort(names)
	if len(errs) == len(c.peers) {
		return names, fallback, errors.Join(errs...)
	}
	return names, fallback, nil
}

// defaultReceiver returns the receiver of the root of the routes.
func (c *Client) defaultReceiver(ctx context.Context, base string) (string, error) {
	answer, err := c.do(ctx, http.MethodGet, base+"/api/v2/status", nil)
	if err != nil {
		return "", fmt.Errorf("ask Alertmanager %s for its configuration: %w", base, err)
	}
	var status struct {
		Config struct {
			Original string `json:"original"`
		} `json:"config"`
	}
	var config struct {
		Route struct {
			Receiver string `yaml:"receiver"`
		} `yaml:"route"`
	}
	if err := json.Unmarshal(answer, &status); err != nil {
		return "", fmt.Errorf("read the status of Alertmanager %s: %w", base, err)
	}
	if err := yaml.Unmarshal([]byte(status.Config.Original), &config); err != nil {
		return "", fmt.Errorf("read the configuration of Alertmanager %s: %w", base, err)
	}
	return config.Route.Receiver, nil
}
