package main

// requestColumns are the columns of tables of requests by something.
var requestColumns = []column{
	{name: "requests", unit: "short", bar: true, width: 120},
	{name: "errors", unit: "percentunit", warn: 0.01, page: 0.05, width: 90},
	{name: "failed", unit: "percentunit", title: "by us", warn: 0.001, page: 0.01, width: 80},
	{name: "p50", unit: "s", width: 80}, {name: "p95", unit: "s", width: 80}, {name: "p99", unit: "s", width: 80},
	{name: "n", unit: "short", title: "timed", width: 75},
}

// by lists requests by something: how many, how many failed, how long they took.
func by(label, extra, from, limit string) string {
	return levels + "SELECT " + label + ", sum(r.requests) AS requests,\n" +
		"  sum(" + requestsIf(isError) + ") / requests AS errors, sum(" + requestsIf(isServer) + ") / requests AS failed,\n" +
		"  sumMap(r.latency_hist) AS h, " + quantile("h", 0.5) + " AS p50, " + quantile("h", 0.95) + " AS p95, " + quantile("h", 0.99) + " AS p99, sum(r.timed) AS n" + extra + "\n" +
		from + "\nGROUP BY ALL HAVING requests > 0\nORDER BY failed * requests DESC, requests DESC LIMIT " + limit
}

// without leaves out the histogram, which tables do not show.
func without(sql, columns string) string { return "SELECT " + columns + " FROM (\n" + sql + "\n)" }

// classColours are those of error classes wherever they are drawn.
func classColours() (list []column) {
	for name, colour := range map[string]string{
		"upstream_timeout": vermilion, "upstream_5xx": "#A63603", "upstream_connect": "#FD8D3C", "upstream_reset": "#E6550D",
		"gateway_overload": purple, "gateway_policy": "#8E5C9E", "gateway_no_upstream": "#B084C0", "gateway_no_route": "#D4B9DA", "gateway_internal": "#762A83",
		"breaker_open": yellow, "client_auth": blue, "client_forbidden": "#4292C6", "client_bad_request": sky, "client_not_found": "#9ECAE1",
		"client_quota": green, "client_cancelled": grey,
	} {
		list = append(list, column{name: name, colour: colour})
	}
	sortColumns(list)
	return list
}

var open = []string{"tenant", "environment", "service"}

func overview() board {
	toServiceBy := goTo("This service", toService, nil, "service", field("service"))
	ofSeries := goTo("This service", toService, nil, "service", label)
	return board{
		uid: toOverview, title: "Overview", question: "is everything well, and what changed?", from: "now-6h", vars: open, notes: true,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Pages now", w: 4, needs: "alerts", fine: "No page is open", warn: 1, page: 2, name: "open",
					about: "Alerts of severity page that fire at this moment. Worry when it is not 0: the list beside it leads on.",
					sql:   "SELECT count() AS open FROM v_incident AS r WHERE r.severity = 'page' AND r.ended IS NULL AND r.raised <= $__toTime" + filters("r", "service") + " HAVING (SELECT count() FROM v_incident) > 0"},
				{id: 2, kind: aStat, title: "Worst budget left", w: 4, unit: "percentunit", needs: "objectives", low: true, warn: 0.25, page: 0.0001,
					about: "The smallest share of its error budget that an objective has left in its period, as of now. Worry below a quarter; below 0 the objective is missed.",
					sql:   "SELECT least(1, min(left)) AS left FROM (" + budgetNow(open[2:]...) + ")\nHAVING count() > 0",
					links: []link{goTo("All budgets", toBudgets, nil)}},
				{id: 3, kind: aStat, title: "Requests", w: 4, unit: "reqps", needs: "requests",
					about: "Requests a second over the range, by all gateways. Worry when it drops without a reason: the curve below shows since when.",
					sql:   levels + "SELECT sum(r.requests) / greatest(1, least(complete, toUInt32($__toTime)) - toUInt32($__fromTime)) AS requests " + requests(whole, open...) + " HAVING sum(r.requests) > 0"},
				{id: 4, kind: aStat, title: "Failed by us", w: 4, unit: "percentunit", needs: "requests", warn: 0.001, page: 0.01,
					about: "Share of requests that gateway or upstream failed, over the range. What clients did wrong does not count. Worry above 0.1 %.",
					sql:   levels + "SELECT sum(" + requestsIf(isServer) + ") / nullIf(sum(r.requests), 0) AS failed " + requests(whole, open...) + " HAVING sum(r.requests) > 0"},
				{id: 5, kind: aStat, title: "p99", w: 3, unit: "s", needs: "requests",
					about: "99 of 100 requests took at most this long, over the range, first byte in to last byte out. Nothing below 100 timed requests.",
					sql:   levels + "SELECT " + quantile("h", 0.99) + " AS p99 FROM (SELECT sumMap(r.latency_hist) AS h " + requests(whole, open...) + ")\nWHERE notEmpty(h)"},
				completeUntil(6, 5),
			}},
			{title: "What needs somebody", panels: []panel{
				{id: 10, kind: aTable, title: "Incidents, open ones first", w: 14, needs: "alerts", fine: "Nothing has been raised in this range",
					about: "Alerts whose life touches the range: since when, whose, how far they reach. Click one for its whole story. Worry about open pages.",
					sql: "SELECT concat(r.severity, if(r.ended IS NULL, ', open', ', over')) AS state, r.summary AS what, r.service AS service, r.owner AS owner, r.onset AS since, r.alert_id AS alert\n" +
						"FROM v_incident AS r WHERE r.onset < $__toTime AND (r.ended IS NULL OR r.ended > $__fromTime)" + filters("r", "service") + "\nORDER BY r.ended IS NULL DESC, r.severity = 'page' DESC, r.kind IN ('slo_burn', 'latency_burn') DESC, since DESC LIMIT 50",
					columns: []column{
						{name: "what", wrap: true, link: goTo("This incident", toIncident, nil, "alert", field("alert"))},
						{name: "since", width: 150}, {name: "state", width: 90}, {name: "service", width: 85, link: toServiceBy}, {name: "owner", width: 120},
						{name: "alert", hidden: true},
					}},
				{id: 11, kind: aTable, title: "Objectives, the worst first", w: 10, needs: "objectives",
					about: "What is left of each error budget in its period, and how fast it is spent: 1 just uses it up, 14.4 over an hour is a page.",
					sql:   "SELECT slo, left, burn_1h, burn_6h, owner, service FROM (" + budgetNow(open[2:]...) + ")\nORDER BY left LIMIT 30",
					columns: []column{
						{name: "slo", title: "objective", link: goTo("This objective", toBudgets, nil, "slo", field("slo"))},
						{name: "left", unit: "percentunit", low: true, warn: 0.25, page: 0.0001, width: 90},
						{name: "burn_1h", title: "burn 1 h", warn: 1, page: 14.4, width: 80}, {name: "burn_6h", title: "burn 6 h", warn: 1, page: 6, width: 80},
						{name: "owner", width: 130}, {name: "service", hidden: true},
					}},
			}},
			{title: "Traffic, errors, time", panels: []panel{
				{id: 20, kind: stacked, title: "Requests by service", w: 12, unit: "reqps", needs: "requests", links: []link{ofSeries},
					about: "Requests a second by service, the largest twelve. Worry when an area vanishes; click it for the service.",
					sql:   counted(levels, "r.service", "r.requests", requests(within, open...), "step")},
				{id: 21, kind: bars, title: "Errors by class", w: 12, unit: "reqps", needs: "requests", fine: "No request failed in this range", columns: classColours(),
					links: []link{goTo("Failing requests", toRequests, []string{"service"}, "error_class", label)},
					about: "Failed requests a second by how they failed: upstream_ and gateway_ classes are ours, client_ classes the caller's. Click one for the requests themselves.",
					sql:   counted(levels, "toString(r.error_class)", "r.requests", requests(within, open...)+" AND "+isError, "step")},
				{id: 22, kind: lines, title: "Failed by us, by service", w: 12, unit: "percentunit", needs: "requests", warn: 0.001, page: 0.01, links: []link{ofSeries},
					about: "Share of a service's requests that gateway or upstream failed. The dashed lines are 0.1 and 1 %.",
					sql:   ratio(levels, "r.service", requestsIf(isServer), "r.requests", requests(within, open...))},
				{id: 23, kind: lines, title: "p99 by service", w: 12, unit: "s", needs: "requests", links: []link{ofSeries},
					about: "99 of 100 requests of a step took at most this long. No point where fewer than 100 requests were timed.",
					sql:   quantileBy(levels, "r.service", 0.99, "r.latency_hist", requests(within, open...))},
			}},
			{title: "Where, and what changed", panels: []panel{
				{id: 30, kind: aTable, title: "Services", w: 14, needs: "requests",
					about:   "Each service over the range: requests, share of all errors and of our own, quantiles with the number of requests they rest on.",
					sql:     without(by("r.service AS service", "", requests(whole, open...), "100"), "service, requests, errors, failed, p50, p95, p99, n"),
					columns: append([]column{{name: "service", link: toServiceBy}}, requestColumns...)},
				{id: 31, kind: aTable, title: "What changed", w: 10, needs: "changes",
					about: "Releases, configuration, keys' policies, and versions, hosts or nodes seen for the first time, newest first. A change just before an onset is a suspect.",
					sql:   "SELECT r.time AS time, r.kind AS kind, r.service AS service, r.what AS what, r.who AS who, r.url AS url FROM v_change AS r WHERE r.time >= $__fromTime AND r.time <= $__toTime" + filters("r", "tenant", "environment") + "\nORDER BY time DESC LIMIT 100",
					columns: []column{{name: "time", width: 150}, {name: "kind", width: 110}, {name: "service", width: 90}, {name: "who", width: 80}, {name: "url", hidden: true},
						{name: "what", link: link{"Where it is written", "${__data.fields.url}"}}}},
			}},
		},
	}
}
