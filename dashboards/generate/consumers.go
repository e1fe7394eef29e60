package main

func consumers() board {
	vars := []string{"tenant", "environment", "service", "plan"}
	calls := "FROM v_call_1h AS r\nWHERE " + within("r") + filters("r", vars...)
	all := "FROM v_call_1h AS r\nWHERE " + whole("r") + filters("r", vars...)
	toOne := goTo("All about this consumer", toConsumer, nil, "consumer", field("consumer"))
	return board{
		uid: toConsumers, title: "Consumers", question: "who uses the API, how much, and how does it treat them?", from: "now-7d", vars: vars,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Active consumers", w: 5, needs: "requests", about: "Consumers with at least one successful call in the range.",
					sql: hours + "SELECT uniqExact(r.consumer) AS active " + all + " AND r.error_class = 'none' HAVING count() > 0"},
				{id: 2, kind: aStat, title: "Calls", w: 5, unit: "short", needs: "requests", about: "Calls with a known key or consumer in the range.", sql: hours + "SELECT sum(r.requests) AS calls " + all + " HAVING count() > 0"},
				{id: 3, kind: aStat, title: "Of the ten largest", w: 5, unit: "percentunit", needs: "requests", warn: 0.5, page: 0.8, about: "Share of all calls that the ten largest consumers make. Near 100 % the loss of one is felt.",
					sql: hours + "SELECT arraySum(arraySlice(arrayReverseSort(groupArray(n)), 1, 10)) / sum(n) AS share FROM (SELECT r.consumer AS consumer, sum(r.requests) AS n " + all + " GROUP BY consumer) HAVING count() > 0"},
				{id: 4, kind: aStat, title: "Over quota", w: 4, needs: "quotas", fine: "Nobody was refused for the quota", warn: 1, page: 10, about: "Consumers that were refused for their quota at least once in the range.",
					sql: "SELECT uniqExactIf(r.consumer, r.throttled > 0) AS throttled FROM v_quota_1d AS r WHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant", "plan") + " HAVING count() > 0"},
				completeUntil(5, 5),
			}},
			{title: "Use", panels: []panel{
				{id: 10, kind: stacked, title: "Calls by plan", w: 12, unit: "short", needs: "requests", about: "Calls an hour by the plan that the consumer had at the time.", sql: counted(hours, "if(r.plan = '', 'no plan', r.plan)", "r.requests", calls, "(step / 3600)")},
				{id: 11, kind: stacked, title: "Calls by consumer", w: 12, unit: "short", needs: "requests", links: []link{goTo("All about this consumer", toConsumer, nil, "consumer", label)}, about: "Calls an hour of the twelve largest consumers. Click one.", sql: counted(hours, "r.consumer", "r.requests", calls, "(step / 3600)")},
				{id: 12, kind: aTable, title: "Consumers, the largest first", w: 24, h: 11, needs: "requests",
					about: "Each consumer over the range, beside the range before it of the same length: calls, what failed on our side, what was refused, and the time that 95 of its 100 calls took. Half of before or less is somebody who leaves.",
					sql: hours + "SELECT consumer, plan, tier, source, calls, before, if(before = 0, NULL, calls / before - 1) AS change, failed, refused, " + quantile("h", 0.95) + " AS p95, last_call FROM (\n" +
						"  SELECT r.consumer AS consumer, argMax(r.plan, r.last_seen) AS plan, argMax(r.tier, r.last_seen) AS tier, any(r.source) AS source, sumIf(r.requests, r.time >= $__fromTime) AS calls, sumIf(r.requests, r.time < $__fromTime) AS before,\n" +
						"    sumIf(r.requests, r.time >= $__fromTime AND " + isServer + ") / nullIf(calls, 0) AS failed, sumIf(r.requests, r.time >= $__fromTime AND startsWith(toString(r.error_class), 'client_')) / nullIf(calls, 0) AS refused,\n" +
						"    sumMapIf(r.latency_hist, r.time >= $__fromTime) AS h, max(r.last_seen) AS last_call\n  FROM v_call_1h AS r\n  WHERE r.time >= $__fromTime - (toUInt32($__toTime) - toUInt32($__fromTime)) AND r.time < toDateTime(last)" + filters("r", vars...) + "\n  GROUP BY consumer\n)\nORDER BY calls DESC LIMIT 300",
					columns: []column{{name: "consumer", link: toOne}, {name: "calls", unit: "short", bar: true, width: 150}, {name: "before", unit: "short", width: 90}, {name: "change", unit: "percentunit", low: true, warn: -0.2, page: -0.5, width: 90},
						{name: "failed", title: "failed by us", unit: "percentunit", warn: 0.001, page: 0.01, width: 100}, {name: "refused", unit: "percentunit", warn: 0.1, page: 0.5, width: 90}, {name: "p95", unit: "s", width: 90}, {name: "last_call", title: "last call", width: 150}, {name: "plan", width: 90}, {name: "tier", width: 80}, {name: "source", width: 90}}},
			}},
			{title: "Trouble", panels: []panel{
				{id: 20, kind: bars, title: "Errors that consumers met", w: 12, unit: "short", needs: "requests", fine: "No call failed in this range", columns: classColours(), about: "Failed calls an hour by class. A client_ class that rises for many at once is ours to mend.", sql: counted(hours, "toString(r.error_class)", "r.requests", calls+" AND "+isError, "(step / 3600)")},
				{id: 21, kind: aTable, title: "Quotas", w: 12, h: 8, needs: "quotas", about: "What consumers have used of the quota of their plan in the current day or month (UTC), the fullest first; forecast: at the pace so far.",
					sql: `SELECT r.consumer AS consumer, r.plan AS plan, r.per AS per, sum(r.used) AS used, sum(r.throttled) AS refused, any(r.quota) AS quota, used / quota AS share,
  share / greatest(0.02, dateDiff('second', if(per = 'day', toStartOfDay(now()), toDateTime(toStartOfMonth(now()))), now()) / if(per = 'day', 86400, 86400 * toDayOfMonth(toLastDayOfMonth(now())))) AS forecast
FROM v_quota_1d AS r WHERE r.time >= if(r.per = 'day', toStartOfDay(now()), toDateTime(toStartOfMonth(now())))` + filters("r", "tenant", "plan") + "\nGROUP BY consumer, plan, per ORDER BY share DESC LIMIT 100",
					columns: []column{{name: "consumer", link: toOne}, {name: "used", unit: "short", width: 80}, {name: "refused", unit: "short", width: 80}, {name: "quota", unit: "short", width: 80}, {name: "share", unit: "percentunit", warn: 0.8, page: 1, width: 80}, {name: "forecast", unit: "percentunit", warn: 0.8, page: 1, width: 90}, {name: "per", width: 65}, {name: "plan", width: 80}}},
			}},
		},
	}
}

func oneConsumer() board {
	vars := []string{"tenant", "environment", "consumer"}
	calls := "FROM v_call_1h AS r\nWHERE " + within("r") + filters("r", vars...)
	route := "FROM v_call_route_1d AS r\nWHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", vars...)
	return board{
		uid: toConsumer, title: "One consumer", question: "what does it do, what does it meet, what is it worth?", from: "now-7d", vars: vars, one: "consumer", notes: true,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aTable, title: "Who it is", w: 19, h: 5, needs: "requests", about: "What the catalogue says, and its first and last calls. Without a success yet, something keeps it: see the errors below.",
					sql:     "SELECT r.consumer AS consumer, r.plan AS plan, r.tier AS tier, r.owner AS contact, r.source AS source, r.keys AS keys, if(r.signed_up, r.signed_up_at, NULL) AS signed_up, r.first_call AS first_call, r.first_success AS first_success, r.last_call AS last_call, r.requests AS calls FROM v_consumer AS r WHERE 1" + filters("r", "tenant", "consumer") + "\nORDER BY calls DESC LIMIT 20",
					columns: []column{{name: "calls", unit: "short"}}},
				completeUntil(2, 5),
			}},
			{title: "Use and what it meets", panels: []panel{
				{id: 10, kind: stacked, title: "Calls by service", w: 8, unit: "short", needs: "requests", about: "Calls an hour by service. A drop is a consumer who leaves, or one who can't.", sql: counted(hours, "r.service", "r.requests", calls, "(step / 3600)"), links: []link{goTo("Its requests", toRequests, []string{"consumer"}, "service", label)}},
				{id: 11, kind: bars, title: "Errors by class", w: 8, unit: "short", needs: "requests", fine: "None of its calls failed in this range", columns: classColours(), about: "Its failed calls an hour by class. Click one for the requests.", links: []link{goTo("Its failing requests", toRequests, []string{"consumer"}, "error_class", label)},
					sql: counted(hours, "toString(r.error_class)", "r.requests", calls+" AND "+isError, "(step / 3600)")},
				{id: 12, kind: lines, title: "Latency it feels", w: 8, unit: "s", needs: "requests", name: "${__field.name}", about: "50, 95 and 99 of 100 of its calls took at most this long; n (right) state a time.",
					sql: latency(hours, "r.latency_hist", calls), columns: []column{{name: "n", right: true}, {name: "p50", colour: green}, {name: "p95", colour: orange}, {name: "p99", colour: vermilion}}},
				{id: 13, kind: aTable, title: "Operations", w: 12, h: 9, needs: "requests", about: "What it calls, by operation and version, with the share that failed, by UTC days that touch the range.",
					sql:     "SELECT r.service AS service, r.method AS method, r.route AS route, r.api_version AS version, sum(r.requests) AS calls, sum(" + requestsIf(isError) + ") / calls AS errors, argMaxIf(toString(r.error_class), r.requests, r.error_class != 'none') AS mostly\n" + route + "\nGROUP BY service, method, route, version ORDER BY calls DESC LIMIT 100",
					columns: []column{{name: "route", link: goTo("Its requests to this route", toRequests, []string{"consumer"}, "route", field("route"))}, {name: "calls", unit: "short", bar: true, width: 120}, {name: "errors", unit: "percentunit", warn: 0.05, page: 0.5, width: 80}, {name: "method", width: 75}, {name: "version", width: 75}, {name: "service", width: 90}}},
				{id: 14, kind: aTable, title: "Keys", w: 12, h: 9, needs: "requests", about: "Its keys with their last calls in the range. A key is stored as a keyed hash only; revoked ones should not call any more.",
					sql: "SELECT r.key_id AS key, any(k.plan) AS plan, any(k.created_at) AS created, any(k.revoked_at) AS revoked, sum(r.requests) AS calls, sum(" + requestsIf(isError) + ") / calls AS errors, max(r.last_seen) AS last_call\n" +
						"FROM v_call_1d AS r LEFT JOIN v_key AS k ON k.tenant = r.tenant AND k.key_id = r.key_id\nWHERE r.key_id != '' AND r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", vars...) + "\nGROUP BY key ORDER BY calls DESC LIMIT 100",
					columns: []column{{name: "key", link: goTo("Its requests", toRequests, nil, "key", field("key"))}, {name: "calls", unit: "short", width: 80}, {name: "errors", unit: "percentunit", warn: 0.05, page: 0.5, width: 80}, {name: "plan", width: 80}, {name: "last_call", title: "last call", width: 150}, {name: "created", width: 150}, {name: "revoked", width: 150}}},
			}},
			{title: "Quota, worth, history", panels: []panel{
				{id: 20, kind: bars, title: "Use beside the quota", w: 8, unit: "short", needs: "quotas", fine: "Its plan has no quota", name: "${__field.name}", about: "Calls a UTC day that counted against the quota, and those that were refused for it.",
					sql: "SELECT time, sum(used) AS used, sum(refused) AS refused FROM (SELECT r.time AS time, r.consumer AS consumer, max(r.used) AS used, max(r.throttled) AS refused FROM v_quota_1d AS r WHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant", "consumer") + "\nGROUP BY time, consumer) GROUP BY time ORDER BY time"},
				{id: 21, kind: aTable, title: "Workflows", w: 8, h: 8, needs: "workflows", about: "Its runs of declared workflows that began in the range: completed, dropped, still open, and what they were worth.",
					sql: "SELECT r.workflow AS workflow, countIf(r.state = 'completed') AS completed, countIf(r.state = 'dropped') AS dropped, countIf(r.state = 'open') AS open, sum(r.amount) AS value, any(r.currency) AS currency\n" +
						"FROM v_workflow_run AS r WHERE r.start >= $__fromTime AND r.start <= $__toTime AND " + in("r.unit", "consumer") + filters("r", everywhere...) + "\nGROUP BY workflow ORDER BY value DESC LIMIT 50",
					columns: []column{{name: "value", unit: "short", width: 90}}},
				{id: 22, kind: aTable, title: "What happened to its keys", w: 8, h: 8, needs: "sign-ups", about: "Events of its keys: made, changed, revoked, renamed; newest first.",
					sql:     "SELECT r.time AS time, toString(r.action) AS action, r.consumer AS consumer, r.former AS former, r.plan AS plan, r.tier AS tier, r.owner AS contact, r.key_id AS key FROM v_key_event AS r WHERE 1" + filters("r", vars...) + "\nORDER BY time DESC LIMIT 100",
					columns: []column{{name: "time", width: 150}}},
			}},
		},
	}
}
