package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/daemon"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

// fieldMapping is short for what a mapped field's value may be shortened to.
type fieldMapping = ingest.FieldMapping

// A validator collects the faults of a Config.
type validator struct {
	c      *Config
	faults []*Fault
}

func (v *validator) fault(path, format string, args ...any) {
	v.faults = append(v.faults, v.c.Fault(path, format, args...))
}

// Validate returns all faults, joined, in the order of their lines. Whether
// servers answer and files exist is not its matter.
func (c *Config) Validate() error {
	v := &validator{c: c}
	v.kafka()
	v.clickhouse()
	v.ingest()
	v.positive("aggregate.interval", c.Aggregate.Interval)
	v.positive("aggregate.lateness", c.Aggregate.Lateness)
	v.positive("aggregate.kpi_interval", c.Aggregate.KPIInterval)
	if _, err := time.LoadLocation(c.Aggregate.ReportingTimeZone); err != nil {
		v.fault("aggregate.reporting_time_zone", "%q: want an IANA name such as Europe/Berlin", c.Aggregate.ReportingTimeZone)
	}
	v.hostPort("aggregate.listen", c.Aggregate.Listen)
	v.positive("aggregate.apdex", c.Aggregate.Apdex)
	for i, g := range c.Aggregate.Gateways {
		if g.Node == "" {
			v.fault(fmt.Sprintf("aggregate.gateways[%d].node", i), "missing; write the node's name as its log has it")
		}
		if g.URL == "" {
			v.fault(fmt.Sprintf("aggregate.gateways[%d].url", i), "missing; write the URL of its Prometheus endpoint or of nginx's stub_status")
		}
		v.url(fmt.Sprintf("aggregate.gateways[%d].url", i), g.URL)
	}
	v.alert()
	v.retention()
	v.listeners()
	slices.SortStableFunc(v.faults, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(v.faults))
	for i, f := range v.faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

// topicName is what Kafka allows as a topic's name, and topicLife the same with
// a word for its cluster and the number of a life.
var (
	topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	topicLife = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}(#([a-zA-Z][a-zA-Z._-]{0,30}([1-9][0-9]{0,5})?|[1-9][0-9]{0,5}))?$`)
)

func (v *validator) kafka() {
	k := &v.c.Kafka
	if len(k.Brokers) == 0 {
		v.fault("kafka.brokers", "missing; write for instance brokers: [kafka-1:9092]")
	}
	for i, b := range k.Brokers {
		v.hostPort(fmt.Sprintf("kafka.brokers[%d]", i), b)
	}
	if !topicName.MatchString(k.GroupPrefix) {
		v.fault("kafka.group_prefix", "%q: want letters, digits, '.', '_' and '-'", k.GroupPrefix)
	}
	if (k.TLS.CertFile == "") != (k.TLS.KeyFile == "") {
		v.fault("kafka.tls", "cert_file and key_file go together; set both or none")
	}
	if !k.TLS.Enabled && (k.TLS.CAFile != "" || k.TLS.CertFile != "") {
		v.fault("kafka.tls", "files are given but TLS is off; add enabled: true")
	}
	switch k.SASL.Mechanism {
	case "":
		if k.SASL.Username != "" || k.SASL.PasswordFile != "" {
			v.fault("kafka.sasl", "mechanism missing; write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		if k.SASL.Username == "" || k.SASL.PasswordFile == "" {
			v.fault("kafka.sasl", "username and password_file are needed with mechanism %s", k.SASL.Mechanism)
		}
	default:
		v.fault("kafka.sasl.mechanism", "%q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", k.SASL.Mechanism)
	}
	if len(k.Topics) == 0 {
		v.fault("kafka.topics", "missing; `gatewatch-ingest probe --brokers …` prints the lines to paste")
	}
	first := map[string]int{}
	for i, t := range k.Topics {
		path := fmt.Sprintf("kafka.topics[%d]", i)
		if j, ok := first[kafka.Wire(t.Name)]; ok {
			v.fault(path+".name", "%q is listed twice, first as topic %d; a topic has one format", t.Name, j+1)
		}
		first[kafka.Wire(t.Name)] = i
		v.topic(path, &t)
	}
}

func (v *validator) topic(path string, t *ingest.TopicConfig) {
	switch {
	case t.Name == "":
		v.fault(path+".name", "missing; write the topic's name")
	case !topicLife.MatchString(t.Name):
		v.fault(path+".name", "%q is no name of a Kafka topic", t.Name)
	}
	if t.Format == "" {
		v.fault(path+".format", "missing; `gatewatch-ingest decode --formats` lists the formats")
	}
	if _, err := time.LoadLocation(t.TimeZone); err != nil {
		v.fault(path+".time_zone", "%q: want an IANA name such as Europe/Berlin", t.TimeZone)
	}
	if len(t.Mapping) > 0 && t.Format != "json" && t.Format != "" {
		v.fault(path+".mapping", "only format json is mapped, not %s; set format: json or remove the mapping", t.Format)
	}
	if t.Format == "json" && len(t.Mapping) == 0 {
		v.fault(path+".mapping", "missing; format json needs at least timestamp: and status: with their paths")
	}
	for name, m := range t.Mapping {
		at := path + ".mapping." + name
		if m.Path == "" {
			v.fault(at, "path missing; write the dotted path of the value, such as request.method")
		}
		if !slices.Contains([]string{"", "s", "ms", "us", "ns"}, m.Unit) {
			v.fault(at+".unit", "%q: want s, ms, us or ns", m.Unit)
		}
	}
	for i, r := range t.Routes {
		if !strings.HasPrefix(r, "/") {
			v.fault(fmt.Sprintf("%s.routes[%d]", path, i), "%q: want a path that begins with /, such as /v1/orders/{id}", r)
		}
	}
}

// databaseName keeps the name usable without quotes.
var databaseName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`)

func (v *validator) clickhouse() {
	ch := &v.c.ClickHouse
	if ch.Address == "" {
		v.fault("clickhouse.address", "missing; write host:port of the native protocol, such as clickhouse:9000")
	} else {
		v.hostPort("clickhouse.address", ch.Address)
	}
	if ch.HTTPAddress != "" {
		v.hostPort("clickhouse.http_address", ch.HTTPAddress)
	}
	if !databaseName.MatchString(ch.Database) {
		v.fault("clickhouse.database", "%q: want letters, digits and _, such as gatewatch", ch.Database)
	}
	if ch.Username == "" {
		v.fault("clickhouse.username", "is empty; leave it out for the user `default`")
	}
	if ch.CAFile != "" && !ch.Secure {
		v.fault("clickhouse.ca_file", "is given but TLS is off; add secure: true")
	}
	if err := ch.ValidateCluster(); err != nil {
		v.fault("clickhouse.shards", "%v", err)
	}
}

func (v *validator) ingest() {
	in := &v.c.Ingest
	v.hostPort("ingest.listen", in.Listen)
	if in.Start != "earliest" && in.Start != "latest" {
		if d, err := daemon.ParseDuration(in.Start); err != nil || d < 0 {
			if _, err := time.Parse(time.RFC3339, in.Start); err != nil {
				v.fault("ingest.start", "%q: want a span before now such as 1h, earliest, latest or an RFC 3339 time", in.Start)
			}
		}
	}
	v.between("ingest.batch_rows", in.BatchRows, 1, 10_000_000)
	v.between("ingest.batch_bytes", in.BatchBytes, 64<<10, 2<<30)
	v.between("ingest.max_memory", in.MaxMemory, 80<<20, 1<<40)
	v.between("ingest.max_message_bytes", in.MaxMessageBytes, 1<<10, 1<<30)
	v.positive("ingest.batch_age", in.BatchAge)
	v.positive("ingest.shutdown_timeout", in.ShutdownTimeout)
	if in.PepperFile == "" {
		v.fault("ingest.pepper_file", "is empty; name a file that keeps the secret for hashing API keys")
	}
	if !slices.Contains([]string{"truncated", "full", "none"}, in.ClientIP) {
		v.fault("ingest.client_ip", "%q: want truncated, full or none", in.ClientIP)
	}
	v.deadLetterTopic("ingest.dead_letter_topic", in.DeadLetterTopic)
	for i, t := range v.c.Kafka.Topics {
		if t.SamplingRate < 0 || t.SamplingRate > 1 {
			v.fault(fmt.Sprintf("kafka.topics[%d].sampling_rate", i), "%v: want the share of spans that were kept, above 0 and up to 1", t.SamplingRate)
		}
		v.deadLetterTopic(fmt.Sprintf("kafka.topics[%d].dead_letter_topic", i), t.DeadLetterTopic)
	}
}

func (v *validator) deadLetterTopic(path, name string) {
	if name == "" {
		return
	}
	if !topicName.MatchString(name) {
		v.fault(path, "%q is no name of a Kafka topic", name)
	}
	for _, source := range v.c.Kafka.Topics {
		if source.Name == name {
			v.fault(path, "%q is also read as a source; dead letters would go round in a circle", name)
		}
	}
}

func (v *validator) alert() {
	a := &v.c.Alert
	v.hostPort("alert.listen", a.Listen)
	for i, u := range a.Alertmanagers {
		v.url(fmt.Sprintf("alert.alertmanagers[%d]", i), u)
	}
	auth := &a.AlertmanagerAuth
	if (auth.Username == "") != (auth.PasswordFile == "") {
		v.fault("alert.alertmanager_auth", "username and password_file go together; give both or neither")
	}
	if auth.Username != "" && auth.BearerTokenFile != "" {
		v.fault("alert.alertmanager_auth", "has a user and a token; one login is enough")
	}
	if (auth.CertFile == "") != (auth.KeyFile == "") {
		v.fault("alert.alertmanager_auth", "cert_file and key_file go together; give both or neither")
	}
	for name, value := range auth.Headers {
		if !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n") {
			v.fault("alert.alertmanager_auth.headers."+name, "no HTTP header; want a name such as X-Scope-OrgID and a value on one line")
		}
	}
	v.signals()
	v.url("alert.external_url", a.ExternalURL)
	v.url("alert.grafana", a.Grafana)
	v.url("alert.trace_url", strings.ReplaceAll(a.TraceURL, "{trace_id}", "0"))
	v.url("alert.runbooks.base_url", a.Runbooks.BaseURL)
	if a.Grace < 0 || a.Grace > time.Hour {
		v.fault("alert.grace", "%s: want 0s to 1h", a.Grace)
	}
	for name := range a.SeverityMap {
		if name != "page" && name != "ticket" {
			v.fault("alert.severity_map."+name, "no such severity; there are page and ticket")
		}
	}
	for name := range a.ExtraLabels {
		if !labelName.MatchString(name) {
			v.fault("alert.extra_labels."+name, "no label name; want letters, digits and _")
		} else if slices.Contains(evaluate.ReservedLabels(), name) {
			v.fault("alert.extra_labels."+name, "is a label of every alert already; choose another name")
		}
	}
}

// signals checks what signals beyond objectives need.
func (v *validator) signals() {
	s := &v.c.Alert.Signals
	kinds := []string{}
	for _, d := range evaluate.Detectors() {
		kinds = append(kinds, string(d.Kind))
	}
	for i, k := range s.Off {
		if !slices.Contains(kinds, k) {
			v.fault(fmt.Sprintf("alert.signals.off[%d]", i), "%q is no kind of signal; there are %s", k, strings.Join(kinds, ", "))
		}
	}
	for plan, n := range s.Quotas {
		if n <= 0 {
			v.fault("alert.signals.quotas."+plan, "%d: want requests a month, more than 0", n)
		}
	}
	for service, m := range s.RequestValue {
		if m.Value <= 0 || m.Currency == "" {
			v.fault("alert.signals.request_value."+service, "want a value above 0 and a currency, such as {value: 1.2, currency: EUR}")
		}
	}
	for i, x := range s.Sunsets {
		path := fmt.Sprintf("alert.signals.sunsets[%d]", i)
		if x.Service == "" || x.Version == "" {
			v.fault(path, "want service, version and date")
		}
		if _, err := time.Parse(time.DateOnly, x.Date); err != nil {
			v.fault(path+".date", "%q: want a day such as 2026-12-31", x.Date)
		}
	}
}

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// listeners tells when two binaries on one machine would want the same address.
func (v *validator) listeners() {
	users := map[string]string{}
	for _, l := range []struct{ path, addr string }{
		{"ingest.listen", v.c.Ingest.Listen},
		{"aggregate.listen", v.c.Aggregate.Listen},
		{"alert.listen", v.c.Alert.Listen},
	} {
		if strings.HasSuffix(l.addr, ":0") {
			continue
		}
		if other, ok := users[l.addr]; ok {
			v.fault(l.path, "%s is also the address of %s; choose another port", l.addr, other)
		}
		users[l.addr] = l.path
	}
}

func (v *validator) positive(path string, d time.Duration) {
	if d <= 0 {
		v.fault(path, "%s: want more than 0", d)
	}
}

func (v *validator) between(path string, n, low, high int) {
	if n < low || n > high {
		v.fault(path, "%d: want %d to %d", n, low, high)
	}
}

func (v *validator) hostPort(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.Atoi(port)
	if err != nil || perr != nil || n < 0 || n > 65535 || strings.ContainsAny(host, "/ ") {
		v.fault(path, "%q: want host:port", addr)
	}
}

// url checks a base URL; empty is none.
func (v *validator) url(path, s string) {
	if s == "" {
		return
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		v.fault(path, "%q: want a URL such as http://host:9093", s)
	} else if u.User != nil {
		v.fault(path, "a password does not belong here; remove user and password from the URL")
	}
}
