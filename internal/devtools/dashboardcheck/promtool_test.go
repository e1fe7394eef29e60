package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gatewatch/internal/devstack/debian"
)

// The real promtool takes the shipped configuration with its rules.
func TestPromtool(t *testing.T) {
	tools, err := debian.InstallPrometheus(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(root + "/deploy/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", "gatewatch.rules.yaml"}, {"check", "config", "prometheus.yml"}} {
		name, all := debian.Command(tools, "usr/bin/promtool", args...)
		cmd := exec.CommandContext(t.Context(), name, all...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
