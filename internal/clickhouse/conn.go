// Package clickhouse is gatewatch's store: its schema, the writer of batches
// and every query. No other package holds SQL. Tables: access_log and span
// (raw rows), request_10s/1m/1h and key_1m/1h/1d (rollups, fed by the insert),
// ledger (one row a batch), dead_letter, completeness, alert_event, setting and
// schema_migration. People read the v_ views.
package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// A Conn is a pool of connections to one database.
type Conn struct {
	driver.Conn
	Database string

	opts   *clickhouse.Options // as the pool was opened
	config Config
}

// Validate reports what is missing.
func (c Config) Validate() error {
	var errs []error
	if c.Address == "" {
		errs = append(errs, errors.New("clickhouse.address is missing: set it to host:9000"))
	} else if _, _, err := net.SplitHostPort(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("clickhouse.address %q is not host:port", c.Address))
	}
	if c.Database == "" {
		errs = append(errs, errNoDatabase)
	}
	errs = append(errs, c.ValidateCluster())
	return errors.Join(errs...)
}

// Open makes a pool; it connects when it is first used.
func Open(c Config) (*Conn, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var password string
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read clickhouse.password_file: %w", err)
		}
		password = strings.TrimRight(string(b), "\r\n")
	}
	tc, err := c.tls()
	if err != nil {
		return nil, err
	}
	opts := &clickhouse.Options{
		Addr:        []string{c.Address},
		Auth:        clickhouse.Auth{Database: c.Database, Username: c.Username, Password: password},
		TLS:         tc,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		DialTimeout: 5 * time.Second,
		ReadTimeout: 5 * time.Minute,
		Settings:    c.clusterSettings(),
	}
	pool, err := clickhouse.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return &Conn{Conn: pool, Database: c.Database, opts: opts, config: c}, nil
}

func (c Config) tls() (*tls.Config, error) {
	if !c.Secure {
		return nil, nil
	}
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read clickhouse.ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("clickhouse.ca_file %s holds no PEM certificate", c.CAFile)
		}
	}
	return tc, nil
}

// execWithout runs a statement outside of the database, which may not exist yet.
func (c *Conn) execWithout(ctx context.Context, query string) error {
	opts := *c.opts
	opts.Auth.Database = ""
	pool, err := clickhouse.Open(&opts)
	if err != nil {
		return fmt.Errorf("open ClickHouse: %w", err)
	}
	defer pool.Close()
	return pool.Exec(ctx, query)
}
