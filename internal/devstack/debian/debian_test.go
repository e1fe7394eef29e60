package debian_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"gatewatch/internal/devstack/debian"
)

// The programs of the packages run without being installed.
func TestInstall(t *testing.T) {
	root, err := debian.Install(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for program, c := range map[string]struct{ flag, want string }{
		"usr/sbin/nginx":    {"-v", "nginx/1.22"},
		"usr/sbin/haproxy":  {"-v", "HAProxy version 2.6"},
		"usr/sbin/apache2":  {"-v", "Apache/2.4"},
		"usr/bin/caddy":     {"version", "2.6"},
		"usr/sbin/rsyslogd": {"-v", "rsyslogd  8.2302"},
	} {
		name, args := debian.Command(root, program, c.flag)
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s: %v\n%s", program, c.flag, err, out)
		}
	}
}
