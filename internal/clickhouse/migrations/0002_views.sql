-- What people and dashboards read. Tables may change behind these names.

CREATE OR REPLACE VIEW {{database}}.v_request_10s AS
SELECT
    time, tenant, environment, service, route, method, status, error_class, responder,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, max(latency_us_max) AS latency_us_max,
    sum(upstream_timed) AS upstream_timed, sum(upstream_us_sum) AS upstream_us_sum, sumMap(latency_hist) AS latency_hist
FROM {{database}}.request_10s
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE OR REPLACE VIEW {{database}}.v_request_1m AS
SELECT
    time, tenant, environment, service, route, method, status, error_class, responder,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, max(latency_us_max) AS latency_us_max,
    sum(upstream_timed) AS upstream_timed, sum(upstream_us_sum) AS upstream_us_sum, sumMap(latency_hist) AS latency_hist
FROM {{database}}.request_1m
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE OR REPLACE VIEW {{database}}.v_request_1h AS
SELECT
    time, tenant, environment, service, route, method, status, error_class, responder,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, max(latency_us_max) AS latency_us_max,
    sum(upstream_timed) AS upstream_timed, sum(upstream_us_sum) AS upstream_us_sum, sumMap(latency_hist) AS latency_hist
FROM {{database}}.request_1h
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE OR REPLACE VIEW {{database}}.v_key_1m AS
SELECT
    time, tenant, environment, lower(hex(k.key_id)) AS key_id, consumer, plan, service, error_class,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, sumMap(latency_hist) AS latency_hist,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM {{database}}.key_1m AS k
GROUP BY time, tenant, environment, k.key_id, consumer, plan, service, error_class;

CREATE OR REPLACE VIEW {{database}}.v_key_1h AS
SELECT
    time, tenant, environment, lower(hex(k.key_id)) AS key_id, consumer, plan, service, error_class,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, sumMap(latency_hist) AS latency_hist,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM {{database}}.key_1h AS k
GROUP BY time, tenant, environment, k.key_id, consumer, plan, service, error_class;

CREATE OR REPLACE VIEW {{database}}.v_key_1d AS
SELECT
    time, tenant, environment, lower(hex(k.key_id)) AS key_id, consumer, plan, service, error_class,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, sumMap(latency_hist) AS latency_hist,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM {{database}}.key_1d AS k
GROUP BY time, tenant, environment, k.key_id, consumer, plan, service, error_class;

CREATE OR REPLACE VIEW {{database}}.v_access_log AS
SELECT
    ts, tenant, environment, service, route, method, host, path, query, protocol, status,
    error_class, responder, upstream_reached, error_evidence, flags, tries,
    latency_us, upstream_latency_us, gateway_latency_us, bytes_in, bytes_out, amount,
    upstream, upstream_status, node, region, api_version, consumer, plan, lower(hex(l.key_id)) AS key_id,
    client_ip, user_agent, referer,
    if(l.request_id = '' AND l.trace_id != toFixedString('', 16), lower(hex(l.trace_id)), l.request_id) AS request_id, lower(hex(l.trace_id)) AS trace_id, lower(hex(l.span_id)) AS span_id,
    topic, kafka_partition, kafka_offset, kafka_time
FROM {{database}}.access_log AS l;

CREATE OR REPLACE VIEW {{database}}.v_span AS
SELECT
    ts, tenant, environment, lower(hex(s.trace_id)) AS trace_id, lower(hex(s.span_id)) AS span_id,
    lower(hex(s.parent_span_id)) AS parent_span_id, service, name, kind, duration_us, status, status_message,
    http_method, http_route, http_status, db_system, db_query, peer, node, weight, attributes, events, links,
    topic, kafka_partition, kafka_offset, kafka_time
FROM {{database}}.span AS s;

CREATE OR REPLACE VIEW {{database}}.v_dead_letter AS SELECT * FROM {{database}}.dead_letter;

CREATE OR REPLACE VIEW {{database}}.v_ledger AS SELECT * FROM {{database}}.ledger;

CREATE OR REPLACE VIEW {{database}}.v_completeness AS
SELECT
    topic, max(c.measured_at) AS measured_at, argMax(c.complete_until, c.measured_at) AS complete_until,
    argMax(c.lag, c.measured_at) AS lag, max(c.caught_up) AS caught_up,
    argMax(c.event_delay_p999_ms, c.measured_at) AS event_delay_p999_ms,
    argMax(c.retention_s, c.measured_at) AS retention_s
FROM {{database}}.completeness AS c
GROUP BY topic;
