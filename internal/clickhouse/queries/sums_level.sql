SELECT
    {{columns}}{{step}} AS step, error_class AS class,
    sum(r.requests) AS requests, sum(r.bytes_in) AS bytes_in, sum(r.bytes_out) AS bytes_out,
    sum(r.timed) AS timed, sum(r.latency_us_sum) AS latency_us_sum, {{max}} AS latency_us_max,
    sumMap(r.latency_hist) AS latency_hist, {{first_seen}} AS first_seen, {{last_seen}} AS last_seen
FROM {{table}} AS r
WHERE {{where}}
GROUP BY {{groups}}step, class
