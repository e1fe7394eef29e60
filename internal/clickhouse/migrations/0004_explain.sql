-- What explains: dimensions beyond the first levels, layers, unusual use, changes, audit, counters.
--
-- dimension_1h, layer_1m, layer_1h and unusual_1h are computed by `aggregate` from the raw
-- rows, a window at once and again when late rows touch it. The newest
-- computation of a window replaces the ones before: read the views.

CREATE TABLE IF NOT EXISTS {{database}}.dimension_1h (
    time           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    dimension      Enum8('node'=1,'region'=2,'upstream'=3,'api_version'=4,'plan'=5) CODEC(ZSTD(1)),
    value          LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       Int64 CODEC(T64, ZSTD(1)),
    bytes_in       Int64 CODEC(T64, ZSTD(1)),
    bytes_out      Int64 CODEC(T64, ZSTD(1)),
    timed          Int64 CODEC(T64, ZSTD(1)),
    latency_us_sum Int64 CODEC(GCD, T64, ZSTD(1)),
    latency_us_max UInt64 CODEC(GCD, T64, ZSTD(1)),
    latency_hist   Map(UInt16, Int64) CODEC(T64, ZSTD(1)),
    computed_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(time)
ORDER BY (dimension, service, value, time, error_class, tenant, environment)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.layer_1m (
    time           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    layer          Enum8('gateway'=1,'upstream'=2,'service'=3,'database'=4,'external'=5) CODEC(ZSTD(1)),
    requests       Int64 CODEC(T64, ZSTD(1)),
    measured       Int64 CODEC(T64, ZSTD(1)),
    traces         Int64 CODEC(T64, ZSTD(1)),
    errors         Int64 CODEC(T64, ZSTD(1)),
    time_us_sum    Int64 CODEC(GCD, T64, ZSTD(1)),
    time_hist      Map(UInt16, Int64) CODEC(T64, ZSTD(1)),
    computed_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toStartOfWeek(time)
ORDER BY (service, layer, route, time, tenant, environment)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.layer_1h (
    time           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    layer          Enum8('gateway'=1,'upstream'=2,'service'=3,'database'=4,'external'=5) CODEC(ZSTD(1)),
    requests       Int64 CODEC(T64, ZSTD(1)),
    measured       Int64 CODEC(T64, ZSTD(1)),
    traces         Int64 CODEC(T64, ZSTD(1)),
    errors         Int64 CODEC(T64, ZSTD(1)),
    time_us_sum    Int64 CODEC(GCD, T64, ZSTD(1)),
    time_hist      Map(UInt16, Int64) CODEC(T64, ZSTD(1)),
    computed_at    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(time)
ORDER BY (service, layer, route, time, tenant, environment)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.unusual_1h (
    time        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    kind        LowCardinality(String) CODEC(ZSTD(1)),
    subject     LowCardinality(String) CODEC(ZSTD(1)),
    name        String CODEC(ZSTD(1)),
    tenant      LowCardinality(String) CODEC(ZSTD(1)),
    service     LowCardinality(String) CODEC(ZSTD(1)),
    value       Float64 CODEC(ZSTD(1)),
    expected    Float64 CODEC(ZSTD(1)),
    low         Float64 CODEC(ZSTD(1)),
    high        Float64 CODEC(ZSTD(1)),
    score       Float64 CODEC(ZSTD(1)),
    weeks       UInt16 CODEC(ZSTD(1)),
    evidence    String CODEC(ZSTD(1)),
    computed_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))
) ENGINE = ReplacingMergeTree(computed_at)
PARTITION BY toYYYYMM(time)
ORDER BY (time, kind, subject, name, tenant, service)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.derived_window (
    name        LowCardinality(String),
    time        DateTime('UTC'),
    computed_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(computed_at)
ORDER BY (name, time)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS {{database}}.change_event (
    time             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kafka_time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    topic            LowCardinality(String) CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 CODEC(ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    service          LowCardinality(String) CODEC(ZSTD(1)),
    kind             LowCardinality(String) CODEC(ZSTD(1)),
    what             String CODEC(ZSTD(1)),
    who              String CODEC(ZSTD(1)),
    url              String CODEC(ZSTD(1))
) ENGINE = MergeTree
ORDER BY (time, service)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {{database}}.audit_event (
    time             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    kafka_time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    topic            LowCardinality(String) CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 CODEC(ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    class            Enum8('other'=0,'authentication'=1,'configuration'=2,'access'=3) CODEC(ZSTD(1)),
    source           LowCardinality(String) CODEC(ZSTD(1)),
    actor            String CODEC(ZSTD(1)),
    action           LowCardinality(String) CODEC(ZSTD(1)),
    object           String CODEC(ZSTD(1)),
    outcome          Enum8('unknown'=0,'success'=1,'failure'=2) CODEC(ZSTD(1)),
    client_ip        IPv6 CODEC(ZSTD(1)),
    detail           String CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY (class, toYYYYMM(time))
ORDER BY (class, time, actor)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.gateway_counter (
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    node     LowCardinality(String) CODEC(ZSTD(1)),
    requests Int64 CODEC(Delta, ZSTD(1)),
    error    String CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toStartOfWeek(time)
ORDER BY (node, time)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;

CREATE OR REPLACE VIEW {{database}}.v_dimension_1h AS
SELECT time, tenant, environment, service, dimension, value, error_class, requests, bytes_in, bytes_out, timed, latency_us_sum, latency_us_max, latency_hist, computed_at
FROM {{database}}.dimension_1h FINAL;

CREATE OR REPLACE VIEW {{database}}.v_layer_1m AS
SELECT time, tenant, environment, service, route, layer, requests, measured, traces, errors, time_us_sum, time_hist, computed_at
FROM {{database}}.layer_1m FINAL;

CREATE OR REPLACE VIEW {{database}}.v_layer_1h AS
SELECT time, tenant, environment, service, route, layer, requests, measured, traces, errors, time_us_sum, time_hist, computed_at
FROM {{database}}.layer_1h FINAL;

-- A window that is judged again may find less: only its newest judgement counts.
CREATE OR REPLACE VIEW {{database}}.v_unusual AS
SELECT u.time AS time, kind, subject, u.name AS name, tenant, service, value, expected, low, high, score, weeks, evidence, u.computed_at AS computed_at
FROM {{database}}.unusual_1h AS u FINAL
INNER JOIN (SELECT d.time AS time, max(d.computed_at) AS computed_at FROM {{database}}.derived_window AS d WHERE d.name = 'unusual_1h' GROUP BY d.time) AS j
    ON u.time = j.time AND u.computed_at = j.computed_at;

CREATE OR REPLACE VIEW {{database}}.v_audit AS
SELECT time, tenant, environment, class, source, actor, action, object, outcome, client_ip, detail, topic, kafka_partition, kafka_offset, kafka_time
FROM {{database}}.audit_event;

CREATE OR REPLACE VIEW {{database}}.v_gateway_counter AS SELECT time, node, requests, error FROM {{database}}.gateway_counter;

-- All that changed: what was reported, API versions that were first seen, keys' policies.
CREATE OR REPLACE VIEW {{database}}.v_change AS
SELECT time, tenant, environment, service, kind, what, who, url FROM {{database}}.change_event
UNION ALL
SELECT toDateTime64(min(d.time), 3, 'UTC') AS time, d.tenant AS tenant, d.environment AS environment, d.service AS service, 'first_seen' AS kind,
    concat(toString(d.dimension), ' ', d.value) AS what, '' AS who, '' AS url
FROM {{database}}.dimension_1h AS d
WHERE d.dimension IN ('api_version', 'upstream', 'node') AND d.value != ''
GROUP BY d.tenant, d.environment, d.service, d.dimension, d.value
HAVING min(d.time) > (SELECT min(e.time) FROM {{database}}.dimension_1h AS e)
UNION ALL
SELECT k.time AS time, k.tenant AS tenant, k.environment AS environment, '' AS service, 'key_policy' AS kind,
    concat('key ', lower(hex(substring(k.key_id, 1, 4))), ' of ', k.consumer, ' ', toString(k.action), if(k.plan != '', concat(', plan ', k.plan), '')) AS what, k.owner AS who, '' AS url
FROM {{database}}.key_event AS k WHERE k.action IN ('updated', 'revoked');
