package ingest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config is the `ingest` section of gatewatch.yaml.
type Config struct {
	// Listen is the address of /metrics, /healthz and /readyz. Default 127.0.0.1:9361.
	Listen string `yaml:"listen"`
	// Start is where a new group begins: a duration before now ("1h", the
	// default), "earliest", "latest" or an RFC 3339 time.
	Start string `yaml:"start"`
	// OnRetentionLoss says what to do when Kafka's retention has taken messages that
	// were not read: "stop" (default) holds the partition until somebody decides,
	// "continue" records the range as lost in the ledger and goes on behind it.
	OnRetentionLoss string `yaml:"on_retention_loss"`
	// BatchRows closes a batch at that many rows. Default 200000.
	BatchRows int `yaml:"batch_rows"`
	// BatchBytes closes a batch at that many bytes of messages. Default 128 MiB.
	BatchBytes int `yaml:"batch_bytes"`
	// BatchAge closes a batch that old, or ten times as old while its partition
	// is 10,000 messages and five times that long behind. Default 1s.
	BatchAge time.Duration `yaml:"batch_age"`
	// MaxMemory bounds what is held in fetch buffers and blocks. Default 400 MiB.
	MaxMemory int `yaml:"max_memory"`
	// MaxMessageBytes is the largest message that is decoded; a larger one is a dead letter. Default 1 MiB.
	MaxMessageBytes int `yaml:"max_message_bytes"`
	// PepperFile holds the secret with which API keys are hashed. Created (0600)
	// at the first start if absent. A further line "2026-07-01 SECRET" is used from
	// that day on; lines may be added, not changed. Default /var/lib/gatewatch/pepper.
	PepperFile string `yaml:"pepper_file"`
	// ClientIP is "truncated" (default: /24 and /48), "full" or "none".
	ClientIP string `yaml:"client_ip"`
	// QueryAllow lists query parameters whose values are stored; all others are masked.
	QueryAllow []string `yaml:"query_allow"`
	// AnyEventTime accepts events of any age and from the future, for imports of
	// old files. Default false: they are dead letters (too_old, future).
	AnyEventTime bool `yaml:"any_event_time"`
	// DeadLetterTopic receives unreadable messages whole. Default: none.
	DeadLetterTopic string `yaml:"dead_letter_topic"`
	// ShutdownTimeout bounds a graceful stop. Default 10s.
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
}

// A TopicConfig says what one Kafka topic holds.
type TopicConfig struct {
	// Name of the topic. Kafka knows it by what is before a #; all of it is its name
	// in ClickHouse. When it was deleted and made anew in Kafka, ingest stops reading
	// it, because its offsets begin again: append #1 to the name here (then #2, and so
	// on) to read the new one. Topics of the same name in two clusters of Kafka, each
	// read by processes of their own, are told apart by a word, such as #eu.
	Name string `yaml:"name"`
	// Format of its messages; `gatewatch-ingest decode --formats` lists them. `auto` finds it out
	// from the first messages; `key_events` are events about API keys, `change_events`
	// releases and other changes, `audit_…` audit logs (docs/formats.md).
	Format string `yaml:"format"`
	// LogFormat is the gateway's own format string, for formats that are compiled
	// from it, such as nginx_custom: nginx's log_format, Apache's LogFormat.
	LogFormat string `yaml:"log_format"`
	// TimeZone of timestamps without one, an IANA name. Default UTC.
	TimeZone string `yaml:"time_zone"`
	// Tenant, Environment, Region, Service and Node are given to rows whose message has none.
	Tenant      string `yaml:"tenant"`
	Environment string `yaml:"environment"`
	Region      string `yaml:"region"`
	Service     string `yaml:"service"`
	Node        string `yaml:"node"`
	// Mapping reads any JSON object, for format `json`: our field name → where it is.
	Mapping map[string]FieldMapping `yaml:"mapping"`
	// Routes are path templates such as /v1/orders/{id}, for logs without a route.
	Routes []string `yaml:"routes"`
	// DeadLetterTopic receives this topic's unreadable messages whole, instead of ingest.dead_letter_topic.
	DeadLetterTopic string `yaml:"dead_letter_topic"`
	// WithoutExcerpts keeps the masked beginnings of unreadable messages out of
	// ClickHouse: only coordinates, reason and size are stored. Default false.
	WithoutExcerpts bool `yaml:"without_excerpts"`
	// SamplingRate is the share of spans that were kept, for spans that don't say it
	// themselves: each stands for 1/rate. Default 1.
	SamplingRate float64 `yaml:"sampling_rate"`
	// OpenAPI lists files of OpenAPI documents (2.0 to 3.1) whose paths are routes too.
	OpenAPI []string `yaml:"openapi"`
}

// life splits a name into what stays and how often the topic was made anew.
func (t TopicConfig) life() (name string, times int) {
	name, word, ok := strings.Cut(t.Name, "#")
	if !ok {
		return name + "#", 0
	}
	cluster := strings.TrimRight(word, "0123456789")
	times, _ = strconv.Atoi(word[len(cluster):]) // none is 0
	return name + "#" + cluster, times
}

// remade reports whether the topic is said to have been deleted and made anew.
func (t TopicConfig) remade() bool {
	_, times := t.life()
	return times > 0
}

// nextLife is the name to give the topic once it is made anew.
func (t TopicConfig) nextLife() string {
	name, times := t.life()
	return fmt.Sprintf("%s%d", name, times+1)
}

// A FieldMapping says where a field is in a JSON object and how to read it.
type FieldMapping struct {
	// Path is the dotted path to the value; \. is a dot inside a name.
	Path string `yaml:"path"`
	// Unit of a duration or epoch: s, ms, us or ns. Default: ms, and for an epoch what its magnitude says.
	Unit string `yaml:"unit"`
	// Layout of a time: rfc3339, epoch, clf or a Go layout. Default: by its look.
	Layout string `yaml:"layout"`
}

// DefaultConfig returns the defaults named above.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:9361", Start: "1h", OnRetentionLoss: "stop",
		BatchRows: 200_000, BatchBytes: 128 << 20, BatchAge: time.Second,
		MaxMemory: 400 << 20, MaxMessageBytes: 1 << 20,
		PepperFile: "/var/lib/gatewatch/pepper", ClientIP: "truncated",
		ShutdownTimeout: 10 * time.Second,
	}
}
