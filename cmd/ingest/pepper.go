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
	"strings"
	"sync"
	"time"

	"gatewatch/internal/accesslog/normalise"
	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
)

// errPepper says that this instance would give keys other ids than those in the store.
var errPepper = errors.New("the pepper is not the one that the stored key ids were made with")

// parsePeppers reads the lines of a pepper file: a secret, and later ones with
// the day (UTC) or the time from which each is used before it.
func parsePeppers(text string) ([]normalise.Pepper, error) {
	var ps []normalise.Pepper
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		p := normalise.Pepper{Secret: []byte(strings.TrimSpace(line))}
		from, secret, _ := strings.Cut(strings.TrimSpace(line), " ")
		at, err := time.Parse(time.DateOnly, from)
		if err != nil {
			at, err = time.Parse(time.RFC3339, from)
		}
		switch {
		case err == nil && secret != "":
			p.From, p.Secret = at, []byte(strings.TrimSpace(secret))
		case i > 0:
			return nil, fmt.Errorf("pepper file, line %d: want a day such as 2026-01-31 and a secret after it", i+1)
		}
		if n := len(ps); n > 0 && !p.From.After(ps[n-1].From) {
			return nil, fmt.Errorf("pepper file, line %d: is from no later a time than the line before", i+1)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// fingerprints tells the peppers of two files apart without showing them: one a line, between commas.
func fingerprints(ps []normalise.Pepper) string {
	var all []string
	for _, p := range ps {
		text := string(p.Secret)
		if !p.From.IsZero() {
			text = p.From.UTC().Format(time.RFC3339) + " " + text
		}
		sum := sha256.Sum256([]byte("gatewatch pepper fingerprint\n" + text))
		all = append(all, hex.EncodeToString(sum[:8]))
	}
	return strings.Join(all, ",")
}

// checkPepper makes the pepper file at the first start, and refuses a file
// whose fingerprints are not those in the database, or more.
func checkPepper(ctx context.Context, file string, conn *clickhouse.Conn) error {
	pepper, err := readPepper(file)
	if err != nil {
		return fmt.Errorf("%w: %w", errPepper, err)
	}
	peppers, err := parsePeppers(pepper)
	if err != nil {
		return fmt.Errorf("%w: %w", errPepper, err)
	}
	mine := fingerprints(peppers)
	stored, err := conn.Setting(ctx, clickhouse.SettingPepper)
	if err != nil {
		return err
	}
	switch {
	case stored == mine:
		return nil
	case stored == "", strings.HasPrefix(mine, stored+","): // a later pepper was added
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
