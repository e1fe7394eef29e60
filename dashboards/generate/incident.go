package main

// theIncident is a column of the chosen incident.
func theIncident(column string) string {
	return "(SELECT " + column + " FROM v_incident WHERE alert_id = " + one("alert") + ")"
}

// evidence lists a list of the chosen incident's evidence, found by the quoted names on the way to it.
func evidence(path, columns, order string) string {
	return "SELECT " + columns + "\nFROM (SELECT arrayJoin(JSONExtractArrayRaw(evidence, " + path + ")) AS j FROM v_incident WHERE alert_id = " + one("alert") + ")\nORDER BY " + order + " LIMIT 50"
}

func incident() board {
	vars := []string{"tenant", "environment", "alert"}
	service := "r.service IN (SELECT service FROM v_incident WHERE alert_id = " + one("alert") + ")"
	ours := requests(within, everywhere...) + "\n  AND " + service
	raw := "FROM v_access_log AS r\nWHERE r.ts >= $__fromTime AND r.ts <= $__toTime AND " + service + filters("r", everywhere...)
	return board{
		uid: toIncident, title: "Incident", question: "what broke, for whom, why, and what to do now?", from: "now-1h", vars: vars, one: "alert", notes: true,
		rows: []row{
			{panels: []panel{
				{id: 2, kind: aTable, title: "State", w: 19, h: 4, needs: "alerts", about: "Since when, until when, whose it is, which runbook fits, and whether an Alertmanager took it.",
					sql:     "SELECT if(ended IS NULL, 'open', 'over') AS state, onset, raised, ended, dateDiff('second', onset, ifNull(ended, now64(3))) AS lasted, owner, if(sent, 'yes', send_error) AS sent, runbook, kind FROM v_incident WHERE alert_id = " + one("alert"),
					columns: []column{{name: "state", width: 65}, {name: "lasted", unit: "s", width: 90}, {name: "sent", width: 60}, {name: "owner", width: 130}}},
				completeUntil(4, 5),
				{id: 1, kind: aTable, title: "The page", w: 14, h: 13, needs: "alerts", about: "What those on call were sent last: impact, reach, suspects, the first three steps, runbook, owner, budget. Worry while it is open.",
					sql: "SELECT if(nth = 1, severity, trim(substring(line, 1, 9))) AS part, if(nth = 1, line, trim(substring(line, 10))) AS text, runbook_url FROM (\n" +
						"  SELECT severity, runbook_url, splitByChar('\\n', page) AS lines FROM v_incident WHERE alert_id = " + one("alert") + "\n) ARRAY JOIN lines AS line, arrayEnumerate(lines) AS nth ORDER BY nth LIMIT 30",
					columns: []column{{name: "part", width: 90}, {name: "text", wrap: true, link: link{"The runbook", "${__data.fields.runbook_url}"}}, {name: "runbook_url", hidden: true}}},
				{id: 3, kind: aTable, title: "Suspects", w: 10, h: 13, needs: "alerts", fine: "No part of the traffic stands out, or the alert compares nothing",
					about: "Parts of the traffic that hold more of the excess than their share of requests, from all requests of the burn against the hour before: share of the excess, and how many times their part.",
					sql: evidence("'suspects'", "arrayStringConcat(arrayMap(w -> w.1, JSONExtractKeysAndValues(j, 'where', 'String') AS place), ' + ') AS dimension, arrayStringConcat(arrayMap(w -> w.2, place), ' + ') AS value, "+
						"least(1, JSONExtractFloat(j, 'share')) AS excess, JSONExtractFloat(j, 'lift') AS lift", "excess DESC"),
					columns: []column{{name: "excess", title: "of the excess", unit: "percentunit", bar: true, width: 130}, {name: "lift", title: "times its part", unit: "x", width: 110}, {name: "dimension", width: 100}}},
			}},
			{title: "How it burns", panels: []panel{
				{id: 10, kind: lines, title: "Burn rate of the objective", w: 8, unit: "x", needs: "objectives", fine: "This alert is about no objective", warn: 6, page: 14.4, name: "burn",
					about: "How many times faster than allowed the budget is spent, by step. The dashed lines are the page thresholds over 6 hours and over 1 hour.",
					sql: levels + "SELECT toDateTime(bucket) AS time, if(valid = 0, NULL, bad / valid / (1 - target)) AS value\nFROM (SELECT " + bucketOf("r") + " AS bucket, sum(r.valid) AS valid, sum(r.bad) AS bad, any(s.target) AS target\n  " + inSLO + within("r") +
						" AND r.slo IN (SELECT slo FROM v_incident WHERE alert_id = " + one("alert") + ")\n  GROUP BY bucket)\nORDER BY time"},
				{id: 11, kind: bars, title: "Errors of its service by class", w: 8, unit: "reqps", needs: "requests", fine: "No request of the service failed in this range", columns: classColours(),
					links: []link{goTo("Failing requests", toRequests, nil, "error_class", label)},
					about: "Failed requests a second by how they failed. The class says where to look: upstream_ the service, gateway_ the gateway, client_ the callers.", sql: counted(levels, "toString(r.error_class)", "r.requests", ours+" AND "+isError, "step")},
				{id: 12, kind: lines, title: "Latency of its service", w: 8, unit: "s", needs: "requests", name: "${__field.name}", about: "50, 95 and 99 of 100 requests took at most this long; n (right) state a time.",
					sql: latency(levels, "r.latency_hist", ours), columns: []column{{name: "n", right: true}, {name: "p50", colour: green}, {name: "p95", colour: orange}, {name: "p99", colour: vermilion}}},
				{id: 13, kind: lines, title: "Failed by upstream", w: 12, unit: "percentunit", needs: "requests", about: "Share of the service's requests that failed on our side, by the host that answered last, from the raw requests of the range. One line alone is that host's fault.",
					sql: "WITH toUInt32(greatest($__interval_s, 30)) AS step\nSELECT toDateTime(intDiv(toUInt32(r.ts), step) * step) AS time, if(r.upstream = '', 'none', r.upstream) AS series, countIf(" + isServer + ") / count() AS value\n" + raw + " AND r.ts < (SELECT complete_until FROM v_complete)\nGROUP BY time, series ORDER BY time, series"},
				{id: 14, kind: aGauge, title: "Layers when it was raised", w: 6, unit: "s", needs: "spans", fine: "The alert names no layers: too few traces on either side",
					about: "Time at p95 by layer in the newest minutes less the hour before, as the page saw it. The largest rise is the layer to blame; below 0 it became faster.",
					sql:   evidence("'layers', 'layers'", "JSONExtractString(j, 'name') AS layer, (JSONExtractFloat(j, 'now_ms') - JSONExtractFloat(j, 'before_ms')) / 1000 AS rise", "rise DESC")},
				{id: 15, kind: aGauge, title: "Error classes when it was raised", w: 6, unit: "percentunit", max: 1, needs: "alerts", fine: "The alert is about no failing requests",
					about: "Share of the failing requests by class, of the newest minutes, as the page saw it.",
					sql:   evidence("'classes'", "JSONExtractString(j, 'name') AS class, JSONExtractFloat(j, 'share') AS share", "share DESC")},
			}},
			{title: "For whom, and what it costs", panels: []panel{
				{id: 20, kind: aTable, title: "Affected consumers and keys", w: 16, h: 10, needs: "requests", fine: "No call with a key failed on our side in this range",
					about: "Keys whose calls to the service failed on our side in the range, most first. Click the key for its raw requests, the consumer for all about it.",
					sql: minutes + "SELECT r.consumer AS consumer, r.plan AS plan, r.key_id AS key, sum(r.requests) AS requests, sum(" + requestsIf(isServer) + ") AS failed, failed / requests AS share, maxIf(r.last_seen, " + isServer + ") AS last_failed\n" +
						"FROM v_key_1m AS r\nWHERE " + whole("r") + " AND " + service + filters("r", everywhere...) + "\nGROUP BY consumer, plan, key HAVING failed > 0 ORDER BY failed DESC LIMIT 100",
					columns: []column{
						{name: "consumer", link: goTo("All about this consumer", toConsumer, nil, "consumer", field("consumer"))}, {name: "plan", width: 90},
						{name: "key", link: goTo("Failing requests of this key", toRequests, nil, "key", field("key"))},
						{name: "requests", unit: "short", width: 90}, {name: "failed", unit: "short", bar: true, width: 130}, {name: "share", unit: "percentunit", warn: 0.01, page: 0.1, width: 80}, {name: "last_failed", title: "last failed", width: 150},
					}},
				{id: 21, kind: aTable, title: "Value at risk", w: 8, h: 10, needs: "workflows", fine: "No run of a workflow was dropped after a failure of ours",
					about: "Runs of workflows that began in the range and were dropped after a failure on our side, times what a completed run of the last 30 days is worth. Not all of them would have been completed: it is the most that was lost.",
					sql: "SELECT r.workflow AS workflow, count() AS dropped, any(w.worth) AS worth, dropped * worth AS at_risk, any(w.currency) AS currency\nFROM v_workflow_run AS r\n" +
						"LEFT JOIN (SELECT workflow, sum(amount) / greatest(1, sum(completed)) AS worth, any(currency) AS currency FROM v_workflow_1h WHERE time > now() - INTERVAL 30 DAY GROUP BY workflow) AS w ON w.workflow = r.workflow\n" +
						"WHERE r.state = 'dropped' AND (startsWith(r.failed_class, 'upstream_') OR startsWith(r.failed_class, 'gateway_') OR r.failed_class = 'breaker_open') AND r.start >= $__fromTime AND r.start <= $__toTime" + filters("r", everywhere...) + "\nGROUP BY workflow ORDER BY at_risk DESC LIMIT 50",
					columns: []column{{name: "worth", title: "a run", unit: "short", width: 70}, {name: "at_risk", title: "at risk", unit: "short", width: 90}, {name: "currency", width: 80}, {name: "dropped", width: 80}}},
			}},
			{title: "What happened when, and examples", panels: []panel{
				{id: 30, kind: aTable, title: "Timeline", w: 12, h: 10, needs: "alerts", about: "Each change of this alert's state, what people noted about it, and what was changed in the two hours before it began until now.",
					sql: "SELECT time, what, text FROM (\n  SELECT r.at AS time, concat(r.severity, ' ', r.from_state, ' -> ', r.to_state) AS what, if(r.annotations['reason'] = '', r.annotations['summary'], r.annotations['reason']) AS text FROM v_alert_event AS r WHERE r.alert_id = " + one("alert") +
						"\n  UNION ALL SELECT r.at AS time, concat('note by ', r.author) AS what, concat(if(r.useful = 'unknown', '', concat('useful: ', toString(r.useful), '. ')), r.text) AS text FROM v_alert_note AS r WHERE r.alert_id = " + one("alert") +
						"\n  UNION ALL SELECT r.time AS time, r.kind AS what, concat(r.service, ' ', r.what) AS text FROM v_change AS r WHERE r.time >= " + theIncident("onset - INTERVAL 2 HOUR") + " AND r.time <= now64(3) AND r.service IN ('', " + theIncident("service") + ")\n) ORDER BY time LIMIT 200",
					columns: []column{{name: "time", width: 160}, {name: "what", width: 180}, {name: "text", wrap: true}}},
				{id: 31, kind: aTable, title: "Examples", w: 12, h: 10, needs: "requests", fine: "No request of the service failed on our side in this range", about: "The newest requests of the service that failed on our side. Click a trace id for its spans.",
					sql:     "SELECT r.ts AS time, r.method AS method, r.route AS route, r.status AS status, toString(r.error_class) AS error_class, r.upstream AS upstream, r.latency_us / 1000000 AS took, r.consumer AS consumer, r.trace_id AS trace\n" + raw + " AND " + isServer + "\nORDER BY r.ts DESC LIMIT 50",
					columns: []column{{name: "time", width: 150}, {name: "method", width: 70}, {name: "status", width: 65}, {name: "took", unit: "s", width: 70}, {name: "trace", link: goTo("This trace", toRequests, nil, "trace", field("trace"))}}},
			}},
		},
	}
}

func rawRequests() board {
	vars := []string{"tenant", "environment", "service", "route", "consumer", "key", "error_class", "trace"}
	raw := "FROM v_access_log AS r\nWHERE r.ts >= $__fromTime AND r.ts <= $__toTime" + filters("r", "tenant", "environment", "service", "route", "consumer", "key") +
		"\n  AND " + in("toString(r.error_class)", "error_class")
	trace := " AND (" + one("trace") + " = '' OR r.trace_id = " + one("trace") + ")"
	return board{
		uid: toRequests, title: "Requests", question: "which calls exactly, and what did they go through?", from: "now-1h", vars: vars,
		rows: []row{{panels: []panel{
			{id: 1, kind: bars, title: "Requests by error class", w: 19, h: 6, unit: "short", needs: "requests", columns: append(classColours(), column{name: "none", colour: "#D9D9D9"}), about: "The requests that are chosen above, by step and class, from the raw rows. Narrow the range before you ask for weeks.",
				sql: "WITH toUInt32(greatest($__interval_s, 1)) AS step\nSELECT toDateTime(intDiv(toUInt32(r.ts), step) * step) AS time, toString(r.error_class) AS series, count() AS value\n" + raw + trace + "\nGROUP BY time, series ORDER BY time, series"},
			completeUntil(2, 5),
			{id: 3, kind: aTable, title: "Requests, the newest first", w: 24, h: 12, needs: "requests", about: "Raw rows, 500 at most. Paths and queries are masked, keys are hashes, addresses are cut. Click a trace id to see its spans below.",
				sql: "SELECT r.ts AS time, r.service AS service, r.method AS method, r.route AS route, r.path AS path, r.query AS query, r.status AS status, toString(r.error_class) AS error_class, toString(r.responder) AS responder, r.flags AS flags, toString(r.error_evidence) AS evidence,\n" +
					"  r.latency_us / 1000000 AS took, r.upstream_latency_us / 1000000 AS upstream_took, r.gateway_latency_us / 1000000 AS gateway_took, r.tries AS tries, r.upstream AS upstream, r.upstream_status AS upstream_status, toString(r.upstream_reached) AS reached, r.node AS node, r.region AS region, r.api_version AS version,\n" +
					"  r.consumer AS consumer, r.plan AS plan, r.key_id AS key, toString(r.client_ip) AS client, r.user_agent AS user_agent, r.referer AS referer, r.bytes_in AS bytes_in, r.bytes_out AS bytes_out, r.host AS host, r.protocol AS protocol, r.amount / 1000000 AS amount, r.request_id AS request_id, r.trace_id AS trace, r.topic AS topic, r.kafka_partition AS kafka_partition, r.kafka_offset AS kafka_offset\n" +
					raw + trace + "\nORDER BY r.ts DESC LIMIT 500",
				columns: []column{
					{name: "time", width: 160}, {name: "took", unit: "s", width: 80}, {name: "upstream_took", title: "upstream", unit: "s", width: 85}, {name: "gateway_took", title: "gateway", unit: "s", width: 85},
					{name: "service", width: 90, link: goTo("This service", toService, nil, "service", field("service"))}, {name: "method", width: 75}, {name: "status", width: 65}, {name: "tries", width: 55},
					{name: "consumer", link: goTo("All about this consumer", toConsumer, nil, "consumer", field("consumer"))},
					{name: "trace", width: 270, link: goTo("Its spans", toRequests, nil, "trace", field("trace"))},
					{name: "bytes_in", unit: "bytes"}, {name: "bytes_out", unit: "bytes"},
				}},
			{id: 4, kind: aTable, title: "Spans of the trace", w: 24, h: 9, needs: "spans", fine: "No trace is chosen: click one in the list, or paste its id above", about: "All spans of the chosen trace in the order of their begin, from the gateway's own trace id. Own time is what is not spent in its children's calls. Traces are sampled: most requests have none.",
				sql: "SELECT r.ts AS time, r.service AS service, r.name AS name, toString(r.kind) AS kind, dateDiff('microsecond', min(r.ts) OVER (), r.ts) / 1000000 AS begins_after, r.duration_us / 1000000 AS took, toString(r.status) AS status, r.status_message AS message,\n" +
					"  r.http_method AS method, r.http_route AS route, r.http_status AS http_status, r.db_system AS db, r.db_query AS query, r.peer AS peer, r.node AS node, r.span_id AS span, r.parent_span_id AS parent, r.attributes AS attributes, r.events AS events, r.links AS links, r.weight AS weight\n" +
					"FROM v_span AS r\nWHERE r.trace_id = " + one("trace") + " AND " + one("trace") + " != ''" + filters("r", everywhere...) + "\nORDER BY time LIMIT 1000",
				columns: []column{{name: "took", unit: "s", bar: true, width: 150}, {name: "begins_after", title: "begins after", unit: "s", width: 110}, {name: "time", width: 160}}},
		}}},
	}
}
