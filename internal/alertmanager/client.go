// Package alertmanager posts alerts to the API v2 of one or several
// Alertmanagers, which do grouping, silences, repetition and receivers.
package alertmanager

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"gatewatch/internal/evaluate"
)

// A Client posts to all of a set of Alertmanagers. It implements evaluate.Sender.
type Client struct {
	peers []*peer
	auth  evaluate.AlertmanagerAuth
	http  *http.Client
}

// A peer is one Alertmanager.
type peer struct {
	url string

	mu   sync.Mutex
	last chan struct{} // closed when the last request handed to it has ended
}

// next returns what closes when it is the caller's turn, and what the caller
// closes when it is done.
func (p *peer) next() (before <-chan struct{}, after chan<- struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn, done := p.last, make(chan struct{})
	p.last = done
	return turn, done
}

// timeout bounds one request.
const timeout = 5 * time.Second

// New returns a client for base URLs such as http://alertmanager:9093 or
// https://host/alertmanager.
func New(urls []string, auth evaluate.AlertmanagerAuth) (*Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if auth.CAFile != "" {
		pem, err := os.ReadFile(auth.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read alert.alertmanager_auth.ca_file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("alert.alertmanager_auth.ca_file %s holds no PEM certificate", auth.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	if auth.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(auth.CertFile, auth.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read alert.alertmanager_auth.cert_file: %w", err)
		}
		if transport.TLSClientConfig == nil {
			transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		transport.TLSClientConfig.Certificates = []tls.Certificate{cert}
	}
	c := &Client{auth: auth, http: &http.Client{Timeout: timeout, Transport: transport, CheckRedirect: noRedirect}}
	for _, u := range urls {
		idle := make(chan struct{})
		close(idle)
		c.peers = append(c.peers, &peer{url: strings.TrimRight(u, "/"), last: idle})
	}
	return c, nil
}

// noRedirect lets a redirect, as login pages answer with, count as a failure.
// Followed, a POST would become a GET whose 200 looks like success.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// A postable is the API's postableAlert.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     string            `json:"startsAt,omitempty"`
	EndsAt       string            `json:"endsAt,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// What an alert may hold: receivers and proxies refuse more. The page is shorter
// by contract; a label of traffic may be anything.
const (
	maxLabel      = 1024     // bytes of a value
	maxAnnotation = 8 << 10  // bytes of a value
	maxAlert      = 32 << 10 // bytes of all annotations
)

// bounded returns annotations within the limits: values are cut, and the longest
// are left out last of all but the page.
func bounded(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	left := maxAlert
	for _, k := range slices.SortedFunc(maps.Keys(in), func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(len(in[a]), len(in[b])), cmp.Compare(a, b))
	}) {
		v := cut(in[k], min(maxAnnotation, left))
		if v != "" || in[k] == "" {
			out[k] = v
			left -= len(v)
		}
	}
	return out
}

// rank puts what people need first.
func rank(name string) int {
	if name == "page" || name == "summary" {
		return 0
	}
	return 1
}

// cut shortens s to at most n bytes, at a rune's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Encode returns the body of POST /api/v2/alerts. Labels without a value are left
// out, and what is too long is cut.
func Encode(alerts []evaluate.Alert) ([]byte, error) {
	list := make([]postable, 0, len(alerts))
	for _, a := range alerts {
		p := postable{Labels: map[string]string{}, Annotations: bounded(a.Annotations), GeneratorURL: a.GeneratorURL}
		for k, v := range a.Labels {
			if v != "" {
				p.Labels[k] = strings.ToValidUTF8(cut(v, maxLabel), "\uFFFD")
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

// Send posts the alerts to every Alertmanager at the same time and returns as
// soon as one has taken them; the others are served in the background, each in
// the order of calls and also after ctx has ended. It fails only if none took the alerts: the peers of a
// cluster tell each other.
func (c *Client) Send(ctx context.Context, alerts []evaluate.Alert) error {
	body, err := Encode(alerts)
	if err != nil {
		return fmt.Errorf("encode alerts: %w", err)
	}
	results := make(chan error, len(c.peers))
	for _, p := range c.peers {
		before, after := p.next()
		go func() {
			defer close(after)
			<-before
			results <- c.post(context.WithoutCancel(ctx), p.url, body)
		}()
	}
	var errs []error
	for range c.peers {
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return fmt.Errorf("post to Alertmanager: %w", ctx.Err())
		}
	}
	return errors.Join(errs...)
}

// attempts is how often a request is made before it counts as failed; an alert
// is posted again later in any case.
const attempts = 2

func (c *Client) post(ctx context.Context, base string, body []byte) error {
	for attempt := 1; ; attempt++ {
		_, err := c.do(ctx, http.MethodPost, base+"/api/v2/alerts", body)
		if err == nil {
			return nil
		}
		var refused *statusError
		if attempt == attempts || ctx.Err() != nil || errors.As(err, &refused) && refused.code < 500 {
			return fmt.Errorf("post to Alertmanager %s: %w", base, err)
		}
	}
}

// A statusError is an answer other than 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s: %s", e.code, http.StatusText(e.code), e.text))
}

// maxAnswer bounds what is read of an answer; maxQuoted what errors quote of it.
const (
	maxAnswer = 1 << 20
	maxQuoted = 300
)

// do makes one request and returns the answer's body.
func (c *Client) do(ctx context.Context, method, target string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.auth.Headers {
		req.Header.Set(name, value)
	}
	if err := c.login(req); err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return nil, inner.Err // the caller names the address
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if res.StatusCode != http.StatusOK {
		return nil, &statusError{res.StatusCode, strings.TrimSpace(string(answer[:min(len(answer), maxQuoted)]))}
	}
	return answer, err
}

func (c *Client) login(req *http.Request) error {
	if c.auth.Username != "" {
		password, err := secret(c.auth.PasswordFile)
		if err != nil {
			return err
		}
		req.SetBasicAuth(c.auth.Username, password)
	}
	if c.auth.BearerTokenFile != "" {
		token, err := secret(c.auth.BearerTokenFile)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

func secret(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// A Peer is what an Alertmanager says of itself.
type Peer struct {
	URL     string
	Version string
	Cluster string // ready, settling or disabled
}

// Peers asks every Alertmanager for its status, through the same API and login
// as alerts take. Its error joins one for each that doesn't answer.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	var peers []Peer
	var errs []error
	for _, p := range c.peers {
		answer, err := c.do(ctx, http.MethodGet, p.url+"/api/v2/status", nil)
		var status struct {
			Cluster struct {
				Status string `json:"status"`
			} `json:"cluster"`
			VersionInfo struct {
				Version string `json:"version"`
			} `json:"versionInfo"`
		}
		if err == nil {
			err = json.Unmarshal(answer, &status)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("ask Alertmanager %s for its status: %w", p.url, err))
			continue
		}
		peers = append(peers, Peer{p.url, status.VersionInfo.Version, status.Cluster.Status})
	}
	return peers, errors.Join(errs...)
}

// Check returns nil if any Alertmanager answers: one is enough to send a page.
func (c *Client) Check(ctx context.Context) error {
	peers, err := c.Peers(ctx)
	if len(peers) > 0 {
		return nil
	}
	return err
}
