package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
)

// errPepper says that this instance would give keys other ids than those in the store.
var errPepper = errors.New("the pepper is not the one that the stored key ids were made with")

// checkPepper makes the pepper file at the first start, and refuses a pepper
// whose fingerprint is not the one in the database.
func checkPepper(ctx context.Context, file string, conn *clickhouse.Conn) error {
	pepper, err := readPepper(file)
	if err != nil {
		return fmt.Errorf("%w: %w", errPepper, err)
	}
	sum := sha256.Sum256([]byte("gatewatch pepper fingerprint\n" + pepper))
	mine := hex.EncodeToString(sum[:8])
	stored, err := conn.Setting(ctx, clickhouse.SettingPepper)
	if err != nil {
		return err
	}
	switch stored {
	case mine:
		return nil
	case "":
		return conn.SetSetting(ctx, clickhouse.SettingPepper, mine)
	}
	return fmt.Errorf("%w: %s has fingerprint %s, database %s has %s: copy the pepper file of the instance that wrote it", errPepper, file, mine, conn.Database, stored)
}

// readPepper reads the file, creating it with a new secret if it is absent.
func readPepper(file string) (string, error) {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return "", err
		}
		var secret [32]byte
		_, _ = rand.Read(secret[:]) // never fails
		// Two instances that start at once must end up with one pepper.
		tmp := fmt.Sprintf("%s.%d", file, os.Getpid())
		if err := os.WriteFile(tmp, []byte(hex.EncodeToString(secret[:])+"\n"), 0o600); err != nil {
			return "", err
		}
		defer os.Remove(tmp)
		if err := os.Link(tmp, file); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return config.ReadSecret(file)
}

// readiness is a check that is known only once its subject runs.
type readiness struct {
	mu    sync.Mutex
	probe func() error
}

func (r *readiness) set(probe func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probe = probe
}

func (r *readiness) get() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probe == nil {
		return errors.New("starting")
	}
	return r.probe()
}
