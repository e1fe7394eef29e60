-- Rollups as materialized views, for comparison: what ClickHouse's Kafka engine
-- needs beside it. Cascading: access_log → request_10s → 1m → 1h, access_log →
-- key_1m → 1h → 1d; late rows skip a level. The inner query counts per bucket, the
-- outer one folds buckets into a map: half the cost of a map per row.

CREATE MATERIALIZED VIEW {{to}}.request_10s_view TO {{to}}.request_10s AS
SELECT
    time, tenant, environment, service, route, method, status, error_class, responder,
    sum(n) AS requests, sum(b_in) AS bytes_in, sum(b_out) AS bytes_out,
    sumIf(n, bucket != 65535) AS timed, sum(us) AS latency_us_sum, max(us_max) AS latency_us_max,
    sum(up_n) AS upstream_timed, sum(up_us) AS upstream_us_sum,
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS latency_hist
FROM (
    SELECT
        toDateTime(toStartOfInterval(ts, INTERVAL 10 SECOND), 'UTC') AS time, tenant, environment, service, route, method, status, error_class, responder,
        if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1))) AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, max(ifNull(latency_us, 0)) AS us_max,
        toInt64(count(upstream_latency_us)) AS up_n, toInt64(sum(ifNull(upstream_latency_us, 0))) AS up_us
    FROM {{from}}.access_log
    WHERE ts >= kafka_time - INTERVAL 4 DAY
    GROUP BY time, tenant, environment, service, route, method, status, error_class, responder, bucket
)
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE MATERIALIZED VIEW {{to}}.request_1m_late_view TO {{to}}.request_1m AS
SELECT
    time, tenant, environment, service, route, method, status, error_class, responder,
    sum(n) AS requests, sum(b_in) AS bytes_in, sum(b_out) AS bytes_out,
    sumIf(n, bucket != 65535) AS timed, sum(us) AS latency_us_sum, max(us_max) AS latency_us_max,
    sum(up_n) AS upstream_timed, sum(up_us) AS upstream_us_sum,
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS latency_hist
FROM (
    SELECT
        toDateTime(toStartOfMinute(ts), 'UTC') AS time, tenant, environment, service, route, method, status, error_class, responder,
        if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1))) AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, max(ifNull(latency_us, 0)) AS us_max,
        toInt64(count(upstream_latency_us)) AS up_n, toInt64(sum(ifNull(upstream_latency_us, 0))) AS up_us
    FROM {{from}}.access_log
    WHERE ts < kafka_time - INTERVAL 4 DAY
    GROUP BY time, tenant, environment, service, route, method, status, error_class, responder, bucket
)
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE MATERIALIZED VIEW {{to}}.request_1m_view TO {{to}}.request_1m AS
SELECT
    toStartOfMinute(time) AS time, tenant, environment, service, route, method, status, error_class, responder,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, max(latency_us_max) AS latency_us_max,
    sum(upstream_timed) AS upstream_timed, sum(upstream_us_sum) AS upstream_us_sum,
    sumMap(latency_hist) AS latency_hist
FROM {{to}}.request_10s
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE MATERIALIZED VIEW {{to}}.request_1h_view TO {{to}}.request_1h AS
SELECT
    toStartOfHour(time) AS time, tenant, environment, service, route, method, status, error_class, responder,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, max(latency_us_max) AS latency_us_max,
    sum(upstream_timed) AS upstream_timed, sum(upstream_us_sum) AS upstream_us_sum,
    sumMap(latency_hist) AS latency_hist
FROM {{to}}.request_1m
GROUP BY time, tenant, environment, service, route, method, status, error_class, responder;

CREATE MATERIALIZED VIEW {{to}}.key_1m_view TO {{to}}.key_1m AS
SELECT
    time, tenant, environment, key_id, consumer, plan, service, error_class,
    sum(n) AS requests, sum(b_in) AS bytes_in, sum(b_out) AS bytes_out,
    sumIf(n, bucket != 65535) AS timed, sum(us) AS latency_us_sum,
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS latency_hist,
    min(first) AS first_seen, max(last) AS last_seen
FROM (
    SELECT
        toDateTime(toStartOfMinute(ts), 'UTC') AS time, tenant, environment, key_id, consumer, plan, service, error_class,
        if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1))) AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, min(ts) AS first, max(ts) AS last
    FROM {{from}}.access_log
    WHERE (consumer != '' OR key_id != toFixedString('', 16)) AND ts >= kafka_time - INTERVAL 15 DAY
    GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class, bucket
)
GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class;

CREATE MATERIALIZED VIEW {{to}}.key_1h_late_view TO {{to}}.key_1h AS
SELECT
    time, tenant, environment, key_id, consumer, plan, service, error_class,
    sum(n) AS requests, sum(b_in) AS bytes_in, sum(b_out) AS bytes_out,
    sumIf(n, bucket != 65535) AS timed, sum(us) AS latency_us_sum,
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS latency_hist,
    min(first) AS first_seen, max(last) AS last_seen
FROM (
    SELECT
        toDateTime(toStartOfHour(ts), 'UTC') AS time, tenant, environment, key_id, consumer, plan, service, error_class,
        if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1))) AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, min(ts) AS first, max(ts) AS last
    FROM {{from}}.access_log
    WHERE (consumer != '' OR key_id != toFixedString('', 16)) AND ts < kafka_time - INTERVAL 15 DAY
    GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class, bucket
)
GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class;

CREATE MATERIALIZED VIEW {{to}}.key_1h_view TO {{to}}.key_1h AS
SELECT
    toStartOfHour(time) AS time, tenant, environment, key_id, consumer, plan, service, error_class,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, sumMap(latency_hist) AS latency_hist,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM {{to}}.key_1m
GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class;

CREATE MATERIALIZED VIEW {{to}}.key_1d_view TO {{to}}.key_1d AS
SELECT
    toDateTime(toStartOfDay(time), 'UTC') AS time, tenant, environment, key_id, consumer, plan, service, error_class,
    sum(requests) AS requests, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
    sum(timed) AS timed, sum(latency_us_sum) AS latency_us_sum, sumMap(latency_hist) AS latency_hist,
    min(first_seen) AS first_seen, max(last_seen) AS last_seen
FROM {{to}}.key_1h
GROUP BY time, tenant, environment, key_id, consumer, plan, service, error_class;

CREATE MATERIALIZED VIEW {{to}}.edge_1m_view TO {{to}}.edge_1m AS
SELECT
    time, tenant, environment, service, region, node, error_class,
    sum(n) AS requests, sumIf(n, bucket != 65535) AS timed,
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS latency_hist
FROM (
    SELECT
        toDateTime(toStartOfMinute(ts), 'UTC') AS time, tenant, environment, service, region, node, error_class,
        if(isNull(latency_us), toUInt16(65535), toUInt16(greatest(0, ceil(log2(greatest(1, assumeNotNull(latency_us))) * 64) - 1))) AS bucket,
        toInt64(count()) AS n
    FROM {{from}}.access_log
    WHERE 1
    GROUP BY time, tenant, environment, service, region, node, error_class, bucket
)
GROUP BY time, tenant, environment, service, region, node, error_class;

CREATE MATERIALIZED VIEW {{to}}.usage_1d_view TO {{to}}.usage_1d AS
SELECT
    toDateTime(day, 'UTC') AS time, tenant, environment, key_id, consumer, service, method, route, api_version, error_class,
    sum(n) AS requests, mapFromArrays(groupArray(hour), groupArray(n)) AS hours
FROM (
    SELECT
        toStartOfDay(ts) AS day, toUInt16(toHour(ts)) AS hour, tenant, environment, key_id, consumer, service, method, route, api_version, error_class,
        toInt64(count()) AS n
    FROM {{from}}.access_log
    WHERE (consumer != '' OR key_id != toFixedString('', 16))
    GROUP BY day, hour, tenant, environment, key_id, consumer, service, method, route, api_version, error_class
)
GROUP BY day, tenant, environment, key_id, consumer, service, method, route, api_version, error_class;
