SELECT time, dims, counts, hist, if(raw_most > level_most, raw_most, 0), if(raw_rows > 0, raw_first, level_first), if(raw_rows > 0, raw_last, level_last)
FROM (
    SELECT
        time, dims, sumForEach(c) AS counts, sumMap(h) AS hist, sum(raw) AS raw_rows,
        maxIf(most, raw) AS raw_most, maxIf(most, not raw) AS level_most,
        minIf(first, raw) AS raw_first, minIf(first, not raw) AS level_first,
        maxIf(last, raw) AS raw_last, maxIf(last, not raw) AS level_last, countIf(not raw) AS level_rows
    FROM (
        SELECT
            true AS raw, time, dims, sumForEach(c) AS c,
            mapFromArrays(groupArrayIf(bucket, bucket != 65535), groupArrayIf(n, bucket != 65535)) AS h,
            max(most) AS most, min(first) AS first, max(last) AS last
        FROM (
            SELECT
                toDateTime(toStartOfInterval(ts, INTERVAL {{seconds}} SECOND, 'UTC'), 'UTC') AS time, [{{dims}}] AS dims, {{bucket}} AS bucket, toInt64(count()) AS n,
                [{{raw_counts}}] AS c, {{raw_most}} AS most, {{raw_first}} AS first, {{raw_last}} AS last
            FROM {{raw}}
            WHERE ts >= toDateTime(@from, 'UTC') AND ts < toDateTime(@to, 'UTC'){{filter}}
            GROUP BY time, dims, bucket
        )
        GROUP BY time, dims
        UNION ALL
        SELECT
            false, r.time, [{{dims}}], [{{level_counts}}], mapApply((k, v) -> (k, -v), r.latency_hist),
            {{level_most}}, {{level_first}}, {{level_last}}
        FROM {{table}} AS r
        WHERE r.time >= toDateTime(@from, 'UTC') AND r.time < toDateTime(@to, 'UTC')
    )
    GROUP BY time, dims
)
WHERE arrayExists(v -> v != 0, counts) OR arrayExists(v -> v != 0, mapValues(hist)) OR raw_most > level_most
    OR raw_rows > 0 AND level_rows > 0 AND (raw_first < level_first OR raw_last > level_last)
ORDER BY time, dims
