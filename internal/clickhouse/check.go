package clickhouse

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Server says which server answers and what its clock shows.
type Server struct {
	Version string
	Now     time.Time
}

// Server asks the server outside of the database, which may not exist yet.
func (c *Conn) Server(ctx context.Context) (s Server, err error) {
	pool, err := c.fresh()
	if err != nil {
		return s, err
	}
	defer pool.Close()
	err = pool.QueryRow(ctx, "SELECT version(), now64(6)").Scan(&s.Version, &s.Now)
	return s, err
}

// fresh opens a pool of one connection outside of the database.
func (c *Conn) fresh() (clickhouse.Conn, error) {
	opts := *c.opts
	opts.Auth.Database = ""
	opts.MaxOpenConns = 1
	pool, err := clickhouse.Open(&opts)
	if err != nil {
		return nil, fmt.Errorf("open ClickHouse: %w", err)
	}
	return pool, nil
}

// ServerIDs returns how many different servers answer at the address, over n
// connections. More than one needs replicated tables.
func (c *Conn) ServerIDs(ctx context.Context, n int) (int, error) {
	seen := map[string]bool{}
	for range n {
		pool, err := c.fresh()
		if err != nil {
			return 0, err
		}
		var id string
		err = pool.QueryRow(ctx, "SELECT toString(serverUUID())").Scan(&id)
		pool.Close()
		if err != nil {
			return 0, err
		}
		seen[id] = true
	}
	return len(seen), nil
}

// rights are what gatewatch's user needs; {{db}} is its database.
var rights = [...]string{
	"CREATE DATABASE ON {{db}}.*", "CREATE TABLE ON {{db}}.*", "DROP TABLE ON {{db}}.*", "ALTER TABLE ON {{db}}.*",
	"INSERT ON {{db}}.*", "SELECT ON {{db}}.*", "SELECT ON system.parts", "SELECT ON system.merges", "SELECT ON system.disks",
	"TABLE ENGINE ON MergeTree", "TABLE ENGINE ON ReplacingMergeTree", "TABLE ENGINE ON SummingMergeTree", "TABLE ENGINE ON AggregatingMergeTree",
}

// MissingRights returns the rights that the user lacks, as a GRANT names them.
// It changes nothing, and the database need not exist.
func (c *Conn) MissingRights(ctx context.Context) (missing []string, err error) {
	pool, err := c.fresh()
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	for _, r := range rights {
		r = strings.ReplaceAll(r, "{{db}}", quoteIdent(c.Database))
		var granted uint8
		if err := pool.QueryRow(ctx, "CHECK GRANT "+r).Scan(&granted); err != nil {
			return nil, fmt.Errorf("ask for the right %s: %w", r, err)
		}
		if granted == 0 {
			missing = append(missing, r)
		}
	}
	return missing, nil
}

// dedupTest is what CheckDeduplication does; {{id}} makes the names its own.
var dedupTest = [...]string{
	"CREATE TABLE {{db}}.check_{{id}} (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100",
	"CREATE TABLE {{db}}.check_{{id}}_sum (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple() SETTINGS non_replicated_deduplication_window = 100",
	"CREATE MATERIALIZED VIEW {{db}}.check_{{id}}_view TO {{db}}.check_{{id}}_sum AS SELECT sum(n) AS n FROM {{db}}.check_{{id}}",
	"INSERT INTO {{db}}.check_{{id}} VALUES (1)",
	"INSERT INTO {{db}}.check_{{id}} VALUES (1)",
}

var dedupCleanup = [...]string{
	"DROP TABLE IF EXISTS {{db}}.check_{{id}}_view SYNC",
	"DROP TABLE IF EXISTS {{db}}.check_{{id}}_sum SYNC",
	"DROP TABLE IF EXISTS {{db}}.check_{{id}} SYNC",
}

// MakeDatabase makes the database, empty, if it is not there.
func (c *Conn) MakeDatabase(ctx context.Context) error {
	return c.execWithout(ctx, c.config.bootstrap()[0])
}

// CheckDeduplication inserts one block twice with one token into a scratch
// table with a view, and returns how often table and view counted it: 1 and 1
// where exactly-once works. It needs the database, and removes what it made.
func (c *Conn) CheckDeduplication(ctx context.Context) (table, view uint64, err error) {
	raw := make([]byte, 6)
	if _, err := rand.Read(raw); err != nil {
		return 0, 0, fmt.Errorf("make a name: %w", err)
	}
	id := hex.EncodeToString(raw)
	fill := strings.NewReplacer("{{db}}", quoteIdent(c.Database), "{{id}}", id).Replace
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, q := range dedupCleanup {
			if cerr := c.Exec(cctx, fill(q)); cerr != nil && err == nil {
				err = fmt.Errorf("remove the scratch table: %w", cerr)
			}
		}
	}()
	tctx := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplicate": 1, "insert_deduplication_token": id, "async_insert": 0,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
	}))
	for _, q := range dedupTest {
		if err := c.Exec(tctx, fill(q)); err != nil {
			return 0, 0, err
		}
	}
	err = c.QueryRow(ctx, fill("SELECT sum(n), (SELECT sum(n) FROM {{db}}.check_{{id}}_sum) FROM {{db}}.check_{{id}}")).Scan(&table, &view)
	return table, view, err
}
