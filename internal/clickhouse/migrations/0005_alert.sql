-- What alert remembers, and requests by region and node.

-- All that an evaluation knows beyond the counts, so that the next one goes on
-- where it stopped. Two instances write the same.
CREATE TABLE IF NOT EXISTS {{database}}.alert_checkpoint (
    tick       DateTime('UTC'),
    state      String COMMENT 'JSON' CODEC(ZSTD(3)),
    written_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(written_at)
ORDER BY tick
TTL tick + INTERVAL 3 DAY;

-- What people say about an incident.
CREATE TABLE IF NOT EXISTS {{database}}.alert_note (
    alert_id   String,
    at         DateTime64(3, 'UTC') DEFAULT now64(3),
    useful     Enum8('unknown'=0,'yes'=1,'no'=2),
    author     String,
    text       String
) ENGINE = MergeTree
ORDER BY (alert_id, at);

-- What Alertmanager did with an alert: the state is active, suppressed or gone.
CREATE TABLE IF NOT EXISTS {{database}}.alert_delivery (
    at           DateTime64(3, 'UTC'),
    alert_id     String,
    state        LowCardinality(String),
    silenced_by  Array(String),
    inhibited_by Array(String),
    muted_by     Array(String),
    receivers    Array(String)
) ENGINE = ReplacingMergeTree
ORDER BY (alert_id, at)
TTL toDateTime(at) + INTERVAL 400 DAY;

CREATE TABLE IF NOT EXISTS {{database}}.edge_1m (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    region         LowCardinality(String) CODEC(ZSTD(1)),
    node           LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state a latency' CODEC(T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toStartOfWeek(time)
ORDER BY (service, time, region, node, error_class, tenant, environment)
TTL time + INTERVAL 100 DAY
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE OR REPLACE VIEW {{database}}.v_alert_event AS SELECT * FROM {{database}}.alert_event FINAL;

CREATE OR REPLACE VIEW {{database}}.v_alert_note AS SELECT * FROM {{database}}.alert_note;

-- The space on the servers' disks, as alert finds it every ten minutes: how fast
-- they fill is not known otherwise.
CREATE TABLE IF NOT EXISTS {{database}}.disk_space (
    time  DateTime('UTC'),
    host  LowCardinality(String),
    disk  LowCardinality(String),
    free  UInt64 COMMENT 'bytes',
    total UInt64 COMMENT 'bytes'
) ENGINE = ReplacingMergeTree
ORDER BY (host, disk, time)
TTL time + INTERVAL 30 DAY;
