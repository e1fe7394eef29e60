-- What a product manager asks: who calls, as whom, which route and version, and
-- which workflows they get through. usage_1d comes from ingest with the batch, and
-- workflow_call from a view on access_log, so that late and repeated batches count
-- as they do everywhere; aggregate makes workflow_run from workflow_call.

-- A row a key, operation, version, error class and UTC day. `hours` tells days of
-- other time zones apart.
CREATE TABLE IF NOT EXISTS {{database}}.usage_1d (
    time           DateTime('UTC') COMMENT 'start of the UTC day' CODEC(Delta, ZSTD(1)),
    tenant         LowCardinality(String) CODEC(ZSTD(1)),
    environment    LowCardinality(String) CODEC(ZSTD(1)),
    key_id         FixedString(16) CODEC(ZSTD(1)),
    consumer       LowCardinality(String) COMMENT 'as logged' CODEC(ZSTD(1)),
    service        LowCardinality(String) CODEC(ZSTD(1)),
    method         LowCardinality(String) CODEC(ZSTD(1)),
    route          LowCardinality(String) CODEC(ZSTD(1)),
    api_version    LowCardinality(String) CODEC(ZSTD(1)),
    error_class    {{error_class}} CODEC(ZSTD(1)),
    requests       SimpleAggregateFunction(sum, Int64) CODEC(T64, ZSTD(1)),
    hours          SimpleAggregateFunction(sumMap, Map(UInt16, Int64)) COMMENT 'hour of the UTC day to requests' CODEC(ZSTD(1))
) ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (key_id, consumer, service, route, method, api_version, error_class, time, tenant, environment)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- The routes of declared workflows, without the names of parameters, as aggregate publishes them.
CREATE TABLE IF NOT EXISTS {{database}}.workflow_route (
    method LowCardinality(String),
    route  LowCardinality(String)
) ENGINE = ReplacingMergeTree
ORDER BY (method, route);

CREATE TABLE IF NOT EXISTS {{database}}.workflow_call (
    ts               DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant           LowCardinality(String) CODEC(ZSTD(1)),
    environment      LowCardinality(String) CODEC(ZSTD(1)),
    service          LowCardinality(String) CODEC(ZSTD(1)),
    method           LowCardinality(String) CODEC(ZSTD(1)),
    route            LowCardinality(String) CODEC(ZSTD(1)),
    status           UInt16 CODEC(T64, ZSTD(1)),
    error_class      {{error_class}} CODEC(ZSTD(1)),
    key_id           FixedString(16) CODEC(ZSTD(1)),
    consumer         LowCardinality(String) COMMENT 'as logged' CODEC(ZSTD(1)),
    plan             LowCardinality(String) COMMENT 'as logged' CODEC(ZSTD(1)),
    amount           Nullable(Int64) CODEC(T64, ZSTD(1)),
    topic            LowCardinality(String) CODEC(ZSTD(1)),
    kafka_partition  Int32 CODEC(ZSTD(1)),
    kafka_offset     Int64 CODEC(Delta, ZSTD(1)),
    record           UInt16 CODEC(ZSTD(1)),
    stored_at        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    INDEX stored_at_index stored_at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (service, route, method, key_id, ts, topic, kafka_partition, kafka_offset, record)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS {{database}}.workflow_call_view TO {{database}}.workflow_call AS
SELECT
    ts, tenant, environment, service, method, route, status, error_class, key_id, consumer, plan, amount,
    topic, kafka_partition, kafka_offset, record, now('UTC') AS stored_at
FROM {{database}}.access_log
WHERE (consumer != '' OR key_id != toFixedString('', 16))
    AND (method, replaceRegexpAll(route, '\\{[^}]*\\}', '{}')) IN (SELECT w.method, w.route FROM {{database}}.workflow_route AS w);

CREATE TABLE IF NOT EXISTS {{database}}.workflow_run (
    workflow     LowCardinality(String),
    definition   LowCardinality(String) COMMENT 'hash of what the run depends on',
    tenant       LowCardinality(String),
    environment  LowCardinality(String),
    unit         String COMMENT 'consumer, or key for workflows by key or session' CODEC(ZSTD(1)),
    start        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    id           UInt16 COMMENT 'tells runs apart that begin at the same moment' CODEC(ZSTD(1)),
    times        Array(DateTime64(6, 'UTC')) COMMENT 'of each step; 1970 is not done' CODEC(ZSTD(1)),
    done         UInt8 COMMENT 'steps',
    state        Enum8('open'=1,'completed'=2,'dropped'=3),
    last_step_at DateTime64(6, 'UTC') ALIAS arrayMax(times),
    failed_class LowCardinality(String) COMMENT 'class of the last failed call that kept it from a step',
    failed_step  UInt8,
    failed_at    DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    amount       Int64 COMMENT 'what it is worth, in millionths' CODEC(T64, ZSTD(1)),
    currency     LowCardinality(String),
    plan         LowCardinality(String) COMMENT 'when it began',
    tier         LowCardinality(String) COMMENT 'when it began',
    version      UInt64 CODEC(ZSTD(1)),
    removed      UInt8
) ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY toYYYYMM(start)
ORDER BY (workflow, definition, tenant, environment, unit, start, id)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;

-- What the KPI files say, published by aggregate for dashboards: the newest row of a kind and name.
CREATE TABLE IF NOT EXISTS {{database}}.kpi_definition (
    kind   LowCardinality(String) COMMENT 'workflow, quota, sla, deprecation, activation, cohorts, time_zone',
    name   String,
    json   String,
    set_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(set_at)
ORDER BY (kind, name);

-- Former names of consumers and what they are called now, renamings one after
-- the other followed to their end.
CREATE OR REPLACE VIEW {{database}}.consumer_name AS
SELECT
    splitByChar('\n', n.1)[1] AS tenant, splitByChar('\n', n.1)[2] AS former, splitByChar('\n', n.2)[2] AS name
FROM (
    SELECT arrayFold(
        (names, e) -> (arrayPushBack(names.1, e.2), arrayPushBack(arrayMap(c -> if(c = e.2, e.3, c), names.2), e.3)),
        arraySort(groupArray((k.time, concat(k.tenant, '\n', k.former), concat(k.tenant, '\n', k.consumer)))),
        (emptyArrayString(), emptyArrayString())) AS names
    FROM {{database}}.key_event AS k WHERE k.action = 'renamed'
)
ARRAY JOIN arrayZip(names.1, names.2) AS n
WHERE n.1 != n.2
LIMIT 1 BY tenant, former;

-- Whose a key was and since when, by its events; events that name only a
-- consumer go for all of its keys, and for requests without a known key by its
-- name. What is known first also goes for the time before.
CREATE OR REPLACE VIEW {{database}}.key_span AS
WITH
    toFixedString('', 16) AS none,
    named AS (
        SELECT k.tenant AS tenant, k.key_id AS key_id, k.time AS time, (k.kafka_time, k.kafka_offset, k.record) AS place, k.action AS action,
            if(n.name != '', n.name, k.consumer) AS consumer, k.plan AS plan, k.tier AS tier, k.owner AS owner
        FROM {{database}}.key_event AS k
        LEFT JOIN {{database}}.consumer_name AS n ON n.tenant = k.tenant AND n.former = k.consumer
        WHERE k.action != 'renamed'
    ),
    events AS (
        SELECT tenant, key_id, '' AS name, time, place, consumer, plan, tier, owner FROM named WHERE key_id != none
        UNION ALL
        SELECT e.tenant, o.key_id, '' AS name, e.time, e.place, '' AS consumer, e.plan, e.tier, e.owner
        FROM named AS e
        INNER JOIN (SELECT DISTINCT tenant, key_id, consumer FROM named WHERE key_id != none AND consumer != '') AS o ON o.tenant = e.tenant AND o.consumer = e.consumer
        WHERE e.key_id = none
        UNION ALL
        SELECT tenant, key_id, consumer AS name, time, place, consumer, plan, tier, owner FROM named WHERE key_id = none
    ),
    moments AS (
        SELECT tenant, key_id, name, time,
            argMaxIf(consumer, place, consumer != '') AS consumer, argMaxIf(plan, place, plan != '') AS plan,
            argMaxIf(tier, place, tier != '') AS tier, argMaxIf(owner, place, owner != '') AS owner
        FROM events GROUP BY tenant, key_id, name, time
    ),
    carried AS (
        SELECT tenant, key_id, name, time, row_number() OVER w AS nth,
            ifNull(last_value(nullIf(consumer, '')) OVER w, '') AS consumer, ifNull(last_value(nullIf(plan, '')) OVER w, '') AS plan,
            ifNull(last_value(nullIf(tier, '')) OVER w, '') AS tier, ifNull(last_value(nullIf(owner, '')) OVER w, '') AS owner
        FROM moments
        WINDOW w AS (PARTITION BY tenant, key_id, name ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
SELECT tenant, key_id, name, if(nth = 1, toDateTime64(0, 3, 'UTC'), time) AS valid_from,
    leadInFrame(time, 1, toDateTime64('2200-01-01 00:00:00', 3, 'UTC')) OVER w AS valid_to,
    consumer, plan, tier, owner,
    nth > 1 AND (consumer, plan, tier) != (lagInFrame(consumer) OVER w, lagInFrame(plan) OVER w, lagInFrame(tier) OVER w) AS changed
FROM carried
WINDOW w AS (PARTITION BY tenant, key_id, name ORDER BY time ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING);

CREATE OR REPLACE VIEW {{database}}.v_key_span AS
SELECT tenant, if(s.key_id = toFixedString('', 16), '', lower(hex(s.key_id))) AS key_id, name, valid_from, valid_to, consumer, plan, tier, owner
FROM {{database}}.key_span AS s;

-- Calls of an hour or UTC day in which a key became somebody else's or changed its
-- plan or tier, in parts between these moments, as aggregate finds them in the
-- raw rows. The newest version of an hour or day counts.
CREATE TABLE IF NOT EXISTS {{database}}.call_split (
    grain          Enum8('1h'=1,'1d'=2),
    time           DateTime('UTC') COMMENT 'start of the hour or day',
    at             DateTime64(6, 'UTC') COMMENT 'start of the part',
    tenant         LowCardinality(String),
    environment    LowCardinality(String),
    key_id         FixedString(16),
    consumer       LowCardinality(String),
    plan           LowCardinality(String),
    service        LowCardinality(String),
    error_class    {{error_class}},
    requests       Int64,
    timed          Int64,
    latency_us_sum Int64,
    latency_hist   Map(UInt16, Int64),
    first_seen     DateTime64(6, 'UTC'),
    last_seen      DateTime64(6, 'UTC'),
    signature      UInt64 COMMENT 'of the moments and of how many calls there were',
    version        UInt64
) ENGINE = ReplacingMergeTree(version)
ORDER BY (grain, tenant, key_id, time, at, service, error_class, environment, consumer, plan);

-- Calls by the hour with consumer, plan and tier as of the time of the call. An
-- hour in which a key changed counts in parts, or, where the raw rows are not all
-- there any more, for what the key was at its begin.
CREATE OR REPLACE VIEW {{database}}.call_1h AS
WITH
    toFixedString('', 16) AS none,
    newest AS (SELECT p.tenant AS tenant, p.key_id AS key_id, p.time AS time, max(p.version) AS version FROM {{database}}.call_split AS p WHERE p.grain = '1h' GROUP BY tenant, key_id, time),
    calls AS (
        SELECT time, toDateTime64(time, 6, 'UTC') AS at, tenant, environment, key_id, consumer, plan, service, error_class,
            requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
        FROM {{database}}.key_1h
        WHERE (tenant, key_id, time) NOT IN (SELECT n.tenant, n.key_id, n.time FROM newest AS n)
        UNION ALL
        SELECT time, at, tenant, environment, key_id, consumer, plan, service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
        FROM {{database}}.call_split
        WHERE grain = '1h' AND (tenant, key_id, time, version) IN (SELECT n.tenant, n.key_id, n.time, n.version FROM newest AS n)
    ),
    marked AS (
        SELECT c.*, if(n.name != '', n.name, c.consumer) AS named,
            (c.tenant, c.key_id) IN (SELECT k.tenant, k.key_id FROM {{database}}.key_event AS k WHERE k.key_id != none) AS known,
            if(known, c.key_id, none) AS span_key, if(known, '', named) AS span_name
        FROM calls AS c
        LEFT ANY JOIN {{database}}.consumer_name AS n ON n.tenant = c.tenant AND n.former = c.consumer
    )
SELECT m.time AS time, m.tenant AS tenant, m.environment AS environment, m.key_id AS key_id,
    multiIf(s.consumer != '', s.consumer, m.named != '', m.named, concat('key ', lower(hex(substring(m.key_id, 1, 4))))) AS consumer,
    if(s.plan != '', s.plan, m.plan) AS plan, s.tier AS tier,
    multiIf(s.consumer != '', 'catalogue', m.named != '', 'gateway', 'first_seen') AS source,
    m.service AS service, m.error_class AS error_class, m.requests AS requests, m.timed AS timed, m.latency_us_sum AS latency_us_sum,
    m.latency_hist AS latency_hist, m.first_seen AS first_seen, m.last_seen AS last_seen
FROM marked AS m
ASOF LEFT JOIN {{database}}.key_span AS s ON s.tenant = m.tenant AND s.key_id = m.span_key AND s.name = m.span_name AND m.at >= s.valid_from;

-- The same by the UTC day.
CREATE OR REPLACE VIEW {{database}}.call_1d AS
WITH
    toFixedString('', 16) AS none,
    newest AS (SELECT p.tenant AS tenant, p.key_id AS key_id, p.time AS time, max(p.version) AS version FROM {{database}}.call_split AS p WHERE p.grain = '1d' GROUP BY tenant, key_id, time),
    calls AS (
        SELECT time, toDateTime64(time, 6, 'UTC') AS at, tenant, environment, key_id, consumer, plan, service, error_class,
            requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
        FROM {{database}}.key_1d
        WHERE (tenant, key_id, time) NOT IN (SELECT n.tenant, n.key_id, n.time FROM newest AS n)
        UNION ALL
        SELECT time, at, tenant, environment, key_id, consumer, plan, service, error_class, requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
        FROM {{database}}.call_split
        WHERE grain = '1d' AND (tenant, key_id, time, version) IN (SELECT n.tenant, n.key_id, n.time, n.version FROM newest AS n)
    ),
    marked AS (
        SELECT c.*, if(n.name != '', n.name, c.consumer) AS named,
            (c.tenant, c.key_id) IN (SELECT k.tenant, k.key_id FROM {{database}}.key_event AS k WHERE k.key_id != none) AS known,
            if(known, c.key_id, none) AS span_key, if(known, '', named) AS span_name
        FROM calls AS c
        LEFT ANY JOIN {{database}}.consumer_name AS n ON n.tenant = c.tenant AND n.former = c.consumer
    )
SELECT m.time AS time, m.tenant AS tenant, m.environment AS environment, m.key_id AS key_id,
    multiIf(s.consumer != '', s.consumer, m.named != '', m.named, concat('key ', lower(hex(substring(m.key_id, 1, 4))))) AS consumer,
    if(s.plan != '', s.plan, m.plan) AS plan, s.tier AS tier,
    multiIf(s.consumer != '', 'catalogue', m.named != '', 'gateway', 'first_seen') AS source,
    m.service AS service, m.error_class AS error_class, m.requests AS requests, m.timed AS timed, m.latency_us_sum AS latency_us_sum,
    m.latency_hist AS latency_hist, m.first_seen AS first_seen, m.last_seen AS last_seen
FROM marked AS m
ASOF LEFT JOIN {{database}}.key_span AS s ON s.tenant = m.tenant AND s.key_id = m.span_key AND s.name = m.span_name AND m.at >= s.valid_from;

-- Calls by the UTC day, operation and version, with whose the key is now.
CREATE OR REPLACE VIEW {{database}}.call_route_1d AS
WITH
    toFixedString('', 16) AS none,
    marked AS (
        SELECT c.*, if(n.name != '', n.name, c.consumer) AS named,
            (c.tenant, c.key_id) IN (SELECT k.tenant, k.key_id FROM {{database}}.key_event AS k WHERE k.key_id != none) AS known,
            if(known, c.key_id, none) AS span_key, if(known, '', named) AS span_name
        FROM {{database}}.usage_1d AS c
        LEFT ANY JOIN {{database}}.consumer_name AS n ON n.tenant = c.tenant AND n.former = c.consumer
    )
SELECT m.time AS time, m.tenant AS tenant, m.environment AS environment, m.key_id AS key_id,
    multiIf(s.consumer != '', s.consumer, m.named != '', m.named, concat('key ', lower(hex(substring(m.key_id, 1, 4))))) AS consumer,
    s.plan AS plan, s.owner AS owner,
    m.service AS service, m.method AS method, m.route AS route, m.api_version AS api_version, m.error_class AS error_class, m.requests AS requests, m.hours AS hours
FROM marked AS m
LEFT ANY JOIN (SELECT p.tenant AS tenant, p.key_id AS key_id, p.name AS name, p.consumer AS consumer, p.plan AS plan, p.owner AS owner FROM {{database}}.key_span AS p WHERE p.valid_to > toDateTime64('2199-01-01 00:00:00', 3, 'UTC')) AS s
    ON s.tenant = m.tenant AND s.key_id = m.span_key AND s.name = m.span_name;

-- A row a consumer: sign-up, first call, first success.
CREATE OR REPLACE VIEW {{database}}.v_consumer AS
WITH
    toFixedString('', 16) AS none,
    created AS (
        SELECT k.tenant AS tenant, if(n.name != '', n.name, k.consumer) AS consumer,
            minIf(k.time, k.action = 'created') AS at, uniqExactIf(k.key_id, k.key_id != none) AS keys, countIf(k.action = 'created') AS creations
        FROM {{database}}.key_event AS k
        LEFT JOIN {{database}}.consumer_name AS n ON n.tenant = k.tenant AND n.former = k.consumer
        WHERE k.consumer != '' AND k.action != 'renamed'
        GROUP BY tenant, consumer
    ),
    latest AS (
        SELECT s.tenant AS tenant, s.consumer AS consumer, argMax(s.plan, s.valid_from) AS plan, argMax(s.tier, s.valid_from) AS tier, argMax(s.owner, s.valid_from) AS owner
        FROM {{database}}.key_span AS s WHERE s.consumer != '' GROUP BY tenant, consumer
    ),
    calls AS (
        SELECT c.tenant AS tenant, c.consumer AS consumer, min(c.source) AS source, argMax(c.plan, c.last_seen) AS plan,
            min(c.first_seen) AS first_call, minIf(c.first_seen, c.error_class = 'none') AS first_success, countIf(c.error_class = 'none') AS successes,
            max(c.last_seen) AS last_call, sum(c.requests) AS requests
        FROM {{database}}.call_1d AS c GROUP BY tenant, consumer
    )
SELECT
    if(r.consumer != '', r.tenant, c.tenant) AS tenant, if(r.consumer != '', r.consumer, c.consumer) AS consumer,
    if(l.plan != '', l.plan, c.plan) AS plan, l.tier AS tier, l.owner AS owner,
    multiIf(r.creations > 0, 'catalogue', c.source != '', c.source, 'catalogue') AS source,
    multiIf(r.creations > 0, toDateTime64(r.at, 6, 'UTC'), c.consumer != '', c.first_call, toDateTime64(r.at, 6, 'UTC')) AS signed_up_at,
    r.creations > 0 AS signed_up,
    r.keys AS keys,
    if(c.consumer != '', c.first_call, NULL) AS first_call,
    if(c.successes > 0, c.first_success, NULL) AS first_success,
    if(c.consumer != '', c.last_call, NULL) AS last_call,
    c.requests AS requests
FROM created AS r
FULL OUTER JOIN calls AS c ON c.tenant = r.tenant AND c.consumer = r.consumer
LEFT JOIN latest AS l ON l.tenant = if(r.consumer != '', r.tenant, c.tenant) AND l.consumer = if(r.consumer != '', r.consumer, c.consumer);

CREATE OR REPLACE VIEW {{database}}.v_call_1h AS
SELECT time, tenant, environment, if(c.key_id = toFixedString('', 16), '', lower(hex(c.key_id))) AS key_id, consumer, plan, tier, source, service, error_class,
    requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
FROM {{database}}.call_1h AS c;

CREATE OR REPLACE VIEW {{database}}.v_call_1d AS
SELECT time, tenant, environment, if(c.key_id = toFixedString('', 16), '', lower(hex(c.key_id))) AS key_id, consumer, plan, tier, source, service, error_class,
    requests, timed, latency_us_sum, latency_hist, first_seen, last_seen
FROM {{database}}.call_1d AS c;

CREATE OR REPLACE VIEW {{database}}.v_call_route_1d AS
SELECT time, tenant, environment, if(c.key_id = toFixedString('', 16), '', lower(hex(c.key_id))) AS key_id, consumer, plan, owner, service, method, route, api_version, error_class, requests
FROM {{database}}.call_route_1d AS c;

-- Who called with success on a UTC day.
CREATE OR REPLACE VIEW {{database}}.v_active_1d AS
SELECT c.time AS time, c.tenant AS tenant, c.environment AS environment, uniqExact(c.consumer) AS consumers, uniqExactIf(c.key_id, c.key_id != toFixedString('', 16)) AS keys, sum(c.requests) AS requests
FROM {{database}}.call_1d AS c WHERE c.error_class = 'none'
GROUP BY time, tenant, environment;

-- What fails for consumers who have called but never with success; weight is
-- halved by the day before the last one with calls.
CREATE OR REPLACE VIEW {{database}}.v_blocker AS
WITH stuck AS (
    SELECT v.tenant AS tenant, v.consumer AS consumer, v.plan AS plan, v.owner AS owner, v.signed_up_at AS signed_up_at, toStartOfDay(v.last_call) AS last_day
    FROM {{database}}.v_consumer AS v WHERE v.first_call IS NOT NULL AND v.first_success IS NULL
)
SELECT s.tenant AS tenant, s.consumer AS consumer, any(s.plan) AS plan, any(s.owner) AS owner, any(s.signed_up_at) AS signed_up_at,
    c.error_class AS error_class, c.service AS service, c.method AS method, c.route AS route,
    sum(c.requests) AS requests, sum(c.requests * exp2(-dateDiff('day', c.time, s.last_day))) AS weight
FROM {{database}}.call_route_1d AS c INNER JOIN stuck AS s ON s.tenant = c.tenant AND s.consumer = c.consumer
GROUP BY tenant, consumer, error_class, service, method, route;

CREATE OR REPLACE VIEW {{database}}.v_kpi_definition AS
SELECT kind, name, argMax(k.json, k.set_at) AS json, max(k.set_at) AS since
FROM {{database}}.kpi_definition AS k GROUP BY kind, name HAVING json != '';

-- Runs by the definition of their workflow that holds now.
CREATE OR REPLACE VIEW {{database}}.v_workflow_run AS
SELECT workflow, tenant, environment, unit, start, times, done, state, last_step_at, failed_class, failed_step, amount / 1000000 AS amount, currency, plan, tier
FROM {{database}}.workflow_run FINAL
WHERE (workflow, definition) IN (SELECT d.name, JSONExtractString(d.json, 'definition') FROM {{database}}.v_kpi_definition AS d WHERE d.kind = 'workflow');

CREATE OR REPLACE VIEW {{database}}.v_workflow_1h AS
SELECT toStartOfHour(toDateTime(r.last_step_at, 'UTC')) AS time, r.workflow AS workflow, r.tenant AS tenant, r.environment AS environment, r.plan AS plan, r.currency AS currency,
    count() AS completed, sum(r.amount) AS amount
FROM {{database}}.v_workflow_run AS r WHERE r.state = 'completed'
GROUP BY time, workflow, tenant, environment, plan, currency;

CREATE OR REPLACE VIEW {{database}}.v_funnel_1d AS
SELECT toStartOfDay(toDateTime(r.start, 'UTC')) AS time, r.workflow AS workflow, r.tenant AS tenant, r.environment AS environment, r.done AS done, r.state AS state, r.failed_class AS failed_class,
    count() AS runs
FROM {{database}}.v_workflow_run AS r
GROUP BY time, workflow, tenant, environment, done, state, failed_class;

-- What consumers used on a UTC day, beside the quotas of their plan.
CREATE OR REPLACE VIEW {{database}}.v_quota_1d AS
SELECT u.time AS time, u.tenant AS tenant, u.consumer AS consumer, u.plan AS plan, u.used AS used, u.throttled AS throttled,
    JSONExtractString(d.json, 'per') AS per, JSONExtractInt(d.json, 'calls') AS quota
FROM (
    SELECT c.time AS time, c.tenant AS tenant, c.consumer AS consumer, c.plan AS plan,
        sumIf(c.requests, c.error_class != 'client_quota') AS used, sumIf(c.requests, c.error_class = 'client_quota') AS throttled
    FROM {{database}}.call_1d AS c GROUP BY time, tenant, consumer, plan
) AS u
INNER JOIN (SELECT JSONExtractString(k.json, 'plan') AS plan, k.json AS json FROM {{database}}.v_kpi_definition AS k WHERE k.kind = 'quota') AS d ON d.plan = u.plan;

CREATE OR REPLACE VIEW {{database}}.v_deprecated AS
SELECT c.time AS time, d.name AS deprecation, toDate(JSONExtractString(d.json, 'sunset')) AS sunset, JSONExtractString(d.json, 'successor') AS successor,
    c.tenant AS tenant, c.consumer AS consumer, c.owner AS contact, c.plan AS plan, c.service AS service, c.method AS method, c.route AS route, c.api_version AS api_version, sum(c.requests) AS requests
FROM {{database}}.call_route_1d AS c
CROSS JOIN (SELECT k.name AS name, k.json AS json FROM {{database}}.v_kpi_definition AS k WHERE k.kind = 'deprecation') AS d
WHERE (JSONExtractString(d.json, 'service') IN ('', c.service)) AND (JSONExtractString(d.json, 'version') IN ('', c.api_version)) AND (JSONExtractString(d.json, 'method') IN ('', c.method))
    AND (JSONExtractString(d.json, 'route') IN ('', replaceRegexpAll(c.route, '\\{[^}]*\\}', '{}')))
GROUP BY time, deprecation, sunset, successor, tenant, consumer, contact, plan, service, method, route, api_version;
