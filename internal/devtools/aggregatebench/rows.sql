INSERT INTO access_log (ts, kafka_time, topic, kafka_partition, kafka_offset, tenant, environment, service, route, method, host, path, protocol, status, error_class, responder,
    upstream_reached, error_evidence, tries, latency_us, upstream_latency_us, gateway_latency_us, bytes_in, bytes_out, upstream, upstream_status, node, region, api_version,
    consumer, plan, key_id, client_ip, user_agent, trace_id, span_id)
WITH
    cityHash64(number, {{seed}}) AS h, cityHash64(h, 1) AS h1, cityHash64(h, 2) AS h2, cityHash64(h, 3) AS h3, cityHash64(h, 4) AS h4,
    -- Requests are spread evenly; a hash decides the rest.
    toInt64({{from}}) + toInt64(number * {{step}}) AS us,
    h % 60 AS op_, toUInt64(pow(op_ / 60, 1.6) * 60) AS op, op % 5 AS svc,
    ['catalog', 'orders', 'payments', 'users', 'shipping'][svc + 1] AS service_,
    toUInt64(800 * pow((h1 % 100000) / 100000, 2.5)) AS key, key % 500 AS owner,
    sqrt(-2 * log((h2 % 1000003 + 1) / 1000004)) * cos(6.283185307 * (h3 % 1000003) / 1000003) AS normal,
    toUInt64(exp(normal * 0.55) * (8000 + 900 * op)) AS up, toUInt64(900 + h4 % 400 + if(h4 % 20 = 0, h3 % 12000, 0)) AS gw,
    (us > {{to}} - 7200000000 AND us < {{to}} - 6600000000 AND svc = 2) AS shed,
    (us > {{to}} - 10800000000 AND key = 3) AS own,
    h4 % 10000 AS luck,
    multiIf(shed, 'breaker_open', own AND luck < 5000, 'client_bad_request', luck < 110, 'client_not_found', luck < 180, 'client_bad_request', luck < 230, 'client_auth', luck < 260, 'client_quota',
        luck < 262, 'upstream_timeout', luck < 264, 'upstream_5xx', 'none') AS class,
    NOT shed AND class NOT IN ('client_auth', 'client_quota') AS reached
SELECT
    fromUnixTimestamp64Micro(us, 'UTC'), fromUnixTimestamp64Milli(intDiv(us, 1000) + 900, 'UTC'), 'gateway', toInt32(number % 2), toInt64(intDiv(number, 2)), 'shop', 'prod', service_,
    concat('/v1/', service_, if(op % 3 = 0, '/{id}', concat('/{id}/part', toString(op)))), if(op % 4 = 0, 'POST', 'GET'), 'api.shop.example',
    concat('/v1/', service_, '/', toString(100000 + h2 % 900000)), 'HTTP/2.0',
    multiIf(shed, 503, class = 'none', if(op % 4 = 0, 201, 200), class = 'client_not_found', 404, class = 'client_bad_request', 400, class = 'client_auth', 401, class = 'client_quota', 429, class = 'upstream_timeout', 504, 500),
    class, multiIf(class = 'none', 'upstream', reached AND class != 'upstream_timeout', 'upstream', 'gateway'), if(reached, 'yes', 'no'), multiIf(class = 'none', 'none', shed, 'stated', 'inferred'), toUInt8(reached),
    if(reached, up + gw, gw), if(reached, up, NULL), if(reached, gw, NULL), 380 + h3 % 200, 200 + h2 % 4000,
    if(reached, concat(service_, '-', toString(1 + h3 % 3)), ''), if(reached, 200, 0), concat('gw-', toString(1 + h % 3)), ['eu-west-1', 'eu-west-1', 'eu-central-1', 'us-east-1'][key % 4 + 1], 'v1',
    concat('shop-', toString(owner)), ['free', 'free', 'basic', 'pro', 'enterprise'][owner % 5 + 1], reinterpretAsFixedString(toUInt128(cityHash64(key, 7)) * 18446744073709551557),
    toIPv6(concat('::ffff:', toString(11 + key % 180), '.', toString(key % 250), '.', toString(owner % 250), '.0')), 'shop-sdk/3.2', reinterpretAsFixedString(toUInt128(h1) * 18446744073709551557 + h2), reinterpretAsFixedString(h3)
FROM numbers({{first}}, {{rows}})
