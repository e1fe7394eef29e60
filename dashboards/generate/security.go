package main

func security() board {
	vars := []string{"tenant", "environment", "service"}
	ours := requests(within, vars...)
	const refused = "r.error_class IN ('client_auth', 'client_forbidden')"
	audit := "FROM v_audit AS r\nWHERE $__timeFilter(r.time)" + filters("r", everywhere...)
	return board{
		uid: toSecurity, title: "Security and access", question: "who tries to get in, who gets in, and what did they change?", from: "now-24h", vars: vars, notes: true,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Refused: who", w: 5, unit: "percentunit", needs: "requests", warn: 0.02, page: 0.1, about: "Share of requests without valid credentials (401), over the range.",
					sql: levels + "SELECT sum(" + requestsIf("r.error_class = 'client_auth'") + ") / nullIf(sum(r.requests), 0) AS refused " + requests(whole, vars...) + " HAVING sum(r.requests) > 0"},
				{id: 2, kind: aStat, title: "Refused: may not", w: 5, unit: "percentunit", needs: "requests", warn: 0.02, page: 0.1, about: "Share of requests whose credentials do not allow it (403), over the range.",
					sql: levels + "SELECT sum(" + requestsIf("r.error_class = 'client_forbidden'") + ") / nullIf(sum(r.requests), 0) AS refused " + requests(whole, vars...) + " HAVING sum(r.requests) > 0"},
				{id: 3, kind: aStat, title: "Shapes of abuse", w: 5, needs: "explanations", fine: "Nothing looks like abuse in this range", warn: 1, page: 5, about: "Hours in which a client or key tried many credentials, walked through ids, or copied everything.",
					sql: "SELECT nullIf(count(), 0) AS findings FROM v_unusual AS r WHERE r.kind IN ('credential_stuffing', 'enumeration', 'scraping') AND r.time >= toStartOfHour($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant")},
				{id: 4, kind: aStat, title: "Failed admin actions", w: 4, needs: "audit", fine: "No action at the gateway failed", warn: 1, page: 20, about: "Events of the gateways' audit logs that failed: logins that were denied, changes that were refused.",
					sql: "SELECT countIf(r.outcome = 'failure') AS failures " + audit + " HAVING count() > 0"},
				completeUntil(5, 5),
			}},
			{title: "At the door", panels: []panel{
				{id: 10, kind: bars, title: "Refused requests", w: 12, unit: "reqps", needs: "requests", fine: "Nobody was refused in this range", columns: classColours(), about: "Requests a second that were refused for who asked (client_auth) or what they may (client_forbidden). A wall of client_auth is an attack, or our own expired certificate.",
					links: []link{goTo("The requests", toRequests, []string{"service"}, "error_class", label)}, sql: counted(levels, "toString(r.error_class)", "r.requests", ours+" AND "+refused, "step")},
				{id: 11, kind: lines, title: "Refused, by service", w: 12, unit: "percentunit", needs: "requests", about: "Share of each service's requests that were refused as 401 or 403.", sql: ratio(levels, "r.service", requestsIf(refused), "r.requests", ours)},
				{id: 12, kind: aTable, title: "Who is refused most", w: 12, h: 9, needs: "requests", fine: "Nobody was refused in this range", about: "Addresses (cut) from which most requests were refused, with how many different keys they tried. Many keys from one address are stuffing.",
					sql:     "SELECT toString(r.client_ip) AS client, any(r.user_agent) AS user_agent, count() AS refused, uniqExact(r.key_id) AS keys, uniqExact(r.route) AS routes, max(r.ts) AS last\nFROM v_access_log AS r WHERE " + refused + " AND r.ts >= $__fromTime AND r.ts <= $__toTime" + filters("r", vars...) + "\nGROUP BY client ORDER BY refused DESC LIMIT 50",
					columns: []column{{name: "refused", bar: true, width: 120}, {name: "keys", width: 70}, {name: "routes", width: 75}, {name: "last", width: 150}, {name: "client", width: 170}}},
				{id: 13, kind: aTable, title: "Unusual use and abuse", w: 12, h: 9, needs: "explanations", fine: "Nothing was unusual in this range", about: "Hours that leave their baseline for the hour of the week (at least two weeks of history) by five deviations, and shapes of abuse, which need no history.",
					sql:     "SELECT r.time AS time, r.kind AS kind, r.subject AS subject, r.name AS name, r.service AS service, r.value AS value, r.expected AS expected, r.low AS low, r.high AS high, r.score AS score, r.weeks AS weeks, r.evidence AS evidence FROM v_unusual AS r WHERE r.time >= toStartOfHour($__fromTime) AND r.time <= $__toTime" + filters("r", "tenant") + "\nORDER BY r.kind IN ('credential_stuffing', 'enumeration', 'scraping') DESC, score DESC LIMIT 100",
					columns: []column{{name: "time", width: 150}, {name: "kind", width: 140}, {name: "subject", width: 80}, {name: "score", width: 70}, {name: "value", unit: "short"}, {name: "expected", unit: "short"}, {name: "low", unit: "short"}, {name: "high", unit: "short"}}},
			}},
			{title: "Keys, and who changed what", panels: []panel{
				{id: 20, kind: aTable, title: "Revoked keys that still call", w: 8, h: 9, needs: "sign-ups", fine: "No revoked key has called", about: "Keys that were revoked, with calls since. They should be refused: successes mean that the gateway does not know.",
					sql: "SELECT c.key_id AS key, any(k.consumer) AS consumer, any(k.revoked_at) AS revoked, sum(c.requests) AS calls, sumIf(c.requests, c.error_class = 'none') AS succeeded, max(c.last_seen) AS last_call FROM v_key_1d AS c INNER JOIN v_key AS k ON k.key_id = c.key_id AND k.tenant = c.tenant WHERE k.revoked_at IS NOT NULL AND c.time > k.revoked_at" + filters("c", everywhere...) + "\nGROUP BY key ORDER BY succeeded DESC, calls DESC LIMIT 100"},
				{id: 21, kind: aTable, title: "Changes of keys", w: 8, h: 9, needs: "sign-ups", fine: "No key was made, changed or revoked in this range", about: "Keys made, changed and revoked in the range.",
					sql: "SELECT r.key_id AS key, r.consumer AS consumer, r.plan AS plan, r.tier AS tier, r.owner AS contact, r.created_at AS created, r.changed_at AS changed, r.revoked_at AS revoked FROM v_key AS r WHERE r.changed_at >= $__fromTime AND r.changed_at <= $__toTime" + filters("r", "tenant") + "\nORDER BY changed DESC LIMIT 100"},
				{id: 22, kind: aTable, title: "Audit log", w: 8, h: 9, needs: "audit", about: "Events of the gateways' own audit logs, failed ones first: who logged in, who changed the configuration.",
					sql:     "SELECT r.time AS time, toString(r.outcome) AS outcome, toString(r.class) AS class, r.actor AS actor, r.action AS action, r.object AS object, r.source AS source, toString(r.client_ip) AS client, r.detail AS detail " + audit + "\nORDER BY outcome = 'failure' DESC, time DESC LIMIT 200",
					columns: []column{{name: "time", width: 150}, {name: "outcome", width: 80}, {name: "class", width: 110}}},
				{id: 23, kind: bars, title: "Actions at the gateway", w: 24, h: 7, unit: "short", needs: "audit", about: "Events of the audit logs by class and outcome, by the hour.",
					sql: "SELECT toStartOfHour(r.time) AS time, concat(toString(r.class), ', ', toString(r.outcome)) AS series, count() AS value " + audit + "\nGROUP BY time, series ORDER BY time, series"},
			}},
		},
	}
}
