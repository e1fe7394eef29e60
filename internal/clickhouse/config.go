package clickhouse

// Config is the `clickhouse` section of gatewatch.yaml.
type Config struct {
	// Address is the server's native-protocol host:port. Required.
	Address string `yaml:"address"`
	// Database that holds all of gatewatch's state. Default gatewatch.
	Database string `yaml:"database"`
	// Username. Default "default".
	Username string `yaml:"username"`
	// PasswordFile holds the password. Default: none.
	PasswordFile string `yaml:"password_file"`
	// Secure connects with TLS.
	Secure bool `yaml:"secure"`
	// CAFile is a PEM file of trusted authorities. Default: the system's.
	CAFile string `yaml:"ca_file"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config { return Config{Database: "gatewatch", Username: "default"} }
