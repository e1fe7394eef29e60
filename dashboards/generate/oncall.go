package main

func onCall() board {
	vars := []string{"tenant", "environment", "service"}
	ours := "FROM v_incident AS r\nWHERE r.raised >= $__fromTime AND r.raised <= $__toTime" + filters("r", "service")
	toOne := goTo("This incident", toIncident, nil, "alert", field("alert"))
	return board{
		uid: toOnCall, title: "Alert quality and on-call load", question: "do our pages help, and can those on call bear them?", from: "now-30d", vars: vars,
		rows: []row{
			{panels: []panel{
				{id: 1, kind: aStat, title: "Pages", w: 4, needs: "alerts", warn: 10, page: 50, about: "Alerts of severity page that were raised in the range. More than two a shift is more than a person bears.", sql: "SELECT countIf(r.severity = 'page') AS pages " + ours + " HAVING count() > 0"},
				{id: 2, kind: aStat, title: "At night", w: 4, unit: "percentunit", needs: "alerts", warn: 0.2, page: 0.4, about: "Share of pages raised between 22:00 and 07:00 UTC.", sql: "SELECT countIf(toHour(r.raised) >= 22 OR toHour(r.raised) < 7) / count() AS night " + ours + " AND r.severity = 'page' HAVING count() > 0"},
				{id: 3, kind: aStat, title: "Short-lived", w: 4, unit: "percentunit", needs: "alerts", warn: 0.2, page: 0.5, about: "Share of pages that were over within ten minutes: nobody can act on these. Raise what the windows need, or make them tickets.", sql: "SELECT countIf(r.ended < r.raised + INTERVAL 10 MINUTE) / count() AS short " + ours + " AND r.severity = 'page' HAVING count() > 0"},
				{id: 4, kind: aStat, title: "Onset to page, median", w: 4, unit: "s", needs: "alerts", warn: 300, page: 900, about: "Half of the pages were raised within this time after the failure began. It follows from the windows: fast burns page in minutes, slow ones in hours.", sql: "SELECT quantileExact(0.5)(dateDiff('second', r.onset, r.raised)) AS median " + ours + " AND r.severity = 'page' HAVING count() > 0"},
				{id: 5, kind: aStat, title: "Called useful", w: 4, unit: "percentunit", needs: "notes", low: true, warn: 0.8, page: 0.5, about: "Share of noted alerts that somebody called useful: `gatewatch-alert incidents note ID --useful yes`.", sql: "SELECT countIf(r.useful = 'yes') / nullIf(countIf(r.useful != 'unknown'), 0) AS useful FROM v_alert_note AS r WHERE r.at >= $__fromTime AND r.at <= $__toTime HAVING count() > 0"},
				completeUntil(6, 4),
			}},
			{title: "How much, when, and from what", panels: []panel{
				{id: 10, kind: bars, title: "Alerts a day", w: 12, unit: "short", needs: "alerts", about: "Alerts by the UTC day on which they were raised, by severity.", columns: []column{{name: "page", colour: vermilion}, {name: "ticket", colour: sky}},
					sql: "SELECT toStartOfDay(r.raised) AS time, r.severity AS series, count() AS value " + ours + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 11, kind: aGauge, title: "Pages by hour of the day, UTC", w: 6, unit: "short", needs: "alerts", about: "When the pages of the range came. Those at night cost most.", sql: "SELECT concat(leftPad(toString(toHour(r.raised)), 2, '0'), ':00') AS hour, count() AS pages " + ours + " AND r.severity = 'page'\nGROUP BY hour ORDER BY hour LIMIT 24"},
				{id: 12, kind: aGauge, title: "Pages by owner", w: 6, unit: "short", needs: "alerts", about: "Whom the pages of the range went to: one owner with most of them needs help.", sql: "SELECT r.owner AS owner, count() AS pages " + ours + " AND r.severity = 'page'\nGROUP BY owner ORDER BY pages DESC LIMIT 20"},
				{id: 13, kind: aTable, title: "By objective or signal", w: 14, h: 10, needs: "alerts", about: "How often each was raised, how long it lasted, how many were over within ten minutes, and whether they could be sent. The loudest with the least use should be changed first: `gatewatch-alert backtest --against current` tries it.",
					sql:     "SELECT r.slo AS alert_of, r.kind AS kind, countIf(r.severity = 'page') AS pages, countIf(r.severity = 'ticket') AS tickets, countIf(r.ended < r.raised + INTERVAL 10 MINUTE) AS short, quantileExact(0.5)(dateDiff('second', r.onset, ifNull(r.ended, now64(3)))) AS lasted, countIf(NOT r.sent) AS not_sent, max(r.raised) AS last " + ours + "\nGROUP BY alert_of, kind ORDER BY pages DESC, tickets DESC LIMIT 200",
					columns: []column{{name: "alert_of", title: "objective or signal"}, {name: "lasted", title: "median length", unit: "s"}, {name: "pages", bar: true, width: 110}, {name: "tickets", width: 75}, {name: "short", width: 65}, {name: "not_sent", title: "not sent", warn: 1, page: 1, width: 80}, {name: "last", width: 150}}},
				{id: 14, kind: aTable, title: "By owner and week", w: 10, h: 10, needs: "alerts", about: "Pages and tickets by owner and week (Monday, UTC), and how long pages were open together.",
					sql:     "SELECT toStartOfWeek(r.raised, 1) AS week, r.owner AS owner, countIf(r.severity = 'page') AS pages, countIf(r.severity = 'ticket') AS tickets, sumIf(dateDiff('second', r.raised, ifNull(r.ended, now64(3))), r.severity = 'page') AS open " + ours + "\nGROUP BY week, owner ORDER BY week DESC, pages DESC LIMIT 200",
					columns: []column{{name: "open", title: "time open", unit: "s"}}},
			}},
			{title: "Each one", panels: []panel{
				{id: 20, kind: aTable, title: "Incidents, the newest first", w: 16, h: 11, needs: "alerts", about: "All alerts of the range with onset, length and what was said. Click one for its whole story.",
					sql:     "SELECT r.raised AS raised, r.severity AS severity, r.state AS state, r.slo AS alert_of, r.group_value AS of, r.service AS service, r.owner AS owner, dateDiff('second', r.raised, ifNull(r.ended, now64(3))) AS lasted, r.summary AS what, r.send_error AS not_sent_because, r.alert_id AS alert " + ours + "\nORDER BY raised DESC LIMIT 300",
					columns: []column{{name: "what", link: toOne, width: 420}, {name: "raised", width: 150}, {name: "severity", width: 80}, {name: "state", width: 75}, {name: "lasted", unit: "s", width: 80}, {name: "alert", hidden: true}, {name: "not_sent_because", title: "not sent because"}}},
				{id: 21, kind: aTable, title: "What people noted", w: 8, h: 11, needs: "notes", about: "Notes on alerts of the range, newest first.",
					sql:     "SELECT r.at AS time, toString(r.useful) AS useful, r.author AS author, r.text AS text, r.alert_id AS alert FROM v_alert_note AS r WHERE r.at >= $__fromTime AND r.at <= $__toTime ORDER BY time DESC LIMIT 200",
					columns: []column{{name: "alert", link: toOne, width: 90}, {name: "text", wrap: true}, {name: "time", width: 150}, {name: "useful", width: 70}, {name: "author", width: 80}}},
			}},
		},
	}
}
