package evaluate

import "time"

// Config is the `alert` section of gatewatch.yaml.
type Config struct {
	// Listen is the address of /metrics, /healthz, /readyz and /runbooks/. Default 127.0.0.1:9363.
	Listen string `yaml:"listen"`
	// Alertmanagers are base URLs; every alert goes to all of them. Required to run.
	Alertmanagers []string `yaml:"alertmanagers"`
	// AlertmanagerAuth says how to log in to them. Optional.
	AlertmanagerAuth AlertmanagerAuth `yaml:"alertmanager_auth"`
	// DefaultOwner answers for what nobody else does. Required to run.
	DefaultOwner string `yaml:"default_owner"`
	// SLOs is a folder of OpenSLO files. Optional.
	SLOs string `yaml:"slos"`
	// Catalog is a folder with CODEOWNERS, Backstage and OpenAPI files. Optional.
	Catalog string `yaml:"catalog"`
	// Runbooks says where runbooks are and how links to them begin.
	Runbooks RunbooksConfig `yaml:"runbooks"`
	// Grace is the shipping delay that evaluation allows for after the Kafka time. Default 5s.
	Grace time.Duration `yaml:"grace"`
	// Preview records what would be sent and sends nothing.
	Preview bool `yaml:"preview"`
	// DeadMansSwitch keeps an alert GatewatchAlive firing for as long as everything is
	// judged: route it to a service that calls when it ends. Default: false.
	DeadMansSwitch bool `yaml:"dead_mans_switch"`
	// Signals says what else is looked for, beyond objectives.
	Signals SignalsConfig `yaml:"signals"`
	// SeverityMap renames severities in labels, such as page: critical.
	SeverityMap map[string]string `yaml:"severity_map"`
	// ExtraLabels are put on every alert.
	ExtraLabels map[string]string `yaml:"extra_labels"`
	// ExternalURL is where this process is reached by people; links begin with it. Default http://LISTEN.
	ExternalURL string `yaml:"external_url"`
	// TraceURL is the address of a trace, with {trace_id} in its place. Optional: without it pages show the id.
	TraceURL string `yaml:"trace_url"`
	// Grafana is the base URL of dashboards. Optional: without it pages carry no dashboard link.
	Grafana string `yaml:"grafana"`
}

// AlertmanagerAuth is how to log in to all Alertmanagers, or to the proxies before
// them: with a user and password or with a token. Files are read anew for each
// request, so that what they hold may be rotated.
type AlertmanagerAuth struct {
	// Username goes with PasswordFile.
	Username string `yaml:"username"`
	// PasswordFile holds the password.
	PasswordFile string `yaml:"password_file"`
	// BearerTokenFile holds a token.
	BearerTokenFile string `yaml:"bearer_token_file"`
	// CAFile is a PEM file of trusted authorities. Default: the system's.
	CAFile string `yaml:"ca_file"`
	// CertFile and KeyFile are PEM files of a client's certificate. Optional.
	CertFile string `yaml:"cert_file"`
	// KeyFile goes with CertFile.
	KeyFile string `yaml:"key_file"`
	// Headers are added to every request, such as X-Scope-OrgID: shop.
	Headers map[string]string `yaml:"headers"`
}

// SignalsConfig is what signals beyond objectives need to know.
type SignalsConfig struct {
	// Off are kinds that are not looked for, such as unusual_use.
	Off []string `yaml:"off"`
	// Quotas are the requests that a consumer of a plan may make in a calendar month.
	Quotas map[string]int64 `yaml:"quotas"`
	// RequestValue is what a request to a service is worth, for traffic that is missing.
	RequestValue map[string]ValueConfig `yaml:"request_value"`
	// Sunsets are the versions of services that will be switched off.
	Sunsets []SunsetConfig `yaml:"sunsets"`
}

// ValueConfig is an amount of money.
type ValueConfig struct {
	// Value is the amount.
	Value float64 `yaml:"value"`
	// Currency is its unit, such as EUR.
	Currency string `yaml:"currency"`
}

// SunsetConfig is the end of a version.
type SunsetConfig struct {
	// Service is as the gateway names it.
	Service string `yaml:"service"`
	// Version is as in api_version.
	Version string `yaml:"version"`
	// Date is its last day, such as 2026-12-31.
	Date string `yaml:"date"`
}

// RunbooksConfig says where runbooks are.
type RunbooksConfig struct {
	// Dir holds Markdown files. Default: those shipped in the binary.
	Dir string `yaml:"dir"`
	// BaseURL begins links to runbooks. Default: this process's own /runbooks/.
	BaseURL string `yaml:"base_url"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:9363", Grace: 5 * time.Second}
}
