INSERT INTO layer_1h (time, tenant, environment, service, route, layer, requests, measured, traces, errors, time_us_sum, time_hist, computed_at)
SELECT
    toStartOfHour(m.time) AS hour, tenant, environment, service, route, layer, sum(m.requests), sum(m.measured), sum(m.traces), sum(m.errors),
    sum(m.time_us_sum), sumMap(m.time_hist), fromUnixTimestamp64Milli(@now, 'UTC')
FROM layer_1m AS m FINAL
WHERE m.time >= toDateTime(@from, 'UTC') AND m.time < toDateTime(@to, 'UTC')
GROUP BY hour, tenant, environment, service, route, layer
