// Package cache is where gatewatch keeps what it fetches and builds for development.
package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Dir returns the folder, which it makes if need be.
func Dir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(base, "gatewatch")
	return dir, os.MkdirAll(dir, 0o755)
}

// Lock takes an exclusive lock on a file, waiting for other processes.
func Lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
