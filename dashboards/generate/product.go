package main

func product() board {
	vars := []string{"tenant", "environment", "plan", "workflow"}
	runs := "FROM v_workflow_run AS r\nWHERE r.start >= $__fromTime AND r.start <= $__toTime" + filters("r", vars...)
	signed := "FROM v_consumer AS r\nWHERE r.signed_up AND r.signed_up_at >= $__fromTime AND r.signed_up_at <= $__toTime" + filters("r", "tenant", "plan")
	active := "FROM v_call_1d AS r\nWHERE r.error_class = 'none' AND " + filters("r", "tenant", "environment", "plan")[7:]
	toOne := goTo("All about this consumer", toConsumer, nil, "consumer", field("consumer"))
	return board{
		uid: toProduct, title: "API product", question: "who uses it, what stops the others, and what should we fix first?", from: "now-30d", vars: vars,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Active consumers, and before", w: 5, needs: "requests", about: "Consumers with a successful call on a UTC day of the range, and of the range before it of the same length.",
					sql: "SELECT nullIf(uniqExactIf(r.consumer, r.time >= toStartOfDay($__fromTime)), 0) AS active, uniqExactIf(r.consumer, r.time < toStartOfDay($__fromTime)) AS before " + active + " AND r.time >= toStartOfDay($__fromTime) - (toUInt32($__toTime) - toUInt32($__fromTime)) AND r.time <= $__toTime HAVING count() > 0"},
				{id: 2, kind: aStat, title: "Sign-ups, of these succeeded", w: 5, needs: "sign-ups", fine: "Nobody signed up in this range", about: "Consumers whose first key was made in the range, and the share of them that has had a successful call since.",
					sql: "SELECT count() AS signed_up, countIf(r.first_success IS NOT NULL) / signed_up AS succeeded " + signed + " HAVING signed_up > 0", columns: []column{{name: "succeeded", unit: "percentunit"}}},
				{id: 3, kind: aStat, title: "Time to first success, median", w: 5, unit: "s", needs: "sign-ups", fine: "Nobody who signed up in this range has succeeded yet", about: "Half of those who signed up in the range and succeeded did so within this time. Worry when it is hours: documentation, keys, sandbox.",
					sql: "SELECT quantileExact(0.5)(dateDiff('second', r.signed_up_at, r.first_success)) AS median " + signed + " AND r.first_success >= r.signed_up_at HAVING count() > 0"},
				{id: 4, kind: aStat, title: "Value of completed workflows", w: 4, unit: "short", needs: "workflows", fine: "No workflow was completed in this range", about: "What completed runs are worth, by currency; currencies are never added up.",
					sql: "SELECT sum(if(r.currency = c, r.amount, 0)) AS value, c AS currency FROM (SELECT * FROM v_workflow_1h AS r WHERE r.time >= $__fromTime AND r.time <= $__toTime" + filters("r", vars...) + ") AS r CROSS JOIN (SELECT DISTINCT currency AS c FROM v_workflow_1h WHERE currency != '') AS k GROUP BY c HAVING value > 0 ORDER BY value DESC LIMIT 1"},
				completeUntil(5, 5),
			}},
			{title: "Is it growing", panels: []panel{
				{id: 10, kind: lines, title: "Active consumers and keys a day", w: 12, unit: "short", needs: "requests", name: "${__field.name}", about: "Consumers and keys with a successful call, by UTC day; the running day is left out until it is complete. v_active_1d counts the same without the choice of a plan.",
					sql: days + "SELECT r.time AS time, sum(r.consumers) AS consumers, sum(r.keys) AS keys FROM v_active_1d AS r WHERE r.time >= $__fromTime AND toUInt32(r.time) + 86400 <= least(complete, toUInt32($__toTime))" + filters("r", everywhere...) + "\nGROUP BY time ORDER BY time"},
				{id: 11, kind: bars, title: "Sign-ups a day", w: 6, unit: "short", needs: "sign-ups", fine: "Nobody signed up in this range", about: "Consumers whose first key was made on that UTC day, by plan.",
					sql: "SELECT toStartOfDay(r.signed_up_at) AS time, if(r.plan = '', 'no plan', r.plan) AS series, count() AS value " + signed + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 12, kind: aTable, title: "Retention by week of the first success", w: 6, h: 8, needs: "requests", about: "Of the consumers that first succeeded in that week, the share that called with success again 1, 7 and 30 days later or more. Young weeks can't have the later ones yet.",
					sql: "SELECT toString(toDate(toStartOfWeek(f.first, 1))) AS week, count() AS consumers, countIf(f.last >= f.first + INTERVAL 1 DAY) / consumers AS d1, countIf(f.last >= f.first + INTERVAL 7 DAY) / consumers AS d7, countIf(f.last >= f.first + INTERVAL 30 DAY) / consumers AS d30\n" +
						"FROM (SELECT r.consumer AS consumer, min(r.time) AS first, max(r.time) AS last " + active + " GROUP BY consumer) AS f WHERE f.first >= toStartOfDay($__fromTime)\nGROUP BY week ORDER BY week DESC LIMIT 60",
					columns: []column{{name: "d1", unit: "percentunit", width: 60}, {name: "d7", unit: "percentunit", width: 60}, {name: "d30", unit: "percentunit", width: 60}, {name: "consumers", width: 90}}},
			}},
			{title: "What stops the rest, and what to fix first", panels: []panel{
				{id: 20, kind: aTable, title: "What to fix first", w: 16, h: 11, needs: "requests", fine: "No call failed in this range",
					about: "Operations and classes of error by what they cost: value of runs that were dropped after this failure (at most), consumers hit, new consumers who never succeeded because of it. Ask the owner for the first lines.",
					sql: "SELECT f.service AS service, f.operation AS operation, f.class AS error_class, ifNull(v.value, 0) AS value, ifNull(v.currency, '') AS currency, f.consumers AS consumers, ifNull(b.blocked, 0) AS blocked, f.calls AS calls, if(f.before = 0, NULL, f.calls / f.before - 1) AS trend, o.owner AS owner FROM (\n" +
						"  SELECT r.service AS service, concat(r.method, ' ', r.route) AS operation, toString(r.error_class) AS class, uniqExactIf(r.consumer, r.time >= toStartOfDay($__fromTime)) AS consumers, sumIf(r.requests, r.time >= toStartOfDay($__fromTime)) AS calls, sumIf(r.requests, r.time < toStartOfDay($__fromTime)) AS before\n" +
						"  FROM v_call_route_1d AS r WHERE r.error_class != 'none' AND r.time >= toStartOfDay($__fromTime) - (toUInt32($__toTime) - toUInt32($__fromTime)) AND r.time <= $__toTime" + filters("r", "tenant", "environment", "plan") + "\n  GROUP BY service, operation, class HAVING calls > 0\n) AS f\n" +
						"LEFT JOIN (SELECT b.service AS service, concat(b.method, ' ', b.route) AS operation, toString(b.error_class) AS class, uniqExact(b.consumer) AS blocked FROM v_blocker AS b WHERE b.consumer NOT LIKE 'key %' GROUP BY service, operation, class) AS b ON b.service = f.service AND b.operation = f.operation AND b.class = f.class\n" +
						"LEFT JOIN (\n  SELECT r.failed_class AS class, concat(JSONExtractString(d.json, 'calls', toUInt32(r.failed_step) + 1 AS step, 'Method'), ' ', JSONExtractString(d.json, 'calls', step, 'Template')) AS template, count() * any(w.worth) AS value, any(w.currency) AS currency\n  FROM v_workflow_run AS r\n" +
						"  INNER JOIN (SELECT name, json FROM v_kpi_definition WHERE kind = 'workflow') AS d ON d.name = r.workflow\n" +
						"  INNER JOIN (SELECT workflow, sum(amount) / greatest(1, sum(completed)) AS worth, any(currency) AS currency FROM v_workflow_1h WHERE time > now() - INTERVAL 60 DAY GROUP BY workflow) AS w ON w.workflow = r.workflow\n" +
						"  WHERE r.state = 'dropped' AND r.failed_class != '' AND r.start >= $__fromTime AND r.start <= $__toTime" + filters("r", vars...) + "\n  GROUP BY class, template\n) AS v ON v.class = f.class AND v.template = replaceRegexpAll(f.operation, '\\\\{[^}]*\\\\}', '{}')\n" +
						"LEFT JOIN v_owner AS o ON o.service = f.service\nORDER BY value DESC, blocked DESC, consumers DESC, calls DESC LIMIT 50",
					columns: []column{{name: "value", unit: "short", width: 75}, {name: "currency", width: 75}, {name: "consumers", width: 85}, {name: "blocked", width: 70}, {name: "calls", unit: "short", width: 65}, {name: "trend", unit: "percentunit", width: 75}, {name: "owner", width: 125}, {name: "service", width: 80}, {name: "error_class", title: "error class", width: 140}}},
				{id: 21, kind: aTable, title: "What keeps new consumers from success", w: 8, h: 11, needs: "requests", fine: "Everybody who has called has succeeded",
					about: "Consumers who have called but never with success, by what they meet most, counting newer failures more; keys that nobody has announced are left out. Write to them; mend what many share.",
					sql: "SELECT error_class, service, operation, count() AS consumers, sum(requests) AS calls, groupArray(3)(consumer) AS such_as FROM (\n  SELECT r.consumer AS consumer, argMax(toString(r.error_class), r.weight) AS error_class, argMax(r.service, r.weight) AS service, argMax(concat(r.method, ' ', r.route), r.weight) AS operation, sum(r.requests) AS requests, max(r.signed_up_at) AS signed_up_at\n" +
						"  FROM v_blocker AS r WHERE r.consumer NOT LIKE 'key %' AND r.signed_up_at <= $__toTime" + filters("r", "tenant", "plan") + "\n  GROUP BY consumer\n)\nGROUP BY error_class, service, operation ORDER BY consumers DESC, calls DESC LIMIT 50",
					columns: []column{{name: "consumers", bar: true, width: 110}, {name: "calls", unit: "short", width: 70}, {name: "error_class", title: "error class", width: 120}, {name: "service", width: 75}}},
			}},
			{title: "What workflows are worth, and where people drop", panels: []panel{
				{id: 30, kind: bars, title: "Value of completed runs a day", w: 8, unit: "short", needs: "workflows", fine: "No workflow was completed in this range", about: "What completed runs are worth by UTC day, by workflow and its currency.",
					sql: "SELECT toStartOfDay(r.time) AS time, concat(r.workflow, ' ', r.currency) AS series, sum(r.amount) AS value FROM v_workflow_1h AS r WHERE r.time >= $__fromTime AND r.time <= $__toTime" + filters("r", vars...) + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 31, kind: aGauge, title: "How far runs came", w: 8, unit: "short", needs: "workflows", fine: "No run began in this range", about: "Runs that began in the range and reached at least this step, those that are still open included.",
					sql: "SELECT concat(r.workflow, ' ', toString(step), ' ', JSONExtractString(any(d.json), 'steps', step)) AS step_name, count() AS reached\nFROM (SELECT r.workflow AS workflow, r.done AS done " + runs + ") AS r INNER JOIN v_kpi_definition AS d ON d.kind = 'workflow' AND d.name = r.workflow\nARRAY JOIN range(1, toUInt8(r.done) + 1) AS step\nGROUP BY r.workflow, step ORDER BY r.workflow, step LIMIT 40"},
				{id: 32, kind: aTable, title: "Where they drop, and on which error", w: 8, h: 8, needs: "workflows", fine: "No run was dropped in this range", about: "Dropped runs by the last step done and the error class that kept them from the next; empty: they just left.",
					sql:     "SELECT r.workflow AS workflow, r.done AS after_step, r.failed_class AS error_class, sum(r.runs) AS runs FROM v_funnel_1d AS r WHERE r.state = 'dropped' AND r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", everywhere...) + "\n  AND " + in("r.workflow", "workflow") + "\nGROUP BY workflow, after_step, error_class ORDER BY runs DESC LIMIT 50",
					columns: []column{{name: "after_step", title: "after step", width: 85}, {name: "error_class", title: "error class"}, {name: "runs", bar: true, width: 100}}},
			}},
			{title: "Who leaves, and what we owe", panels: []panel{
				{id: 40, kind: aTable, title: "Leaving, or shrinking by half", w: 12, h: 9, needs: "requests", fine: "Nobody with 50 calls or more has lost half of them", about: "Consumers with at least 50 successful calls in the first half of the range who make half of them or fewer in the second. Call those of a high plan.",
					sql:     "WITH toStartOfDay($__fromTime + intDiv(toUInt32($__toTime) - toUInt32($__fromTime), 2)) AS middle\nSELECT r.consumer AS consumer, argMax(r.plan, r.last_seen) AS plan, sumIf(r.requests, r.time < middle) AS before, sumIf(r.requests, r.time >= middle) AS after, after / before - 1 AS change, max(r.last_seen) AS last_call " + active + " AND r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime\nGROUP BY consumer HAVING before >= 50 AND after <= before / 2 ORDER BY before - after DESC LIMIT 100",
					columns: []column{{name: "consumer", link: toOne}, {name: "before", unit: "short", width: 80}, {name: "after", unit: "short", width: 80}, {name: "change", unit: "percentunit", width: 80}, {name: "last_call", title: "last call", width: 150}, {name: "plan", width: 90}}},
				{id: 41, kind: aTable, title: "Who calls what will be switched off", w: 12, h: 9, needs: "deprecations", fine: "Nobody calls anything deprecated", about: "Consumers of deprecated operations in the range, nearest sunset first.",
					sql:     "SELECT r.deprecation AS deprecation, toString(r.sunset) AS sunset, dateDiff('day', today(), r.sunset) AS days_left, r.consumer AS consumer, r.plan AS plan, sum(r.requests) AS calls, r.successor AS successor FROM v_deprecated AS r WHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant", "plan") + "\nGROUP BY deprecation, r.sunset, consumer, plan, successor ORDER BY sunset, calls DESC LIMIT 100",
					columns: []column{{name: "consumer", link: toOne}, {name: "days_left", title: "days left", low: true, warn: 60, page: 14, width: 80}, {name: "sunset", width: 110}, {name: "calls", unit: "short", width: 80}, {name: "plan", width: 80}}},
			}},
		},
	}
}
