package main

func pipeline() board {
	batch := "FROM v_ledger AS r\nWHERE r.written_at >= $__fromTime AND r.written_at <= $__toTime"
	const step = "WITH toUInt32(greatest($__interval_s, 10)) AS step\n"
	at := "toDateTime(intDiv(toUInt32(r.written_at), step) * step)"
	return board{
		uid: toPipeline, title: "The pipeline itself", question: "is all that we see all there is?", from: "now-6h", prom: true,
		rows: []row{
			{panels: []panel{
				completeUntil(1, 6),
				{id: 2, kind: aStat, title: "Behind Kafka", w: 4, unit: "short", needs: "completeness", warn: 100000, page: 1000000, about: "Messages in Kafka that are not stored yet, over all topics, as gatewatch-aggregate measured last.", sql: "SELECT lag FROM v_complete WHERE measured"},
				{id: 3, kind: aStat, title: "Stored", w: 4, unit: "short", needs: "requests", about: "Rows that were stored in the range: requests, spans and events.", sql: "SELECT nullIf(sum(r.rows), 0) AS rows " + batch + " HAVING count() > 0"},
				{id: 4, kind: aStat, title: "Unreadable", w: 5, unit: "percentunit", needs: "requests", warn: 0.001, page: 0.01, about: "Share of messages that could not be read, by the ledger. More than 1 % of a topic raises a ticket.", sql: "SELECT sum(r.dead) / nullIf(sum(r.messages), 0) AS unreadable " + batch + " HAVING count() > 0"},
				{id: 5, kind: aStat, title: "Lost before it was read", w: 5, needs: "requests", warn: 1, page: 1, about: "Messages that Kafka's retention deleted before they were read. Worry at 1: raise the retention or add members.", sql: "SELECT sum(r.lost) AS lost " + batch + " HAVING count() > 0"},
			}},
			{title: "What is set up, and why a panel is empty", panels: []panel{
				{id: 10, kind: aTable, title: "Set-up", w: 24, h: 11, needs: "requests", about: "What gatewatch can show, whether it is set up, what came in the last hour, when something came last, and what to do for more. A panel without data names one of these.",
					sql:     "SELECT r.capability AS capability, r.shows AS shows, r.configured AS configured, r.rows_1h AS rows_1h, r.last_seen AS last_seen, r.next_step AS next_step FROM v_setup AS r ORDER BY configured, capability",
					columns: []column{{name: "rows_1h", title: "rows in 1 h", unit: "short", width: 100}, {name: "configured", width: 95}, {name: "capability", width: 140}, {name: "last_seen", title: "last seen", width: 160}, {name: "shows", width: 330}, {name: "next_step", title: "next step"}}},
			}},
			{title: "From Kafka to ClickHouse", panels: []panel{
				{id: 20, kind: stacked, title: "Rows stored by topic", w: 8, unit: "rows/s", needs: "requests", about: "Rows a second that were stored, by topic, from the ledger.", sql: step + "SELECT " + at + " AS time, r.topic AS series, sum(r.rows) / any(step) AS value " + batch + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 21, kind: lines, title: "Kafka to visible", w: 8, unit: "s", needs: "requests", warn: 5, page: 60, about: "Mean time from a batch's last Kafka time to its being stored, by topic; the rollups hold it at the same moment. Imports of old logs show here as late.", sql: step + "SELECT " + at + " AS time, r.topic AS series, avg(greatest(0, dateDiff('millisecond', r.last_kafka_time, r.written_at))) / 1000 AS value " + batch + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 22, kind: lines, title: "Rows a batch", w: 8, unit: "short", needs: "requests", about: "Mean rows of a batch by topic: small at the end of a topic, large when behind. ClickHouse pays by block.", sql: step + "SELECT " + at + " AS time, r.topic AS series, avg(r.rows) AS value " + batch + "\nGROUP BY time, series ORDER BY time, series"},
				{id: 23, kind: aTable, title: "Topics", w: 12, h: 9, needs: "completeness", about: "How far each topic is complete, how far behind, how late events reach Kafka, and how long Kafka keeps them. A topic behind by half of its retention is about to lose data.",
					sql:     "SELECT r.topic AS topic, r.complete_until AS complete_until, r.measured_at AS measured_at, r.lag AS lag, if(r.caught_up, 'yes', 'catching up') AS caught_up, r.event_delay_p999_ms / 1000 AS delay, r.retention_s AS kept FROM v_completeness AS r ORDER BY complete_until LIMIT 200",
					columns: []column{{name: "delay", title: "event to Kafka, p99.9", unit: "s"}, {name: "kept", title: "Kafka keeps", unit: "s"}, {name: "lag", unit: "short"}}},
				{id: 24, kind: aTable, title: "Ledger by topic and partition", w: 12, h: 9, needs: "requests", about: "All batches of the range: messages = rows' messages + unreadable + skipped, and offsets without a hole. `gatewatch-ingest verify` proves it against Kafka and the rows.",
					sql: `SELECT r.topic AS topic, r.kafka_partition AS partition, count() AS batches, min(r.first_offset) AS first, max(r.last_offset) AS last, sum(r.messages) AS messages, sum(r.rows) AS rows, sum(r.dead) AS unreadable, sum(r.skipped) AS skipped, sum(r.lost) AS lost,
  last - first + 1 - sum(r.last_offset - r.first_offset + 1) AS holes, min(r.earliest_event) AS earliest, max(r.latest_event) AS latest, min(r.first_kafka_time) AS from_kafka, any(r.format) AS format, groupUniqArray(r.shard) AS shards, max(r.schema_version) AS schema
` + batch + "\nGROUP BY topic, partition ORDER BY topic, partition LIMIT 500",
					columns: []column{{name: "holes", warn: 1, page: 1}, {name: "lost", warn: 1, page: 1}, {name: "unreadable", warn: 1, page: 1000}}},
				{id: 25, kind: aTable, title: "Unreadable messages", w: 12, h: 8, needs: "unreadable", fine: "Every message could be read", about: "Reasons with the newest example, masked. `gatewatch-ingest dead-letters show` reads the message itself; `replay` feeds it back.",
					sql: "SELECT r.topic AS topic, r.reason AS reason, any(r.format) AS format, count() AS messages, argMax(r.detail, r.found_at) AS detail, argMax(r.excerpt, r.found_at) AS excerpt, argMax(concat(toString(r.kafka_partition), ':', toString(r.kafka_offset)), r.found_at) AS at, max(r.size) AS bytes, max(r.kafka_time) AS last FROM v_dead_letter AS r WHERE r.kafka_time >= $__fromTime AND r.kafka_time <= $__toTime\nGROUP BY topic, reason ORDER BY messages DESC LIMIT 100"},
				{id: 26, kind: aTable, title: "Gateways' own counters", w: 12, h: 8, needs: "gateway counters", about: "What each gateway says it served in the range, beside what was logged: a difference is what was served and not logged. Counters that fell were restarted.",
					sql: "SELECT r.node AS node, max(r.requests) - min(r.requests) AS served, ifNull(any(l.logged), 0) AS logged, served - logged AS missing, max(r.time) AS last_read, argMax(r.error, r.time) AS error FROM v_gateway_counter AS r\nLEFT JOIN (SELECT e.node AS node, sum(e.requests) AS logged FROM v_edge_1m AS e WHERE e.time >= $__fromTime AND e.time <= $__toTime GROUP BY node) AS l ON l.node = r.node\nWHERE r.time >= $__fromTime AND r.time <= $__toTime\nGROUP BY node ORDER BY missing DESC LIMIT 100"},
			}},
			{title: "ClickHouse", panels: []panel{
				{id: 27, kind: aTable, title: "Tables on disk", w: 16, h: 9, needs: "requests", about: "Parts, rows and bytes of each table of the server that is asked, and merges under way. Hundreds of parts in a partition mean that inserts are too small or merges too slow; ClickHouse refuses inserts at 3,000.",
					sql:     "SELECT r.table AS table, r.parts AS parts, r.partitions AS partitions, r.parts / r.partitions AS parts_each, r.merges AS merges, r.rows AS rows, r.bytes AS bytes, r.raw_bytes / greatest(1, r.bytes) AS compression FROM v_part AS r WHERE r.table IN (SELECT s.table FROM v_part AS s WHERE s.rows > 0 AND (SELECT count() FROM v_ledger) > 0) ORDER BY bytes DESC LIMIT 100",
					columns: []column{{name: "bytes", unit: "bytes", bar: true, width: 150}, {name: "parts_each", title: "parts a partition", unit: "short", warn: 100, page: 1000}, {name: "rows", unit: "short"}, {name: "compression", unit: "x"}}},
				{id: 28, kind: lines, title: "Bytes by level", w: 8, h: 9, unit: "bytes", needs: "metrics", about: "Bytes on disk of each level over time, from gatewatch-aggregate. The alert GatewatchDiskFull tells a week before a disk is full.", prom: []expression{{"topk(8, gatewatch_aggregate_table_bytes)", "{{table}}"}}},
			}},
			{title: "The daemons, by their own metrics", closed: true, panels: []panel{
				{id: 30, kind: lines, title: "Kafka to visible, p99", w: 8, unit: "s", needs: "metrics", warn: 5, page: 60, about: "99 of 100 batches were visible within this time of their first Kafka time, over five minutes.", prom: []expression{{"histogram_quantile(0.99, sum by (le) (rate(gatewatch_ingest_freshness_seconds_bucket[5m])))", "p99"}, {"histogram_quantile(0.5, sum by (le) (rate(gatewatch_ingest_freshness_seconds_bucket[5m])))", "p50"}}},
				{id: 31, kind: lines, title: "Behind, by topic", w: 8, unit: "short", needs: "metrics", about: "Messages that are not read yet, by topic. Growing for minutes: add members or find what is slow.", prom: []expression{{"sum by (topic) (gatewatch_ingest_lag_messages)", "{{topic}}"}}},
				{id: 32, kind: lines, title: "Failures", w: 8, unit: "ops", needs: "metrics", about: "Failures a second: of ingest's inserts and commits, of measurements of completeness, of evaluation and delivery. All are tried again; worry when they go on.", prom: []expression{{"sum by (reason) (rate(gatewatch_alert_errors_total[5m]))", "alert: {{reason}}"}, {"sum(rate(gatewatch_aggregate_measure_failures_total[5m]))", "aggregate: measurements"}}},
				{id: 33, kind: lines, title: "Evaluation", w: 8, unit: "s", needs: "metrics", warn: 5, page: 10, about: "99 of 100 rounds of evaluation took at most this long, and how old the data is by which alert judges.", prom: []expression{{"histogram_quantile(0.99, sum by (le) (rate(gatewatch_alert_evaluation_duration_seconds_bucket[5m])))", "round, p99"}, {"max(gatewatch_alert_data_age_seconds)", "age of data"}}},
				{id: 34, kind: lines, title: "Memory", w: 8, unit: "bytes", needs: "metrics", about: "Resident memory of each daemon. ingest holds batches under way; its bound is ingest.max_memory.", prom: []expression{{"process_resident_memory_bytes{job=~\"gatewatch.*\"}", "{{job}} {{instance}}"}}},
				{id: 35, kind: lines, title: "CPU", w: 8, unit: "percentunit", needs: "metrics", about: "Cores that each daemon uses; ingest takes up to 0.01 for each 1,000 requests a second.", prom: []expression{{"rate(process_cpu_seconds_total{job=~\"gatewatch.*\"}[5m])", "{{job}} {{instance}}"}}},
			}},
		},
	}
}
