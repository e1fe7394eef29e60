package aggregate

import "time"

// Config is the `aggregate` section of gatewatch.yaml.
type Config struct {
	// Listen is the address of /metrics, /healthz and /readyz. Default 127.0.0.1:9362.
	Listen string `yaml:"listen"`
	// Interval between measurements of completeness. Default 1s.
	Interval time.Duration `yaml:"interval"`
	// KPI is a folder of files with workflows, plans, promises and deprecations, as
	// in deploy/kpi; docs/kpi.md explains their fields. Default: none.
	KPI string `yaml:"kpi"`
	// KPIInterval between passes over the runs of workflows. Default 1m.
	KPIInterval time.Duration `yaml:"kpi_interval"`
	// ReportingTimeZone is where days, weeks and months of reports begin, an IANA
	// name; of a zone that is off by half an hour they begin at the full hour before.
	// Default UTC.
	ReportingTimeZone string `yaml:"reporting_time_zone"`
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
	return Config{
		Listen: "127.0.0.1:9362", Interval: time.Second, Lateness: 10 * time.Minute,
		KPIInterval: time.Minute, ReportingTimeZone: "UTC", Apdex: 500 * time.Millisecond,
	}
}
