package runbooks_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewatch/internal/clickhouse"
	"gatewatch/internal/runbook"
	"gatewatch/runbooks"
)

// An incident is rows as they are when a runbook is called for, and what its
// commands and queries must show then.
type incident struct {
	sig  runbook.Signal // the page's terms
	bad  string         // which of the requests of the last ten minutes fail; number is a request's
	as   string         // their error class
	vars map[string]string
	// first is in what the first step prints, query in the answer of one of the
	// runbook's queries.
	first, query string
	more         string // further statements, by ";"
}

const (
	byUpstream = "number % 2 = 1"
	all        = "number % 10 != 0"
)

func burn(class, reach string) runbook.Signal {
	return runbook.Signal{Kind: "slo_burn", ErrorClass: class, Reach: reach, Severity: "page"}
}

func kind(name string) runbook.Signal { return runbook.Signal{Kind: name} }

// incidents are by the name of the runbook. Their requests are to a service of
// that name, alternate between hosts u1 and u2, nodes n0 to n2, regions eu and
// us, and consumers of the service's own.
func incidents() map[string]incident {
	release := burn("upstream_5xx", "one_version")
	release.Change = "deploy"
	storm := burn("gateway_overload", "everyone")
	storm.Traffic = "surge"
	client := func(kind, class string) runbook.Signal { return runbook.Signal{Kind: kind, ErrorClass: class} }
	consumer := func(name string) map[string]string { return map[string]string{"consumer": name + "-c1"} }
	return map[string]incident{
		"auth-everyone": {sig: client("client_errors", "client_auth"), bad: all, as: "client_auth", first: "client_auth", query: "/b"},
		"bad-release":   {sig: release, bad: "number % 5 = 1", as: "upstream_5xx", vars: map[string]string{"version": "v2"}, first: "v2", query: "v2"},
		"breaker-open":  {sig: client("breaker_open", "breaker_open"), bad: all, as: "breaker_open", first: "breaker_open", query: "u2"},
		"budget-low": {
			sig: kind("budget_low"), bad: byUpstream, as: "upstream_5xx", first: "budget-low", query: "upstream_5xx",
			more: "INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up) VALUES ('a', now64(3), now64(3), 0, true)",
		},
		"client-errors":          {sig: burn("client_bad_request", "everyone"), bad: all, as: "client_bad_request", first: "client_bad_request", query: "client_bad_request"},
		"client-errors-everyone": {sig: client("client_errors", "client_bad_request"), bad: all, as: "client_bad_request", first: "client_bad_request", query: "client_bad_request"},
		"consumer-auth":          {sig: client("consumer_failing", "client_auth"), bad: "number % 12 = 1", as: "client_auth", vars: consumer("consumer-auth"), first: "client_auth", query: "POST"},
		"consumer-quota":         {sig: client("consumer_failing", "client_quota"), bad: "number % 12 = 1", as: "client_quota", vars: consumer("consumer-quota"), first: "client_quota", query: "5"},
		"data-incomplete":        {sig: kind("data_incomplete"), query: "data-incomplete-topic", more: behind("data-incomplete")},
		"dead-letters": {
			sig: kind("dead_letters"), vars: map[string]string{"topic": "dead-letters-topic"}, query: "not JSON",
			more: "INSERT INTO dead_letter (topic, kafka_time, reason) VALUES ('dead-letters-topic', now64(3), 'not JSON')",
		},
		"delivery-failing":     {sig: kind("delivery_failing"), first: "delivery-failing", more: "INSERT INTO alert_event (at, alert_id, slo, kind, severity, from_state, to_state, annotations, evidence) VALUES (now64(3), 'de11', 'delivery-failing', 'delivery_failing', 'page', 'inactive', 'firing', map('since', '2026-11-28T11:00:00Z'), '{}')"},
		"disk-filling":         {sig: kind("disk_filling"), first: "disk ", query: "access_log"},
		"fallback":             {sig: kind("something new"), bad: all, as: "upstream_5xx", first: "fallback", query: "fallback"},
		"gateway-errors":       {sig: burn("gateway_internal", "gateway"), bad: all, as: "gateway_internal", first: "gateway_internal", query: "gateway_internal"},
		"latency-burn":         {sig: kind("latency_burn"), bad: byUpstream, as: "none", first: "u2", query: "u2"},
		"logging-gap":          {sig: kind("logging_gap"), bad: all, as: "none", query: "logging-gap"},
		"lost-route":           {sig: client("client_errors", "client_not_found"), bad: byUpstream, as: "client_not_found", first: "/b", query: "/b"},
		"no-healthy-upstream":  {sig: burn("gateway_no_upstream", "everyone"), bad: all, as: "gateway_no_upstream", first: "gateway_no_upstream", query: "gateway_no_upstream"},
		"one-consumer":         {sig: client("consumer_failing", "upstream_5xx"), bad: "number % 12 = 1", as: "upstream_5xx", vars: consumer("one-consumer"), first: "upstream_5xx", query: "/b"},
		"one-node":             {sig: burn("gateway_internal", "one_node"), bad: "number % 3 = 1", as: "gateway_internal", vars: map[string]string{"node": "n1"}, first: "n1", query: "n1"},
		"one-region":           {sig: burn("upstream_connect", "one_region"), bad: "intDiv(number, 2) % 2 = 1", as: "upstream_connect", vars: map[string]string{"region": "us"}, first: "us", query: "us"},
		"quota-forecast":       {sig: kind("quota_forecast"), bad: all, as: "none", vars: consumer("quota-forecast"), first: "/b", query: "20"},
		"quota-everyone":       {sig: client("client_errors", "client_quota"), bad: all, as: "client_quota", first: "client_quota", query: "quota-everyone-c1"},
		"retention-at-risk":    {sig: kind("retention_at_risk"), vars: map[string]string{"topic": "retention-at-risk-topic"}, query: "retention-at-risk-topic", more: behind("retention-at-risk")},
		"retry-storm":          {sig: storm, bad: all, as: "gateway_overload", first: "retry-storm-c1", query: "retry-storm-c1"},
		"slo-burn":             {sig: burn("unknown", "everyone"), bad: all, as: "unknown", first: "unknown", query: "unknown"},
		"stale-data":           {sig: kind("stale_data"), vars: map[string]string{"topic": "stale-data-topic"}, query: "stale-data-topic", more: behind("stale-data")},
		"traffic-dip":          {sig: kind("traffic_dip"), bad: all, as: "none", first: "traffic-dip-c1", query: "traffic-dip-c1"},
		"traffic-lost":         {sig: kind("traffic_lost"), bad: all, as: "none", query: "20"},
		"unusual-traffic":      {sig: kind("unusual_traffic"), bad: all, as: "none", first: "none", query: "unusual-traffic-c1"},
		"unusual-use":          {sig: kind("unusual_use"), bad: all, as: "none", vars: consumer("unusual-use"), first: "/b", query: "/b"},
		"upstream-errors":      {sig: burn("upstream_5xx", "one_upstream"), bad: byUpstream, as: "upstream_5xx", vars: map[string]string{"upstream": "u2"}, first: "u2", query: "u2"},
		"upstream-reset":       {sig: burn("upstream_reset", "everyone"), bad: byUpstream, as: "upstream_reset", first: "u2", query: "u2"},
		"upstream-timeout":     {sig: burn("upstream_timeout", "one_route"), bad: byUpstream, as: "upstream_timeout", vars: map[string]string{"route": "/b"}, first: "/b", query: "u2"},
		"upstream-unreachable": {sig: burn("upstream_dns", "everyone"), bad: all, as: "upstream_dns", first: "upstream_dns", query: "upstream_dns"},
		"version-sunset":       {sig: kind("version_sunset"), bad: all, as: "none", vars: map[string]string{"version": "v1"}, query: "version-sunset-c1"},
	}
}

// behind is a topic that is not read to its end.
func behind(name string) string {
	return fmt.Sprintf("INSERT INTO completeness (topic, measured_at, complete_until, lag, caught_up, retention_s) VALUES ('%s-topic', now64(3), now64(3) - INTERVAL 15 MINUTE, 4711, true, 1200)", name)
}

// fill stores an hour of a service that answers a request a second.
func (i incident) fill(ctx context.Context, conn *clickhouse.Conn, name string, onset time.Time) error {
	if i.bad != "" {
		err := conn.Exec(ctx, fmt.Sprintf(`INSERT INTO access_log (ts, kafka_time, service, route, method, status, error_class, responder, error_evidence, latency_us, upstream_latency_us, gateway_latency_us,
			upstream, node, region, api_version, consumer, plan, key_id, tries, trace_id)
			WITH fromUnixTimestamp64Milli(%[1]d + 600000 - 1000 * toInt64(number) - 1, 'UTC') AS t, number < 600 AND (%[2]s) AS fails
			SELECT t, t, '%[3]s', if(number %% 2 = 0, '/a', '/b'), if(number %% 2 = 0, 'GET', 'POST'), if(fails AND '%[4]s' != 'none', 503, 200), if(fails, '%[4]s', 'none'),
				if(startsWith('%[4]s', 'gateway_'), 'gateway', 'upstream'), 'stated', if(fails, 900000, 10000), if(fails, 899000, 9000), 1000,
				if(number %% 2 = 0, 'u1', 'u2'), concat('n', toString(number %% 3)), if(intDiv(number, 2) %% 2 = 0, 'eu', 'us'), if(number < 600 AND number %% 5 = 1, 'v2', 'v1'),
				concat('%[3]s-c', toString(number %% 12)), 'gold', unhex(leftPad(hex(number %% 12 + 1), 32, '0')), 1, unhex('4bf92f3577b34da6a3ce929d0e0e4736')
			FROM numbers(3600)`, onset.UnixMilli(), i.bad, name, i.as))
		if err != nil {
			return err
		}
	}
	for q := range strings.SplitSeq(i.more, ";") {
		if q = strings.TrimSpace(q); q == "" {
			continue
		}
		if err := conn.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

var stepCommand = regexp.MustCompile("`(gatewatch-[a-z]+ [^`]*)`")

// tryIncidents finds each runbook by the terms of its incident, runs what its page would say
// to paste, and all queries of its text.
func (b *bench) tryIncidents(t *testing.T, onset time.Time) {
	set, err := runbook.Load(runbooks.FS)
	if err != nil {
		t.Fatal(err)
	}
	list := incidents()
	for _, r := range set.Runbooks() {
		i, ok := list[r.Name]
		if !ok {
			t.Errorf("%s has no incident that it is tried on", r.Name)
			continue
		}
		found, ok := set.Match(i.sig)
		if !ok || found.Runbook != r {
			t.Errorf("%s: its incident gets %v", r.Name, found.Runbook)
			continue
		}
		vars := map[string]string{"service": r.Name, "since": onset.Format(time.RFC3339), "alert": "3f9a", "slo": r.Name, "error_class": i.as}
		maps.Copy(vars, i.vars)
		steps := found.Steps(vars)
		if len(steps) == 0 {
			t.Errorf("%s: no step is left", r.Name)
			continue
		}
		if m := stepCommand.FindStringSubmatch(steps[0]); m != nil && i.first != "" {
			if out := b.shell(t, r.Name, m[1]); !strings.Contains(out, i.first) {
				t.Errorf("%s: %s does not show %q:\n%s", r.Name, m[1], i.first, out)
			}
		} else if i.first != "" {
			t.Errorf("%s: its first step is no command: %s", r.Name, steps[0])
		}
		b.queries(t, set, i, r.Name, vars)
	}
}

// queries runs the queries of a text: none is left open, and one shows what is wrong.
func (b *bench) queries(t *testing.T, set *runbook.Set, i incident, name string, vars map[string]string) {
	text, _ := set.Filled(name, vars)
	shown := i.query == ""
	for _, q := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
		query := strings.ReplaceAll(strings.ReplaceAll(q[1], "gatewatch.v_", b.config.Database+".v_"), "'gatewatch%'", "'"+b.config.Database+"'")
		if slices.ContainsFunc(runbook.Variables(), func(v string) bool { return strings.Contains(query, "{"+v+"}") }) {
			continue // of a case in which more is known
		}
		var n, with uint64
		err := b.conn.QueryRow(t.Context(), fmt.Sprintf("SELECT count(), countIf(position(toString(tuple(*)), '%s') > 0) FROM (%s)", i.query, query)).Scan(&n, &with)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, query)
		}
		shown = shown || with > 0
	}
	if !shown {
		t.Errorf("%s: no query shows %q", name, i.query)
	}
}
