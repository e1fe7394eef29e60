package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

const folderPattern = "gatewatch-demo-*"

// workFolder makes the folder for all data of this run, and removes those that
// earlier runs left because they were killed. release removes it.
func workFolder() (dir string, release func(), err error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), folderPattern))
	if err != nil {
		return "", nil, err
	}
	for _, d := range old {
		if f, err := lock(d); err == nil {
			_ = os.RemoveAll(d) // somebody else's, perhaps: then it stays
			f.Close()
		}
	}
	if dir, err = os.MkdirTemp("", folderPattern); err != nil {
		return "", nil, fmt.Errorf("make a folder for the data: %w", err)
	}
	f, err := lock(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		_ = os.RemoveAll(dir)
		f.Close()
	}, nil
}

// lock takes a folder for as long as this process lives or the file is open.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	return f, nil
}
