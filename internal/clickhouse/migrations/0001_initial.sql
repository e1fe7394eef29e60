-- {{database}} is replaced by the configured database, {{engine:X}} by X or Replicated X.
-- Retention (TTL) is applied separately, from the `retention` section.

CREATE TABLE IF NOT EXISTS {{database}}.access_log (
    ts               DateTime64(6, 'UTC') COMMENT 'event time: end of the request' CODEC(Delta, ZSTD(1)),
    kafka_time       DateTime64(3, 'UTC') COMMENT 'when Kafka received the message' CODEC(Delta, ZSTD(1)),
    topic            LowCardinality(String) CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 COMMENT 'index of the record in its message' CODEC(ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    service          LowCardinality(String) CODEC(ZSTD(1)),
    route            LowCardinality(String) COMMENT 'template, never a raw path' CODEC(ZSTD(1)),
    method           LowCardinality(String) CODEC(ZSTD(1)),
    host             LowCardinality(String) CODEC(ZSTD(1)),
    path             String COMMENT 'masked' CODEC(ZSTD(1)),
    query            String COMMENT 'values masked unless allow-listed' CODEC(ZSTD(1)),
    protocol         LowCardinality(String) CODEC(ZSTD(1)),
    status           UInt16 CODEC(T64, ZSTD(1)),
    error_class      Enum8('none'=0,'client_bad_request'=1,'client_auth'=2,'client_forbidden'=3,'client_not_found'=4,'client_quota'=5,'client_too_large'=6,'client_timeout'=7,'client_cancelled'=8,'client_other'=9,'gateway_policy'=10,'gateway_no_route'=11,'gateway_no_upstream'=12,'gateway_overload'=13,'gateway_internal'=14,'breaker_open'=15,'upstream_dns'=16,'upstream_connect'=17,'upstream_tls'=18,'upstream_timeout'=19,'upstream_reset'=20,'upstream_protocol'=21,'upstream_5xx'=22,'unknown'=23) CODEC(ZSTD(1)),
    responder        Enum8('unknown'=0,'gateway'=1,'upstream'=2,'client'=3) CODEC(ZSTD(1)),
    upstream_reached Enum8('unknown'=0,'yes'=1,'no'=2) CODEC(ZSTD(1)),
    error_evidence   Enum8('none'=0,'inferred'=1,'stated'=2) CODEC(ZSTD(1)),
    flags            LowCardinality(String) COMMENT 'the gateway''s own words' CODEC(ZSTD(1)),
    tries            UInt8 CODEC(ZSTD(1)),
    latency_us          Nullable(UInt64) COMMENT 'total' CODEC(T64, ZSTD(1)),
    upstream_latency_us Nullable(UInt64) CODEC(T64, ZSTD(1)),
    gateway_latency_us  Nullable(UInt64) CODEC(T64, ZSTD(1)),
    bytes_in         Nullable(UInt64) CODEC(T64, ZSTD(1)),
    bytes_out        Nullable(UInt64) CODEC(T64, ZSTD(1)),
    upstream         LowCardinality(String) CODEC(ZSTD(1)),
    upstream_status  UInt16 CODEC(T64, ZSTD(1)),
    node             LowCardinality(String) CODEC(ZSTD(1)),
    region           LowCardinality(String) CODEC(ZSTD(1)),
    api_version      LowCardinality(String) CODEC(ZSTD(1)),
    consumer         LowCardinality(String) CODEC(ZSTD(1)),
    plan             LowCardinality(String) CODEC(ZSTD(1)),
    key_id           FixedString(16) COMMENT 'HMAC of the API key; zero bytes: none' CODEC(ZSTD(1)),
    client_ip        IPv6 COMMENT 'truncated; :: is absent' CODEC(ZSTD(1)),
    user_agent       LowCardinality(String) CODEC(ZSTD(1)),
    referer          String COMMENT 'without its query' CODEC(ZSTD(1)),
    request_id       String COMMENT 'empty when equal to the trace id' CODEC(ZSTD(1)),
    trace_id         FixedString(16) CODEC(NONE),
    span_id          FixedString(8) CODEC(NONE)
) ENGINE = {{engine:MergeTree}}
PARTITION BY toDate(ts)
ORDER BY (service, toStartOfHour(ts), route, ts)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
