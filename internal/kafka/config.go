package kafka

// Config is the `kafka` section of gatewatch.yaml, without its topics.
type Config struct {
	// Brokers to start from, host:port. Required.
	Brokers []string `yaml:"brokers"`
	// GroupPrefix begins the name of every group that gatewatch joins. Default gatewatch.
	GroupPrefix string `yaml:"group_prefix"`
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
func DefaultConfig() Config { return Config{GroupPrefix: "gatewatch"} }
