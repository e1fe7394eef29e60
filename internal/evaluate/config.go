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
	// SeverityMap renames severities in labels, such as page: critical.
	SeverityMap map[string]string `yaml:"severity_map"`
	// ExtraLabels are put on every alert.
	ExtraLabels map[string]string `yaml:"extra_labels"`
	// ExternalURL is where this process is reached by people; links begin with it. Default http://LISTEN.
	ExternalURL string `yaml:"external_url"`
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
