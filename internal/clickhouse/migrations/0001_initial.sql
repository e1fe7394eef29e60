-- {{database}} is the configured database; {{error_class}} and the like are the
-- closed vocabularies of package accesslog. Retention (TTL) is applied
-- separately, from the `retention` section.
--
-- The levels request_10s, 1m, 1h and key_1m, 1h, 1d are filled by ingest, from
-- the same batch and with the same token as access_log, so each has a
-- deduplication window of its own.

CREATE TABLE IF NOT EXISTS {{database}}.access_log (
    ts               DateTime64(6, 'UTC') COMMENT 'event time: end of the request' CODEC(GCD, Delta, ZSTD(1)),
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
    error_class      {{error_class}} CODEC(ZSTD(1)),
    responder        {{responder}} CODEC(ZSTD(1)),
    upstream_reached {{reached}} CODEC(ZSTD(1)),
    error_evidence   {{evidence}} CODEC(ZSTD(1)),
    flags            LowCardinality(String) COMMENT 'the gateway''s own words' CODEC(ZSTD(1)),
    tries            UInt8 CODEC(ZSTD(1)),
    latency_us          Nullable(UInt64) COMMENT 'total' CODEC(GCD, T64, ZSTD(1)),
    upstream_latency_us Nullable(UInt64) CODEC(GCD, T64, ZSTD(1)),
    gateway_latency_us  Nullable(UInt64) CODEC(GCD, T64, ZSTD(1)),
    bytes_in         Nullable(UInt64) CODEC(T64, ZSTD(1)),
    bytes_out        Nullable(UInt64) CODEC(T64, ZSTD(1)),
    amount           Nullable(Int64) COMMENT 'what the call is worth, in millionths' CODEC(T64, ZSTD(1)),
    upstream         LowCardinality(String) CODEC(ZSTD(1)),
    upstream_status  UInt16 CODEC(T64, ZSTD(1)),
    node             LowCardinality(String) CODEC(ZSTD(1)),
    region           LowCardinality(String) CODEC(ZSTD(1)),
    api_version      LowCardinality(String) CODEC(ZSTD(1)),
    consumer         LowCardinality(String) CODEC(ZSTD(1)),
    plan             LowCardinality(String) CODEC(ZSTD(1)),
    key_id           LowCardinality(FixedString(16)) COMMENT 'HMAC of the API key; zero bytes: none' CODEC(ZSTD(1)),
    client_ip        IPv6 COMMENT 'truncated; :: is absent' CODEC(ZSTD(1)),
    user_agent       LowCardinality(String) CODEC(ZSTD(1)),
    referer          String COMMENT 'without its query' CODEC(ZSTD(1)),
    request_id       String COMMENT 'empty when equal to the trace id' CODEC(ZSTD(1)),
    trace_id         FixedString(16) CODEC(NONE),
    span_id          FixedString(8) CODEC(NONE),
    INDEX kafka_offset_index kafka_offset TYPE minmax GRANULARITY 8
) ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (service, toStartOfHour(ts), route, ts)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.span (
    ts               DateTime64(6, 'UTC') COMMENT 'start' CODEC(GCD, Delta, ZSTD(1)),
    kafka_time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    topic            LowCardinality(String) CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 CODEC(ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    trace_id         FixedString(16) CODEC(ZSTD(1)),
    span_id          FixedString(8) CODEC(NONE),
    parent_span_id   FixedString(8) CODEC(ZSTD(1)),
    service          LowCardinality(String) CODEC(ZSTD(1)),
    name             LowCardinality(String) CODEC(ZSTD(1)),
    kind             Enum8('unspecified'=0,'internal'=1,'server'=2,'client'=3,'producer'=4,'consumer'=5) CODEC(ZSTD(1)),
    duration_us      UInt64 CODEC(GCD, T64, ZSTD(1)),
    status           Enum8('unset'=0,'ok'=1,'error'=2) CODEC(ZSTD(1)),
    status_message   String CODEC(ZSTD(1)),
    http_method      LowCardinality(String) CODEC(ZSTD(1)),
    http_route       LowCardinality(String) CODEC(ZSTD(1)),
    http_status      UInt16 CODEC(T64, ZSTD(1)),
    db_system        LowCardinality(String) CODEC(ZSTD(1)),
    db_query         String COMMENT 'literals removed' CODEC(ZSTD(1)),
    peer             LowCardinality(String) CODEC(ZSTD(1)),
    node             LowCardinality(String) CODEC(ZSTD(1)),
    weight           Float32 COMMENT 'how many spans this one stands for' CODEC(ZSTD(1)),
    attributes       Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    events           String COMMENT 'JSON: time, name, attributes of each; empty if none' CODEC(ZSTD(1)),
    links            String COMMENT 'JSON: trace_id, span_id, attributes of each; empty if none' CODEC(ZSTD(1)),
    INDEX trace_id_index trace_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX kafka_offset_index kafka_offset TYPE minmax GRANULARITY 8
) ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (service, toStartOfHour(ts), name, ts)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.ledger (
    topic            LowCardinality(String),
    kafka_partition  Int32,
    first_offset     Int64,
    last_offset      Int64,
    messages         Int64 COMMENT 'messages that were read',
    rows             Int64 COMMENT 'rows that they gave',
    dead             Int64 COMMENT 'dead letters',
    skipped          Int64 COMMENT 'control records and aborted messages',
    lost             Int64 COMMENT 'messages that Kafka''s retention took before they were read',
    earliest_event   DateTime64(6, 'UTC'),
    latest_event     DateTime64(6, 'UTC'),
    first_kafka_time DateTime64(3, 'UTC'),
    last_kafka_time  DateTime64(3, 'UTC'),
    format           LowCardinality(String),
    topic_id         LowCardinality(String) COMMENT 'Kafka''s id of the topic: another one once it is deleted and made anew',
    shard            UInt16,
    schema_version   UInt16,
    token            String,
    written_at       DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree
ORDER BY (topic, kafka_partition, first_offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {{database}}.dead_letter (
    kafka_time       DateTime64(3, 'UTC'),
    topic            LowCardinality(String),
    kafka_partition  Int32,
    kafka_offset     Int64,
    record           UInt16,
    reason           LowCardinality(String),
    detail           String,
    excerpt          String COMMENT 'masked',
    size             UInt32 COMMENT 'bytes of the message',
    format           LowCardinality(String),
    found_at         DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = MergeTree
PARTITION BY toYYYYMM(kafka_time)
ORDER BY (topic, kafka_partition, kafka_offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {{database}}.request_10s (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    method         LowCardinality(String) CODEC(ZSTD(1)),
    status         UInt16 CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    responder      {{responder}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state a latency' CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_us_max SimpleAggregateFunction(max, UInt64) CODEC(GCD, T64, ZSTD(1)),
    upstream_timed  SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state an upstream latency' CODEC(T64, ZSTD(1)),
    upstream_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toDate(time)
ORDER BY (service, route, time, method, status, error_class, responder, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.request_1m (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    method         LowCardinality(String) CODEC(ZSTD(1)),
    status         UInt16 CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    responder      {{responder}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state a latency' CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_us_max SimpleAggregateFunction(max, UInt64) CODEC(GCD, T64, ZSTD(1)),
    upstream_timed  SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state an upstream latency' CODEC(T64, ZSTD(1)),
    upstream_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toStartOfWeek(time)
ORDER BY (service, route, time, method, status, error_class, responder, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.request_1h (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    method         LowCardinality(String) CODEC(ZSTD(1)),
    status         UInt16 CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    responder      {{responder}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state a latency' CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_us_max SimpleAggregateFunction(max, UInt64) CODEC(GCD, T64, ZSTD(1)),
    upstream_timed  SimpleAggregateFunction(sum, Int64) COMMENT 'requests that state an upstream latency' CODEC(T64, ZSTD(1)),
    upstream_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (service, route, time, method, status, error_class, responder, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.key_1m (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    key_id         FixedString(16) CODEC(ZSTD(1)),
    consumer       LowCardinality(String) CODEC(ZSTD(1)),
    plan           LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1)),
    first_seen     SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1)),
    last_seen      SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toDate(time)
ORDER BY (key_id, consumer, time, service, error_class, plan, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.key_1h (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    key_id         FixedString(16) CODEC(ZSTD(1)),
    consumer       LowCardinality(String) CODEC(ZSTD(1)),
    plan           LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1)),
    first_seen     SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1)),
    last_seen      SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toStartOfWeek(time)
ORDER BY (key_id, consumer, time, service, error_class, plan, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.key_1d (
    time           DateTime('UTC') COMMENT 'start of the window' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    key_id         FixedString(16) CODEC(ZSTD(1)),
    consumer       LowCardinality(String) CODEC(ZSTD(1)),
    plan           LowCardinality(String) CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_in       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    bytes_out      SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    timed          SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    latency_us_sum SimpleAggregateFunction(sum, Int64) CODEC(GCD, T64, ZSTD(1)),
    latency_hist   SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'histogram bucket to requests' CODEC(T64, ZSTD(1)),
    first_seen     SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1)),
    last_seen      SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(GCD, Delta, ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key_id, consumer, time, service, error_class, plan, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.completeness (
    topic               LowCardinality(String),
    measured_at         DateTime64(3, 'UTC') COMMENT 'when the end offsets were asked for' CODEC(Delta, ZSTD(1)),
    complete_until      DateTime64(3, 'UTC') COMMENT 'Kafka time up to which everything is stored' CODEC(Delta, ZSTD(1)),
    lag                 Int64 COMMENT 'messages not stored yet',
    caught_up           Bool COMMENT 'the topic has been read to its end once',
    event_delay_p999_ms Float64 COMMENT 'p99.9 of Kafka time minus event time',
    retention_s         UInt32 COMMENT 'how long Kafka keeps the topic; 0: for ever, or not known'
) ENGINE = MergeTree
PARTITION BY toDate(measured_at)
ORDER BY (topic, measured_at)
TTL toDateTime(measured_at) + INTERVAL 3 DAY
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE IF NOT EXISTS {{database}}.alert_event (
    at          DateTime64(3, 'UTC') COMMENT 'tick of the evaluation',
    alert_id    String COMMENT 'the same for one incident from first to last',
    slo         LowCardinality(String) COMMENT 'or the kind of a signal that is no objective',
    group_value String COMMENT 'of an objective that is judged apart: which; of a signal: about whom',
    kind        LowCardinality(String),
    service     LowCardinality(String),
    owner       LowCardinality(String),
    severity    LowCardinality(String),
    from_state  LowCardinality(String),
    to_state    LowCardinality(String),
    labels      Map(String, String),
    annotations Map(String, String),
    evidence    String COMMENT 'JSON',
    sent_at     DateTime64(3, 'UTC') COMMENT 'zero: not sent',
    send_error  String
) ENGINE = ReplacingMergeTree(sent_at)
ORDER BY (at, alert_id, to_state, severity)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS {{database}}.setting (
    name   String,
    value  String,
    set_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(set_at)
ORDER BY name;
