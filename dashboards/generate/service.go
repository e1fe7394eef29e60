package main

func service() board {
	vars := []string{"tenant", "environment", "service", "route", "region", "version", "plan"}
	of := vars[:4]
	ours := requests(within, of...)
	edge := "FROM v_edge_1m AS r\nWHERE " + within("r") + filters("r", "tenant", "environment", "service", "region")
	dimension := func(name string, more ...string) string {
		sql := "FROM v_dimension_1h AS r\nWHERE r.dimension = '" + name + "' AND " + within("r") + filters("r", "tenant", "environment", "service")
		for _, v := range more {
			sql += "\n  AND " + in("r.value", v)
		}
		return sql
	}
	layer := "FROM v_layer_1m AS r\nWHERE " + within("r") + filters("r", of...)
	return board{
		uid: toService, title: "Service and route", question: "how is it doing, and what part of it is not?", from: "now-6h", vars: vars, notes: true,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Requests", w: 4, unit: "reqps", needs: "requests", about: "Requests a second over the range, of what is chosen above.",
					sql: levels + "SELECT sum(r.requests) / greatest(1, least(complete, toUInt32($__toTime)) - toUInt32($__fromTime)) AS requests " + requests(whole, of...) + " HAVING sum(r.requests) > 0"},
				{id: 2, kind: aStat, title: "Failed by us", w: 4, unit: "percentunit", needs: "requests", warn: 0.001, page: 0.01, about: "Share that gateway or upstream failed. Worry above what the objective allows, mostly 0.1 %.",
					sql: levels + "SELECT sum(" + requestsIf(isServer) + ") / nullIf(sum(r.requests), 0) AS failed " + requests(whole, of...) + " HAVING sum(r.requests) > 0"},
				{id: 3, kind: aStat, title: "Refused: the caller's", w: 4, unit: "percentunit", needs: "requests", warn: 0.05, page: 0.2, about: "Share of requests with a client_ class: wrong, forbidden, unknown, over quota. A jump for everybody is ours after all: a certificate, an identity provider, a limit.",
					sql: levels + "SELECT sum(" + requestsIf("startsWith(toString(r.error_class), 'client_')") + ") / nullIf(sum(r.requests), 0) AS refused " + requests(whole, of...) + " HAVING sum(r.requests) > 0"},
				{id: 4, kind: aStat, title: "p99, slowest, upstream's share", w: 7, unit: "s", needs: "requests", about: "99 of 100 requests took at most this long; the slowest one; and what part of the time was spent waiting for the upstream, of requests that state it.",
					sql:     levels + "SELECT " + quantile("h", 0.99) + " AS p99, slowest, upstream FROM (SELECT sumMap(r.latency_hist) AS h, max(r.latency_us_max) / 1000000 AS slowest, if(sum(r.upstream_timed) = 0, NULL, (sum(r.upstream_us_sum) / sum(r.upstream_timed)) / nullIf(sum(r.latency_us_sum) / sum(r.timed), 0)) AS upstream " + requests(whole, of...) + ")\nWHERE notEmpty(h)",
					columns: []column{{name: "upstream", unit: "percentunit"}}},
				completeUntil(5, 5),
			}},
			{title: "Rate, errors, duration", panels: []panel{
				{id: 10, kind: lines, title: "Requests by service", w: 8, unit: "reqps", needs: "requests", about: "Requests a second by service. Worry when it drops without a reason.",
					sql: counted(levels, "r.service", "r.requests", ours, "step")},
				{id: 11, kind: bars, title: "Errors by class", w: 8, unit: "reqps", needs: "requests", fine: "No request failed in this range", columns: classColours(),
					links: []link{goTo("Failing requests", toRequests, []string{"service", "route"}, "error_class", label)},
					about: "Failed requests a second by how they failed. Click one for the requests themselves.", sql: counted(levels, "toString(r.error_class)", "r.requests", ours+" AND "+isError, "step")},
				{id: 12, kind: lines, title: "Latency", w: 8, unit: "s", needs: "requests", name: "${__field.name}",
					about: "50, 95 and 99 of 100 requests of a step took at most this long; n requests (right) state a time. A quantile is left out below one request beyond it.",
					sql:   latency(levels, "r.latency_hist", ours), columns: []column{{name: "n", right: true}, {name: "p50", colour: green}, {name: "p95", colour: orange}, {name: "p99", colour: vermilion}}},
				{id: 13, kind: aHeatmap, title: "How long requests took", w: 12, needs: "requests", about: "Requests by time and duration, each band twice as long as the one below, named by its upper end. A second band that appears is a part that has become slow.",
					sql: heat(levels, "r.latency_hist", ours)},
				{id: 14, kind: lines, title: "Failed by us, by route", w: 12, h: 9, unit: "percentunit", needs: "requests", warn: 0.001, page: 0.01, links: []link{goTo("Failing requests", toRequests, []string{"service"}, "route", label)},
					about: "Share of failed requests of the twelve routes with most failures by us.",
					sql: levels + `SELECT toDateTime(bucket) AS time, series, if(n = 0, NULL, bad / n) AS value
FROM (SELECT ` + bucketOf("r") + ` AS bucket, r.route AS series, sum(r.requests) AS n, sum(` + requestsIf(isServer) + `) AS bad ` + ours + ` GROUP BY bucket, series)
WHERE series IN (SELECT r.route ` + ours + ` AND ` + isServer + ` GROUP BY r.route ORDER BY sum(r.requests) DESC LIMIT 12)
ORDER BY time, series`, fine: "We failed no request in this range"},
			}},
			{title: "Which part", panels: []panel{
				{id: 20, kind: aTable, title: "Routes", w: 24, h: 10, needs: "requests", about: "Each operation over the range, those that fail most first. Click a route for its curves, its failing share for the raw requests.",
					sql: without(by("r.service AS service, r.method AS method, r.route AS route", ", sum(r.bytes_in) / requests AS bytes_in, sum(r.bytes_out) / requests AS bytes_out", requests(whole, of...), "200"), "service, method, route, requests, errors, failed, p50, p95, p99, n, bytes_in, bytes_out"),
					columns: append([]column{{name: "service", width: 100}, {name: "method", width: 80}, {name: "route", link: goTo("Only this route", toService, nil, "service", field("service"), "route", field("route"))},
						{name: "bytes_in", title: "bytes in", unit: "bytes", width: 90}, {name: "bytes_out", title: "bytes out", unit: "bytes", width: 95},
						{name: "failed", link: goTo("Its failing requests", toRequests, nil, "service", field("service"), "route", field("route"))}}, requestColumns...)},
				{id: 21, kind: lines, title: "Time by layer", w: 12, unit: "s", needs: "explanations",
					about: "Mean time of a request by layer: gateway and upstream from the logs of all requests; service, database and external (own time) from traces, weighted for sampling. The layer that rises is to blame.",
					sql:   minutes + "SELECT toDateTime(bucket) AS time, series, if(measured = 0, NULL, us / measured / 1000000) AS value\nFROM (SELECT " + bucketOf("r") + " AS bucket, toString(r.layer) AS series, sum(r.measured) AS measured, sum(r.time_us_sum) AS us " + layer + " GROUP BY bucket, series)\nORDER BY time, series"},
				{id: 22, kind: bars, title: "Errors by layer", w: 12, unit: "short", needs: "explanations", fine: "No error began in a layer that is known",
					about: "Requests with an error that began in this layer, by step, weighted for sampling. Gateway and upstream come from the logs, the others from traces.",
					sql:   counted(minutes, "toString(r.layer)", "r.errors", layer, "1")},
				{id: 23, kind: lines, title: "Failed by us, by region", w: 8, unit: "percentunit", needs: "requests", about: "Share of failed requests by the region that the gateway states. One region alone: its network, its zone, its release.",
					sql: ratio(minutes, named("r.region"), requestsIf(isServer), "r.requests", edge)},
				{id: 24, kind: lines, title: "Failed by us, by gateway node", w: 8, unit: "percentunit", needs: "requests", about: "Share of failed requests by gateway instance. One node alone is that node's fault.",
					sql: ratio(minutes, named("r.node"), requestsIf(isServer), "r.requests", edge)},
				{id: 25, kind: lines, title: "p95 by region", w: 8, unit: "s", needs: "requests", about: "95 of 100 requests took at most this long, by region. No point below 20 timed requests.",
					sql: quantileBy(minutes, named("r.region"), 0.95, "r.latency_hist", edge)},
				{id: 26, kind: lines, title: "Failed by us, by upstream", w: 8, unit: "percentunit", needs: "explanations", about: "Share of failed requests by the host that answered last, by the hour. One host alone: take it out of rotation.",
					sql: ratio(hours, named("r.value"), requestsIf(isServer), "r.requests", dimension("upstream"))},
				{id: 27, kind: lines, title: "Failed by us, by API version", w: 8, unit: "percentunit", needs: "explanations", about: "Share of failed requests by version of the API, by the hour. A new version alone: roll it back.",
					sql: ratio(hours, named("r.value"), requestsIf(isServer), "r.requests", dimension("api_version", "version"))},
				{id: 28, kind: lines, title: "p95 by plan", w: 8, unit: "s", needs: "explanations", about: "95 of 100 requests took at most this long, by the caller's commercial plan as logged, by the hour.",
					sql: quantileBy(hours, named("r.value"), 0.95, "r.latency_hist", dimension("plan", "plan"))},
			}},
			{title: "Who answered with what", closed: true, panels: []panel{
				{id: 30, kind: bars, title: "Requests by status", w: 12, unit: "reqps", needs: "requests", about: "Requests a second by HTTP status; 0 is no answer at all.", sql: counted(levels, "toString(r.status)", "r.requests", ours, "step")},
				{id: 31, kind: bars, title: "Errors by responder", w: 12, unit: "reqps", needs: "requests", fine: "No request failed in this range", about: "Who produced the outcome of failed requests: gateway, upstream, client.", sql: counted(levels, "toString(r.responder)", "r.requests", ours+" AND "+isError, "step")},
			}},
		},
	}
}
