// Package config loads gatewatch.yaml, the one file that all three binaries
// read and validate whole. Loading is strict: an unknown key is an error that
// names file, line and the nearest known key.
package config

import (
	"time"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// Config is gatewatch.yaml.
type Config struct {
	Kafka      Kafka             `yaml:"kafka"`
	ClickHouse clickhouse.Config `yaml:"clickhouse"`
	Ingest     ingest.Config     `yaml:"ingest"`
	Aggregate  aggregate.Config  `yaml:"aggregate"`
	Alert      evaluate.Config   `yaml:"alert"`
	Retention  Retention         `yaml:"retention"`

	file  string
	lines map[string]int // path of a field in the file → line
}

// Kafka is where messages come from and what each topic holds.
type Kafka struct {
	kafka.Config `yaml:",inline"`
	// Topics to read. At least one.
	Topics []ingest.TopicConfig `yaml:"topics"`
}

// Retention is how long each level is kept; 0 keeps it for ever.
type Retention struct {
	AccessLog  time.Duration `yaml:"access_log"`  // default 14d
	Span       time.Duration `yaml:"span"`        // default 7d
	DeadLetter time.Duration `yaml:"dead_letter"` // default 30d
	Request10s time.Duration `yaml:"request_10s"` // default 3d
	Request1m  time.Duration `yaml:"request_1m"`  // default 90d
	Request1h  time.Duration `yaml:"request_1h"`  // default 2y
	Key1m      time.Duration `yaml:"key_1m"`      // default 14d
	Key1h      time.Duration `yaml:"key_1h"`      // default 90d
	Key1d      time.Duration `yaml:"key_1d"`      // default 3y

	Dimension1h time.Duration `yaml:"dimension_1h"` // default 2y
	Layer1m     time.Duration `yaml:"layer_1m"`     // default 14d
	Layer1h     time.Duration `yaml:"layer_1h"`     // default 2y
	Unusual1h   time.Duration `yaml:"unusual_1h"`   // default 1y

	GatewayCounter time.Duration `yaml:"gateway_counter"` // default 30d
	ChangeEvent    time.Duration `yaml:"change_event"`    // default 0
	// AuditEvent is for what is neither a login nor a change of configuration.
	AuditEvent          time.Duration `yaml:"audit_event"`          // default 90d
	AuditAuthentication time.Duration `yaml:"audit_authentication"` // default 1y
	AuditConfiguration  time.Duration `yaml:"audit_configuration"`  // default 3y
	// Tenants are exceptions by tenant: its name, then fields of this section.
	Tenants map[string]map[string]time.Duration `yaml:"tenants"`
	// Usage1d is calls by key, operation and version. Default 1y.
	Usage1d time.Duration `yaml:"usage_1d"`
	// WorkflowCall is calls to routes of workflows. Default 90d.
	WorkflowCall time.Duration `yaml:"workflow_call"`
	// WorkflowRun is runs of workflows. Default 2y.
	WorkflowRun time.Duration `yaml:"workflow_run"`
}
