package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/evaluate"
	"gatewatch/internal/ingest"
	"gatewatch/internal/kafka"
)

const day = 24 * time.Hour

// maxFileBytes is far above any real file; more is a mistaken path.
const maxFileBytes = 4 << 20

// DefaultConfig returns the defaults of all sections. It does not pass Validate:
// brokers, topics and the ClickHouse address have no default.
func DefaultConfig() Config {
	return Config{
		Kafka:      Kafka{Config: kafka.DefaultConfig()},
		ClickHouse: clickhouse.DefaultConfig(),
		Ingest:     ingest.DefaultConfig(),
		Aggregate:  aggregate.DefaultConfig(),
		Alert:      evaluate.DefaultConfig(),
		Retention: Retention{
			AccessLog: 14 * day, Span: 7 * day, DeadLetter: 30 * day,
			Request10s: 3 * day, Request1m: 90 * day, Request1h: 730 * day,
			Key1m: 14 * day, Key1h: 90 * day, Key1d: 1095 * day,
			Dimension1h: 730 * day, Layer1m: 14 * day, Layer1h: 730 * day, Unusual1h: 365 * day, GatewayCounter: 30 * day,
			AuditEvent: 90 * day, AuditAuthentication: 365 * day, AuditConfiguration: 1095 * day,
			Usage1d: 365 * day, WorkflowCall: 90 * day, WorkflowRun: 730 * day,
		},
	}
}

// A Fault is one mistake in a file, with the line to mend.
type Fault struct {
	File string
	Line int    // 0: concerns the whole file
	Text string // what is wrong and what to write instead
}

func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// Faults takes the faults out of an error of Load.
func Faults(err error) []*Fault {
	var all []*Fault
	for err != nil {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, sub := range joined.Unwrap() {
				all = append(all, Faults(sub)...)
			}
			return all
		}
		if f, ok := err.(*Fault); ok { //nolint:errorlint // the loop unwraps
			return append(all, f)
		}
		err = errors.Unwrap(err)
	}
	return all
}

// Find returns the file to load: path if given, else $GATEWATCH_CONFIG, else
// gatewatch.yaml in the current folder, else /etc/gatewatch/gatewatch.yaml.
func Find(path string, getenv func(string) string) string {
	if path != "" {
		return path
	}
	if path = getenv("GATEWATCH_CONFIG"); path != "" {
		return path
	}
	if _, err := os.Stat("gatewatch.yaml"); err == nil {
		return "gatewatch.yaml"
	}
	return "/etc/gatewatch/gatewatch.yaml"
}

// Load reads and validates the file that Find finds. Its error joins all
// faults, each with file, line and remedy. Relative paths in the file are taken
// relative to the file's folder.
func Load(path string, getenv func(string) string) (*Config, error) {
	path = Find(path, getenv)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w; name the file with --config or $GATEWATCH_CONFIG", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: read %s: %w", path, err)
	}
	if len(data) > maxFileBytes {
		return nil, &Fault{File: path, Text: "is larger than 4 MiB: is this the configuration?"}
	}
	return Parse(path, data)
}

// Parse is Load for data that was read from path.
func Parse(path string, data []byte) (*Config, error) {
	c := DefaultConfig()
	c.file, c.lines = path, map[string]int{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxFault(path, err)
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, syntaxFault(path, err)
		}
		return nil, &Fault{path, more.Line, "a second YAML document begins here; write one document only"}
	}
	if len(doc.Content) > 0 {
		d := decoder{file: path, lines: c.lines}
		d.decode(doc.Content[0], &c)
		if len(d.faults) > 0 {
			return nil, errors.Join(d.faults...)
		}
	}
	c.resolvePaths(filepath.Dir(path))
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// syntaxFault gives an error of the YAML parser ("yaml: line 3: …") our form.
func syntaxFault(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	f := &Fault{File: path, Text: text}
	if n, _ := fmt.Sscanf(text, "line %d:", &f.Line); n == 1 {
		_, f.Text, _ = strings.Cut(text, ": ")
	}
	f.Text = "not YAML: " + f.Text
	return f
}

// resolvePaths makes paths that are relative to the file's folder usable from anywhere.
func (c *Config) resolvePaths(dir string) {
	for _, p := range []*string{
		&c.Kafka.TLS.CAFile, &c.Kafka.TLS.CertFile, &c.Kafka.TLS.KeyFile, &c.Kafka.SASL.PasswordFile,
		&c.ClickHouse.PasswordFile, &c.ClickHouse.CAFile, &c.Ingest.PepperFile,
		&c.Aggregate.KPI, &c.Alert.SLOs, &c.Alert.Catalog, &c.Alert.Runbooks.Dir,
		&c.Alert.AlertmanagerAuth.PasswordFile, &c.Alert.AlertmanagerAuth.BearerTokenFile, &c.Alert.AlertmanagerAuth.CAFile,
	} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// File is the file that the configuration came from.
func (c *Config) File() string { return c.file }

// Fault returns a fault of the field at path, such as kafka.topics[0].format,
// with its line or that of the nearest section around it.
func (c *Config) Fault(path, format string, args ...any) *Fault {
	f := &Fault{File: c.file, Text: path + ": " + fmt.Sprintf(format, args...)}
	for p := path; ; {
		if line, ok := c.lines[p]; ok {
			f.Line = line
			return f
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			return f
		}
		p = p[:i]
	}
}

// ReadSecret returns the content of a *_file without its final line break.
func ReadSecret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// Nearest returns the candidate that word was probably meant to be, or "".
func Nearest(word string, candidates []string) string {
	best, bestAt := "", max(2, len(word)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		d := editDistance(strings.ToLower(word), c)
		if strings.HasPrefix(c, word+"_") {
			d = 1 // password, for password_file
		}
		if d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours.
func editDistance(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
