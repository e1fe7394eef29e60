// Package kafka is membership of a Kafka group, raw fetching of messages and
// committing of offsets with metadata, on kafka-go. It never uses kafka.Reader,
// which commits for partitions that it no longer owns and skips what retention
// has taken without a word.
package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Validate reports what is missing or wrong.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka.brokers is empty: name at least one host:port"))
	}
	for _, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, fmt.Errorf("kafka.brokers: %q is not host:port", b))
		}
	}
	if c.GroupPrefix == "" {
		errs = append(errs, errors.New("kafka.group_prefix is empty"))
	}
	if c.SessionTimeout < time.Second {
		errs = append(errs, fmt.Errorf("kafka.session_timeout %s is too short: want at least 1s", c.SessionTimeout))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("kafka.tls: cert_file and key_file go together"))
	}
	switch c.SASL.Mechanism {
	case "", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
	default:
		errs = append(errs, fmt.Errorf("kafka.sasl.mechanism %q is not supported: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are", c.SASL.Mechanism))
	}
	if c.SASL.Mechanism != "" && (c.SASL.Username == "" || c.SASL.PasswordFile == "") {
		errs = append(errs, errors.New("kafka.sasl needs username and password_file"))
	}
	return errors.Join(errs...)
}

func (c TLSConfig) load() (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka.tls.ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read kafka.tls.cert_file and key_file: %w", err)
		}
		tc.Certificates = []tls.Certificate{cert}
	}
	return tc, nil
}

func (c SASLConfig) load() (sasl.Mechanism, error) {
	if c.Mechanism == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return nil, fmt.Errorf("read kafka.sasl.password_file: %w", err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	switch c.Mechanism {
	case "SCRAM-SHA-256":
		return scram.Mechanism(scram.SHA256, c.Username, password)
	case "SCRAM-SHA-512":
		return scram.Mechanism(scram.SHA512, c.Username, password)
	}
	return plain.Mechanism{Username: c.Username, Password: password}, nil
}

const (
	clientID    = "gatewatch"
	dialTimeout = 5 * time.Second
	callTimeout = 10 * time.Second
	// metadataTTL is short because NOT_LEADER does not make kafka-go ask again.
	metadataTTL = time.Second
)

// A Client talks to one Kafka cluster. It is safe for concurrent use.
type Client struct {
	conf      Config
	transport *kafka.Transport
	dialer    *kafka.Dialer
	client    *kafka.Client
}

// NewClient makes a client; it connects when it is first used.
func NewClient(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	tc, err := c.TLS.load()
	if err != nil {
		return nil, err
	}
	mech, err := c.SASL.load()
	if err != nil {
		return nil, err
	}
	t := &kafka.Transport{ClientID: clientID, DialTimeout: dialTimeout, TLS: tc, SASL: mech, MetadataTTL: metadataTTL}
	return &Client{
		conf:      c,
		transport: t,
		dialer:    &kafka.Dialer{ClientID: clientID, Timeout: dialTimeout, DualStack: true, TLS: tc, SASLMechanism: mech},
		client:    &kafka.Client{Addr: kafka.TCP(c.Brokers...), Timeout: callTimeout, Transport: t},
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Group returns the name of the group that reads a pipeline's topics.
func (c *Client) Group(name string) string { return c.conf.GroupPrefix + "-" + name }
