SELECT
    {{groups}}step, class, sum(n) AS requests, sum(b_in) AS bytes_in, sum(b_out) AS bytes_out,
    sumIf(n, bucket != 65535) AS timed, sum(us) AS latency_us_sum, max(us_max) AS latency_us_max,
    sumMapIf(map(bucket, n), bucket != 65535) AS latency_hist, min(first) AS first_seen, max(last) AS last_seen
FROM (
    SELECT
        {{columns}}{{step}} AS step, error_class AS class, {{bucket}} AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, max(ifNull(latency_us, 0)) AS us_max, min(ts) AS first, max(ts) AS last
    FROM access_log
    WHERE {{where}}
    GROUP BY {{groups}}step, class, bucket
)
GROUP BY {{groups}}step, class
