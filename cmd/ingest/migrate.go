package main

import (
	"context"
	"fmt"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/daemon"
)

// runMigrate brings the schema up to date and applies the retention.
func runMigrate(ctx context.Context, env *daemon.Env, args []string) error {
	fs := daemon.Flags(env, "migrate", "bring ClickHouse's schema up to date and apply the retention", "gatewatch-ingest migrate --dry-run > for-the-administrator.sql")
	path := configFlag(fs)
	dry := fs.Bool("dry-run", false, "print the SQL and change nothing")
	if err := daemon.ParseFlags(fs, args); err != nil {
		return err
	}
	cfg, err := loadConfig(env, *path)
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return daemon.Usage(err)
	}
	defer conn.Close()
	if *dry {
		plan, err := conn.Plan(ctx)
		if err != nil {
			return storeError(cfg, err)
		}
		for _, q := range plan {
			fmt.Fprintf(env.Stdout, "%s;\n\n", q)
		}
		if len(plan) == 0 {
			fmt.Fprintf(env.Stdout, "-- nothing to do: the schema is at version %d\n", clickhouse.SchemaVersion())
		}
		return nil
	}
	steps, err := conn.Migrate(ctx)
	for _, m := range steps {
		fmt.Fprintf(env.Stdout, "applied %04d_%s\n", m.Version, m.Name)
	}
	if err != nil {
		return storeError(cfg, err)
	}
	if err := conn.ApplyRetention(ctx, cfg.Retention.TTLs()); err != nil {
		return storeError(cfg, err)
	}
	fmt.Fprintf(env.Stdout, "the schema is at version %d; retention is as configured\n", clickhouse.SchemaVersion())
	return nil
}
