// Package realkafka runs a real Apache Kafka broker, one KRaft node, for tests
// and benchmarks. Its jars come from Maven, pinned by checksum. It needs Java 17
// or newer, and Maven the first time.
package realkafka

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatewatch/internal/devstack/leash"
	"gatewatch/internal/devstack/maven"
)

// Version is Kafka's.
const Version = "4.4.0"

var (
	//go:embed pom.xml
	pom []byte
	//go:embed jars.tsv
	jars string
	//go:embed server.properties
	serverProperties string
	//go:embed log4j2.properties
	log4j []byte
)

const (
	startTimeout = 90 * time.Second
	// User and Password log in on SASLAddr with PLAIN and SCRAM.
	User = "test"
	// Password is of a throw-away broker on loopback.
	Password = "test-secret" //nolint:gosec // as said
	// clusterID is any.
	clusterID = "MkU3OEVBNTcwNTJENDM2Qg"
)

// Config says how to start a broker.
type Config struct {
	// Dir holds data and settings. A broker started again on the same folder has
	// its data, and its addresses unless NewPorts is set.
	Dir      string
	NewPorts bool
	// Advertise is the address that clients are told, if they are to come through a proxy.
	Advertise string
	// TLS adds listeners with certificates: SASLAddr and MutualAddr.
	TLS bool
	// Settings are further server properties.
	Settings map[string]string
	// Log receives progress lines.
	Log io.Writer
}

// A Server is a running broker.
type Server struct {
	Addr       string // without security
	SASLAddr   string // TLS with SASL: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512
	MutualAddr string // TLS with a client's certificate
	// CAFile, CertFile and KeyFile are what a client needs for the latter two.
	CAFile, CertFile, KeyFile string

	process *leash.Process
	log     string
}

// ports are the addresses that a folder remembers.
type ports struct{ Plain, Internal, Controller, SASL, Mutual string }

// Start starts a broker and returns when it answers.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = io.Discard
	}
	java, err := maven.Java(ctx)
	if err != nil {
		return nil, err
	}
	lib, err := Jars(ctx, c.Log)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the broker's folder: %w", err)
	}
	p, err := identify(dir, c.NewPorts)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: p.Plain, log: filepath.Join(dir, "broker.log")}
	if c.TLS {
		s.SASLAddr, s.MutualAddr = p.SASL, p.Mutual
		s.CAFile, s.CertFile, s.KeyFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key")
		if err := certificates(dir); err != nil {
			return nil, fmt.Errorf("make certificates: %w", err)
		}
	}
	properties := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(properties, []byte(c.properties(dir, p)), 0o600); err != nil {
		return nil, err
	}
	logging := filepath.Join(dir, "log4j2.properties")
	if err := os.WriteFile(logging, log4j, 0o600); err != nil {
		return nil, err
	}
	args := []string{"-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true", "-Dlog4j2.configurationFile=" + logging, "-cp", filepath.Join(lib, "*")}
	if _, err := os.Stat(filepath.Join(dir, "data", "meta.properties")); err != nil {
		if err := format(ctx, java, args, properties, c.TLS); err != nil {
			return nil, err
		}
	}
	return s, s.run(ctx, java, append(args, "kafka.Kafka", properties))
}

// Jars returns the folder with Kafka's jars, which Maven fetches the first time.
func Jars(ctx context.Context, log io.Writer) (string, error) {
	return maven.Jars(ctx, log, maven.Set{Name: "kafka", What: "Apache Kafka (45 jars, 43 MB, once)", Version: Version, POM: pom, Sums: jars})
}

// identify reads the folder's addresses or chooses them.
func identify(dir string, anew bool) (p ports, err error) {
	path := filepath.Join(dir, "ports.json")
	if b, err := os.ReadFile(path); err == nil && !anew {
		return p, json.Unmarshal(b, &p)
	}
	for _, a := range []*string{&p.Plain, &p.Internal, &p.Controller, &p.SASL, &p.Mutual} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		*a = l.Addr().String()
	}
	b, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	return p, os.WriteFile(path, b, 0o600)
}

func (c Config) properties(dir string, p ports) string {
	listeners := []string{"PLAINTEXT://" + p.Plain, "INTERNAL://" + p.Internal}
	advertised := slices.Clone(listeners)
	if c.Advertise != "" {
		advertised[0] = "PLAINTEXT://" + c.Advertise
	}
	all := map[string]string{
		"log.dirs": filepath.Join(dir, "data"), "controller.quorum.bootstrap.servers": p.Controller,
	}
	if c.TLS {
		secure := []string{"SASL_SSL://" + p.SASL, "SSL://" + p.Mutual}
		listeners, advertised = append(listeners, secure...), append(advertised, secure...)
		maps.Copy(all, map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": filepath.Join(dir, "server.pem"),
			"ssl.truststore.type": "PEM", "ssl.truststore.location": filepath.Join(dir, "ca.pem"),
			"listener.name.ssl.ssl.client.auth": "required",
			"sasl.enabled.mechanisms":           "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.sasl_ssl.plain.sasl.jaas.config": fmt.Sprintf(
				"org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%q;", User, Password),
			"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		})
	}
	all["listeners"] = strings.Join(append(listeners, "CONTROLLER://"+p.Controller), ",")
	all["advertised.listeners"] = strings.Join(append(advertised, "CONTROLLER://"+p.Controller), ",")
	maps.Copy(all, c.Settings)
	var b strings.Builder
	b.WriteString(serverProperties)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", k, all[k])
	}
	return b.String()
}

// format prepares an empty data folder.
func format(ctx context.Context, java string, args []string, properties string, scram bool) error {
	args = append(slices.Clone(args), "kafka.tools.StorageTool", "format", "--standalone", "-t", clusterID, "-c", properties)
	if scram {
		for _, m := range []string{"256", "512"} {
			args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-%s=[name=%s,password=%s]", m, User, Password))
		}
	}
	if out, err := exec.CommandContext(ctx, java, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("format Kafka's folder: %w: %s", err, lastLines(string(out)))
	}
	return nil
}

// run starts the process and waits until it answers.
func (s *Server) run(ctx context.Context, java string, args []string) error {
	out, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer out.Close()
	if s.process, err = leash.Start(out, java, args...); err != nil {
		return fmt.Errorf("start Kafka: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for !s.started() {
		select {
		case <-s.process.Done():
			return fmt.Errorf("Kafka ended at its start: %s", s.why())
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("Kafka is not ready: %w: %s", context.Cause(ctx), s.why())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

func (s *Server) started() bool {
	b, err := os.ReadFile(s.log)
	if err != nil || !strings.Contains(string(b), "Kafka Server started") {
		return false
	}
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// why returns what the broker's log says about its end.
func (s *Server) why() string {
	f, err := os.Open(s.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var found []string
	for sc := bufio.NewScanner(f); sc.Scan() && len(found) < 3; {
		if l := sc.Text(); strings.Contains(l, "ERROR") || strings.Contains(l, "FATAL") || strings.Contains(l, "Exception") {
			found = append(found, l)
		}
	}
	if len(found) == 0 {
		return "see " + s.log
	}
	return strings.Join(found, "; ")
}

// PID is the broker's process.
func (s *Server) PID() int { return s.process.PID }

// Kill ends the broker at once, as a crash does.
func (s *Server) Kill() { s.process.Kill() }

// Stop ends the broker cleanly, or kills it after timeout.
func (s *Server) Stop(timeout time.Duration) error {
	if !s.process.Stop(timeout) {
		return errors.New("Kafka did not stop in time and was killed")
	}
	return nil
}

func lastLines(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-500):]
}
