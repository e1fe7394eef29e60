package clickhouse

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewatch/internal/accesslog"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// A Migration is one numbered step of the schema.
type Migration struct {
	Version    int
	Name       string
	Statements []string
}

// migrations returns all steps in order, made out for a store.
func migrations(c Config) ([]Migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	ms := make([]Migration, 0, len(names))
	for i, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".sql")
		number, title, _ := strings.Cut(base, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s is not number %04d", base, i+1)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		ms = append(ms, Migration{version, title, statements(string(text), c)})
	}
	return ms, nil
}

// SchemaVersion is the version that this build writes and expects.
func SchemaVersion() int {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		panic(err) // a constant pattern
	}
	return len(names)
}

// statements makes out the placeholders, drops comments and splits at
// semicolons that end a line.
func statements(text string, c Config) []string {
	text = strings.NewReplacer(
		"{{error_class}}", enumType(accesslog.ErrorClasses()),
		"{{responder}}", enumType([]accesslog.Responder{0, 1, 2, 3}),
		"{{reached}}", enumType([]accesslog.Reached{0, 1, 2}),
		"{{evidence}}", enumType([]accesslog.Evidence{0, 1, 2}),
	).Replace(text)
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			kept = append(kept, line)
		}
	}
	var out []string
	for s := range strings.SplitSeq(strings.Join(kept, ""), ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, c.layOut(s)...)
		}
	}
	return out
}

// enumType returns the Enum8 of a closed vocabulary whose numbers are its positions.
func enumType[T fmt.Stringer](values []T) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = fmt.Sprintf("'%s'=%d", v, i)
	}
	return "Enum8(" + strings.Join(parts, ",") + ")"
}

func quoteIdent(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// migrationTable remembers the steps that a server has had.
const migrationTable = "schema_migration"

func (c Config) bootstrap() []string {
	stored := quoteIdent(c.stored())
	list := []string{
		"CREATE DATABASE IF NOT EXISTS " + quoteIdent(c.Database),
		"CREATE TABLE IF NOT EXISTS " + stored + "." + migrationTable + " (version UInt16, name String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree(applied_at) ORDER BY version",
	}
	if c.Cluster != "" {
		list = slices.Insert(list, 1, "CREATE DATABASE IF NOT EXISTS "+stored)
	}
	return list
}

// A SchemaError says that a database's schema does not fit this build.
type SchemaError struct{ Have, Want int }

func (e *SchemaError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("the database has schema %d, newer than this build's %d: upgrade this binary", e.Have, e.Want)
	}
	return fmt.Sprintf("the database has schema %d, this build needs %d: run gatewatch-ingest migrate", e.Have, e.Want)
}

// Version returns the schema's version, 0 for a database without one: on a
// cluster the lowest of any server.
func (c *Conn) Version(ctx context.Context) (version int, err error) {
	version = math.MaxInt
	err = c.onNodes(func(n *Conn) error {
		v, err := n.version(ctx)
		version = min(version, v)
		return err
	})
	return version, err
}

func (c *Conn) version(ctx context.Context) (int, error) {
	var v uint16
	err := c.QueryRow(ctx, "SELECT max(version) FROM "+migrationTable).Scan(&v)
	if code := ErrorCode(err); code == codeUnknownTable || code == codeUnknownDatabase {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the schema's version: %w", err)
	}
	return int(v), nil
}

// CheckSchema returns a SchemaError if the schema is older than this build
// needs. One step newer is served: release N runs on schema N+1.
func (c *Conn) CheckSchema(ctx context.Context) error {
	have, err := c.Version(ctx)
	if err != nil {
		return err
	}
	if want := SchemaVersion(); have < want || have > want+1 {
		return &SchemaError{Have: have, Want: want}
	}
	return nil
}

// Migrate brings the schema up to date and returns the steps that it applied, on
// a cluster those of the server that lacked most. It may be repeated, and run by
// two processes at once.
func (c *Conn) Migrate(ctx context.Context) (applied []Migration, err error) {
	err = c.onNodes(func(n *Conn) error {
		steps, err := n.migrate(ctx, c.config)
		if len(steps) > len(applied) {
			applied = steps
		}
		return err
	})
	return applied, err
}

// migrate brings one server up to date.
func (c *Conn) migrate(ctx context.Context, to Config) ([]Migration, error) {
	have, err := c.version(ctx)
	if err != nil {
		return nil, err
	}
	todo, err := to.pending(have)
	if err != nil || len(todo) == 0 {
		return nil, err
	}
	for _, q := range to.bootstrap() {
		if err := c.execWithout(ctx, q); err != nil {
			return nil, fmt.Errorf("prepare the database: %w", err)
		}
	}
	for i, m := range todo {
		for _, q := range m.Statements {
			if err := c.Exec(ctx, q); err != nil {
				return todo[:i], fmt.Errorf("migration %04d_%s: %w", m.Version, m.Name, err)
			}
		}
		if err := c.Exec(ctx, "INSERT INTO "+migrationTable+" (version, name) VALUES (?, ?)", uint16(m.Version), m.Name); err != nil {
			return todo[:i], fmt.Errorf("record migration %04d: %w", m.Version, err)
		}
	}
	return todo, nil
}

func (c Config) pending(have int) ([]Migration, error) {
	all, err := migrations(c)
	if err != nil {
		return nil, err
	}
	if have > len(all)+1 {
		return nil, &SchemaError{Have: have, Want: len(all)}
	}
	return all[min(have, len(all)):], nil
}

// Plan returns the SQL that Migrate would run, for an administrator; on a
// cluster it begins with a comment for each server.
func (c *Conn) Plan(ctx context.Context) (out []string, err error) {
	err = c.onNodes(func(n *Conn) error {
		have, err := n.version(ctx)
		if err != nil {
			return err
		}
		todo, err := c.config.pending(have)
		if err != nil || len(todo) == 0 {
			return err
		}
		if c.config.Cluster != "" {
			out = append(out, "-- on "+n.config.Address)
		}
		out = append(out, c.config.bootstrap()...)
		for _, m := range todo {
			out = append(out, m.Statements...)
			out = append(out, fmt.Sprintf("INSERT INTO %s.%s (version, name) VALUES (%d, '%s')", quoteIdent(c.config.stored()), migrationTable, m.Version, m.Name))
		}
		return nil
	})
	return out, err
}

// A TTL says how long a table keeps its rows; 0 is for ever.
type TTL struct {
	Table string
	Keep  time.Duration
}

// ApplyRetention sets each table's TTL where it differs from what the server has.
func (c *Conn) ApplyRetention(ctx context.Context, ttls []TTL) error {
	return c.onNodes(func(n *Conn) error { return n.applyRetention(ctx, ttls) })
}

func (c *Conn) applyRetention(ctx context.Context, ttls []TTL) error {
	for _, t := range ttls {
		column := "time"
		switch t.Table {
		case "access_log", "span", "workflow_call":
			column = "toDateTime(ts)"
		case "workflow_run":
			column = "toDateTime(start)"
		case "dead_letter":
			column = "toDateTime(kafka_time)"
		}
		var engine string
		err := c.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = ? AND name = ?", c.Database, t.Table).Scan(&engine)
		if err != nil {
			return fmt.Errorf("read the retention of %s: %w", t.Table, err)
		}
		seconds := int64(t.Keep / time.Second)
		want := fmt.Sprintf("TTL %s + toIntervalSecond(%d)", column, seconds)
		has := strings.Contains(engine, " TTL ")
		switch {
		case t.Keep == 0 && has:
			err = c.Exec(ctx, "ALTER TABLE "+t.Table+" REMOVE TTL")
		case t.Keep != 0 && !strings.Contains(engine, want+" "):
			err = c.Exec(ctx, fmt.Sprintf("ALTER TABLE %s MODIFY TTL %s + toIntervalSecond(%d) SETTINGS materialize_ttl_after_modify = 0", t.Table, column, seconds))
		}
		if err != nil {
			return fmt.Errorf("set the retention of %s: %w", t.Table, err)
		}
	}
	return nil
}

var errNoDatabase = errors.New("clickhouse.database is empty")
