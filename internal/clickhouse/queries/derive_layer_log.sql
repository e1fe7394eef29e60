INSERT INTO layer_1m (time, tenant, environment, service, route, layer, requests, measured, traces, errors, time_us_sum, time_hist, computed_at)
SELECT
    time, tenant, environment, service, route, part.1 AS layer, sum(n) AS requests, sumIf(n, part.2 != 65535) AS measured, toInt64(0) AS traces, sum(part.4) AS errors, sum(part.3) AS time_us_sum,
    mapFilter((k, v) -> k != 65535, sumMap(map(part.2, n))) AS time_hist, fromUnixTimestamp64Milli(@now, 'UTC')
FROM (
    SELECT
        time, tenant, environment, service, route, n,
        arrayJoin([('gateway', gateway, gateway_us, gateway_errors), ('upstream', upstream, upstream_us, upstream_errors)]) AS part
    FROM (
        SELECT
            toDateTime(toStartOfMinute(ts), 'UTC') AS time, tenant, environment, service, route,
            {{gateway_bucket}} AS gateway, {{upstream_bucket}} AS upstream, toInt64(count()) AS n,
            toInt64(sum(ifNull(gateway_latency_us, 0))) AS gateway_us, toInt64(sum(ifNull(upstream_latency_us, 0))) AS upstream_us,
            toInt64(countIf(responder = 'gateway' AND {{server_class}})) AS gateway_errors,
            toInt64(countIf(responder != 'gateway' AND {{server_class}})) AS upstream_errors
        FROM access_log
        WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC'){{only}}
        GROUP BY time, tenant, environment, service, route, gateway, upstream
    )
)
GROUP BY time, tenant, environment, service, route, part.1
