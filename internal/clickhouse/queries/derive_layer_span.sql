INSERT INTO layer_1m (time, tenant, environment, service, route, layer, requests, measured, traces, errors, time_us_sum, time_hist, computed_at)
WITH
    near AS (
        SELECT trace_id, span_id, parent_span_id, service, kind, db_system != '' AS is_db, toUnixTimestamp64Micro(ts) AS start, duration_us, status = 'error' AS failed
        FROM span
        WHERE ts >= toDateTime(@from, 'UTC') - INTERVAL 1 MINUTE AND ts < toDateTime(@to, 'UTC') + INTERVAL 10 MINUTE
    ),
    -- Calls of another service that reported spans itself are that service's time.
    calls AS (
        SELECT trace_id, service, groupArray((start, start + duration_us, is_db, inside, failed)) AS calls
        FROM (
            SELECT trace_id, service, start, duration_us, is_db, failed,
                (trace_id, span_id) IN (SELECT trace_id, parent_span_id FROM near WHERE kind = 'server') AS inside
            FROM near WHERE kind = 'client'
        )
        GROUP BY trace_id, service
    ),
    served AS (
        SELECT trace_id, toDateTime(toStartOfMinute(ts), 'UTC') AS time, tenant, environment, service, http_route AS route, weight, duration_us,
            toUnixTimestamp64Micro(ts) AS start, status = 'error' OR http_status >= 500 AS failed
        FROM span
        WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC') AND kind = 'server'{{only}}
    ),
    requests AS (
        SELECT s.time AS time, s.tenant AS tenant, s.environment AS environment, s.service AS service, s.route AS route, s.weight AS weight, s.failed AS failed,
            arrayFilter(c -> c.1 >= s.start AND c.1 <= s.start + s.duration_us, c.calls) AS mine,
            arrayReduce('intervalLengthSum', arrayMap(c -> c.1, mine), arrayMap(c -> least(c.2, s.start + s.duration_us), mine)) AS waiting,
            arrayFilter(c -> c.3, mine) AS databases, arrayFilter(c -> not c.3 AND not c.4, mine) AS externals,
            toUInt64(arrayReduce('intervalLengthSum', arrayMap(c -> c.1, databases), arrayMap(c -> c.2, databases))) AS database_us,
            toUInt64(arrayReduce('intervalLengthSum', arrayMap(c -> c.1, externals), arrayMap(c -> c.2, externals))) AS external_us,
            s.duration_us - least(s.duration_us, toUInt64(waiting)) AS service_us,
            s.failed AND arrayExists(c -> c.5, databases) AS database_failed,
            s.failed AND not database_failed AND arrayExists(c -> c.5, externals) AS external_failed,
            s.failed AND not arrayExists(c -> c.5, mine) AS service_failed,
            notEmpty(databases) AS has_database, notEmpty(externals) AS has_external
        FROM served AS s LEFT JOIN calls AS c ON s.trace_id = c.trace_id AND s.service = c.service
    )
SELECT
    time, tenant, environment, service, route, part.1 AS layer, toInt64(round(sum(weight))) AS requests, toInt64(round(sumIf(weight, part.3))) AS measured, toInt64(count()) AS traces,
    toInt64(round(sumIf(weight, part.4))) AS errors, toInt64(round(sumIf(weight * part.2, part.3))) AS time_us_sum,
    mapApply((k, v) -> (k, toInt64(round(v))), sumMapIf(map({{part_bucket}}, toFloat64(weight)), part.3)) AS time_hist, fromUnixTimestamp64Milli(@now, 'UTC')
FROM (
    SELECT time, tenant, environment, service, route, weight,
        arrayJoin([
            ('service', toUInt64(service_us), toUInt8(1), toUInt8(service_failed)),
            ('database', database_us, toUInt8(has_database), toUInt8(database_failed)),
            ('external', external_us, toUInt8(has_external), toUInt8(external_failed))]) AS part
    FROM requests
)
GROUP BY time, tenant, environment, service, route, part.1
