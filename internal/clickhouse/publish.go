package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewatch/internal/accesslog"
	"gatewatch/internal/slo"
)

// published is a row of a table of definitions, kpi_definition or alert_definition.
type published struct{ kind, name, json string }

// definitions are rows that are drawn up.
type definitions struct {
	rows []published
	errs []error
}

// add writes a definition as JSON.
func (d *definitions) add(kind, name string, v any) {
	b, err := json.Marshal(v)
	d.errs = append(d.errs, err)
	d.rows = append(d.rows, published{kind, name, string(b)})
}

// publish replaces what was published in a table before, if it differs.
func (c *Conn) publish(ctx context.Context, table string, want []published) error {
	rows, err := c.Query(ctx, "SELECT kind, name, json FROM "+table+" FINAL")
	if err != nil {
		return err
	}
	defer rows.Close()
	have := map[published]bool{}
	stale := map[[2]string]bool{}
	for rows.Next() {
		var p published
		if err := rows.Scan(&p.kind, &p.name, &p.json); err != nil {
			return err
		}
		have[p], stale[[2]string{p.kind, p.name}] = true, p.json != ""
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, p := range want {
		delete(stale, [2]string{p.kind, p.name})
	}
	for name, is := range stale {
		if is { // an empty text takes a definition back
			want = append(want, published{kind: name[0], name: name[1]})
		}
	}
	b, err := c.PrepareBatch(ctx, "INSERT INTO "+table+" (kind, name, json, set_at)")
	if err != nil {
		return err
	}
	defer b.Close()
	now := time.Now()
	for _, p := range want {
		if have[p] {
			continue
		}
		if err := b.Append(p.kind, p.name, p.json, now); err != nil {
			return err
		}
	}
	if b.Rows() == 0 {
		return b.Abort()
	}
	return b.Send()
}

// Known is what alert's files say and dashboards show.
type Known struct {
	SLOs         []slo.SLO // with their owner
	Maintenances []slo.Maintenance
	Routes       []OwnedRoute
	Owners       []ServiceOwner
}

// An OwnedRoute is an operation of an OpenAPI document with its owner.
type OwnedRoute struct {
	Service string `json:"service"`
	Method  string `json:"method"`
	Route   string `json:"route"`
	Owner   string `json:"owner"`
}

// A ServiceOwner is who answers for a service.
type ServiceOwner struct {
	Service string `json:"-"`
	Owner   string `json:"owner"`
	Contact string `json:"contact"`
}

// PublishKnown makes what alert's files say visible to dashboards, and takes back
// what they don't say any more. Composites and objectives that count slices of
// time are left out: their counts are not a sum over requests.
func (c *Conn) PublishKnown(ctx context.Context, k Known) error {
	var d definitions
	for _, s := range k.SLOs {
		if len(s.Parts) == 0 && s.Method == slo.Occurrences {
			d.add("slo", s.Name, objectiveJSON(s))
		}
	}
	for _, m := range k.Maintenances {
		of := slices.Concat(m.Services, m.SLOs)
		d.add("maintenance", m.Name, map[string]any{"from": m.From.UTC().Format(time.RFC3339), "to": m.To.UTC().Format(time.RFC3339), "reason": m.Reason, "of": fmt.Sprint(of)})
	}
	for _, r := range k.Routes {
		d.add("route", r.Service+" "+r.Method+" "+r.Route, r)
	}
	for _, o := range k.Owners {
		d.add("owner", o.Service, o)
	}
	if err := errors.Join(d.errs...); err != nil {
		return err
	}
	if err := c.publish(ctx, "alert_definition", d.rows); err != nil {
		return fmt.Errorf("publish objectives and owners: %w", err)
	}
	return nil
}

// objectiveJSON is what v_slo reads.
func objectiveJSON(s slo.SLO) map[string]any {
	bucket, edge := uint16(0), time.Duration(0)
	if s.SLI.Kind == slo.Latency {
		bucket, edge = s.SLI.Bucket()
	}
	names := func(list []accesslog.ErrorClass) []string {
		out := []string{}
		for _, c := range list {
			out = append(out, c.String())
		}
		return out
	}
	return map[string]any{
		"service": s.Service, "tenant": s.SLI.Tenant, "environment": s.SLI.Environment, "method": s.SLI.Method, "route": s.SLI.Route,
		"kind": s.SLI.Kind.String(), "target": s.Target, "threshold_s": edge.Seconds(), "bucket": bucket,
		"bad": names(s.SLI.BadClasses()), "excluded": names(s.SLI.ExcludedClasses()),
		"period_s": int64(s.Period / time.Second), "owner": s.Owner, "runbook": s.Runbook, "tier": s.Tier,
	}
}
