package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
)

// ValidateCluster reports what is wrong with cluster and shards.
func (c Config) ValidateCluster() error {
	if (c.Cluster == "") != (len(c.Shards) == 0) {
		return errors.New("cluster and shards go together: the cluster's name as in the servers' remote_servers, and its servers by shard")
	}
	var errs []error
	for i, replicas := range c.Shards {
		if len(replicas) == 0 {
			errs = append(errs, fmt.Errorf("shard %d has no server", i))
		}
		for _, addr := range replicas {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				errs = append(errs, fmt.Errorf("%q is not host:port", addr))
			}
		}
	}
	return errors.Join(errs...)
}

// shards returns the servers by shard.
func (c Config) shards() [][]string {
	if c.Cluster == "" {
		return [][]string{{c.Address}}
	}
	return c.Shards
}

// stored is the database that holds the rows: on a cluster one of its own, and
// the Database has a Distributed table over each of its tables.
func (c Config) stored() string {
	if c.Cluster == "" {
		return c.Database
	}
	return c.Database + "_shard"
}

func (c Config) replicated() bool {
	for _, replicas := range c.Shards {
		if len(replicas) > 1 {
			return true
		}
	}
	return false
}

// clusterSettings are those of connections that read and write Distributed tables.
func (c Config) clusterSettings() map[string]any {
	if c.Cluster == "" {
		return nil
	}
	return map[string]any{
		"distributed_foreground_insert": 1,        // an insert that is acknowledged is stored
		"distributed_product_mode":      "global", // IN (SELECT …) means the rows of all shards
	}
}

// Shards returns how many shards the store has.
func (c *Conn) Shards() int { return len(c.config.shards()) }

// nodes opens each server of the cluster, at the database that holds the rows. The
// caller closes them.
func (c *Conn) nodes() (list []*Conn, err error) {
	for _, replicas := range c.config.shards() {
		for _, addr := range replicas {
			one := c.config
			one.Address, one.Database, one.Cluster, one.Shards = addr, c.config.stored(), "", nil
			n, err := Open(one)
			if err != nil {
				closeAll(list)
				return nil, err
			}
			list = append(list, n)
		}
	}
	return list, nil
}

func closeAll(list []*Conn) {
	for _, n := range list {
		_ = n.Close()
	}
}

// onNodes calls f for each server of the cluster, or once for the only one.
func (c *Conn) onNodes(f func(n *Conn) error) error {
	if c.config.Cluster == "" {
		return f(c)
	}
	list, err := c.nodes()
	if err != nil {
		return err
	}
	defer closeAll(list)
	for _, n := range list {
		if err := f(n); err != nil {
			return fmt.Errorf("on %s: %w", n.config.Address, err)
		}
	}
	return nil
}

var (
	createTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS \{\{database\}\}\.(\w+) `)
	tableEngine = regexp.MustCompile(`ENGINE = (\w*MergeTree)(?:\(([^)]*)\))?`)
)

// layOut makes a statement of a migration out for this store: on a cluster
// tables and materialized views are made where the rows are, a Distributed table
// stands for each table, and the views read those.
func (c Config) layOut(statement string) []string {
	in := func(database string) string {
		return strings.ReplaceAll(statement, "{{database}}", quoteIdent(database))
	}
	m := createTable.FindStringSubmatch(statement)
	switch {
	case c.Cluster == "":
		return []string{in(c.Database)}
	case m == nil && strings.HasPrefix(statement, "CREATE MATERIALIZED VIEW"):
		return []string{in(c.stored())}
	case m == nil:
		return []string{in(c.Database)}
	}
	local := in(c.stored())
	if c.replicated() {
		local = tableEngine.ReplaceAllStringFunc(local, replicatedEngine)
		local = strings.ReplaceAll(local, "non_replicated_deduplication_window", "replicated_deduplication_window")
	}
	return []string{local, c.distributed(m[1])}
}

// distributed makes the table that reads a table of all shards. What is
// inserted through it goes to the first shard.
func (c Config) distributed(table string) string {
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %[1]s.%[3]s AS %[2]s.%[3]s ENGINE = Distributed(%[4]s, %[2]s, %[3]s, 0)",
		quoteIdent(c.Database), quoteIdent(c.stored()), table, quoteIdent(c.Cluster))
}

// replicatedEngine turns an engine into its replicated form. The macros shard and
// replica are the servers'.
func replicatedEngine(engine string) string {
	m := tableEngine.FindStringSubmatch(engine)
	args := "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
	if m[2] != "" {
		args += ", " + m[2]
	}
	return "ENGINE = Replicated" + m[1] + "(" + args + ")"
}

// Drop removes the database with everything in it, on all servers.
func (c *Conn) Drop(ctx context.Context) error {
	return c.onNodes(func(n *Conn) error {
		for _, name := range []string{c.Database, c.config.stored()} {
			if err := n.execWithout(ctx, "DROP DATABASE IF EXISTS "+quoteIdent(name)+" SYNC"); err != nil {
				return err
			}
		}
		return nil
	})
}
