package devstack

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// boardsIn is where a container that is started by GrafanaCommand has the dashboards.
const boardsIn = "/etc/grafana/provisioning/boards"

// WriteGrafana writes Grafana's provisioning for the stack's ClickHouse, with
// its port and password, copies the dashboards, and returns the folder.
func (s *Stack) WriteGrafana() (string, error) {
	dir := filepath.Join(s.config.Dir, "grafana")
	host, port, err := net.SplitHostPort(s.Engine.Addr)
	if err != nil {
		return "", err
	}
	files := map[string]any{
		"datasources/gatewatch.yaml": map[string]any{
			"apiVersion": 1,
			"datasources": []any{map[string]any{
				"name": "gatewatch", "uid": "gatewatch", "type": "grafana-clickhouse-datasource", "isDefault": true,
				"jsonData": map[string]any{
					"host": host, "port": port, "protocol": "native", "username": s.Engine.Username, "defaultDatabase": "gatewatch",
				},
				"secureJsonData": map[string]any{"password": s.Engine.Password},
			}},
		},
		"dashboards/gatewatch.yaml": map[string]any{
			"apiVersion": 1,
			"providers":  []any{map[string]any{"name": "gatewatch", "folder": "gatewatch", "type": "file", "options": map[string]any{"path": boardsIn}}},
		},
	}
	if err := s.copyBoards(filepath.Join(dir, filepath.Base(boardsIn))); err != nil {
		return "", err
	}
	for name, content := range files {
		b, err := yaml.Marshal(content)
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		// Grafana in a container reads it as another user.
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return "", fmt.Errorf("write Grafana's provisioning: %w", err)
		}
	}
	return dir, nil
}

// copyBoards copies the dashboards to dir.
func (s *Stack) copyBoards(dir string) error {
	boards, err := filepath.Glob(filepath.Join(s.config.Root, "dashboards", "*.json"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range boards {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a dashboard: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), b, 0o644); err != nil {
			return fmt.Errorf("copy a dashboard: %w", err)
		}
	}
	return nil
}

// GrafanaCommand returns the line that opens Grafana on provisioning in dir.
func GrafanaCommand(dir string) string {
	return "docker run --rm --network host -v " + dir + ":/etc/grafana/provisioning:ro -e GF_PLUGINS_PREINSTALL=grafana-clickhouse-datasource" +
		" -e GF_AUTH_ANONYMOUS_ENABLED=true -e GF_AUTH_ANONYMOUS_ORG_ROLE=Editor grafana/grafana"
}
