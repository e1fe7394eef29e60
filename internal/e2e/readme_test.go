package e2e

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack"
)

// TestReadme runs the commands of README, "Your own Kafka in five minutes", in
// their order, against the stack's Kafka, ClickHouse and Alertmanager. Only
// addresses, the login and the names that would collide with the stack's own
// are replaced.
func TestReadme(t *testing.T) {
	s := start(t, nil)
	load := s.NewLoad(3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	live, endLive := context.WithCancel(ctx)
	sent := make(chan error, 1)
	go func() { sent <- load.Live(live, 100) }()
	defer func() {
		endLive()
		if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()

	r := readme{t: t, ctx: ctx, dir: t.TempDir(), blocks: readmeBlocks(t), addresses: stackAddresses(t, s)}
	if err := os.Symlink(built().dir, filepath.Join(r.dir, "bin")); err != nil {
		t.Fatal(err)
	}
	r.writeConfig(s)
	r.until("probe", "gateway-nginx: gateway logs, nginx_json, 100 % readable")
	r.until("check", "ok    deduplication")
	defer r.background("run")()
	r.until("report", "payments")
}

// readmeBlocks returns README's marked blocks by name.
func readmeBlocks(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(built().root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- readme: ([a-z.]+) -->\n```[a-z]+\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] = m[2]
	}
	return blocks
}

func stackAddresses(t *testing.T, s *devstack.Stack) *strings.Replacer {
	t.Helper()
	var stack struct {
		Kafka struct{ Brokers []string }
	}
	b, err := os.ReadFile(s.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &stack); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer("127.0.0.1:9092", stack.Kafka.Brokers[0], "127.0.0.1:9000", s.Engine.Addr, "http://127.0.0.1:9093", s.Alertmanager.URL)
}

type readme struct {
	t         *testing.T
	ctx       context.Context
	dir       string // where the commands run
	blocks    map[string]string
	addresses *strings.Replacer
}

func (r *readme) block(name string) string {
	r.t.Helper()
	b, ok := r.blocks[name]
	if !ok {
		r.t.Fatalf("README.md has no block %q", name)
	}
	return r.addresses.Replace(b)
}

// writeConfig writes README's lines, with what the stack asks for besides.
func (r *readme) writeConfig(s *devstack.Stack) {
	r.t.Helper()
	var c map[string]map[string]any
	if err := yaml.Unmarshal([]byte(r.block("gatewatch.yaml")), &c); err != nil {
		r.t.Fatal(err)
	}
	password := filepath.Join(r.dir, "password")
	if err := os.WriteFile(password, []byte(s.Engine.Password), 0o600); err != nil {
		r.t.Fatal(err)
	}
	c["kafka"]["group_prefix"] = "readme"
	c["clickhouse"]["username"], c["clickhouse"]["password_file"] = s.Engine.Username, password
	c["clickhouse"]["database"] = "gatewatch_readme"
	c["aggregate"] = map[string]any{}
	for _, section := range []string{"ingest", "aggregate", "alert"} {
		c[section]["listen"] = "127.0.0.1:0"
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "gatewatch.yaml"), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *readme) command(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir = r.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// until runs a block until it succeeds and its output holds want: what has been
// started just now needs some seconds.
func (r *readme) until(name, want string) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := r.command(r.ctx, r.block(name)).CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			r.t.Logf("%s:\n%s", name, out)
			return
		}
		if time.Now().After(deadline) || r.ctx.Err() != nil {
			r.t.Fatalf("%s: %v, without %q:\n%s", name, err, want, out)
		}
		time.Sleep(time.Second)
	}
}

// background runs a block of commands that stay, and returns what ends them.
func (r *readme) background(name string) func() {
	r.t.Helper()
	ctx, end := context.WithCancel(r.ctx)
	var out strings.Builder
	cmd := r.command(ctx, r.block(name)+"\nwait")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		end()
		_ = cmd.Wait() // ended by the signal that end sent
		if r.t.Failed() {
			r.t.Logf("%s:\n%s", name, out.String())
		}
	}
}
