package main

// budgetNow lists objectives with what is left of their budgets and how fast these
// are spent, as of what is complete.
func budgetNow(variables ...string) string {
	return `WITH (SELECT toUInt32(complete_until) FROM v_complete) AS complete,
  (SELECT max(period_s) FROM v_slo) AS longest
SELECT s.slo AS slo, any(s.service) AS service, any(s.owner) AS owner, any(s.tier) AS tier, any(s.target) AS target, any(s.period_s) AS period_s,
  sumIf(c.valid, c.grain = 3600 AND c.time >= toDateTime(complete - s.period_s)) AS valid, sumIf(c.bad, c.grain = 3600 AND c.time >= toDateTime(complete - s.period_s)) AS bad,
  1 - bad / greatest(1, valid) / (1 - target) AS left,
  sumIf(c.bad, c.grain = 60 AND c.time >= toDateTime(complete - 300)) / greatest(1, sumIf(c.valid, c.grain = 60 AND c.time >= toDateTime(complete - 300))) / (1 - target) AS burn_5m,
  sumIf(c.bad, c.grain = 60 AND c.time >= toDateTime(complete - 3600)) / greatest(1, sumIf(c.valid, c.grain = 60 AND c.time >= toDateTime(complete - 3600))) / (1 - target) AS burn_1h,
  sumIf(c.bad, c.grain = 60) / greatest(1, sumIf(c.valid, c.grain = 60)) / (1 - target) AS burn_6h
FROM v_slo AS s
INNER JOIN v_slo_count AS c ON c.slo = s.slo
WHERE ((c.grain = 3600 AND c.time >= toDateTime(complete - longest)) OR (c.grain = 60 AND c.time >= toDateTime(complete - 21600)))` + filters("s", variables...) + `
GROUP BY s.slo`
}

const inSLO = "FROM v_slo_count AS r INNER JOIN v_slo AS s ON s.slo = r.slo\nWHERE r.grain = level AND "

func budgets() board {
	vars := []string{"tenant", "environment", "service", "slo"}
	of := filters("r", "service", "slo")
	return board{
		uid: toBudgets, title: "Objectives and error budgets", question: "do we keep what we promise, and for how long still?", from: "now-30d", vars: vars, notes: true,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Objectives missed", w: 5, needs: "objectives", warn: 1, page: 1,
					about: "Objectives whose budget of the period is spent. Each rolling period counts requests, not time.",
					sql:   "SELECT countIf(left <= 0) AS missed FROM (" + budgetNow("service", "slo") + ")\nHAVING count() > 0"},
				{id: 2, kind: aStat, title: "Burning now", w: 5, needs: "objectives", warn: 1, page: 1,
					about: "Objectives that spend more than 6 times what their budget allows, over the last hour: at that rate 30 days' budget is gone in 5 days.",
					sql:   "SELECT countIf(burn_1h > 6) AS burning FROM (" + budgetNow("service", "slo") + ")\nHAVING count() > 0"},
				{id: 3, kind: aStat, title: "Least left", w: 5, unit: "percentunit", low: true, warn: 0.25, page: 0.0001, needs: "objectives",
					about: "The smallest share of a budget that is left. Below 0 more has failed than the objective allows.",
					sql:   "SELECT min(left) AS left FROM (" + budgetNow("service", "slo") + ")\nHAVING count() > 0"},
				{id: 4, kind: aStat, title: "In maintenance", w: 4, needs: "maintenance", fine: "No maintenance is declared for this range",
					about: "Declared windows that touch the range; in them failures raise no alert, and spend no budget unless the file says so.",
					sql:   "SELECT count() AS windows FROM v_maintenance AS r WHERE r.time < $__toTime AND r.until > $__fromTime HAVING count() > 0"},
				completeUntil(5, 5),
			}},
			{title: "Where each objective stands", panels: []panel{
				{id: 10, kind: aTable, title: "Attained, left, and when it is gone", w: 24, h: 10, needs: "objectives",
					about: "Over each objective's own period, up to what is complete. Gone at: when the budget ends if errors go on as in the last six hours and traffic as in the period; `gatewatch-alert budget` knows the hours of the week and gives an interval. Composites and objectives that count slices of time are only there.",
					sql: "SELECT slo, service, owner, tier, target, 1 - bad / greatest(1, valid) AS attained, valid, bad, round((1 - target) * valid) AS allowed, left, burn_5m, burn_1h, burn_6h,\n" +
						"  multiIf(left <= 0, now(), burn_6h <= 0, NULL, left / burn_6h > 3, NULL, now() + toIntervalSecond(toInt64(left / burn_6h * period_s))) AS gone_at\nFROM (" + budgetNow("service", "slo") + ")\nORDER BY left",
					columns: []column{
						{name: "slo", title: "objective", link: goTo("Only this one", toBudgets, nil, "slo", field("slo"))},
						{name: "service", link: goTo("This service", toService, nil, "service", field("service")), width: 100}, {name: "owner", width: 130}, {name: "tier", width: 70},
						{name: "target", unit: "percentunit", width: 85}, {name: "attained", unit: "percentunit", digits: 3, width: 95}, {name: "valid", title: "requests", unit: "short", width: 90}, {name: "bad", unit: "short", width: 80}, {name: "allowed", unit: "short", width: 80},
						{name: "left", unit: "percentunit", low: true, warn: 0.25, page: 0.0001, width: 90},
						{name: "burn_5m", title: "burn 5 m", warn: 1, page: 14.4, width: 85}, {name: "burn_1h", title: "burn 1 h", warn: 1, page: 14.4, width: 85}, {name: "burn_6h", title: "burn 6 h", warn: 1, page: 6, width: 85},
						{name: "gone_at", title: "gone at", width: 150},
					}},
				{id: 11, kind: lines, title: "Budget burn-down", w: 12, unit: "percentunit", needs: "objectives", low: true, max: 1,
					about: "What was left of each budget if its period had begun with the range: it starts at 100 % and falls with each bad request, as a share of what the whole range allows.",
					sql: levels + `SELECT toDateTime(bucket) AS time, series, 1 - sum(bad) OVER (PARTITION BY series ORDER BY bucket) / nullIf(any(allowed) OVER (PARTITION BY series), 0) AS value
FROM (
  SELECT ` + bucketOf("r") + ` AS bucket, r.slo AS series, sum(r.bad) AS bad, any(a.allowed) AS allowed
  FROM v_slo_count AS r
  INNER JOIN (SELECT t.slo AS slo, sum(t.valid) * (1 - any(s.target)) AS allowed FROM v_slo_count AS t INNER JOIN v_slo AS s ON s.slo = t.slo WHERE t.grain = level AND ` + within("t") + ` GROUP BY t.slo) AS a ON a.slo = r.slo
  WHERE r.grain = level AND ` + within("r") + of + `
  GROUP BY bucket, series
)
ORDER BY time, series`},
				{id: 12, kind: lines, title: "Burn rate", w: 12, unit: "x", needs: "objectives", warn: 6, page: 14.4,
					about: "How many times faster than allowed each budget is spent, by step. 1 just uses it up at the end of the period; the dashed lines are the page thresholds over 6 hours and over 1 hour.",
					sql: levels + `SELECT toDateTime(bucket) AS time, series, if(valid = 0, NULL, bad / valid / (1 - target)) AS value
FROM (SELECT ` + bucketOf("r") + ` AS bucket, r.slo AS series, sum(r.valid) AS valid, sum(r.bad) AS bad, any(s.target) AS target
  ` + inSLO + within("r") + of + `
  GROUP BY bucket, series)
ORDER BY time, series`},
			}},
			{title: "History, and what was promised to whom", panels: []panel{
				{id: 20, kind: aTable, title: "By month", w: 12, needs: "objectives",
					about: "What each objective attained by calendar month in UTC, as far as hours are kept; the month at the edge of the range is cut.",
					sql: "SELECT formatDateTime(toStartOfMonth(r.time), '%Y-%m') AS month, r.slo AS slo, any(s.target) AS target, 1 - sum(r.bad) / greatest(1, sum(r.valid)) AS attained, sum(r.bad) AS bad, if(attained < target, 'missed', 'kept') AS verdict\n" +
						"FROM v_slo_count AS r INNER JOIN v_slo AS s ON s.slo = r.slo\nWHERE r.grain = 3600 AND r.time >= $__fromTime AND r.time < $__toTime" + of + "\nGROUP BY month, slo HAVING sum(r.valid) > 0 ORDER BY month DESC, attained - target LIMIT 500",
					columns: []column{{name: "slo", title: "objective"}, {name: "month", width: 80}, {name: "target", unit: "percentunit", width: 90}, {name: "attained", unit: "percentunit", digits: 3, width: 100}, {name: "bad", unit: "short", width: 80}, {name: "verdict", width: 80}}},
				{id: 21, kind: aTable, title: "Service by plan and tier", w: 12, needs: "requests",
					about: "Share of calls that were not failed by us, and the time of 95 of 100, by the plan and tier that a consumer had at the time. What each plan is promised: `gatewatch-aggregate report sla`.",
					sql: hours + "SELECT plan, tier, calls, availability, " + quantile("h", 0.95) + " AS p95, consumers FROM (\n  SELECT r.plan AS plan, r.tier AS tier, sum(r.requests) AS calls, 1 - sum(" + requestsIf(isServer) + ") / calls AS availability, sumMap(r.latency_hist) AS h, uniqExact(r.consumer) AS consumers\n" +
						"  FROM v_call_1h AS r WHERE r.error_class != 'client_quota' AND " + whole("r") + filters("r", "tenant", "environment", "service") + "\n  GROUP BY plan, tier HAVING calls > 0\n)\nORDER BY calls DESC LIMIT 50",
					columns: []column{{name: "calls", unit: "short", bar: true}, {name: "availability", unit: "percentunit", digits: 3, low: true, warn: 0.999, page: 0.99}, {name: "p95", unit: "s"}, {name: "consumers", unit: "short"}}},
			}},
		},
	}
}
