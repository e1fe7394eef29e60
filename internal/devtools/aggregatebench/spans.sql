INSERT INTO span (ts, kafka_time, topic, kafka_partition, kafka_offset, tenant, environment, trace_id, span_id, parent_span_id, service, name, kind, duration_us, status, http_method, http_route, http_status, db_system, db_query, weight)
SELECT
    ts - toIntervalMicrosecond(upstream_latency_us), kafka_time, 'spans', 0, kafka_offset, tenant, environment, trace_id,
    reinterpretAsFixedString(cityHash64(trace_id, part)), if(part = 1, span_id, reinterpretAsFixedString(cityHash64(trace_id, 1))), service, if(part = 1, concat(method, ' ', route), 'SELECT'),
    if(part = 1, 'server', 'client'), if(part = 1, upstream_latency_us, intDiv(upstream_latency_us, 2)), if(status >= 500, 'error', 'unset'), method, if(part = 1, route, ''), if(part = 1, status, 0),
    if(part = 1, '', 'postgresql'), if(part = 1, '', concat('SELECT * FROM ', service, ' WHERE id = ?')), 10
FROM (SELECT * FROM access_log WHERE ts >= toDateTime({{from}}, 'UTC') AND ts < toDateTime({{to}}, 'UTC') AND upstream_latency_us IS NOT NULL AND cityHash64(trace_id) % 10 = 0)
ARRAY JOIN [1, 2] AS part
