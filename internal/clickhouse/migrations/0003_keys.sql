-- What the system that hands API keys out says about them, and how traces hang together.

CREATE TABLE IF NOT EXISTS {{database}}.key_event (
    time             DateTime64(3, 'UTC') COMMENT 'when it happened' CODEC(Delta, ZSTD(1)),
    kafka_time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    topic            LowCardinality(String) COMMENT 'of an import: the file' CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 CODEC(ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    key_id           FixedString(16) COMMENT 'keyed hash, as in access_log' CODEC(NONE),
    action           Enum8('unspecified'=0,'created'=1,'updated'=2,'revoked'=3,'renamed'=4) CODEC(ZSTD(1)),
    consumer         LowCardinality(String) CODEC(ZSTD(1)),
    former           LowCardinality(String) COMMENT 'of a renaming: the name before' CODEC(ZSTD(1)),
    plan             LowCardinality(String) CODEC(ZSTD(1)),
    tier             LowCardinality(String) CODEC(ZSTD(1)),
    owner            LowCardinality(String) CODEC(ZSTD(1))
) ENGINE = MergeTree
ORDER BY (tenant, key_id, time)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE OR REPLACE VIEW {{database}}.v_key_event AS
SELECT time, tenant, environment, lower(hex(k.key_id)) AS key_id, action, consumer, former, plan, tier, owner, topic, kafka_partition, kafka_offset, kafka_time
FROM {{database}}.key_event AS k;

-- A row a key: what its events say last, and since when it is what it is.
CREATE OR REPLACE VIEW {{database}}.v_key AS
SELECT
    tenant, lower(hex(k.key_id)) AS key_id,
    argMaxIf(k.consumer, k.time, k.consumer != '') AS consumer,
    argMaxIf(k.plan, k.time, k.plan != '') AS plan,
    argMaxIf(k.tier, k.time, k.tier != '') AS tier,
    argMaxIf(k.owner, k.time, k.owner != '') AS owner,
    minIfOrNull(k.time, k.action = 'created') AS created_at,
    max(k.time) AS changed_at,
    if(argMax(k.action, k.time) = 'revoked', max(k.time), NULL) AS revoked_at
FROM {{database}}.key_event AS k
WHERE k.key_id != toFixedString('', 16)
GROUP BY tenant, k.key_id;

-- Context propagation by service, route and day: how many requests carry a trace,
-- how many of these traces have a span of the next layer, and how many spans of
-- the service point to a parent that never arrived. Read it for days, not months.
CREATE OR REPLACE VIEW {{database}}.v_propagation AS
WITH
    requests AS (
        SELECT toStartOfDay(l.ts) AS time, l.tenant AS tenant, l.service AS service, l.route AS route, l.trace_id AS trace_id, l.span_id AS span_id
        FROM {{database}}.access_log AS l
    ),
    children AS (SELECT DISTINCT s.trace_id AS trace_id FROM {{database}}.span AS s)
SELECT
    time, tenant, service, route,
    count() AS requests,
    countIf(trace_id != toFixedString('', 16)) AS traced,
    countIf(trace_id != toFixedString('', 16) AND trace_id IN (SELECT trace_id FROM children)) AS continued,
    if(requests > 0, continued / requests, 0) AS coverage
FROM requests
GROUP BY time, tenant, service, route;

CREATE OR REPLACE VIEW {{database}}.v_orphan_span AS
SELECT
    toStartOfDay(s.ts) AS time, s.tenant AS tenant, s.service AS service, s.http_route AS route,
    count() AS spans,
    countIf(s.parent_span_id != toFixedString('', 8)
        AND (s.trace_id, s.parent_span_id) NOT IN (SELECT p.trace_id, p.span_id FROM {{database}}.span AS p)
        AND (s.trace_id, s.parent_span_id) NOT IN (SELECT l.trace_id, l.span_id FROM {{database}}.access_log AS l)) AS orphans
FROM {{database}}.span AS s
GROUP BY time, tenant, service, route;
