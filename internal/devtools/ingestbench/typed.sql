CREATE TABLE source (
    msec Float64, host LowCardinality(String), request_uri String, server_protocol LowCardinality(String), status UInt16, bytes_sent UInt64, request_length UInt64,
    request_time Float64, upstream_addr LowCardinality(String), upstream_status String, upstream_response_time String, service LowCardinality(String),
    route LowCardinality(String), api_version LowCardinality(String), request_method LowCardinality(String), remote_addr String, http_user_agent LowCardinality(String),
    api_key String, consumer LowCardinality(String), plan LowCardinality(String), region LowCardinality(String), node LowCardinality(String), request_id String, http_traceparent String
) ENGINE = Kafka
SETTINGS kafka_broker_list = '{{broker}}', kafka_topic_list = '{{topic}}', kafka_group_name = '{{group}}', kafka_format = 'JSONEachRow', kafka_num_consumers = 1,
    kafka_max_block_size = 200000, kafka_flush_interval_ms = 2000, input_format_skip_unknown_fields = 1;
CREATE MATERIALIZED VIEW source_view TO access_log AS
SELECT
    fromUnixTimestamp64Micro(toInt64(msec * 1000000), 'UTC') AS ts, toDateTime64(ifNull(_timestamp_ms, now64(3)), 3, 'UTC') AS kafka_time,
    _topic AS topic, toInt32(_partition) AS kafka_partition, toInt64(_offset) AS kafka_offset, service, route, request_method AS method, host,
    cutQueryString(request_uri) AS path, server_protocol AS protocol, status,
    multiIf(status >= 500, 'upstream_5xx', status = 429, 'client_quota', status >= 400, 'client_other', 'none') AS error_class,
    if(s.upstream_status = '', 'gateway', 'upstream') AS responder,
    toUInt64(request_time * 1000000) AS latency_us, if(upstream_response_time = '', NULL, toUInt64(toFloat64OrZero(upstream_response_time) * 1000000)) AS upstream_latency_us,
    if(upstream_latency_us IS NULL, NULL, latency_us - least(latency_us, assumeNotNull(upstream_latency_us))) AS gateway_latency_us,
    request_length AS bytes_in, bytes_sent AS bytes_out, upstream_addr AS upstream, toUInt16OrZero(s.upstream_status) AS upstream_status, node, region, api_version, consumer, plan,
    toFixedString(substring(SHA256(api_key), 1, 16), 16) AS key_id, toIPv6OrDefault(remote_addr) AS client_ip, http_user_agent AS user_agent,
    toFixedString(unhex(substring(http_traceparent, 4, 32)), 16) AS trace_id, toFixedString(unhex(substring(http_traceparent, 37, 16)), 8) AS span_id
FROM source AS s;
