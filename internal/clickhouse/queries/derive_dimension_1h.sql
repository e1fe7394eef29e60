INSERT INTO dimension_1h (time, tenant, environment, service, dimension, value, error_class, requests, bytes_in, bytes_out, timed, latency_us_sum, latency_us_max, latency_hist, computed_at)
SELECT
    time, tenant, environment, service, dim.1, dim.2, error_class,
    sum(n), sum(b_in), sum(b_out), sumIf(n, bucket != 65535), sum(us), max(us_max),
    mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)), fromUnixTimestamp64Milli(@now, 'UTC')
FROM (
    SELECT
        toDateTime(toStartOfHour(ts), 'UTC') AS time, tenant, environment, service, error_class,
        {{dimensions}} AS dim, {{bucket}} AS bucket,
        toInt64(count()) AS n, toInt64(sum(ifNull(bytes_in, 0))) AS b_in, toInt64(sum(ifNull(bytes_out, 0))) AS b_out,
        toInt64(sum(ifNull(latency_us, 0))) AS us, max(ifNull(latency_us, 0)) AS us_max
    FROM access_log
    WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC')
    GROUP BY time, tenant, environment, service, error_class, dim, bucket
)
GROUP BY time, tenant, environment, service, dim, error_class
