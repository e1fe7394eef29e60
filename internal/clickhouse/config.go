package clickhouse

// Config is the `clickhouse` section of gatewatch.yaml.
type Config struct {
	// Address is the server's native-protocol host:port. Required.
	Address string `yaml:"address"`
	// HTTPAddress is host:port of its HTTP interface, for exports as Parquet. Default: none.
	HTTPAddress string `yaml:"http_address"`
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
	// Cluster is the cluster's name in the servers' remote_servers. Rows are then
	// kept in the database DATABASE_shard of each server, address is any of the
	// servers, and DATABASE reads all. Default: one server.
	Cluster string `yaml:"cluster"`
	// Shards are the servers of a cluster, host:port, by shard in the cluster's
	// order, each with its replicas. A partition's rows go to shard partition
	// modulo shards. With replicas the tables are replicated, by the servers'
	// macros shard and replica.
	Shards [][]string `yaml:"shards"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config { return Config{Database: "gatewatch", Username: "default"} }
