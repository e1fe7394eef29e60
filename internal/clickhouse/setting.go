package clickhouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// SettingPepper is the setting that holds the fingerprint of the pepper.
const SettingPepper = "pepper_fingerprint"

// Setting returns the newest value of a setting, "" if it was never set.
func (c *Conn) Setting(ctx context.Context, name string) (string, error) {
	var value string
	err := c.QueryRow(ctx, "SELECT value FROM setting WHERE name = ? ORDER BY set_at DESC LIMIT 1", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read setting %s: %w", name, err)
	}
	return value, nil
}

// SetSetting stores a setting.
func (c *Conn) SetSetting(ctx context.Context, name, value string) error {
	if err := c.Exec(ctx, "INSERT INTO setting (name, value) VALUES (?, ?)", name, value); err != nil {
		return fmt.Errorf("store setting %s: %w", name, err)
	}
	return nil
}
