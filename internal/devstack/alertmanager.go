package devstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/devstack/leash"
)

// An Alertmanager is a running Alertmanager.
type Alertmanager struct {
	URL string

	child *leash.Process
}

// alertmanagerVersion names the built program in the cache; the version itself
// is pinned in internal/devtools/alertmanager/go.mod.
const alertmanagerVersion = "0.31.1"

// BuildAlertmanager returns the path of an Alertmanager built from its Go
// module into the user's cache folder. The first build takes some minutes.
func BuildAlertmanager(ctx context.Context, root string, log io.Writer) (string, error) {
	return buildOnce(ctx, root, "alertmanager", log)
}

// BuildAmtool is BuildAlertmanager for its command-line tool.
func BuildAmtool(ctx context.Context, root string, log io.Writer) (string, error) {
	return buildOnce(ctx, root, "amtool", log)
}

func buildOnce(ctx context.Context, root, name string, log io.Writer) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(base, "gatewatch")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name+"-"+alertmanagerVersion)
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("wait for another build: %w", err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintf(log, "%s: building %s from its Go module (once, some minutes) …\n", name, alertmanagerVersion)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path+".new", "github.com/prometheus/alertmanager/cmd/"+name)
	cmd.Dir = filepath.Join(root, "internal/devtools/alertmanager")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return path, os.Rename(path+".new", path)
}

// startAlertmanager runs Alertmanager on the shipped configuration, whose webhooks go to webhook.
func startAlertmanager(ctx context.Context, c Config, webhook string) (*Alertmanager, error) {
	bin, err := BuildAlertmanager(ctx, c.Root, c.Log)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Dir, "alertmanager")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	settings := filepath.Join(dir, "alertmanager.yml")
	if err := redirectWebhooks(filepath.Join(c.Root, "deploy/alertmanager/alertmanager.yml"), settings, webhook); err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	a := &Alertmanager{URL: "http://" + addrs[0]}
	out, err := os.OpenFile(filepath.Join(c.Dir, "alertmanager.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	a.child, err = leash.Start(out, bin, "--config.file="+settings, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addrs[0], "--cluster.listen-address=", "--log.level=warn")
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, a.URL+"/-/ready", a.child.Done()); err != nil {
		a.stop()
		return nil, fmt.Errorf("%w: %s", err, tail(out.Name()))
	}
	return a, nil
}

// redirectWebhooks copies an Alertmanager configuration with all webhooks sent
// to url and its templates found where they are.
func redirectWebhooks(from, to, url string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read Alertmanager's configuration: %w", err)
	}
	settings := map[string]any{}
	if err := yaml.Unmarshal(b, &settings); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	templates, _ := settings["templates"].([]any)
	for i, t := range templates {
		if name, ok := t.(string); ok {
			templates[i] = filepath.Join(filepath.Dir(from), name)
		}
	}
	n := 0
	receivers, _ := settings["receivers"].([]any)
	for _, r := range receivers {
		receiver, _ := r.(map[string]any)
		hooks, _ := receiver["webhook_configs"].([]any)
		for _, h := range hooks {
			if hook, ok := h.(map[string]any); ok {
				hook["url"] = url
				n++
			}
		}
	}
	if n == 0 {
		return errors.New(from + " has no webhook_configs to redirect")
	}
	if b, err = yaml.Marshal(settings); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

func (a *Alertmanager) stop() { a.child.Stop(time.Second) }
