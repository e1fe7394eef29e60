package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"gatewatch/internal/clickhouse"
)

var levelNames = [...]string{"request_10s", "request_1m", "request_1h", "key_1m", "key_1h", "key_1d", "edge_1m", "usage_1d"}

//go:embed views.sql
var viewsSQL string

// views returns the statements that make rollups of from's rows in to.
func views(from, to string) (list []string) {
	text := strings.NewReplacer("{{from}}", from, "{{to}}", to).Replace(viewsSQL)
	for statement := range strings.SplitSeq(text, ";\n") {
		if i := strings.Index(statement, "CREATE "); i >= 0 {
			list = append(list, statement[i:])
		}
	}
	return list
}

func execAll(ctx context.Context, conn *clickhouse.Conn, statements []string) error {
	for _, s := range statements {
		if err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// compareRollups measures three ways to fill the same levels from the same
// traffic: by ingest from the batch in hand, as it does; by views that the
// insert feeds; and by INSERT … SELECT over each range of the ledger.
func (b *bench) compareRollups(ctx context.Context) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "rollups\tclient µs a row\tengine µs a row\tms a batch")
	levels, err := b.open(ctx, "gatewatch_levels")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(levels.Drop(ctx), levels.Close()) }()
	show := func(name string, prepare func(*clickhouse.Conn) error, after func(*clickhouse.Conn, *cost) error) error {
		var batches uint64
		c, err := b.gatewatch(ctx, topics[0], prepare, func(conn *clickhouse.Conn, c *cost) error {
			if err := conn.QueryRow(ctx, "SELECT count() FROM ledger").Scan(&batches); err != nil || after == nil {
				return err
			}
			return after(conn, c)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.0f\n", name, c.client, c.engine, c.seconds*1000/float64(batches))
		return nil
	}
	err = errors.Join(
		show("none", discardLevels(ctx), nil),
		show("by ingest", nil, nil),
		show("views", func(conn *clickhouse.Conn) error {
			return errors.Join(discardLevels(ctx)(conn), execAll(ctx, levels, views(conn.Database, levels.Database)))
		}, func(conn *clickhouse.Conn, _ *cost) error { return dropViews(ctx, conn, levels) }),
		show("INSERT … SELECT by range", func(conn *clickhouse.Conn) error {
			for _, s := range views(conn.Database, levels.Database) {
				if !strings.Contains(s, ".access_log") { // the coarser levels follow
					if err := levels.Exec(ctx, s); err != nil {
						return err
					}
				}
			}
			return discardLevels(ctx)(conn)
		}, func(conn *clickhouse.Conn, c *cost) error { return b.selectRanges(ctx, conn, levels, c) }),
	)
	return errors.Join(err, table.Flush())
}

// discardLevels lets ingest's own rollups go nowhere.
func discardLevels(ctx context.Context) func(*clickhouse.Conn) error {
	return func(conn *clickhouse.Conn) error {
		for _, l := range levelNames {
			err := execAll(ctx, conn, []string{"RENAME TABLE " + l + " TO " + l + "_kept", "CREATE TABLE " + l + " AS " + l + "_kept ENGINE = Null"})
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func dropViews(ctx context.Context, conn, levels *clickhouse.Conn) error {
	for _, s := range views(conn.Database, levels.Database) {
		if err := levels.Exec(ctx, "DROP VIEW "+strings.Fields(s)[3]+" SYNC"); err != nil {
			return err
		}
	}
	return nil
}

// selectRanges reads each range of the ledger once for each first level.
func (b *bench) selectRanges(ctx context.Context, conn, levels *clickhouse.Conn, c *cost) error {
	before, began := b.engineCPU(), time.Now()
	rows, err := conn.Query(ctx, "SELECT kafka_partition, first_offset, last_offset, token FROM ledger")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var partition int32
		var first, last int64
		var token string
		if err := rows.Scan(&partition, &first, &last, &token); err != nil {
			return err
		}
		condition := fmt.Sprintf("WHERE kafka_partition = %d AND kafka_offset BETWEEN %d AND %d AND ", partition, first, last)
		settings := fmt.Sprintf(" SETTINGS insert_deduplication_token = '%s', deduplicate_blocks_in_dependent_materialized_views = 1, optimize_on_insert = 0", token)
		for _, s := range views(conn.Database, levels.Database) {
			if !strings.Contains(s, ".access_log") || strings.Contains(s, "_late_view") {
				continue
			}
			_, target, _ := strings.Cut(s, " TO ")
			target, query, _ := strings.Cut(target, " AS\n")
			if err := levels.Exec(ctx, "INSERT INTO "+target+" "+strings.Replace(query, "WHERE ", condition, 1)+settings); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	c.seconds += time.Since(began).Seconds()
	if err := b.quiet(ctx, levels); err != nil {
		return err
	}
	c.engine += perRow(b.engineCPU()-before, c.rows)
	return nil
}
