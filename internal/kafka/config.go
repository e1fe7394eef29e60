package kafka

import "time"

// Config is the `kafka` section of gatewatch.yaml, without its topics.
type Config struct {
	// Brokers to start from, host:port. Required.
	Brokers []string `yaml:"brokers"`
	// GroupPrefix begins the name of every group that gatewatch joins. Default gatewatch.
	GroupPrefix string `yaml:"group_prefix"`
	// SessionTimeout is how long a member of a group may be silent before its
	// partitions go to others: after a crash they rest that long. The brokers bound
	// it (group.min.session.timeout.ms, 6s). Default 6s.
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// TLS: connect encrypted.
	TLS TLSConfig `yaml:"tls"`
	// SASL: log in.
	SASL SASLConfig `yaml:"sasl"`
}

// TLSConfig says how to connect encrypted.
type TLSConfig struct {
	Enabled  bool   `yaml:"enabled"`   // default false
	CAFile   string `yaml:"ca_file"`   // PEM; default: the system's
	CertFile string `yaml:"cert_file"` // PEM, for mutual TLS
	KeyFile  string `yaml:"key_file"`  // PEM
}

// SASLConfig says how to log in.
type SASLConfig struct {
	Mechanism    string `yaml:"mechanism"`     // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: none
	Username     string `yaml:"username"`      // to log in with
	PasswordFile string `yaml:"password_file"` // holds the password
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config { return Config{GroupPrefix: "gatewatch", SessionTimeout: 6 * time.Second} }
