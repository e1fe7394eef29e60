package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/config"
	"gatewatch/internal/daemon"
	"gatewatch/internal/kpi"
)

// checkKPIs checks the KPI files, also against the OpenAPI documents.
func checkKPIs(w io.Writer, c *config.Config) error {
	if c.Aggregate.KPI == "" {
		return nil
	}
	defs, err := loadKPIs(c)
	if err != nil {
		return err
	}
	docs, err := documented(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "ok    %s: %s, %s, %s, %s\n", c.Aggregate.KPI, daemon.Plural(int64(len(defs.Workflows)), "workflow"), daemon.Plural(int64(len(defs.Plans)), "plan"),
		daemon.Plural(int64(len(defs.Tiers)), "tier"), daemon.Plural(int64(len(defs.Deprecations)), "deprecation"))
	// A document may leave operations out: what it lacks may be a mistake in either.
	for _, fault := range defs.UnknownRoutes(docs, false) {
		fmt.Fprintf(w, "warn  not in the OpenAPI documents of %s: %v\n", c.Alert.Catalog, fault)
	}
	return nil
}

// seenWindow is how far back a route must have been called to be known.
const seenWindow = 30 * 24 * time.Hour

// connectRoutes looks whether the routes of KPI files have been called.
func connectRoutes(ctx context.Context, c *config.Config) (string, error) {
	defs, err := loadKPIs(c)
	if err != nil {
		return "", err
	}
	store, err := clickhouse.Open(c.ClickHouse)
	if err != nil {
		return "", err
	}
	defer store.Close()
	now := time.Now().UTC()
	seen, err := store.SeenRoutes(ctx, clickhouse.ProductWindow{From: now.Add(-seenWindow), To: now, Zone: time.UTC})
	if err != nil {
		return "", clickhouse.Explain(c.ClickHouse, err)
	}
	if len(seen) == 0 {
		return "", warning{errors.New("no calls in 30 days to compare them with")}
	}
	known := make([]kpi.Route, len(seen))
	for i, s := range seen {
		known[i] = kpi.Route{Service: s.Service, Method: s.Method, Template: s.Route}
	}
	if faults := defs.UnknownRoutes(known, true); len(faults) > 0 {
		return "", warning{fmt.Errorf("never called in 30 days:\n%w", errors.Join(faults...))}
	}
	return fmt.Sprintf("all among the %d that were called in 30 days", len(known)), nil
}
