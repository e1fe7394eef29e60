package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"gatewatch/internal/aggregate"
	"gatewatch/internal/kpi"
)

// templateSQL takes the names of a route's parameters out, as kpi.Template does.
const templateSQL = `replaceRegexpAll(route, '\\{[^}]*\\}', '{}')`

// PublishKPIs stores definitions for dashboards and lets the insert collect calls
// to the routes of workflows. Of routes that are new it collects what the raw
// rows still have.
func (c *Conn) PublishKPIs(ctx context.Context, d *kpi.Definitions, zone string) error {
	if err := c.publishDefinitions(ctx, d, zone); err != nil {
		return fmt.Errorf("publish definitions: %w", err)
	}
	routes := map[string]bool{}
	for i := range d.Workflows {
		for j := range d.Workflows[i].Steps {
			s := &d.Workflows[i].Steps[j]
			routes["("+quoteString(s.Method)+", "+quoteString(kpi.Template(s.Route))+")"] = true
		}
	}
	return c.onNodes(func(n *Conn) error {
		for route := range routes {
			if err := n.collectRoute(ctx, route); err != nil {
				return fmt.Errorf("collect calls to %s: %w", route, err)
			}
		}
		return nil
	})
}

// collectRoute publishes a route on one server, the calls that it has first: if
// this is cut off, the next time does it again.
func (c *Conn) collectRoute(ctx context.Context, route string) error {
	var n uint64
	if err := c.QueryRow(ctx, "SELECT count() FROM workflow_route WHERE (method, route) = "+route).Scan(&n); err != nil || n > 0 {
		return err
	}
	// From now on the insert collects. A row that is being inserted at this moment
	// may be found by both; it is the same row, and is merged.
	if err := c.Exec(ctx, "INSERT INTO workflow_route (method, route) VALUES "+route); err != nil {
		return err
	}
	err := c.Exec(ctx, `INSERT INTO workflow_call SELECT ts, tenant, environment, service, method, route, status, error_class, key_id, consumer, plan, amount,
		topic, kafka_partition, kafka_offset, record, now('UTC')
		FROM access_log WHERE (consumer != '' OR key_id != toFixedString('', 16)) AND (method, `+templateSQL+`) = `+route+`
			AND (topic, kafka_partition, kafka_offset, record) NOT IN (SELECT topic, kafka_partition, kafka_offset, record FROM workflow_call WHERE (method, `+templateSQL+`) = `+route+`)`)
	if err != nil {
		return errors.Join(err, c.Exec(ctx, "ALTER TABLE workflow_route DELETE WHERE (method, route) = "+route))
	}
	return nil
}

// A stepCall is what a step of a workflow calls, as it is published.
type stepCall struct{ Service, Method, Template string }

func definitionRows(d *kpi.Definitions, zone string) ([]published, error) {
	var out definitions
	out.add("time_zone", "", zone)
	for i := range d.Workflows {
		w := &d.Workflows[i]
		steps, calls := make([]string, len(w.Steps)), make([]stepCall, len(w.Steps))
		for j := range w.Steps {
			step := &w.Steps[j]
			calls[j] = stepCall{step.Service, step.Method, kpi.Template(step.Route)}
			steps[j] = step.Title()
		}
		currency := ""
		if w.Value != nil {
			currency = w.Value.Currency
		}
		out.add("workflow", w.Name, map[string]any{"title": w.Title, "definition": w.Hash(), "steps": steps, "calls": calls, "currency": currency, "window_seconds": int64(time.Duration(w.Window) / time.Second)})
	}
	for i := range d.Plans {
		for _, q := range d.Plans[i].Quotas {
			out.add("quota", fmt.Sprintf("%s per %s and %s", d.Plans[i].Name, q.Per, q.Of), map[string]any{"plan": d.Plans[i].Name, "calls": q.Calls, "per": q.Per, "of": q.Of})
		}
	}
	for i := range d.Deprecations {
		dep := &d.Deprecations[i]
		out.add("deprecation", dep.Title(), map[string]any{
			"service": dep.Service, "version": dep.Version, "method": dep.Method, "route": kpi.Template(dep.Route), "sunset": dep.Sunset.String(), "successor": dep.Successor,
		})
	}
	return out.rows, errors.Join(out.errs...)
}

// publishDefinitions publishes what the KPI files declare.
func (c *Conn) publishDefinitions(ctx context.Context, d *kpi.Definitions, zone string) error {
	want, err := definitionRows(d, zone)
	if err != nil {
		return err
	}
	return c.publish(ctx, "kpi_definition", want)
}

// stepSQL returns the expression of the index of the step whose route a call is
// to, and whether its status is the step's. Steps of one route differ by status;
// a status of none of them failed the first.
func stepSQL(w *kpi.Workflow) (step, done string) {
	var exact, failed, statuses []string
	for i := range w.Steps {
		s := &w.Steps[i]
		at := fmt.Sprintf("method = %s AND %s = %s", quoteString(s.Method), templateSQL, quoteString(kpi.Template(s.Route)))
		if s.Service != "" {
			at += " AND service = " + quoteString(s.Service)
		}
		fits := fmt.Sprintf("%s AND status BETWEEN %d AND %d", at, s.Status[0], s.Status[1])
		exact = append(exact, fmt.Sprintf("%s, toInt8(%d)", fits, i))
		failed = append(failed, fmt.Sprintf("%s, toInt8(%d)", at, i))
		statuses = append(statuses, fits)
	}
	return "multiIf(" + strings.Join(append(exact, failed...), ", ") + ", toInt8(-1))", "(" + strings.Join(statuses, ") OR (") + ")"
}

// unitSQL is whose calls make a run.
func unitSQL(w *kpi.Workflow) string {
	if w.By == kpi.UnitConsumer {
		return "resolved"
	}
	return "lower(hex(m.key_id))"
}

// callsOf selects a workflow's calls with the consumer, plan and tier as of
// their time.
func callsOf(w *kpi.Workflow) string {
	step, done := stepSQL(w)
	return `WITH toFixedString('', 16) AS none, marked AS (
		SELECT c.ts AS ts, c.tenant AS tenant, c.environment AS environment, c.plan AS plan, c.error_class AS error_class, c.key_id AS key_id,
			c.amount AS amount, c.topic AS topic, c.kafka_partition AS kafka_partition, c.kafka_offset AS kafka_offset, c.record AS record,
			` + step + ` AS step, ` + done + ` AS done, if(n.name != '', n.name, c.consumer) AS named,
			(c.tenant, c.key_id) IN (SELECT k.tenant, k.key_id FROM key_event AS k WHERE k.key_id != none) AS known,
			if(known, c.key_id, none) AS span_key, if(known, '', named) AS span_name
		FROM workflow_call AS c LEFT ANY JOIN consumer_name AS n ON n.tenant = c.tenant AND n.former = c.consumer
		WHERE step >= 0 AND c.ts >= fromUnixTimestamp64Micro(@base))
	SELECT m.tenant, m.environment, multiIf(s.consumer != '', s.consumer, m.named != '', m.named, concat('key ', lower(hex(substring(m.key_id, 1, 4))))) AS resolved,
		` + unitSQL(w) + ` AS unit, toUnixTimestamp64Micro(m.ts) AS at, toUInt16(cityHash64(m.topic, m.kafka_partition, m.kafka_offset, m.record) % 65536) AS id,
		m.step, m.done, toString(m.error_class) AS class, ifNull(m.amount, 0) AS amount,
		if(s.plan != '', s.plan, m.plan) AS plan, s.tier
	FROM marked AS m ASOF LEFT JOIN key_span AS s ON s.tenant = m.tenant AND s.key_id = m.span_key AND s.name = m.span_name AND m.ts >= s.valid_from
	ORDER BY m.tenant, m.environment, unit, at, id`
}

// WorkflowCalls implements aggregate.WorkflowStore.
func (c *Conn) WorkflowCalls(ctx context.Context, w *kpi.Workflow, base time.Time, each func(aggregate.Unit, []kpi.Call) error) error {
	rows, err := c.Query(ctx, callsOf(w), clickhouse.Named("base", base.UnixMicro()))
	if err != nil {
		return fmt.Errorf("read calls of workflow %s: %w", w.Name, err)
	}
	defer rows.Close()
	var at aggregate.Unit
	var calls []kpi.Call
	for rows.Next() {
		var u aggregate.Unit
		var call kpi.Call
		var resolved string
		var step int8
		var done uint8
		var amount int64
		if err := rows.Scan(&u.Tenant, &u.Environment, &resolved, &u.Name, &call.At, &call.ID, &step, &done, &call.Class, &amount, &call.Plan, &call.Tier); err != nil {
			return fmt.Errorf("read calls of workflow %s: %w", w.Name, err)
		}
		call.Step, call.Done, call.Amount = int(step), done == 1, kpi.Money(amount)
		if u != at && len(calls) > 0 {
			if err := each(at, calls); err != nil {
				return err
			}
			calls = calls[:0]
		}
		at = u
		if n := len(calls); n > 0 && calls[n-1].At == call.At && calls[n-1].ID == call.ID {
			continue // the insert and collectRoute have both found it
		}
		calls = append(calls, call)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read calls of workflow %s: %w", w.Name, err)
	}
	if len(calls) > 0 {
		return each(at, calls)
	}
	return nil
}

// WorkflowRuns implements aggregate.WorkflowStore.
func (c *Conn) WorkflowRuns(ctx context.Context, w *kpi.Workflow, from time.Time) (map[aggregate.Unit][]*kpi.Run, error) {
	rows, err := c.Query(ctx, `SELECT tenant, environment, unit, id, toUnixTimestamp64Micro(start), arrayMap(t -> toUnixTimestamp64Micro(t), times),
			toUInt8(state), failed_class, failed_step, toUnixTimestamp64Micro(failed_at), amount, plan, tier
		FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND start >= fromUnixTimestamp64Micro(@from)`,
		clickhouse.Named("workflow", w.Name), clickhouse.Named("definition", w.Hash()), clickhouse.Named("from", from.UnixMicro()))
	if err != nil {
		return nil, fmt.Errorf("read runs of workflow %s: %w", w.Name, err)
	}
	defer rows.Close()
	all := map[aggregate.Unit][]*kpi.Run{}
	for rows.Next() {
		var u aggregate.Unit
		r := &kpi.Run{}
		var state, failedStep uint8
		var amount int64
		if err := rows.Scan(&u.Tenant, &u.Environment, &u.Name, &r.ID, &r.Start, &r.Times, &state, &r.Failed, &failedStep, &r.FailedAt, &amount, &r.Plan, &r.Tier); err != nil {
			return nil, fmt.Errorf("read runs of workflow %s: %w", w.Name, err)
		}
		r.Unit, r.State, r.FailedStep, r.Amount = u.Name, kpi.State(state), int(failedStep), kpi.Money(amount)
		all[u] = append(all[u], r)
	}
	return all, rows.Err()
}

// StoreRuns implements aggregate.WorkflowStore.
func (c *Conn) StoreRuns(ctx context.Context, w *kpi.Workflow, runs []aggregate.UnitRun, version uint64) error {
	b, err := c.PrepareBatch(ctx, `INSERT INTO workflow_run (workflow, definition, tenant, environment, unit, id, start, times, done, state,
		failed_class, failed_step, failed_at, amount, currency, plan, tier, version, removed)`)
	if err != nil {
		return fmt.Errorf("store runs of workflow %s: %w", w.Name, err)
	}
	defer b.Close()
	currency := ""
	if w.Value != nil {
		currency = w.Value.Currency
	}
	hash := w.Hash()
	for _, r := range runs {
		times := make([]time.Time, len(r.Times))
		for i, t := range r.Times {
			times[i] = time.UnixMicro(t).UTC()
		}
		removed := uint8(0)
		if r.Removed {
			removed = 1
		}
		err := b.Append(w.Name, hash, r.At.Tenant, r.At.Environment, r.Unit, r.ID, time.UnixMicro(r.Start).UTC(), times, uint8(r.Done()), r.State.String(),
			r.Failed, uint8(r.FailedStep), time.UnixMicro(r.FailedAt).UTC(), int64(r.Amount), currency, r.Plan, r.Tier, version, removed)
		if err != nil {
			return fmt.Errorf("store runs of workflow %s: %w", w.Name, err)
		}
	}
	if err := b.Send(); err != nil {
		return fmt.Errorf("store runs of workflow %s: %w", w.Name, err)
	}
	return nil
}

// dirtySlack is how far back a pass looks for what was stored during the one
// before: longer than an insert takes.
const dirtySlack = 10 * time.Minute

// WorkflowDirty implements aggregate.WorkflowStore.
func (c *Conn) WorkflowDirty(ctx context.Context, w *kpi.Workflow) (aggregate.Dirty, error) {
	var d aggregate.Dirty
	last, err := c.Setting(ctx, passSetting(w))
	if err != nil {
		return d, err
	}
	var since, reached int64
	if last != "" {
		if _, err := fmt.Sscanf(last, "%d %d", &since, &reached); err != nil {
			return d, fmt.Errorf("setting %s: %w", passSetting(w), err)
		}
		since -= int64(dirtySlack / time.Second)
	}
	var calls, events, open, now int64
	var nCalls, nEvents, nOpen uint64
	err = c.QueryRow(ctx, `WITH
			(SELECT (count(), ifNull(min(toUnixTimestamp64Micro(ts)), 0)) FROM workflow_call WHERE stored_at >= toDateTime(@since, 'UTC') OR ts >= fromUnixTimestamp64Micro(@reached)) AS c,
			(SELECT (count(), ifNull(min(if(action = 'renamed' OR kafka_time > time + INTERVAL 1 MINUTE, 0, toUnixTimestamp64Micro(CAST(time AS DateTime64(6, 'UTC'))))), 0)) FROM key_event WHERE kafka_time >= toDateTime(@since, 'UTC')) AS e,
			(SELECT (count(), ifNull(min(toUnixTimestamp64Micro(start)), 0)) FROM workflow_run FINAL WHERE workflow = @workflow AND definition = @definition AND state = 'open') AS o
		SELECT toInt64(toUnixTimestamp(now())), c.1, toInt64(c.2), e.1, toInt64(e.2), o.1, toInt64(o.2)`,
		clickhouse.Named("since", max(0, since)), clickhouse.Named("reached", reached), clickhouse.Named("workflow", w.Name), clickhouse.Named("definition", w.Hash())).
		Scan(&now, &nCalls, &calls, &nEvents, &events, &nOpen, &open)
	if err != nil {
		return d, fmt.Errorf("look for new calls of workflow %s: %w", w.Name, err)
	}
	d.Pass = now
	for _, m := range []struct {
		n  uint64
		at int64
	}{{nCalls, calls}, {nEvents, events}, {nOpen, open}} {
		if m.n > 0 && (!d.Any || m.at < d.First.UnixMicro()) {
			d.Any, d.First = true, time.UnixMicro(m.at).UTC()
		}
	}
	return d, nil
}

func passSetting(w *kpi.Workflow) string { return "workflow_pass " + w.Name + " " + w.Hash() }

// PassDone implements aggregate.WorkflowStore.
func (c *Conn) PassDone(ctx context.Context, w *kpi.Workflow, pass int64, until time.Time) error {
	return c.SetSetting(ctx, passSetting(w), fmt.Sprintf("%d %d", pass, until.UnixMicro()))
}

// splitSQL stores the parts of hours or days in which keys changed and that are
// new or have got more calls since, if the raw rows are all there.
const splitSQL = `INSERT INTO call_split (grain, time, at, tenant, environment, key_id, consumer, plan, service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen, signature, version)
WITH
	changes AS (
		SELECT s.tenant AS tenant, s.key_id AS key_id, {{start}}(toDateTime(s.valid_from, 'UTC')) AS time, arraySort(groupArray(CAST(s.valid_from AS DateTime64(6, 'UTC')))) AS moments
		FROM key_span AS s WHERE s.changed AND s.key_id != toFixedString('', 16) GROUP BY tenant, key_id, time
	),
	due AS (
		SELECT c.tenant AS tenant, c.key_id AS key_id, c.time AS time, c.moments AS moments, h.n AS n, cityHash64(c.moments, h.n) AS signature
		FROM changes AS c
		INNER JOIN (
			SELECT tenant, key_id, time, sum(requests) AS n FROM {{table}} WHERE (tenant, key_id, time) IN (SELECT x.tenant, x.key_id, x.time FROM changes AS x) GROUP BY tenant, key_id, time
		) AS h ON h.tenant = c.tenant AND h.key_id = c.key_id AND h.time = c.time
		WHERE (c.tenant, c.key_id, c.time, signature) NOT IN (SELECT tenant, key_id, time, signature FROM call_split WHERE grain = '{{grain}}')
	),
	parts AS (
		SELECT d.time AS time, arrayLast(m -> m <= l.ts, arrayPushFront(d.moments, CAST(d.time AS DateTime64(6, 'UTC')))) AS at,
			l.tenant AS tenant, l.environment AS environment, d.key_id AS key_id, l.consumer AS consumer, l.plan AS plan, l.service AS service, l.error_class AS error_class,
			toInt64(count()) AS requests, toInt64(count(l.latency_us)) AS timed, toInt64(sum(ifNull(l.latency_us, 0))) AS latency_us_sum,
			sumMapIf(map(toUInt16(greatest(0, ceil(log2(greatest(1, ifNull(l.latency_us, 0))) * 64) - 1)), toInt64(1)), l.latency_us IS NOT NULL) AS latency_hist,
			min(l.ts) AS first_seen, max(l.ts) AS last_seen, any(d.signature) AS signature, any(d.n) AS n
		FROM (
			SELECT ts, {{start}}(toDateTime(ts, 'UTC')) AS time, tenant, environment, CAST(key_id AS FixedString(16)) AS key_id, consumer, plan, service, error_class, latency_us FROM access_log
			WHERE {{prune}}(ts) IN (SELECT {{prune}}(x.time) FROM due AS x) AND (tenant, key_id, time) IN (SELECT x.tenant, x.key_id, x.time FROM due AS x)
		) AS l
		INNER JOIN due AS d ON d.tenant = l.tenant AND d.key_id = l.key_id AND d.time = l.time
		GROUP BY time, at, tenant, environment, key_id, consumer, plan, service, error_class
	)
SELECT '{{grain}}', time, at, tenant, environment, key_id, consumer, plan, service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen, signature, toUInt64(toUnixTimestamp64Micro(now64(6)))
FROM (SELECT *, sum(requests) OVER (PARTITION BY tenant, key_id, time) AS seen FROM parts) WHERE seen = n`

// SplitCalls implements aggregate.WorkflowStore.
func (c *Conn) SplitCalls(ctx context.Context) error {
	for _, level := range []struct{ grain, table, start, prune string }{
		{"1h", "key_1h", "toStartOfHour", "toStartOfHour"}, {"1d", "key_1d", "toStartOfDay", "toDate"},
	} {
		sql := strings.NewReplacer("{{grain}}", level.grain, "{{table}}", level.table, "{{start}}", level.start, "{{prune}}", level.prune).Replace(splitSQL)
		if err := c.Exec(ctx, sql); err != nil {
			return fmt.Errorf("split calls of %s: %w", level.table, err)
		}
	}
	return nil
}
