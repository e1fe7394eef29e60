package aggregate

import "time"

// Config is the `aggregate` section of gatewatch.yaml.
type Config struct {
	// Listen is the address of /metrics, /healthz and /readyz. Default 127.0.0.1:9362.
	Listen string `yaml:"listen"`
	// Interval between measurements of completeness. Default 1s.
	Interval time.Duration `yaml:"interval"`
	// Lateness after which a window is final. Default 10m.
	Lateness time.Duration `yaml:"lateness"`
	// Apdex is the latency up to which a request satisfies; up to four times of it
	// is tolerated. Default 500ms.
	Apdex time.Duration `yaml:"apdex"`
	// Gateways whose own counters are compared with what they log. Default: none.
	Gateways []Gateway `yaml:"gateways"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:9362", Interval: time.Second, Lateness: 10 * time.Minute, Apdex: 500 * time.Millisecond}
}
