CREATE TABLE source (message String) ENGINE = Kafka
SETTINGS kafka_broker_list = '{{broker}}', kafka_topic_list = '{{topic}}', kafka_group_name = '{{group}}', kafka_format = 'RawBLOB', kafka_num_consumers = 1,
    kafka_max_block_size = 200000, kafka_flush_interval_ms = 2000;
CREATE MATERIALIZED VIEW source_view TO access_log AS
WITH
    simpleJSONExtractString(message, 'upstream_status') AS upstream_status_text, simpleJSONExtractString(message, 'upstream_response_time') AS upstream_time,
    simpleJSONExtractString(message, 'http_traceparent') AS traceparent
SELECT
    fromUnixTimestamp64Micro(toInt64(simpleJSONExtractFloat(message, 'msec') * 1000000), 'UTC') AS ts, toDateTime64(ifNull(_timestamp_ms, now64(3)), 3, 'UTC') AS kafka_time,
    _topic AS topic, toInt32(_partition) AS kafka_partition, toInt64(_offset) AS kafka_offset,
    simpleJSONExtractString(message, 'service') AS service, simpleJSONExtractString(message, 'route') AS route, simpleJSONExtractString(message, 'request_method') AS method,
    simpleJSONExtractString(message, 'host') AS host, cutQueryString(simpleJSONExtractString(message, 'request_uri')) AS path, simpleJSONExtractString(message, 'server_protocol') AS protocol,
    toUInt16(simpleJSONExtractUInt(message, 'status')) AS status,
    multiIf(status >= 500, 'upstream_5xx', status = 429, 'client_quota', status >= 400, 'client_other', 'none') AS error_class,
    if(upstream_status_text = '', 'gateway', 'upstream') AS responder,
    toUInt64(simpleJSONExtractFloat(message, 'request_time') * 1000000) AS latency_us, if(upstream_time = '', NULL, toUInt64(toFloat64OrZero(upstream_time) * 1000000)) AS upstream_latency_us,
    if(upstream_latency_us IS NULL, NULL, latency_us - least(latency_us, assumeNotNull(upstream_latency_us))) AS gateway_latency_us,
    simpleJSONExtractUInt(message, 'request_length') AS bytes_in, simpleJSONExtractUInt(message, 'bytes_sent') AS bytes_out, simpleJSONExtractString(message, 'upstream_addr') AS upstream,
    toUInt16OrZero(upstream_status_text) AS upstream_status, simpleJSONExtractString(message, 'node') AS node, simpleJSONExtractString(message, 'region') AS region,
    simpleJSONExtractString(message, 'api_version') AS api_version, simpleJSONExtractString(message, 'consumer') AS consumer, simpleJSONExtractString(message, 'plan') AS plan,
    toFixedString(substring(SHA256(simpleJSONExtractString(message, 'api_key')), 1, 16), 16) AS key_id, toIPv6OrDefault(simpleJSONExtractString(message, 'remote_addr')) AS client_ip,
    simpleJSONExtractString(message, 'http_user_agent') AS user_agent,
    toFixedString(unhex(substring(traceparent, 4, 32)), 16) AS trace_id, toFixedString(unhex(substring(traceparent, 37, 16)), 8) AS span_id
FROM source;
