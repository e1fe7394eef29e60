package clickhouse

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
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

// Migrations returns all steps in order, made out for a database.
func Migrations(database string) ([]Migration, error) {
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
		ms = append(ms, Migration{version, title, statements(string(text), database)})
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
func statements(text, database string) []string {
	text = strings.NewReplacer(
		"{{database}}", quoteIdent(database),
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
			out = append(out, s)
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

func (c *Conn) bootstrap() []string {
	return []string{
		"CREATE DATABASE IF NOT EXISTS " + quoteIdent(c.Database),
		"CREATE TABLE IF NOT EXISTS " + quoteIdent(c.Database) + ".schema_migration (version UInt16, name String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree(applied_at) ORDER BY version",
	}
}

// A SchemaError says that a database's schema does not fit this build.
type SchemaError struct{ Have, Want int }

func (e *SchemaError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("the database has schema %d, newer than this build's %d: upgrade this binary", e.Have, e.Want)
	}
	return fmt.Sprintf("the database has schema %d, this build needs %d: run gatewatch-ingest migrate", e.Have, e.Want)
}

// Version returns the schema's version, 0 for a database without one.
func (c *Conn) Version(ctx context.Context) (int, error) {
	var v uint16
	err := c.QueryRow(ctx, "SELECT max(version) FROM schema_migration").Scan(&v)
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

// Migrate brings the schema up to date and returns the steps that it applied.
// It may be repeated, and run by two processes at once.
func (c *Conn) Migrate(ctx context.Context) ([]Migration, error) {
	have, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	todo, err := c.pending(have)
	if err != nil || len(todo) == 0 {
		return nil, err
	}
	for _, q := range c.bootstrap() {
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
		if err := c.Exec(ctx, "INSERT INTO schema_migration (version, name) VALUES (?, ?)", uint16(m.Version), m.Name); err != nil {
			return todo[:i], fmt.Errorf("record migration %04d: %w", m.Version, err)
		}
	}
	return todo, nil
}

func (c *Conn) pending(have int) ([]Migration, error) {
	all, err := Migrations(c.Database)
	if err != nil {
		return nil, err
	}
	if have > len(all)+1 {
		return nil, &SchemaError{Have: have, Want: len(all)}
	}
	return all[min(have, len(all)):], nil
}

// Plan returns the SQL that Migrate would run, for an administrator.
func (c *Conn) Plan(ctx context.Context) ([]string, error) {
	have, err := c.Version(ctx)
	if err != nil {
		return nil, err
	}
	todo, err := c.pending(have)
	if err != nil || len(todo) == 0 {
		return nil, err
	}
	out := c.bootstrap()
	for _, m := range todo {
		out = append(out, m.Statements...)
		out = append(out, fmt.Sprintf("INSERT INTO %s.schema_migration (version, name) VALUES (%d, '%s')", quoteIdent(c.Database), m.Version, m.Name))
	}
	return out, nil
}

// A TTL says how long a table keeps its rows; 0 is for ever.
type TTL struct {
	Table string
	Keep  time.Duration
}

// ApplyRetention sets each table's TTL where it differs from what the server has.
func (c *Conn) ApplyRetention(ctx context.Context, ttls []TTL) error {
	for _, t := range ttls {
		column := "time"
		switch t.Table {
		case "access_log", "span":
			column = "toDateTime(ts)"
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
