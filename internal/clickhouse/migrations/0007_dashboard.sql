-- What dashboards read: one view over the three levels of requests, objectives
-- with their counts, incidents, and what is set up.

-- What alert publishes of its files: the newest row of a kind and name.
CREATE TABLE IF NOT EXISTS {{database}}.alert_definition (
    kind   LowCardinality(String) COMMENT 'slo, maintenance, route or owner',
    name   String,
    json   String,
    set_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(set_at)
ORDER BY (kind, name);

CREATE OR REPLACE VIEW {{database}}.v_request AS
SELECT toUInt16(10) AS grain, time, tenant, environment, service, route, method, status, error_class, responder, requests, bytes_in, bytes_out, timed, latency_us_sum, latency_us_max, upstream_timed, upstream_us_sum, latency_hist FROM {{database}}.request_10s
UNION ALL
SELECT toUInt16(60) AS grain, time, tenant, environment, service, route, method, status, error_class, responder, requests, bytes_in, bytes_out, timed, latency_us_sum, latency_us_max, upstream_timed, upstream_us_sum, latency_hist FROM {{database}}.request_1m
UNION ALL
SELECT toUInt16(3600) AS grain, time, tenant, environment, service, route, method, status, error_class, responder, requests, bytes_in, bytes_out, timed, latency_us_sum, latency_us_max, upstream_timed, upstream_us_sum, latency_hist FROM {{database}}.request_1h;

CREATE OR REPLACE VIEW {{database}}.v_edge_1m AS
SELECT time, tenant, environment, service, region, node, error_class, requests, timed, latency_hist FROM {{database}}.edge_1m;

-- One moment for all: what is older is complete. Topics that have not been
-- measured for ten minutes longer than the others are not read any more.
CREATE OR REPLACE VIEW {{database}}.v_complete AS
SELECT
    if(count() = 0, now64(3, 'UTC'), min(c.complete_until)) AS complete_until,
    toUInt8(count() > 0) AS measured,
    toUInt8(count() > 0 AND min(c.caught_up)) AS caught_up,
    sum(c.lag) AS lag
FROM {{database}}.v_completeness AS c
WHERE c.measured_at > (SELECT max(m.measured_at) FROM {{database}}.v_completeness AS m) - INTERVAL 10 MINUTE;

CREATE OR REPLACE VIEW {{database}}.v_slo AS
SELECT
    d.name AS slo, JSONExtractString(d.json, 'service') AS service, JSONExtractString(d.json, 'tenant') AS tenant,
    JSONExtractString(d.json, 'environment') AS environment, JSONExtractString(d.json, 'method') AS method, JSONExtractString(d.json, 'route') AS route,
    JSONExtractString(d.json, 'kind') AS kind, JSONExtractFloat(d.json, 'target') AS target, JSONExtractFloat(d.json, 'threshold_s') AS threshold_s,
    toUInt16(JSONExtractUInt(d.json, 'bucket')) AS bucket, JSONExtract(d.json, 'bad', 'Array(String)') AS bad, JSONExtract(d.json, 'excluded', 'Array(String)') AS excluded,
    JSONExtractUInt(d.json, 'period_s') AS period_s, JSONExtractString(d.json, 'owner') AS owner, JSONExtractString(d.json, 'runbook') AS runbook,
    JSONExtractString(d.json, 'tier') AS tier, d.set_at AS since
FROM (SELECT name, argMax(k.json, k.set_at) AS json, max(k.set_at) AS set_at FROM {{database}}.alert_definition AS k WHERE k.kind = 'slo' GROUP BY name HAVING json != '') AS d;

CREATE OR REPLACE VIEW {{database}}.v_maintenance AS
SELECT
    d.name AS name, parseDateTime64BestEffortOrZero(JSONExtractString(d.json, 'from'), 3, 'UTC') AS time,
    parseDateTime64BestEffortOrZero(JSONExtractString(d.json, 'to'), 3, 'UTC') AS until,
    JSONExtractString(d.json, 'reason') AS reason, JSONExtractString(d.json, 'of') AS of
FROM (SELECT name, argMax(k.json, k.set_at) AS json FROM {{database}}.alert_definition AS k WHERE k.kind = 'maintenance' GROUP BY name HAVING json != '') AS d;

-- Operations of OpenAPI documents, and who answers for them.
CREATE OR REPLACE VIEW {{database}}.v_route AS
SELECT
    JSONExtractString(d.json, 'service') AS service, JSONExtractString(d.json, 'method') AS method,
    JSONExtractString(d.json, 'route') AS route, JSONExtractString(d.json, 'owner') AS owner
FROM (SELECT name, argMax(k.json, k.set_at) AS json FROM {{database}}.alert_definition AS k WHERE k.kind = 'route' GROUP BY name HAVING json != '') AS d;

-- Who answers for a service.
CREATE OR REPLACE VIEW {{database}}.v_owner AS
SELECT d.name AS service, JSONExtractString(d.json, 'owner') AS owner, JSONExtractString(d.json, 'contact') AS contact
FROM (SELECT name, argMax(k.json, k.set_at) AS json FROM {{database}}.alert_definition AS k WHERE k.kind = 'owner' GROUP BY name HAVING json != '') AS d;

-- Requests that an objective counts, and the bad ones of them, at each level.
CREATE OR REPLACE VIEW {{database}}.v_slo_count AS
SELECT
    r.grain AS grain, r.time AS time, s.slo AS slo, s.service AS service,
    sum(multiIf(has(s.excluded, toString(r.error_class)), 0, s.kind = 'latency', if(has(s.bad, toString(r.error_class)), 0, r.timed), r.requests)) AS valid,
    sum(multiIf(has(s.excluded, toString(r.error_class)), 0,
        s.kind = 'latency', if(has(s.bad, toString(r.error_class)), 0, r.timed - arraySum(mapValues(mapFilter((k, v) -> k <= s.bucket, r.latency_hist)))),
        if(has(s.bad, toString(r.error_class)), r.requests, 0))) AS bad
FROM {{database}}.v_request AS r
INNER JOIN {{database}}.v_slo AS s ON s.service = r.service
WHERE (s.tenant IN ('', r.tenant)) AND (s.environment IN ('', r.environment)) AND (s.method IN ('', r.method)) AND (s.route IN ('', r.route))
GROUP BY grain, time, slo, service;

-- The life of one alert.
CREATE OR REPLACE VIEW {{database}}.v_incident AS
SELECT
    e.alert_id AS alert_id, any(e.slo) AS slo, any(e.group_value) AS group_value, any(e.kind) AS kind, any(e.service) AS service, argMax(e.owner, e.at) AS owner,
    if(countIf(e.severity = 'page') > 0, 'page', 'ticket') AS severity,
    ifNull(parseDateTime64BestEffortOrNull(argMin(e.annotations['since'], e.at), 3, 'UTC'), min(e.at)) AS onset,
    min(e.at) AS raised, if(argMax(e.to_state, e.at) = 'firing', NULL, max(e.at)) AS ended, argMax(e.to_state, e.at) AS state,
    max(e.sent_at) > toDateTime64(0, 3, 'UTC') AS sent, max(e.send_error) AS send_error,
    argMaxIf(e.annotations['summary'], e.at, e.to_state = 'firing') AS summary, argMaxIf(e.annotations['page'], e.at, e.to_state = 'firing') AS page,
    argMaxIf(e.annotations['runbook'], e.at, e.to_state = 'firing') AS runbook, argMaxIf(e.annotations['runbook_url'], e.at, e.to_state = 'firing') AS runbook_url,
    argMaxIf(e.annotations['reach'], e.at, e.to_state = 'firing') AS reach, argMaxIf(e.evidence, e.at, e.to_state = 'firing') AS evidence
FROM {{database}}.alert_event AS e FINAL
GROUP BY e.alert_id;

-- What is set up, what came in the last hour, and what to do for more. A panel
-- without data names one of these capabilities.
CREATE OR REPLACE VIEW {{database}}.v_setup AS
WITH
    toDateTime64(0, 3, 'UTC') AS never,
    now('UTC') - INTERVAL 1 HOUR AS hour_ago,
    batches AS (
        SELECT
            multiIf(l.format IN ('otlp_proto', 'otlp_json') OR startsWith(l.format, 'jaeger') OR startsWith(l.format, 'zipkin'), 'spans',
                l.format = 'key_events', 'sign-ups', l.format = 'change_events', 'changes', startsWith(l.format, 'audit_'), 'audit', 'requests') AS capability,
            sumIf(l.rows, l.written_at >= hour_ago) AS rows_1h, max(toDateTime64(l.latest_event, 3, 'UTC')) AS last_seen, toInt64(count()) AS configured
        FROM {{database}}.ledger AS l GROUP BY capability
    ),
    found AS (
        SELECT b.capability AS capability, b.rows_1h AS rows_1h, b.last_seen AS last_seen, b.configured AS configured FROM batches AS b
        UNION ALL SELECT 'sign-ups', toInt64(countIf(k.time >= hour_ago)), max(k.time), toInt64(count()) FROM {{database}}.key_event AS k
        UNION ALL SELECT 'changes', toInt64(countIf(c.time >= hour_ago)), max(c.time), toInt64(count()) FROM {{database}}.change_event AS c
        UNION ALL SELECT 'completeness', toInt64(countIf(m.measured_at >= hour_ago)), max(m.measured_at), toInt64(count()) FROM {{database}}.completeness AS m
        UNION ALL SELECT 'explanations', toInt64(countIf(d.computed_at >= hour_ago)), max(d.computed_at), toInt64(count()) FROM {{database}}.derived_window AS d
        UNION ALL SELECT 'gateway counters', toInt64(countIf(g.time >= hour_ago)), max(g.time), toInt64(count()) FROM {{database}}.gateway_counter AS g
        UNION ALL SELECT 'alerts', toInt64(countIf(a.at >= hour_ago)), max(a.at), toInt64(count()) FROM {{database}}.alert_event AS a
        UNION ALL SELECT 'notes', toInt64(countIf(n.at >= hour_ago)), max(n.at), toInt64(count()) FROM {{database}}.alert_note AS n
        UNION ALL SELECT 'unreadable', toInt64(countIf(x.found_at >= hour_ago)), max(x.found_at), toInt64(count()) FROM {{database}}.dead_letter AS x
        UNION ALL SELECT 'workflows', toInt64(countIf(r.start >= hour_ago)), max(toDateTime64(r.start, 3, 'UTC')), toInt64(0) FROM {{database}}.workflow_run AS r
        UNION ALL SELECT concat(p.kind, 's'), toInt64(0), never, toInt64(count()) FROM {{database}}.v_kpi_definition AS p WHERE p.kind IN ('workflow', 'quota', 'deprecation') GROUP BY p.kind
        UNION ALL SELECT 'objectives', toInt64(0), never, toInt64(count()) FROM {{database}}.v_slo AS s
        UNION ALL SELECT 'routes', toInt64(0), never, toInt64(count()) FROM {{database}}.v_route AS o
        UNION ALL SELECT 'maintenance', toInt64(0), max(w.time), toInt64(count()) FROM {{database}}.v_maintenance AS w
    ),
    capabilities AS (
        SELECT s.1 AS capability, s.2 AS shows, s.3 AS next_step FROM (SELECT arrayJoin([
        ('requests', 'traffic, errors, latency', 'list a topic of access logs under kafka.topics: gatewatch-ingest probe proposes the lines'),
        ('spans', 'layers, traces', 'list a topic of spans under kafka.topics (otlp_proto, otlp_json, Jaeger, Zipkin)'),
        ('sign-ups', 'names and plans of consumers, sign-ups, activation', 'list a topic of format key_events, or run gatewatch-ingest import consumers FILE'),
        ('changes', 'releases beside the curves', 'list a topic of format change_events, or run gatewatch-ingest import changes FILE'),
        ('audit', 'who changed or entered the gateway', 'list a topic of format audit_kong, audit_tyk or audit_cloudevents'),
        ('completeness', 'up to when figures hold', 'run gatewatch-aggregate'),
        ('explanations', 'layers, versions, regions, plans, what is unusual', 'run gatewatch-aggregate; an hour appears when it is over'),
        ('gateway counters', 'requests that were served and not logged', 'name the gateways under aggregate.gateways'),
        ('objectives', 'error budgets', 'write objectives into the folder alert.slos and run gatewatch-alert'),
        ('maintenance', 'windows in which budgets are not spent', 'write kind: Maintenance into the folder alert.slos'),
        ('alerts', 'incidents, load of those on call', 'run gatewatch-alert; without an incident there is nothing to show'),
        ('notes', 'whether pages were of use', 'gatewatch-alert incidents note ID --useful yes'),
        ('workflows', 'funnels, value', 'declare workflows in the folder aggregate.kpi'),
        ('quotas', 'use of quotas', 'declare plans with quotas in the folder aggregate.kpi'),
        ('deprecations', 'who calls what will be switched off', 'declare deprecations in the folder aggregate.kpi'),
        ('routes', 'what is documented, and by whom it is owned', 'put OpenAPI documents into the folder alert.catalog'),
        ('unreadable', 'messages that cannot be read', 'nothing to do: there are none while this is empty')
        ]) AS s)
    )
SELECT
    c.capability AS capability, c.shows AS shows, if(sum(f.configured) > 0, 'yes', 'no') AS configured, sum(f.rows_1h) AS rows_1h,
    nullIf(max(f.last_seen), never) AS last_seen, c.next_step AS next_step
FROM capabilities AS c
LEFT JOIN found AS f ON f.capability = c.capability
GROUP BY c.capability, c.shows, c.next_step;

-- How tables lie on disk, and what is being merged.
CREATE OR REPLACE VIEW {{database}}.v_part AS
SELECT
    p.table AS table, count() AS parts, uniqExact(p.partition_id) AS partitions, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes,
    sum(p.data_uncompressed_bytes) AS raw_bytes, any(m.merges) AS merges
FROM system.parts AS p
LEFT JOIN (SELECT g.table AS table, count() AS merges FROM system.merges AS g WHERE g.database IN (currentDatabase(), concat(currentDatabase(), '_shard')) GROUP BY g.table) AS m ON m.table = p.table
WHERE p.active AND p.database IN (currentDatabase(), concat(currentDatabase(), '_shard'))
GROUP BY p.table;
