SELECT
    {{dims}} AS dims, step, sum(requests) AS total, sum(bytes_in), sum(bytes_out),
    sum(timed), sum(latency_us_sum), max(latency_us_max), sumMap(latency_hist),
    sumMap(map(toString(class), requests)), min(first_seen), max(last_seen),
    toInt64(sum({{satisfied}})), toInt64(sum({{tolerating}}))
FROM (
    {{inner}}
)
GROUP BY {{groups}}step
HAVING total != 0
ORDER BY {{order}}
