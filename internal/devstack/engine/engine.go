// Package engine gives development and tests a real ClickHouse server: a
// `clickhouse` binary from PATH, or else the engine of libchdb, which is the
// same server code. Either runs as a child process on loopback ports and ends
// with the process that started it, also when that is killed.
package engine

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says how to start a server.
type Config struct {
	// Dir holds data and settings. A server started again on the same folder has
	// the same addresses and password, and its data.
	Dir string
	// MaxMemory bounds the server's memory in bytes. Default 4 GiB.
	MaxMemory int64
	// Users is the text of a users.xml with further users, and Logins are their
	// passwords.
	Users  string
	Logins map[string]string
	// Log receives progress lines.
	Log io.Writer

	// Settings are further elements of config.xml.
	Settings string

	password string // random if empty
}

// A Server is a running ClickHouse.
type Server struct {
	Addr     string // native protocol
	HTTPAddr string
	Username string
	Password string
	// Reused says that the folder had data from an earlier start.
	Reused bool

	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}
	mu    sync.Mutex
	errb  strings.Builder // what the process wrote to its standard error; under mu
}

// identity is what a folder remembers, so that a restart looks the same to clients.
type identity struct{ Addr, HTTPAddr, Username, Password string }

const username = "gatewatch"

// Start starts a server and returns when it answers.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Log == nil {
		c.Log = io.Discard
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 4 << 30
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the engine's folder: %w", err)
	}
	_, noData := os.Stat(filepath.Join(dir, "data"))
	reused := noData == nil
	id, err := identify(dir, c.password)
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: id.Addr, HTTPAddr: id.HTTPAddr, Username: username, Password: id.Password, Reused: reused, done: make(chan struct{})}
	if path, err := exec.LookPath("clickhouse"); err == nil {
		err = s.startBinary(ctx, path, dir, c)
		return s, err
	}
	lib, err := Library(ctx, c.Log)
	if err != nil {
		return nil, err
	}
	if err := s.startEmbedded(ctx, lib, dir, c); err != nil {
		return nil, err
	}
	if reused {
		fmt.Fprintln(c.Log, "engine: started again on the data of an earlier start")
	}
	return s, nil
}

// identify reads the folder's identity or makes one.
func identify(dir, password string) (id identity, err error) {
	path := filepath.Join(dir, "identity.json")
	b, err := os.ReadFile(path)
	if err == nil {
		return id, json.Unmarshal(b, &id)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return id, fmt.Errorf("read the engine's identity: %w", err)
	}
	id.Username, id.Password = username, cmp.Or(password, newPassword())
	for _, a := range []*string{&id.Addr, &id.HTTPAddr} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return id, fmt.Errorf("find a free port: %w", err)
		}
		*a = l.Addr().String()
		defer l.Close()
	}
	b, err = json.Marshal(id)
	if err != nil {
		return id, err
	}
	return id, os.WriteFile(path, b, 0o600)
}

func newPassword() string {
	var secret [24]byte
	_, _ = rand.Read(secret[:]) // never fails
	return hex.EncodeToString(secret[:])
}

// Cluster is the name of the cluster that StartCluster makes.
const Cluster = "gatewatch"

// StartCluster starts shards × replicas servers, in folders below c.Dir. They are
// returned by shard, the first one's replicas first.
func StartCluster(ctx context.Context, c Config, shards, replicas int) (list []*Server, err error) {
	dir, settings := c.Dir, c.Settings
	var remote strings.Builder
	c.password = newPassword()
	for i := range shards * replicas {
		if err := os.MkdirAll(serverDir(dir, i), 0o700); err != nil {
			return nil, fmt.Errorf("make the engine's folder: %w", err)
		}
		id, err := identify(serverDir(dir, i), c.password)
		if err != nil {
			return nil, err
		}
		c.password = id.Password // of an earlier start, if there was one
		if i%replicas == 0 {
			remote.WriteString("<shard>")
		}
		host, port, _ := net.SplitHostPort(id.Addr)
		fmt.Fprintf(&remote, "<replica><host>%s</host><port>%s</port><user>%s</user><password>%s</password></replica>", host, port, id.Username, id.Password)
		if i%replicas == replicas-1 {
			remote.WriteString("</shard>")
		}
	}
	for i := range shards * replicas {
		c.Dir = serverDir(dir, i)
		c.Settings = fmt.Sprintf("%[1]s<remote_servers><%[2]s>%[3]s</%[2]s></remote_servers><macros><shard>%[4]d</shard><replica>%[5]d</replica></macros>",
			settings, Cluster, remote.String(), i/replicas, i%replicas)
		s, err := Start(ctx, c)
		if err != nil {
			for _, s := range list {
				s.Kill()
			}
			return nil, fmt.Errorf("server %d: %w", i, err)
		}
		list = append(list, s)
	}
	return list, nil
}

func serverDir(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("server-%d", i)) }

func (s *Server) startEmbedded(ctx context.Context, lib, dir string, c Config) error {
	bin, err := host(ctx)
	if err != nil {
		return err
	}
	if err := writeSettings(dir, s.Password, c, "0", "0"); err != nil {
		return err
	}
	out, err := s.spawn(bin, lib, dir, s.Addr, s.HTTPAddr)
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "ready ") {
			err = fmt.Errorf("engine said %q", line)
		}
		ready <- err
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case err := <-ready:
		if err == nil {
			return nil
		}
		s.Kill()
		return fmt.Errorf("start the engine: %w: %s", err, s.stderr())
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("start the engine: %w: %s", context.Cause(ctx), s.stderr())
	}
}

// startBinary runs `clickhouse server` on the same settings.
func (s *Server) startBinary(ctx context.Context, path, dir string, c Config) error {
	_, native, _ := net.SplitHostPort(s.Addr)
	_, http, _ := net.SplitHostPort(s.HTTPAddr)
	if err := writeSettings(dir, s.Password, c, native, http); err != nil {
		return err
	}
	// The shell ends the server when its own standard input does.
	script := `"$0" server --config-file "$1" & p=$!; cat >/dev/null; kill $p; wait $p`
	out, err := s.spawn("sh", "-c", script, path, filepath.Join(dir, "config.xml"))
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	for {
		if conn, err := net.DialTimeout("tcp", s.Addr, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("start %s: %s", path, s.stderr())
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("start %s: %w", path, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) spawn(name string, args ...string) (io.Reader, error) {
	s.cmd = exec.Command(name, args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Stderr = stderrWriter{s}
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	s.stdin = stdin
	// A pipe of our own: Wait would close one of exec's while it is still read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stdout = w
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	w.Close()
	go func() {
		_ = s.cmd.Wait()
		close(s.done)
	}()
	return r, nil
}

type stderrWriter struct{ s *Server }

func (w stderrWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.errb.Len() < 64<<10 {
		w.s.errb.Write(p)
	}
	return len(p), nil
}

func (s *Server) stderr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimSpace(s.errb.String())
}

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// PID is the id of the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Kill ends the server at once, as a crash does, and returns when it is gone.
func (s *Server) Kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
	s.stdin.Close()
}

// Stop ends the server cleanly, or kills it after timeout.
func (s *Server) Stop(timeout time.Duration) error {
	s.stdin.Close()
	select {
	case <-s.done:
		return nil
	case <-time.After(timeout):
		s.Kill()
		return fmt.Errorf("engine did not stop in %s and was killed", timeout)
	}
}

// writeSettings writes config.xml, users.xml, boot.sql and, for the host,
// logins.json. Port 0 is any free port.
func writeSettings(dir, password string, c Config, native, http string) error {
	logins := map[string]string{username: password}
	maps.Copy(logins, c.Logins)
	known, err := json.Marshal(logins)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(password))
	ports := filepath.Join(dir, "ports.tsv")
	files := map[string]string{
		"users.xml":   fmt.Sprintf(usersXML, sum),
		"config.xml":  fmt.Sprintf(configXML, dir, native, http, c.MaxMemory, c.Settings),
		"logins.json": string(known),
		"boot.sql": "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; " +
			"SELECT getServerPort('tcp_port'), getServerPort('http_port') INTO OUTFILE '" + ports + ".tmp' TRUNCATE FORMAT TSV; " +
			"SELECT 1 INTO OUTFILE '" + ports + "' TRUNCATE FORMAT TSV;",
	}
	if c.Users != "" {
		files[filepath.Join("users.d", "more.xml")] = c.Users
		if err := os.MkdirAll(filepath.Join(dir, "users.d"), 0o700); err != nil {
			return fmt.Errorf("write the engine's settings: %w", err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("write the engine's settings: %w", err)
		}
	}
	return nil
}

// default may log in without a password from loopback but only open the
// listeners; the quota lets it do that once.
const usersXML = `<clickhouse>
<profiles><default/><readonly><readonly>2</readonly></readonly></profiles>
<users>
<default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>boot</quota>
<grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants></default>
<gatewatch><password_sha256_hex>%x</password_sha256_hex><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT ALL ON gatewatch*.*</query><query>GRANT SELECT ON system.*</query><query>GRANT KILL QUERY, SYSTEM FLUSH LOGS, BACKUP, REMOTE ON *.*</query>
<query>GRANT TABLE ENGINE ON MergeTree, TABLE ENGINE ON ReplacingMergeTree, TABLE ENGINE ON SummingMergeTree, TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON Null, TABLE ENGINE ON Memory, TABLE ENGINE ON Distributed</query>
<query>GRANT TABLE ENGINE ON ReplicatedMergeTree, TABLE ENGINE ON ReplicatedReplacingMergeTree, TABLE ENGINE ON ReplicatedAggregatingMergeTree</query></grants></gatewatch>
</users>
<quotas><default/><boot><interval><duration>315360000</duration><queries>2</queries></interval></boot></quotas>
</clickhouse>
`

// One thread merges: more of them compete with the inserts that a test or a
// demo waits for. Column statistics are not used.
const configXML = `<clickhouse>
<log-level>warning</log-level>
<logger><level>warning</level><log>%[1]s/server.log</log><errorlog>%[1]s/server.err.log</errorlog><size>20M</size><count>2</count></logger>
<path>%[1]s/data/</path>
<listen_host>127.0.0.1</listen_host><tcp_port>%[2]s</tcp_port><http_port>%[3]s</http_port>
<users_config>%[1]s/users.xml</users_config>
<max_server_memory_usage>%[4]d</max_server_memory_usage>
<mark_cache_size>268435456</mark_cache_size>
<background_pool_size>1</background_pool_size>
<background_schedule_pool_size>16</background_schedule_pool_size>
<background_streaming_schedule_pool_size>8</background_streaming_schedule_pool_size>
<merge_tree><merge_with_ttl_timeout>60</merge_with_ttl_timeout><auto_statistics_types></auto_statistics_types></merge_tree>
%[5]s
</clickhouse>
`
