package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/devstack"
	"gatewatch/internal/devstack/engine"
	"gatewatch/internal/devstack/leash"
)

const (
	runTimeout = 3 * time.Minute
	poll       = 250 * time.Millisecond // asking costs the engine 5 ms
	// profileSeconds is how long a profile is, and about how long a run of a
	// million rows.
	profileSeconds = 4
)

// config returns the settings for a database of its own.
func (b *bench) config(database string) clickhouse.Config {
	c := clickhouse.DefaultConfig()
	c.Address, c.Database, c.Username, c.PasswordFile = b.servers[0].Addr, database, b.user, b.password
	if len(b.servers) > 1 {
		c.Cluster = engine.Cluster
		for _, s := range b.servers {
			c.Shards = append(c.Shards, []string{s.Addr})
		}
	}
	return c
}

// open makes a database with the product's schema.
func (b *bench) open(ctx context.Context, database string) (*clickhouse.Conn, error) {
	conn, err := clickhouse.Open(b.config(database))
	if err != nil {
		return nil, err
	}
	if _, err := conn.Migrate(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// gatewatch lets the built ingest move a topic. If given, prepare changes the
// empty database and after adds to the cost.
func (b *bench) gatewatch(ctx context.Context, t input, prepare func(*clickhouse.Conn) error, after func(*clickhouse.Conn, *cost) error) (c cost, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	database := "gatewatch_" + strings.ReplaceAll(t.name, "-", "_")
	conn, err := b.open(ctx, database)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, conn.Drop(ctx), conn.Close()) }()
	if prepare != nil {
		if err := prepare(conn); err != nil {
			return c, err
		}
	}
	settings, err := b.settings(database, t)
	if err != nil {
		return c, err
	}
	log, err := os.Create(filepath.Join(b.dir, database+".log"))
	if err != nil {
		return c, err
	}
	defer log.Close()
	if err := b.quiet(ctx, conn); err != nil {
		return c, err
	}
	engineBefore, began := b.engineCPU(), time.Now()
	members, err := b.startMembers(log, settings)
	for _, p := range members {
		defer p.Kill()
	}
	if err != nil {
		return c, err
	}
	if b.profile != "" && t.name == topicJSON {
		go b.saveProfile(ctx)
	}
	c.rows = b.rows[t.name]
	if err := stored(ctx, conn, members[0], log.Name(), int64(c.rows)); err != nil {
		return c, err
	}
	c.seconds = time.Since(began).Seconds()
	for _, p := range members {
		c.client += perRow(devstack.CPU(p.PID), c.rows)
		c.rss = max(c.rss, devstack.PeakRSS(p.PID))
	}
	if err := b.quiet(ctx, conn); err != nil {
		return c, err
	}
	c.engine = perRow(b.engineCPU()-engineBefore, c.rows)
	c.bytes = float64(b.bytes[t.name]) / float64(c.rows)
	if after != nil {
		members[0].Kill() // it would wait for more
		err = after(conn, &c)
	}
	return c, err
}

// startMembers starts as many processes of ingest as b says.
func (b *bench) startMembers(log *os.File, settings string) (members []*leash.Process, err error) {
	args := []string{"run", "--config", settings}
	if b.profile != "" {
		args = append(args, "--pprof")
	}
	for range b.members {
		p, err := leash.Start(log, b.bin, args...)
		if err != nil {
			return members, err
		}
		members = append(members, p)
	}
	return members, nil
}

// stored waits until the ledger has all rows.
func stored(ctx context.Context, conn *clickhouse.Conn, p *leash.Process, log string, rows int64) error {
	for {
		select {
		case <-p.Done():
			text, _ := os.ReadFile(log)
			return fmt.Errorf("ingest ended: %s", text[max(0, len(text)-1500):])
		case <-ctx.Done():
			text, _ := os.ReadFile(log)
			return fmt.Errorf("%d rows are not stored: %w: %s", rows, context.Cause(ctx), text[max(0, len(text)-1500):])
		case <-time.After(poll):
		}
		totals, err := conn.LedgerTotals(ctx)
		if err != nil || len(totals) == 1 && totals[0].Rows >= rows {
			return err
		}
	}
}

const adminAddr = "127.0.0.1:19107"

// settings writes a configuration with one topic and the defaults.
func (b *bench) settings(database string, t input) (string, error) {
	pepper := filepath.Join(b.dir, "pepper")
	if err := os.WriteFile(pepper, []byte(strings.Repeat("pepper", 6)), 0o600); err != nil {
		return "", err
	}
	ingest := map[string]any{"listen": "127.0.0.1:0", "start": "earliest", "pepper_file": pepper}
	if b.profile != "" {
		ingest["listen"] = adminAddr
	}
	keep := map[string]any{}
	if b.rollups { // some levels are tables that can't have a TTL
		for _, level := range levelNames {
			if level != "edge_1m" { // its TTL is the schema's
				keep[level] = "0"
			}
		}
	}
	text, err := yaml.Marshal(map[string]any{
		"retention": keep,
		"kafka": map[string]any{
			"brokers": []string{b.broker}, "group_prefix": fmt.Sprintf("%s-%d", database, b.runs),
			"topics": []map[string]any{{"name": t.name, "format": t.format}},
		},
		"clickhouse": b.config(database),
		"ingest":     ingest,
	})
	if err != nil {
		return "", err
	}
	b.runs++
	path := filepath.Join(b.dir, database+".yaml")
	return path, os.WriteFile(path, text, 0o600)
}

func (b *bench) saveProfile(ctx context.Context) {
	if err := b.fetchProfile(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ingestbench: no profile:", err)
	}
}

func (b *bench) fetchProfile(ctx context.Context) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", adminAddr, profileSeconds)
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			select {
			case <-ctx.Done():
				return err
			case <-time.After(poll):
				continue
			}
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		out, err := os.Create(b.profile)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, res.Body)
		return errors.Join(err, out.Close())
	}
}

// engineCPU returns the CPU time that all servers have used.
func (b *bench) engineCPU() (d time.Duration) {
	for _, s := range b.servers {
		d += devstack.CPU(s.PID())
	}
	return d
}

// quiet waits until the engine has nothing to merge, so that a cost includes its merges.
func (b *bench) quiet(ctx context.Context, conn *clickhouse.Conn) error {
	for still := 0; still < 4; {
		var n uint64
		merges := "system.merges"
		if len(b.servers) > 1 {
			merges = "cluster('" + engine.Cluster + "', system.merges)"
		}
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+merges).Scan(&n); err != nil {
			return err
		}
		if still++; n > 0 {
			still = 0
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(poll):
		}
	}
	return nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
