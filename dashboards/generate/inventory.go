package main

func inventory() board {
	vars := []string{"tenant", "environment", "service", "version"}
	usage := "FROM v_call_route_1d AS r\nWHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", vars...)
	deprecated := "FROM v_deprecated AS r\nWHERE r.time >= toStartOfDay($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant", "service", "version")
	operations := `SELECT coalesce(nullIf(u.service, ''), d.service) AS service, coalesce(nullIf(u.method, ''), d.method) AS method, if(u.route = '', d.route, u.route) AS route,
  multiIf(u.requests > 0 AND x.sunset <= today() AND x.sunset > toDate(0), 'used past its sunset', u.requests > 0 AND d.route != '', 'documented, used', d.route != '', 'documented, unused', has((SELECT groupUniqArray(service) FROM v_route), u.service), 'undocumented', 'no document of the service') AS state,
  u.requests AS calls, u.last AS last_hour, coalesce(nullIf(d.owner, ''), o.owner) AS owner, o.contact AS contact
FROM (
  SELECT r.service AS service, r.method AS method, any(r.route) AS route, replaceRegexpAll(r.route, '\\{[^}]*\\}', '{}') AS template, sum(r.requests) AS requests, max(r.time) AS last
  ` + indent("FROM v_request AS r\nWHERE r.grain = 3600 AND r.time >= $__fromTime AND r.time <= $__toTime"+filters("r", vars[:3]...)) + `
  GROUP BY service, method, template HAVING countIf(r.error_class != 'client_not_found') > 0
) AS u
FULL OUTER JOIN (SELECT t.service AS service, t.method AS method, t.route AS route, t.owner AS owner, replaceRegexpAll(t.route, '\\{[^}]*\\}', '{}') AS template FROM v_route AS t WHERE 1` + filters("t", "service") + `) AS d
  ON d.service = u.service AND d.method = u.method AND d.template = u.template
LEFT JOIN (SELECT JSONExtractString(k.json, 'service') AS service, JSONExtractString(k.json, 'method') AS method, JSONExtractString(k.json, 'route') AS template, toDate(JSONExtractString(k.json, 'sunset')) AS sunset FROM v_kpi_definition AS k WHERE k.kind = 'deprecation') AS x
  ON x.service = u.service AND x.method = u.method AND x.template = u.template
LEFT JOIN v_owner AS o ON o.service = if(u.service = '', d.service, u.service)`
	return board{
		uid: toInventory, title: "Inventory, versions, deprecation", question: "what do we run, whose is it, and who still calls what will go?", from: "now-30d", vars: vars,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Operations called", w: 5, needs: "requests", about: "Different operations, method and route template, that were called and answered in the range.",
					sql: "SELECT nullIf(countIf(calls > 0), 0) AS operations FROM (" + operations + ")\nHAVING count() > 0"},
				{id: 2, kind: aStat, title: "Not documented", w: 5, needs: "routes", warn: 1, page: 20, about: "Of these, operations of documented services that no OpenAPI document has. Nobody promises them, yet somebody calls.",
					sql: "SELECT countIf(state = 'undocumented') AS undocumented FROM (" + operations + ")\nHAVING (SELECT count() FROM v_route) > 0"},
				{id: 3, kind: aStat, title: "Next sunset, days", w: 5, needs: "deprecations", low: true, warn: 60, page: 14, about: "Days until the nearest declared sunset that somebody still calls towards.",
					sql: "SELECT min(dateDiff('day', today(), r.sunset)) AS days_left " + deprecated + " AND r.sunset >= today() HAVING count() > 0"},
				{id: 4, kind: aStat, title: "Consumers to move", w: 4, needs: "deprecations", fine: "Nobody calls anything deprecated", warn: 1, page: 100, about: "Consumers that called something deprecated in the range.", sql: "SELECT uniqExact(r.consumer) AS consumers " + deprecated + " HAVING count() > 0"},
				completeUntil(5, 5),
			}},
			{title: "Deprecation and versions", panels: []panel{
				{id: 10, kind: lines, title: "Calls to what is deprecated", w: 12, unit: "short", needs: "deprecations", fine: "Nobody calls anything deprecated", about: "Calls by UTC day to each deprecated operation. It should reach 0 before the sunset.",
					sql: "SELECT r.time AS time, r.deprecation AS series, sum(r.requests) AS value " + deprecated + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 11, kind: stacked, title: "Calls by version", w: 12, unit: "short", needs: "requests", about: "Calls of known keys by UTC day and version of the API.",
					sql: "SELECT r.time AS time, concat(r.service, ' ', if(r.api_version = '', 'none', r.api_version)) AS series, sum(r.requests) AS value " + usage + " AND (r.service, r.api_version) IN (SELECT r.service, r.api_version " + usage + " GROUP BY r.service, r.api_version ORDER BY sum(r.requests) DESC LIMIT 12)\nGROUP BY time, series ORDER BY time, series"},
				{id: 12, kind: aTable, title: "Who still calls what will go", w: 14, h: 10, needs: "deprecations", fine: "Nobody calls anything deprecated", about: "Consumers of deprecated operations, nearest sunset first, with whom to write to and what to call instead.",
					sql:     "SELECT r.deprecation AS deprecation, toString(r.sunset) AS sunset, dateDiff('day', today(), r.sunset) AS days_left, r.consumer AS consumer, r.plan AS plan, r.contact AS contact, r.method AS method, r.route AS route, sum(r.requests) AS calls, max(r.time) AS last_day, r.successor AS successor " + deprecated + "\nGROUP BY deprecation, r.sunset, consumer, plan, contact, method, route, successor ORDER BY sunset, calls DESC LIMIT 300",
					columns: []column{{name: "consumer", width: 110, link: goTo("All about this consumer", toConsumer, nil, "consumer", field("consumer"))}, {name: "days_left", title: "days left", low: true, warn: 60, page: 14, width: 85}, {name: "calls", unit: "short", bar: true, width: 110}, {name: "sunset", width: 100}, {name: "plan", width: 90}, {name: "method", hidden: true}, {name: "route", hidden: true}}},
				{id: 13, kind: aTable, title: "Versions", w: 10, h: 10, needs: "requests", about: "Consumers and calls by service and version, and the share of the calls that failed.",
					sql:     "SELECT r.service AS service, if(r.api_version = '', 'none', r.api_version) AS version, uniqExact(r.consumer) AS consumers, sum(r.requests) AS calls, sum(" + requestsIf(isError) + ") / calls AS errors, max(r.time) AS last_day " + usage + "\nGROUP BY service, version ORDER BY service, version LIMIT 200",
					columns: []column{{name: "calls", unit: "short", bar: true, width: 110}, {name: "errors", unit: "percentunit", warn: 0.05, page: 0.2, width: 80}}},
			}},
			{title: "What we run, and whose it is", panels: []panel{
				{id: 20, kind: aTable, title: "Operations", w: 16, h: 12, needs: "requests", about: "Every operation that is documented or was called and answered: undocumented ones and those past their sunset first. Owner: of the OpenAPI document, else of the service.",
					sql:     "SELECT state, service, method, route, calls, last_hour, owner FROM (" + operations + ")\nORDER BY state IN ('used past its sunset', 'undocumented') DESC, calls DESC LIMIT 500",
					columns: []column{{name: "calls", unit: "short", bar: true, width: 110}, {name: "route", link: goTo("This route", toService, nil, "service", field("service"), "route", field("route"))}, {name: "method", width: 80}, {name: "state", width: 180}, {name: "service", width: 100}, {name: "last_hour", title: "last called", width: 150}, {name: "owner", width: 130}}},
				{id: 21, kind: aTable, title: "Owners", w: 8, h: 12, needs: "objectives", about: "Who answers for each service and how to reach them, from the catalogue; with how many objectives it has.",
					sql: "SELECT r.service AS service, r.owner AS owner, r.contact AS contact, ifNull(s.n, 0) AS objectives FROM v_owner AS r LEFT JOIN (SELECT service, count() AS n FROM v_slo GROUP BY service) AS s ON s.service = r.service WHERE 1" + filters("r", "service") + "\nORDER BY service LIMIT 500"},
				{id: 22, kind: aTable, title: "How far trace context gets", w: 24, h: 8, needs: "spans", about: "By service over the last UTC day of the range: requests that carry a trace, those whose trace goes on behind the gateway, and spans whose parent never arrived. Low numbers mean that layers and traces are missing, not that all is well.",
					sql: "SELECT p.service AS service, p.requests AS requests, p.traced / p.requests AS traced, p.continued / p.requests AS continued, o.orphans / nullIf(o.spans, 0) AS orphans FROM (\n  SELECT r.service AS service, sum(r.requests) AS requests, sum(r.traced) AS traced, sum(r.continued) AS continued FROM v_propagation AS r WHERE r.time >= toStartOfDay($__toTime) AND r.time <= $__toTime" + filters("r", "tenant", "service") + " GROUP BY service\n) AS p\n" +
						"LEFT JOIN (SELECT r.service AS service, sum(r.spans) AS spans, sum(r.orphans) AS orphans FROM v_orphan_span AS r WHERE r.time >= toStartOfDay($__toTime) AND r.time <= $__toTime" + filters("r", "tenant", "service") + " GROUP BY service) AS o ON o.service = p.service\nORDER BY requests DESC LIMIT 100",
					columns: []column{{name: "requests", unit: "short"}, {name: "traced", unit: "percentunit"}, {name: "continued", unit: "percentunit"}, {name: "orphans", title: "spans without their parent", unit: "percentunit", warn: 0.05, page: 0.3}}},
			}},
		},
	}
}
